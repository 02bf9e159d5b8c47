/*
 * ops.c - one small case of every op, primitives first.
 *
 * Sizes are odd and larger than a vector register, so that whole tiles and
 * their ends are both met. The tests of Tenon itself draw thousands of cases;
 * these tell the author of a backend where to look.
 */
#include "cli/checks/ops.h"

#define F(...)                                                                 \
    {                                                                          \
        .rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t),            \
        .shape = {__VA_ARGS__}, .low = -1, .high = 1                           \
    }
#define I32(low_, high_, ...)                                                  \
    {                                                                          \
        .dtype = TN_I32,                                                       \
        .rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t),            \
        .shape = {__VA_ARGS__}, .low = (low_), .high = (high_)                 \
    }
#define STORED(op_, ...)                                                       \
    {                                                                          \
        .op = TN_OP_##op_,                                                     \
        .rank = sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t),            \
        .shape = {__VA_ARGS__}, .low = -1, .high = 1                           \
    }

static void map(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    const tn_tensor bounded = tn_tanh(b, tn_exp(b, in[2]));
    out[0] = tn_fma(b, tn_silu(b, in[0]), in[1], bounded);
    out[1] = tn_select(b, tn_lt(b, in[0], in[1]), tn_sqrt(b, tn_abs(b, in[0])),
                       tn_log1p(b, tn_abs(b, in[1])));
}

static void reduce(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_sum(b, in[0], 1u << 1);
    out[1] = tn_maximum(b, in[0], 1u << 2);
    out[2] = tn_minimum(b, in[0], 1u << 0 | 1u << 2);
}

static void cumsum(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_cumsum(b, in[0], .axis = 1);
    out[1] = tn_cumsum(b, in[0], .axis = 2, .reverse = 1, .exclusive = 1);
}

static void matmul(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_matmul(b, in[0], in[1]);
    out[1] = tn_matmul(b, tn_transpose(b, in[1]), tn_transpose(b, in[0]));
}

static void copy(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_copy(b, tn_permute(b, in[0], 2, 0, 1));
}

static void concat(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_concat(b, 1, in[0], in[1], in[0]);
}

static void gather_rows(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_gather_rows(b, in[0], in[1]);
}

static void scatter_add_rows(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_scatter_add_rows(b, in[1], in[0], 9);
}

static void set_rows(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_set_rows(b, in[0], in[1], in[2]);
}

static void assign(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_assign(b, in[0], in[1]);
}

static void topk(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    tn_topk(b, in[0], 3, &out[0], &out[1]);
}

static void argmax(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_argmax(b, in[0]);
}

static void expert_plan(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    tn_expert_plan(b, in[0], 5, out);
}

static void grouped_matmul(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    tn_tensor plan[3];
    tn_expert_plan(b, in[0], 5, plan);
    out[0] = tn_grouped_matmul(b, in[1], in[2], plan[2]);
}

static void fill(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_fill(b, -2.5, 3, 17);
    (void)in;
}

static void rms_norm(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_rms_norm(b, in[0], in[1], 1e-5);
}

static void softmax(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_softmax(b, tn_scale(b, in[0], 5.0));
}

static void rope(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_rope(b, in[0], TN_NONE, .theta = 10000);
    out[1] =
        tn_rope(b, in[0], in[1], .theta = 500, .dims = 4, .interleaved = 1);
}

static void attention(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_attention(b, in[0], in[1], in[2], TN_NONE, .window = 7,
                          .softcap = 4);
}

static void linear_cross_entropy(tn_builder *b, const tn_tensor *in,
                                 tn_tensor *out)
{
    out[0] = tn_linear_cross_entropy(b, in[0], in[1], in[2], 0.0);
}

static void conv1d_causal(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_conv1d_causal(b, in[0], in[1], TN_NONE);
}

static void ssd_scan(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    const tn_tensor dt = tn_softplus(b, in[1]);
    const tn_tensor A = tn_neg(b, tn_exp(b, in[2]));
    out[0] = tn_ssd_scan(b, in[0], dt, A, in[3], in[4], TN_NONE, 8, NULL);
}

static void newton_schulz(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_newton_schulz(b, in[0], .steps = 5, .a = 3.4445, .b = -4.775,
                              .c = 2.0315, .eps = 1e-7);
}

static void dropout(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_dropout(b, in[0], in[1], 0.3);
}

static void sample(tn_builder *b, const tn_tensor *in, tn_tensor *out)
{
    out[0] = tn_sample_tokens(b, tn_scale(b, in[0], 5.0), in[1], in[2]);
}

const tni_op_case tni_op_cases[TNI_OP_CASE_COUNT] = {
    [TNI_OP_CASE_map] =
        {3, 2, {F(3, 5, 37), F(3, 5, 37), F(1, 5, 1)}, 7, 2e-6, map},
    [TNI_OP_CASE_reduce] = {1, 3, {F(3, 5, 37)}, 1, 1e-5, reduce},
    [TNI_OP_CASE_cumsum] = {1, 2, {F(3, 5, 37)}, 1, 1e-5, cumsum},
    [TNI_OP_CASE_matmul] =
        {2, 2, {F(2, 19, 33), F(2, 33, 17)}, 3, 2e-5, matmul},
    [TNI_OP_CASE_copy] = {1, 1, {F(3, 5, 37)}, 1, 0, copy},
    [TNI_OP_CASE_concat] = {2, 1, {F(3, 5, 7), F(3, 2, 7)}, 3, 1e-6, concat},
    [TNI_OP_CASE_gather_rows] =
        {2, 1, {F(9, 19), I32(-1, 9, 4, 5)}, 1, 1e-5, gather_rows},
    [TNI_OP_CASE_scatter_add_rows] =
        {2, 1, {F(4, 5, 19), I32(-1, 9, 4, 5)}, 1, 1e-5, scatter_add_rows},
    [TNI_OP_CASE_set_rows] = {3,
                              1,
                              {STORED(STATE, 3, 6, 19), I32(-1, 6, 3, 1),
                               F(3, 1, 19)},
                              0,
                              0,
                              set_rows},
    [TNI_OP_CASE_assign] =
        {2, 1, {STORED(SLOT, 7, 19), F(7, 19)}, 0, 0, assign},
    [TNI_OP_CASE_topk] = {1, 2, {F(7, 19)}, 0, 0, topk},
    [TNI_OP_CASE_argmax] = {1, 1, {F(7, 19)}, 0, 0, argmax},
    [TNI_OP_CASE_expert_plan] = {1, 3, {I32(0, 5, 11, 2)}, 0, 0, expert_plan},
    [TNI_OP_CASE_grouped_matmul] = {3,
                                    1,
                                    {I32(0, 5, 11, 2), F(22, 19), F(5, 19, 13)},
                                    6,
                                    1e-5,
                                    grouped_matmul},
    [TNI_OP_CASE_fill] = {0, 1, {{0}}, 0, 0, fill},
    [TNI_OP_CASE_rms_norm] = {2, 1, {F(6, 37), F(37)}, 3, 1e-5, rms_norm},
    [TNI_OP_CASE_softmax] = {1, 1, {F(6, 37)}, 1, 1e-5, softmax},
    [TNI_OP_CASE_rope] =
        {2, 2, {F(2, 9, 3, 8), I32(0, 60, 2, 9)}, 1, 2e-5, rope},
    [TNI_OP_CASE_attention] = {3,
                               1,
                               {F(2, 19, 4, 8), F(2, 19, 2, 8), F(2, 19, 2, 6)},
                               7,
                               2e-5,
                               attention},
    [TNI_OP_CASE_linear_cross_entropy] = {3,
                                          1,
                                          {F(13, 17), F(41, 17),
                                           I32(-1, 41, 13)},
                                          3,
                                          2e-5,
                                          linear_cross_entropy},
    [TNI_OP_CASE_conv1d_causal] =
        {2, 1, {F(2, 19, 37), F(37, 4)}, 3, 1e-5, conv1d_causal},
    [TNI_OP_CASE_ssd_scan] = {5,
                              1,
                              {F(2, 19, 4, 6), F(2, 19, 4), F(4),
                               F(2, 19, 2, 5), F(2, 19, 2, 5)},
                              31,
                              1e-4,
                              ssd_scan},
    [TNI_OP_CASE_newton_schulz] =
        {1, 1, {F(3, 19, 11)}, 0, 1e-4, newton_schulz},
    [TNI_OP_CASE_sample] =
        {3,
         1,
         {F(5, 37),
          {.rank = 2, .shape = {5, 3}, .low = 0.1, .high = 1},
          I32(4, 37, 5, 2)},
         0,
         0,
         sample},
    [TNI_OP_CASE_dropout] = {2, 1, {F(6, 37), I32(1, 9, 2)}, 1, 1e-6, dropout},
};
