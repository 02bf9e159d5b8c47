/*
 * plan.h - what the core hands a backend: flat arrays, every byte placed.
 *
 * A plan is compiled once and run every step. Nothing in it changes from run
 * to run: values that do (learning rate, step, seed, positions) are read from
 * the SCALAR and INPUT arenas.
 *
 * Order and hazards. Nodes are listed in an order that is correct when run one
 * by one. Nodes with the same `group` touch no common bytes except to read:
 * they may run at the same time. A backend needs a barrier exactly where group
 * changes from one node to the next.
 *
 * Strides. MAP, REDUCE, COPY, MATMUL and GATHER_ROWS (its table) may see any
 * strides; MATMUL operands have stride 1 in one of their last two axes and the
 * row pitch in the other; so has the second input of GROUPED_MATMUL. Stride 1
 * in their last axis and any strides in the others have q, k and v of ATTENTION,
 * x, dt, Bm and Cm of SSD_SCAN, x of CONV1D_CAUSAL, and the same of their
 * backward ops. Every other input, and every output, is dense and row-major.
 * Inputs of MAP and REDUCE already have the iteration shape (the output's; for
 * REDUCE, the shape before reducing), with stride 0 where they broadcast; only
 * the input of RANDOM stays i32 (2). Strides of axes of size 1 mean nothing.
 *
 * In place. A MAP's output may lie on exactly the bytes of an input of the same
 * strides; SET_ROWS and ASSIGN write their first input's bytes. Nothing else
 * overlaps.
 *
 * Precision. Where it is bf16, activations, inputs of products, gradients of
 * activations and key-value caches may be BF16; statistics, sums and gradients
 * of parameters are F32, and so is all arithmetic. What an output is stored in
 * is its operand's dtype, whatever the attributes say. The operands of one
 * MATMUL or GROUPED_MATMUL have one dtype, its result either. Plans of that
 * kind come only to backends whose caps say TN_PRECISION_BF16: they compute all
 * primitives on BF16 operands; a composite they have no such kernel for is
 * asked again in F32.
 *
 * Weights in blocks (Q8_0, Q4_K; since ABI 1.3). They lie in COPY, are only
 * read, and only by: MATMUL and GROUPED_MATMUL as the second operand, with
 * stride 1 and whole blocks along the axis that is summed over; GATHER_ROWS as
 * the table; COPY to F32, which is how every other reader gets them. What the
 * first two multiply them with is F32 or BF16. Such plans come only to backends
 * whose caps say so (TN_WEIGHTS_).
 */
#ifndef TENON_PLAN_H
#define TENON_PLAN_H

#include <tenon/op.h>

TN_BEGIN_DECLS

/* Memory of one model on one backend. Numbers are never reused. */
#define TN_ARENA_MAP(XX)                                                       \
    XX(PARAM, 1, "parameters")                                                 \
    XX(GRAD, 2, "gradients")                                                   \
    XX(OPTIMIZER, 3, "optimizer state")                                        \
    XX(STATE, 4, "decoding state")                                             \
    XX(INPUT, 5, "inputs")                                                     \
    XX(SCALAR, 6, "scalars")                                                   \
    XX(METRIC, 7, "metrics and outputs")                                       \
    XX(TRANSIENT, 8, "activations")                                            \
    XX(COPY, 9, "copies of parameters")

typedef uint32_t tn_arena;
enum {
#define XX(name, number, text) TN_ARENA_##name = number,
    TN_ARENA_MAP(XX)
#undef XX
        TN_ARENA_COUNT = 10
};

enum { TN_ALIGNMENT = 256 }; /* of every placed tensor, in bytes */

typedef struct tn_operand {
    tn_arena arena; /* 0: an absent optional input */
    tn_dtype dtype;
    uint32_t rank;
    uint32_t reserved;
    int64_t offset; /* of element 0, in bytes from the arena's start */
    int64_t shape[TN_MAX_RANK];
    int64_t stride[TN_MAX_RANK]; /* in elements */
} tn_operand;

typedef struct tn_plan_node {
    uint32_t struct_size;
    tn_op op;
    const char *name; /* op name; for TN_OP_CUSTOM the desc's */
    const void *attr;
    const tn_operand *in;
    const tn_operand *out;
    uint32_t in_count;
    uint32_t out_count;
    /* Bit i: add to what out[i] holds instead of overwriting it. Only
     * MATMUL, GROUPED_MATMUL, SCATTER_ADD_ROWS, REDUCE (sum),
     * RMS_NORM_BWD (dweight) and LINEAR_CROSS_ENTROPY_BWD (dw) get it. */
    uint32_t accumulate;
    uint32_t group;
    const char *file; /* where the op was described */
    int32_t line;
    uint32_t layer; /* 1-based decoder layer, 0 outside */
    double flops;
} tn_plan_node;

/* Nodes first .. first + count - 1. A communicator may stand between two. */
typedef struct tn_plan_segment {
    uint32_t first;
    uint32_t count;
} tn_plan_segment;

typedef struct tn_plan {
    uint32_t struct_size;
    uint32_t node_count;
    uint32_t node_stride;
    uint32_t segment_count;
    const char *name; /* "train", "accumulate", "update", "decode" ... */
    const tn_plan_node *nodes;
    const tn_plan_segment *segments;
    int64_t arena_bytes[TN_ARENA_COUNT]; /* what this plan needs of each */
} tn_plan;

TN_END_DECLS
#endif
