/*
 * op.h - op numbers, their attributes, and what it takes to define an op.
 *
 * The facts of each op are in ops.def. Attribute structs cross the plugin
 * boundary by (pointer, size): append-only, zero is the default.
 */
#ifndef TENON_OP_H
#define TENON_OP_H

#include <tenon/map.h>

TN_BEGIN_DECLS

typedef uint32_t tn_op;
enum {
#define OP(NAME, number, tier, min_in, max_in, n_out, attr, name)              \
    TN_OP_##NAME = number,
#include <tenon/ops.def>
#undef OP
    TN_OP_COUNT = 128, /* room for built-in ops: kernel tables have this size */
    TN_OP_CUSTOM = 128, /* the number every plugin-defined op carries */
};

enum { TN_TIER_LEAF, TN_TIER_VIEW, TN_TIER_PRIMITIVE, TN_TIER_COMPOSITE };

typedef struct tn_no_attr {
    uint32_t reserved;
} tn_no_attr;

/* A view is affine: shape, strides (elements) and offset relative to x's own
 * storage. The builder computes it from reshape, permute, slice, broadcast. */
enum {
    TN_VIEW_RESHAPE = 1,   /* shape: new sizes, one may be -1 */
    TN_VIEW_PERMUTE = 2,   /* axis[i]: which axis of x becomes axis i */
    TN_VIEW_SLICE = 3,     /* axis[0], start, length */
    TN_VIEW_BROADCAST = 4, /* shape: size-1 (and missing leading) axes grow */
};
typedef struct tn_view_attr {
    uint32_t kind;
    uint32_t rank;
    int64_t shape[TN_MAX_RANK];
    uint32_t axis[TN_MAX_RANK];
    int64_t start, length;
} tn_view_attr;

typedef struct tn_map_attr {
    tn_program program;
    tn_dtype dtype[TN_MAP_MAX_OUTPUTS]; /* of outputs; 0: dtype of the graph */
} tn_map_attr;

enum { TN_REDUCE_SUM = 1, TN_REDUCE_MAX = 2, TN_REDUCE_MIN = 3 };
typedef struct tn_reduce_attr {
    tn_program program; /* prologue over the broadcast inputs, one output */
    uint32_t kind;
    uint32_t axes; /* bit i: axis i of the broadcast shape is reduced */
} tn_reduce_attr;

typedef struct tn_cumsum_attr {
    uint32_t axis;
    uint32_t reverse;
    uint32_t exclusive;
} tn_cumsum_attr;

typedef struct tn_copy_attr {
    tn_dtype dtype; /* 0: as x */
} tn_copy_attr;

typedef struct tn_concat_attr {
    uint32_t axis;
} tn_concat_attr;

typedef struct tn_scatter_attr {
    int64_t rows;
} tn_scatter_attr;

typedef struct tn_topk_attr {
    int64_t k;
} tn_topk_attr;

typedef struct tn_expert_plan_attr {
    int64_t experts;
} tn_expert_plan_attr;

typedef struct tn_grouped_matmul_attr {
    uint32_t transpose_a;
    uint32_t reserved;
} tn_grouped_matmul_attr;

typedef struct tn_fill_attr {
    double value;
    tn_dtype dtype; /* 0: dtype of the graph */
    uint32_t rank;
    int64_t shape[TN_MAX_RANK];
} tn_fill_attr;

typedef struct tn_norm_attr {
    double eps;
} tn_norm_attr;

/* Half rotation pairs element i with i + dims/2 (Llama, GPT-NeoX); interleaved
 * pairs 2i with 2i + 1. Angle of pair i: position * theta^(-2i/dims). */
typedef struct tn_rope_attr {
    double theta;
    int64_t dims; /* leading elements of a head that turn; 0: all; even */
    uint32_t interleaved;
    uint32_t inverse; /* turn back: the gradient of rope is rope */
} tn_rope_attr;

typedef struct tn_attention_attr {
    double scale;   /* of q.k; 0: 1/sqrt(D) */
    double softcap; /* 0: none; else scores become cap * tanh(score / cap) */
    int64_t window; /* 0: none; else keys with position - key < window */
    uint32_t bidirectional; /* 1: no causal mask */
    uint32_t reserved;
} tn_attention_attr;

typedef struct tn_loss_attr {
    double softcap; /* of the logits; 0: none */
} tn_loss_attr;

typedef struct tn_ssd_attr {
    int64_t chunk_size; /* steps that are computed as products; 0: 256 */
} tn_ssd_attr;

typedef struct tn_newton_schulz_attr {
    int64_t steps;  /* 1 to 99 */
    double a, b, c; /* of the polynomial a X + b G X + c G^2 X */
    double eps;     /* least norm that a matrix is divided by */
} tn_newton_schulz_attr;

typedef struct tn_dropout_attr {
    double rate;
    uint32_t stream; /* set by the builder: the same in recompute and resume */
    uint32_t reserved;
} tn_dropout_attr;

/*
 * Defining an op. Built-in ops are rows of such a table inside the core; a
 * plugin may bring its own composite by passing its tn_op_desc to
 * tn_custom_op(): there is nothing to register. A custom op must decompose,
 * which is what lets every model run on every backend.
 */
typedef struct tn_builder tn_builder;

/* A node as its shape rule, gradient and decomposition see it. */
typedef struct tn_op_node {
    const void *attr;
    const tn_tensor *in; /* in_count handles; absent optional ones are none */
    const tn_tensor
        *out; /* out_count handles; none while shapes are inferred */
    uint32_t in_count;
    uint32_t out_count;
} tn_op_node;

typedef struct tn_op_desc {
    uint32_t struct_size;
    tn_op number; /* TN_OP_CUSTOM for a plugin's op */
    const char *name;
    uint32_t tier; /* TN_TIER_COMPOSITE for a plugin's op */
    uint32_t min_in, max_in, out_count;
    uint32_t attr_size;

    /* Fill out[i] (dtype and dense shape) from the inputs, or fail with a
     * sentence through err: "inner sizes 576 and 512 differ". */
    tn_status (*shape)(const tn_builder *b, const tn_op_node *node,
                       tn_tensor_info *out, tn_error *err);

    /* dout[i] is the gradient of out[i], none where nothing flows. Set din[i]
     * for inputs that have a gradient and for which bit i of `wanted` is set;
     * leave the rest none. NULL: the op stops gradients. */
    void (*gradient)(tn_builder *b, const tn_op_node *node,
                     const tn_tensor *dout, uint32_t wanted, tn_tensor *din);

    /* Describe out[] with other ops. NULL for primitives. */
    void (*decompose)(tn_builder *b, const tn_op_node *node, tn_tensor *out);

    /* Floating point operations of one execution, multiply and add as two;
     * NULL: not counted. */
    double (*flops)(const tn_builder *b, const tn_op_node *node);
} tn_op_desc;

TN_END_DECLS
#endif
