/*
 * op_table.c - ops.def as a table: which rules each op has.
 *
 * The rules are functions in ops/ under the op's own name. Beside tn_op_desc,
 * which plugins see, the core keeps a few facts of its own in `own`: how inputs
 * are prepared, whether the output lies on the first input, which outputs can
 * be added into place.
 */
#include "graph/graph.h"

#include "graph/ops/ops.h"

#define SHAPE(name) .shape = tni_##name##_shape
#define GRADIENT(name) .gradient = tni_##name##_gradient
#define DECOMPOSE(name) .decompose = tni_##name##_decompose
#define FLOPS(name) .flops = tni_##name##_flops

/* Leaves have no rules; everything else at least a shape. */
#define RULES_param .shape = NULL
#define RULES_input .shape = NULL
#define RULES_scalar .shape = NULL
#define RULES_state .shape = NULL
#define RULES_slot .shape = NULL
#define RULES_view SHAPE(view), GRADIENT(view)
#define RULES_stop_gradient SHAPE(stop_gradient)
#define RULES_map SHAPE(map), GRADIENT(map), FLOPS(map)
#define RULES_reduce SHAPE(reduce), GRADIENT(reduce), FLOPS(reduce)
#define RULES_cumsum SHAPE(cumsum), GRADIENT(cumsum), FLOPS(cumsum)
#define RULES_matmul SHAPE(matmul), GRADIENT(matmul), FLOPS(matmul)
#define RULES_copy SHAPE(copy), GRADIENT(copy)
#define RULES_concat SHAPE(concat), GRADIENT(concat)
#define RULES_gather_rows SHAPE(gather_rows), GRADIENT(gather_rows)
#define RULES_scatter_add_rows                                                 \
    SHAPE(scatter_add_rows), GRADIENT(scatter_add_rows), FLOPS(scatter_add_rows)
#define RULES_set_rows SHAPE(set_rows)
#define RULES_assign SHAPE(assign)
#define RULES_topk SHAPE(topk), GRADIENT(topk)
#define RULES_argmax SHAPE(argmax)
#define RULES_expert_plan SHAPE(expert_plan)
#define RULES_grouped_matmul                                                   \
    SHAPE(grouped_matmul), GRADIENT(grouped_matmul), FLOPS(grouped_matmul)
#define RULES_fill SHAPE(fill)
#define RULES_rms_norm                                                         \
    SHAPE(rms_norm), GRADIENT(rms_norm), DECOMPOSE(rms_norm), FLOPS(rms_norm)
#define RULES_rms_norm_bwd                                                     \
    SHAPE(rms_norm_bwd), DECOMPOSE(rms_norm_bwd), FLOPS(rms_norm_bwd)
#define RULES_softmax                                                          \
    SHAPE(softmax), GRADIENT(softmax), DECOMPOSE(softmax), FLOPS(softmax)
#define RULES_softmax_bwd                                                      \
    SHAPE(softmax_bwd), DECOMPOSE(softmax_bwd), FLOPS(softmax_bwd)
#define RULES_rope SHAPE(rope), GRADIENT(rope), DECOMPOSE(rope), FLOPS(rope)
#define RULES_attention                                                        \
    SHAPE(attention), GRADIENT(attention), DECOMPOSE(attention),               \
        FLOPS(attention)
#define RULES_attention_bwd                                                    \
    SHAPE(attention_bwd), DECOMPOSE(attention_bwd), FLOPS(attention_bwd)
#define RULES_linear_cross_entropy                                             \
    SHAPE(linear_cross_entropy), GRADIENT(linear_cross_entropy),               \
        DECOMPOSE(linear_cross_entropy), FLOPS(linear_cross_entropy)
#define RULES_linear_cross_entropy_bwd                                         \
    SHAPE(linear_cross_entropy_bwd), DECOMPOSE(linear_cross_entropy_bwd),      \
        FLOPS(linear_cross_entropy_bwd)
#define RULES_conv1d_causal                                                    \
    SHAPE(conv1d_causal), GRADIENT(conv1d_causal), DECOMPOSE(conv1d_causal),   \
        FLOPS(conv1d_causal)
#define RULES_conv1d_causal_bwd                                                \
    SHAPE(conv1d_causal_bwd), DECOMPOSE(conv1d_causal_bwd),                    \
        FLOPS(conv1d_causal_bwd)
#define RULES_ssd_scan                                                         \
    SHAPE(ssd_scan), GRADIENT(ssd_scan), DECOMPOSE(ssd_scan), FLOPS(ssd_scan)
#define RULES_ssd_scan_bwd                                                     \
    SHAPE(ssd_scan_bwd), DECOMPOSE(ssd_scan_bwd), FLOPS(ssd_scan_bwd)
#define RULES_newton_schulz                                                    \
    SHAPE(newton_schulz), GRADIENT(newton_schulz), DECOMPOSE(newton_schulz),   \
        FLOPS(newton_schulz)
#define RULES_dropout                                                          \
    SHAPE(dropout), GRADIENT(dropout), DECOMPOSE(dropout), FLOPS(dropout)
#define RULES_sample SHAPE(sample), DECOMPOSE(sample), FLOPS(sample)

static const tn_op_desc table[TN_OP_COUNT] = {
#define OP(NAME, number_, tier_, least, most, n_out, attr, name_)              \
    [number_] = {.struct_size = sizeof(tn_op_desc),                            \
                 .number = (number_),                                          \
                 .name = #name_,                                               \
                 .tier = TN_TIER_##tier_,                                      \
                 .min_in = (least),                                            \
                 .max_in = (most),                                             \
                 .out_count = (n_out),                                         \
                 .attr_size = (uint32_t)sizeof(attr),                          \
                 RULES_##name_},
#include <tenon/ops.def>
#undef OP
};

/* What plugins need not know. */
typedef struct own_facts {
    tni_prepare *prepare;
    const char *(*label)(const void *attr);
    uint32_t accumulates; /* bit i: output i can be added into place */
    uint32_t strided;     /* bit i: input i need not be dense, */
    int (*accepts)(const tn_tensor_info *x); /* if it is so; NULL: anyhow */
    uint8_t over_first; /* output 0 lies on input 0's storage */
    uint8_t picks;      /* of input 0, the rows that are output 0 */
    uint8_t documents;  /* the input that says where documents begin */
} own_facts;

static const own_facts own[TN_OP_COUNT] = {
    [TN_OP_VIEW] = {.prepare = tni_view_prepare, .strided = 1, .over_first = 1},
    [TN_OP_STOP_GRADIENT] = {.strided = 1, .over_first = 1},
    [TN_OP_MAP] = {.prepare = tni_map_prepare,
                   .label = tni_map_label,
                   .strided = ~0u},
    [TN_OP_REDUCE] = {.prepare = tni_reduce_prepare,
                      .accumulates = 1,
                      .strided = ~0u},
    [TN_OP_MATMUL] = {.prepare = tni_matmul_prepare,
                      .accumulates = 1,
                      .strided = 3,
                      .accepts = tni_is_matmul_operand},
    [TN_OP_COPY] = {.strided = 1},
    [TN_OP_CONCAT] = {.strided = ~0u, .accepts = tni_has_dense_vectors},
    [TN_OP_GATHER_ROWS] = {.strided = 1, /* its table */
                           .accepts = tni_has_dense_rows,
                           .picks = 1},
    [TN_OP_SCATTER_ADD_ROWS] = {.accumulates = 1},
    [TN_OP_SET_ROWS] = {.over_first = 1},
    [TN_OP_ASSIGN] = {.over_first = 1},
    [TN_OP_GROUPED_MATMUL] = {.prepare = tni_grouped_matmul_prepare,
                              .accumulates = 1,
                              .strided = 1u << 1,
                              .accepts = tni_is_matmul_operand},
    [TN_OP_RMS_NORM_BWD] = {.accumulates = 1u << 1}, /* dweight */
    [TN_OP_ATTENTION] = {.strided = 7u,              /* q, k, v */
                         .accepts = tni_has_dense_vectors,
                         .documents = 4},
    [TN_OP_ATTENTION_BWD] = {.strided = 7u << 1, /* the same */
                             .accepts = tni_has_dense_vectors,
                             .documents = 7},
    [TN_OP_CONV1D_CAUSAL] = {.strided = 1, /* x */
                             .accepts = tni_has_dense_vectors,
                             .documents = 3},
    [TN_OP_CONV1D_CAUSAL_BWD] = {.strided = 1u << 1,
                                 .accepts = tni_has_dense_vectors,
                                 .documents = 4},
    [TN_OP_SSD_SCAN] = {.strided = 033u, /* x, dt, Bm, Cm */
                        .accepts = tni_has_dense_vectors,
                        .documents = 6},
    [TN_OP_SSD_SCAN_BWD] = {.strided = 033u << 1, /* the same */
                            .accepts = tni_has_dense_vectors,
                            .documents = 6},
    [TN_OP_LINEAR_CROSS_ENTROPY_BWD] = {.accumulates = 1u << 1}, /* dw */
};

/*
 * Which operands may be stored in bf16 where precision is bf16 (narrow.c), and
 * which inputs may be weights in blocks (quantise.c).
 * What is not here stays f32 for good: statistics, sums, the loss, choices of
 * experts, step sizes and states of the scan, and gradients of parameters,
 * which are added up over micro-batches.
 */
static const tni_narrowing narrowing[TN_OP_COUNT] = {
    [TN_OP_MAP] = {.in = ~0u, .out = ~0u, .how = TNI_NARROW_ELEMENTS},
    [TN_OP_REDUCE] = {.in = ~0u},
    [TN_OP_MATMUL] = {.in = 3u,
                      .out = 1u,
                      .how = TNI_NARROW_PRODUCT,
                      .blocks = 1u << 1},
    [TN_OP_COPY] = {.in = 1u, .out = 1u, .how = TNI_NARROW_ALIKE},
    [TN_OP_CONCAT] = {.in = ~0u, .out = 1u, .how = TNI_NARROW_ALIKE},
    [TN_OP_GATHER_ROWS] = {.in = 1u,
                           .out = 1u,
                           .how = TNI_NARROW_ROWS,
                           .blocks = 1u},
    [TN_OP_SCATTER_ADD_ROWS] = {.in = 1u << 1},
    [TN_OP_SET_ROWS] = {.in = 5u, .out = 1u, .how = TNI_NARROW_ALIKE},
    [TN_OP_ASSIGN] = {.in = 3u, .out = 1u, .how = TNI_NARROW_ALIKE},
    [TN_OP_GROUPED_MATMUL] = {.in = 3u,
                              .out = 1u,
                              .how = TNI_NARROW_PRODUCT,
                              .blocks = 1u << 1},
    [TN_OP_RMS_NORM] = {.in = 1u, .out = 1u},     /* x; y */
    [TN_OP_RMS_NORM_BWD] = {.in = 3u, .out = 1u}, /* dy, x; dx */
    [TN_OP_ROPE] = {.in = 1u, .out = 1u},         /* x; y */
    [TN_OP_ATTENTION] = {.in = 7u,                /* q, k, v; o */
                         .out = 1u,
                         .how = TNI_NARROW_PRODUCT},
    [TN_OP_ATTENTION_BWD] = {.in = 31u, /* do, q, k, v, o; dq, dk, dv */
                             .out = 7u,
                             .how = TNI_NARROW_PRODUCT},
    [TN_OP_LINEAR_CROSS_ENTROPY] = {.in = 3u, /* x, w */
                                    .how = TNI_NARROW_PRODUCT,
                                    .blocks = 1u << 1},
    [TN_OP_LINEAR_CROSS_ENTROPY_BWD] = {.in = 3u, /* x, w; dx */
                                        .out = 1u,
                                        .how = TNI_NARROW_PRODUCT},
    [TN_OP_CONV1D_CAUSAL] = {.in = 1u, .out = 1u},      /* x; y */
    [TN_OP_CONV1D_CAUSAL_BWD] = {.in = 3u, .out = 1u},  /* dy, x; dx */
    [TN_OP_SSD_SCAN] = {.in = 1u | 3u << 3, .out = 1u}, /* x, B, C; y */
    [TN_OP_SSD_SCAN_BWD] = {.in = 3u | 3u << 4,         /* dy, x, B, C; */
                            .out = 1u | 3u << 3},       /* dx, dB, dC */
    [TN_OP_DROPOUT] = {.in = 1u, .out = 1u},            /* x; y */
};

const tni_narrowing *tni_op_narrowing(const tn_op_desc *desc)
{
    static const tni_narrowing none;
    return desc->number < TN_OP_COUNT ? &narrowing[desc->number] : &none;
}

const tn_op_desc *tni_op_desc(tn_op op)
{
    return op < TN_OP_COUNT && table[op].name ? &table[op] : NULL;
}

static const own_facts *own_of(const tn_op_desc *desc)
{
    static const own_facts none;
    return desc->number < TN_OP_COUNT ? &own[desc->number] : &none;
}

uint32_t tni_op_accumulates(const tn_op_desc *desc)
{
    return own_of(desc)->accumulates;
}

int tni_op_accepts(const tn_op_desc *desc, uint32_t input,
                   const tn_tensor_info *x)
{
    const own_facts *facts = own_of(desc);
    if (tni_info_is_dense(x))
        return 1;
    return input < 32 && (facts->strided >> input & 1u) &&
           (!facts->accepts || facts->accepts(x));
}

int tni_op_is_over_first(const tn_op_desc *desc)
{
    return own_of(desc)->over_first;
}

uint32_t tni_op_documents(const tn_op_desc *desc)
{
    return own_of(desc)->documents;
}

static double operand_bytes(const tn_operand *x)
{
    int64_t elements = 1;
    for (uint32_t i = 0; i < x->rank; i++)
        elements *= x->stride[i] ? x->shape[i] : 1;
    return x->arena ? (double)tn_dtype_span(x->dtype, elements) : 0.0;
}

double tni_node_bytes(const tn_plan_node *node)
{
    const tn_op_desc *desc = tni_op_desc(node->op);
    const own_facts none = {0}, *facts = desc ? own_of(desc) : &none;
    double bytes = 0.0;
    for (uint32_t i = facts->picks || facts->over_first; i < node->in_count;
         i++)
        bytes += operand_bytes(&node->in[i]);
    if (facts->over_first) /* what it writes is what it read */
        return bytes + operand_bytes(&node->in[node->in_count - 1]);
    for (uint32_t i = 0; i < node->out_count; i++) {
        const int also_read = facts->picks || (node->accumulate >> i & 1u);
        bytes += (also_read ? 2 : 1) * operand_bytes(&node->out[i]);
    }
    return bytes;
}

tni_prepare *tni_op_prepare(const tn_op_desc *desc)
{
    return own_of(desc)->prepare;
}

const char *tni_op_label(const tn_op_desc *desc, const void *attr)
{
    const own_facts *facts = own_of(desc);
    return facts->label ? facts->label(attr) : desc->name;
}
