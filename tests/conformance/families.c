/*
 * families.c - every family, with what an f32 backend may be off by.
 *
 * Reading a row: {absolute, relative, gradient absolute, gradient relative} in
 * FLT_EPSILON = 2^-23, which is one ulp of 1.0; a correctly rounded result is
 * within 0.5 relative. Where terms are summed, the absolute part counts per
 * term: each of `length` partial sums of terms of size 1 is rounded by at most
 * its own half ulp, which at worst grows with the number of terms before it
 * and at random with its root; 1 per term covers every order of summation that
 * is not wrong. Ops that feed a sum into exp() get a few.
 *
 * Gradients of maps recompute the forward value and cancel (1 - y^2), so they
 * are held to an absolute error; their sums over broadcast axes count terms.
 */
#include "cases.h"

/* map.def: 4 ulp for the transcendentals, the rest rounded once; rsqrt is a
 * division of a root and rounded twice. */
#define ROUNDED_ONCE                                                           \
    {                                                                          \
        0, 0.5, 4, 8                                                           \
    }
#define ROUNDED_TWICE                                                          \
    {                                                                          \
        0, 1, 4, 8                                                             \
    }
#define FOUR_ULP                                                               \
    {                                                                          \
        0, 4, 4, 8                                                             \
    }

static const tolerance other_than_once[256] = {
    [TN_MAP_RSQRT] = ROUNDED_TWICE, [TN_MAP_EXP] = FOUR_ULP,
    [TN_MAP_EXPM1] = FOUR_ULP,      [TN_MAP_LOG] = FOUR_ULP,
    [TN_MAP_LOG1P] = FOUR_ULP,      [TN_MAP_TANH] = FOUR_ULP,
    [TN_MAP_SIGMOID] = FOUR_ULP,    [TN_MAP_ERF] = FOUR_ULP,
    [TN_MAP_SIN] = FOUR_ULP,        [TN_MAP_COS] = FOUR_ULP,
    [TN_MAP_POW] = FOUR_ULP,
};

tolerance tolerance_of(const family *f)
{
    static const tolerance once = ROUNDED_ONCE;
    if (f->draw != draw_instruction)
        return f->f32;
    const tolerance other = other_than_once[f->parameter];
    return other.relative > 0.0 ? other : once;
}

/* Moved, not computed. */
#define SAME_BITS                                                              \
    {                                                                          \
        0, 0, 1, 1                                                             \
    }

const family families[] = {
#define XX(NAME, number, arity, text, meaning)                                 \
    {"map " text, TN_OP_MAP, draw_instruction, number, {0, 0, 0, 0}},
#include <tenon/map.def>
#undef XX
    {"map chain", TN_OP_MAP, draw_chain, 0, {8, 8, 8, 8}},
    {"map long chain", TN_OP_MAP, draw_long_chain, 0, {8, 8, 8, 8}},
    {"map to integer", TN_OP_MAP, draw_to_integer, 0, SAME_BITS},
    {"reduce sum", TN_OP_REDUCE, draw_reduce, TN_REDUCE_SUM, {4, 4, 8, 8}},
    {"reduce max", TN_OP_REDUCE, draw_reduce, TN_REDUCE_MAX, {0, 4, 8, 8}},
    {"reduce min", TN_OP_REDUCE, draw_reduce, TN_REDUCE_MIN, {0, 4, 8, 8}},
    {"cumsum", TN_OP_CUMSUM, draw_cumsum, 0, {1, 1, 1, 1}},
    {"matmul", TN_OP_MATMUL, draw_matmul, 0, {1, 1, 1, 1}},
    {"linear", TN_OP_MATMUL, draw_linear, 0, {1, 1, 1, 1}},
    {"copy", TN_OP_COPY, draw_copy, 0, {0, 1, 8, 8}},
    {"cast to f32", TN_OP_COPY, draw_cast, TN_F32, SAME_BITS},
    {"cast to bf16", TN_OP_COPY, draw_cast, TN_BF16, SAME_BITS},
    {"cast to i32", TN_OP_COPY, draw_cast, TN_I32, SAME_BITS},
    {"concat", TN_OP_CONCAT, draw_concat, 0, SAME_BITS},
    {"concat of parts", TN_OP_CONCAT, draw_concat, 1, SAME_BITS},
    {"slices", TN_OP_CONCAT, draw_slices, 0, {0, 4, 4, 8}},
    {"gather_rows", TN_OP_GATHER_ROWS, draw_gather, 0, SAME_BITS},
    {"scatter_add_rows", TN_OP_SCATTER_ADD_ROWS, draw_scatter, 0, {1, 1, 1, 1}},
    {"set_rows", TN_OP_SET_ROWS, draw_set_rows, 0, SAME_BITS},
    {"accumulate matmul", TN_OP_ASSIGN, draw_accumulate, 0, {1, 1, 1, 1}},
    {"accumulate sum", TN_OP_ASSIGN, draw_accumulate, 1, {1, 1, 1, 1}},
    {"accumulate rows", TN_OP_ASSIGN, draw_accumulate, 2, {1, 1, 1, 1}},
    {"topk", TN_OP_TOPK, draw_topk, 0, SAME_BITS},
    {"argmax", TN_OP_ARGMAX, draw_argmax, 0, SAME_BITS},
    {"sample", TN_OP_SAMPLE, draw_sample, 0, SAME_BITS},
    {"expert_plan", TN_OP_EXPERT_PLAN, draw_expert_plan, 0, SAME_BITS},
    {"grouped_matmul",
     TN_OP_GROUPED_MATMUL,
     draw_grouped_matmul,
     0,
     {1, 1, 1, 1}},
    {"grouped_matmul transposed",
     TN_OP_GROUPED_MATMUL,
     draw_grouped_matmul,
     1,
     {1, 1, 1, 1}},
    {"fill", TN_OP_FILL, draw_fill, 0, {0, 0.5, 0, 0}},
    {"rms_norm", TN_OP_RMS_NORM, draw_rms_norm, 0, {1, 4, 4, 8}},
    {"softmax", TN_OP_SOFTMAX, draw_softmax, 0, {1, 64, 4, 64}},
    /* length is the largest position: an angle of p radians is known to half
     * an ulp of p */
    {"rope", TN_OP_ROPE, draw_rope, 0, {2, 2, 2, 2}},
    {"attention", TN_OP_ATTENTION, draw_attention, 0, {2, 8, 4, 8}},
    {"linear_cross_entropy",
     TN_OP_LINEAR_CROSS_ENTROPY,
     draw_loss,
     0,
     {2, 8, 4, 8}},
    {"conv1d_causal", TN_OP_CONV1D_CAUSAL, draw_conv, 0, {1, 1, 1, 1}},
    /* a state is a sum of many steps, as large as 1 / -A, before it is summed
     * again */
    {"ssd_scan", TN_OP_SSD_SCAN, draw_scan, 0, {8, 8, 16, 16}},
    /* each of up to 6 steps enlarges an error in a small singular value by
     * 3.4445: 1670 times at most, of half an ulp */
    {"newton_schulz",
     TN_OP_NEWTON_SCHULZ,
     draw_newton_schulz,
     0,
     {835, 8, 0, 0}},
    /* a gradient is the sum of two terms, of up to 4 and 16 */
    {"dropout", TN_OP_DROPOUT, draw_dropout, 0, {0, 4, 20, 4}},
    {"layer", 0, draw_layer, 0, {8, 8, 16, 16}},
};

const uint32_t family_count = sizeof families / sizeof families[0];
