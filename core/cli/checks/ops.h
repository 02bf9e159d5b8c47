/*
 * ops.h - cases of ops that a backend is compared with the oracle on.
 */
#ifndef TENON_CHECKS_OPS_H
#define TENON_CHECKS_OPS_H

#include <tenon/builder.h>

enum { TNI_OP_CASE_INPUTS = 6, TNI_OP_CASE_OUTPUTS = 4 };

/* A leaf; its values are drawn from [low, high), or whole numbers of it. */
typedef struct tni_op_input {
    tn_op op;       /* 0: TN_OP_INPUT */
    tn_dtype dtype; /* 0: the graph's, or TN_I32 */
    uint32_t rank;
    int64_t shape[4];
    double low, high;
} tni_op_input;

typedef struct tni_op_case {
    uint32_t in_count, out_count;
    tni_op_input in[TNI_OP_CASE_INPUTS];
    uint32_t wrt;     /* inputs whose gradient is compared too, as bits */
    double tolerance; /* of f32, absolute and relative */
    void (*describe)(tn_builder *b, const tn_tensor *in, tn_tensor *out);
} tni_op_case;

/* Primitives, then composites. */
#define TNI_OP_CASES(XX)                                                       \
    XX(map)                                                                    \
    XX(reduce)                                                                 \
    XX(cumsum)                                                                 \
    XX(matmul)                                                                 \
    XX(copy)                                                                   \
    XX(concat)                                                                 \
    XX(gather_rows)                                                            \
    XX(scatter_add_rows)                                                       \
    XX(set_rows)                                                               \
    XX(assign)                                                                 \
    XX(topk)                                                                   \
    XX(argmax)                                                                 \
    XX(expert_plan)                                                            \
    XX(grouped_matmul)                                                         \
    XX(fill)                                                                   \
    XX(rms_norm)                                                               \
    XX(softmax)                                                                \
    XX(rope)                                                                   \
    XX(attention)                                                              \
    XX(linear_cross_entropy)                                                   \
    XX(conv1d_causal)                                                          \
    XX(ssd_scan)                                                               \
    XX(newton_schulz)                                                          \
    XX(dropout)                                                                \
    XX(sample)

enum {
#define XX(name) TNI_OP_CASE_##name,
    TNI_OP_CASES(XX)
#undef XX
        TNI_OP_CASE_COUNT
};

extern const tni_op_case tni_op_cases[TNI_OP_CASE_COUNT];

#endif
