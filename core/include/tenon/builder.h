/*
 * builder.h - describing computation: what plugin authors write.
 *
 * A builder collects ops; nothing is computed here and no memory is touched.
 * The core checks the description, differentiates it, fuses it, plans every
 * byte and hands the plan to a backend.
 *
 * Errors are sticky: after the first one every call returns TN_NONE and the
 * user reads the first, with the plugin's file and line:
 *
 *     mla.c:123: matmul: inner sizes 576 and 512 differ (q_absorbed, kv_latent)
 *
 * so authors write straight-line code. All ops pass through one entry of the
 * table; a new op is a new number and a new inline function, never a change of
 * the ABI. Each wrapper is a macro over an `_at` function that takes the place
 * it was called from; helpers that are called from plugins take a tn_here too.
 *
 * Shapes: element-wise ops broadcast as NumPy does. dtype is the graph's own
 * (f32; f64 on the oracle) unless said.
 */
#ifndef TENON_BUILDER_H
#define TENON_BUILDER_H

#include <string.h>

#include <tenon/op.h>

TN_BEGIN_DECLS

typedef struct tn_builder_api {
    uint32_t struct_size;
    uint32_t reserved;

    /* Append an op. out receives out_count handles (none after an error). */
    void (*op)(tn_builder *b, tn_op op, const tn_tensor *in, uint32_t in_count,
               const void *attr, uint32_t attr_size, tn_tensor *out,
               uint32_t out_count, tn_here here);

    /* Append an op that the caller defines. desc must outlive the graph. */
    void (*custom)(tn_builder *b, const tn_op_desc *desc, const tn_tensor *in,
                   uint32_t in_count, const void *attr, uint32_t attr_size,
                   tn_tensor *out, uint32_t out_count, tn_here here);

    /* What x is; all zero for none. */
    void (*info)(const tn_builder *b, tn_tensor x, tn_tensor_info *info);

    /* Report an error of the author's own; sticky like the rest. */
    void (*fail)(tn_builder *b, tn_here here, const char *format, ...);

    /* Name x in error messages, dumps and diagnostics. */
    void (*name)(tn_builder *b, tn_tensor x, const char *name);
} tn_builder_api;

struct tn_builder {
    uint32_t struct_size;
    tn_dtype dtype;       /* of parameters and activations in this graph */
    uint32_t failed;      /* 1 after the first error */
    uint32_t next_stream; /* the next random stream: see tn_dropout */
    const tn_builder_api *api;
};

/* ------------------------------------------------------------------------ */
/* Asking                                                                     */

static inline tn_tensor_info tn_info(const tn_builder *b, tn_tensor x)
{
    tn_tensor_info info;
    b->api->info(b, x, &info);
    return info;
}

/* Size of an axis; negative axes count from the end. 0 for none. */
static inline int64_t tn_dim(const tn_builder *b, tn_tensor x, int32_t axis)
{
    const tn_tensor_info info = tn_info(b, x);
    const int32_t at = axis < 0 ? axis + (int32_t)info.rank : axis;
    return at >= 0 && at < (int32_t)info.rank ? info.shape[at] : 0;
}

static inline uint32_t tn_rank(const tn_builder *b, tn_tensor x)
{
    return tn_info(b, x).rank;
}

static inline int64_t tn_elements(const tn_tensor_info *info)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < info->rank; i++)
        n *= info->shape[i];
    return n;
}

static inline int tn_is_none(tn_tensor x)
{
    return x.id == 0;
}

#define tn_builder_fail(b, ...) (b)->api->fail((b), TN_HERE, __VA_ARGS__)
#define tn_set_name(b, x, name_) (b)->api->name((b), (x), (name_))

/* ------------------------------------------------------------------------ */
/* Any op with one output                                                     */

static inline tn_tensor tn_op1_at(tn_builder *b, tn_op op, const tn_tensor *in,
                                  uint32_t in_count, const void *attr,
                                  uint32_t attr_size, tn_here here)
{
    tn_tensor out = TN_NONE;
    b->api->op(b, op, in, in_count, attr, attr_size, &out, 1, here);
    return out;
}

/* Append a plugin's own op (see tn_op_desc). */
#define tn_custom_op(b, desc, in, in_count, attr, attr_size, out, out_count)   \
    (b)->api->custom((b), (desc), (in), (in_count), (attr), (attr_size),       \
                     (out), (out_count), TN_HERE)

/* ------------------------------------------------------------------------ */
/* Element-wise: every one of these is a `map` of a few instructions, and the */
/* core fuses chains of them into one node                                    */

/* Append a map of any program. */
static inline void tn_map_at(tn_builder *b, const tn_map_attr *attr,
                             const tn_tensor *in, tn_tensor *out, tn_here here)
{
    b->api->op(b, TN_OP_MAP, in, attr->program.input_count, attr,
               (uint32_t)sizeof *attr, out, attr->program.output_count, here);
}

/* y = op(x, y, z) for the instruction `op` of that arity. */
static inline tn_tensor tn_elementwise_at(tn_builder *b, tn_map_op op,
                                          uint8_t arity, const tn_tensor *in,
                                          tn_here here)
{
    tn_map_attr attr;
    tn_tensor out = TN_NONE;
    memset(&attr, 0, sizeof attr);
    for (uint8_t i = 0; i < arity; i++)
        attr.program.instruction[i] = (tn_instruction){TN_MAP_INPUT, i, 0, 0};
    attr.program.instruction[arity] = (tn_instruction){op, 0, 1, 2};
    attr.program.instruction_count = (uint8_t)(arity + 1);
    attr.program.input_count = arity;
    attr.program.output_count = 1;
    attr.program.output[0] = arity;
    tn_map_at(b, &attr, in, &out, here);
    return out;
}

/* y = op(x, value), or op(value, x) when `value_first`. */
static inline tn_tensor tn_with_constant_at(tn_builder *b, tn_map_op op,
                                            tn_tensor x, double value,
                                            int value_first, tn_here here)
{
    tn_map_attr attr;
    tn_tensor out = TN_NONE;
    memset(&attr, 0, sizeof attr);
    attr.program.instruction[0] = (tn_instruction){TN_MAP_INPUT, 0, 0, 0};
    attr.program.instruction[1] = (tn_instruction){TN_MAP_CONST, 0, 0, 0};
    attr.program.instruction[2] = value_first ? (tn_instruction){op, 1, 0, 0}
                                              : (tn_instruction){op, 0, 1, 0};
    attr.program.constant[0] = value;
    attr.program.instruction_count = 3;
    attr.program.constant_count = 1;
    attr.program.input_count = 1;
    attr.program.output_count = 1;
    attr.program.output[0] = 2;
    tn_map_at(b, &attr, &x, &out, here);
    return out;
}

static inline tn_tensor tn_unary_at(tn_builder *b, tn_map_op op, tn_tensor x,
                                    tn_here here)
{
    return tn_elementwise_at(b, op, 1, &x, here);
}

static inline tn_tensor tn_binary_at(tn_builder *b, tn_map_op op, tn_tensor x,
                                     tn_tensor y, tn_here here)
{
    const tn_tensor in[] = {x, y};
    return tn_elementwise_at(b, op, 2, in, here);
}

static inline tn_tensor tn_ternary_at(tn_builder *b, tn_map_op op, tn_tensor x,
                                      tn_tensor y, tn_tensor z, tn_here here)
{
    const tn_tensor in[] = {x, y, z};
    return tn_elementwise_at(b, op, 3, in, here);
}

#define tn_neg(b, x) tn_unary_at(b, TN_MAP_NEG, x, TN_HERE)
#define tn_abs(b, x) tn_unary_at(b, TN_MAP_ABS, x, TN_HERE)
#define tn_sqrt(b, x) tn_unary_at(b, TN_MAP_SQRT, x, TN_HERE)
#define tn_rsqrt(b, x) tn_unary_at(b, TN_MAP_RSQRT, x, TN_HERE)
#define tn_exp(b, x) tn_unary_at(b, TN_MAP_EXP, x, TN_HERE)
#define tn_expm1(b, x) tn_unary_at(b, TN_MAP_EXPM1, x, TN_HERE)
#define tn_log(b, x) tn_unary_at(b, TN_MAP_LOG, x, TN_HERE)
#define tn_log1p(b, x) tn_unary_at(b, TN_MAP_LOG1P, x, TN_HERE)
#define tn_tanh(b, x) tn_unary_at(b, TN_MAP_TANH, x, TN_HERE)
#define tn_sigmoid(b, x) tn_unary_at(b, TN_MAP_SIGMOID, x, TN_HERE)
#define tn_erf(b, x) tn_unary_at(b, TN_MAP_ERF, x, TN_HERE)
#define tn_sin(b, x) tn_unary_at(b, TN_MAP_SIN, x, TN_HERE)
#define tn_cos(b, x) tn_unary_at(b, TN_MAP_COS, x, TN_HERE)
#define tn_floor(b, x) tn_unary_at(b, TN_MAP_FLOOR, x, TN_HERE)
#define tn_round(b, x) tn_unary_at(b, TN_MAP_ROUND, x, TN_HERE)
#define tn_sign(b, x) tn_unary_at(b, TN_MAP_SIGN, x, TN_HERE)
#define tn_not(b, x) tn_unary_at(b, TN_MAP_NOT, x, TN_HERE)
#define tn_finite(b, x) tn_unary_at(b, TN_MAP_FINITE, x, TN_HERE)
#define tn_add(b, x, y) tn_binary_at(b, TN_MAP_ADD, x, y, TN_HERE)
#define tn_sub(b, x, y) tn_binary_at(b, TN_MAP_SUB, x, y, TN_HERE)
#define tn_mul(b, x, y) tn_binary_at(b, TN_MAP_MUL, x, y, TN_HERE)
#define tn_div(b, x, y) tn_binary_at(b, TN_MAP_DIV, x, y, TN_HERE)
#define tn_min(b, x, y) tn_binary_at(b, TN_MAP_MIN, x, y, TN_HERE)
#define tn_max(b, x, y) tn_binary_at(b, TN_MAP_MAX, x, y, TN_HERE)
#define tn_pow(b, x, y) tn_binary_at(b, TN_MAP_POW, x, y, TN_HERE)
#define tn_lt(b, x, y) tn_binary_at(b, TN_MAP_LT, x, y, TN_HERE)
#define tn_le(b, x, y) tn_binary_at(b, TN_MAP_LE, x, y, TN_HERE)
#define tn_eq(b, x, y) tn_binary_at(b, TN_MAP_EQ, x, y, TN_HERE)
#define tn_and(b, x, y) tn_binary_at(b, TN_MAP_AND, x, y, TN_HERE)
#define tn_or(b, x, y) tn_binary_at(b, TN_MAP_OR, x, y, TN_HERE)
/* x y + z, rounded once */
#define tn_fma(b, x, y, z) tn_ternary_at(b, TN_MAP_FMA, x, y, z, TN_HERE)
/* y where c is true (not 0), else z */
#define tn_select(b, c, y, z) tn_ternary_at(b, TN_MAP_SELECT, c, y, z, TN_HERE)
/* s x, x + s, and the like with a number known now */
#define tn_scale(b, x, s) tn_with_constant_at(b, TN_MAP_MUL, x, s, 0, TN_HERE)
#define tn_shift(b, x, s) tn_with_constant_at(b, TN_MAP_ADD, x, s, 0, TN_HERE)
#define tn_at_most(b, x, s) tn_with_constant_at(b, TN_MAP_MIN, x, s, 0, TN_HERE)
#define tn_at_least(b, x, s)                                                   \
    tn_with_constant_at(b, TN_MAP_MAX, x, s, 0, TN_HERE)
/* s - x, s / x */
#define tn_rsub(b, s, x) tn_with_constant_at(b, TN_MAP_SUB, x, s, 1, TN_HERE)
#define tn_rdiv(b, s, x) tn_with_constant_at(b, TN_MAP_DIV, x, s, 1, TN_HERE)

static inline tn_tensor tn_lerp_at(tn_builder *b, tn_tensor x, tn_tensor y,
                                   double weight, tn_here here)
{
    const tn_tensor step = tn_with_constant_at(
        b, TN_MAP_MUL, tn_binary_at(b, TN_MAP_SUB, y, x, here), weight, 0,
        here);
    return tn_binary_at(b, TN_MAP_ADD, x, step, here);
}

static inline tn_tensor tn_silu_at(tn_builder *b, tn_tensor x, tn_here here)
{
    return tn_binary_at(b, TN_MAP_MUL, x,
                        tn_unary_at(b, TN_MAP_SIGMOID, x, here), here);
}

/* x/2 (1 + erf(x / sqrt 2)): Hugging Face's "gelu" */
static inline tn_tensor tn_gelu_at(tn_builder *b, tn_tensor x, tn_here here)
{
    const tn_tensor t =
        tn_with_constant_at(b, TN_MAP_MUL, x, 0.70710678118654752440, 0, here);
    const tn_tensor e = tn_with_constant_at(
        b, TN_MAP_ADD, tn_unary_at(b, TN_MAP_ERF, t, here), 1.0, 0, here);
    return tn_binary_at(b, TN_MAP_MUL,
                        tn_with_constant_at(b, TN_MAP_MUL, x, 0.5, 0, here), e,
                        here);
}

/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): "gelu_pytorch_tanh" */
static inline tn_tensor tn_gelu_tanh_at(tn_builder *b, tn_tensor x,
                                        tn_here here)
{
    const tn_tensor cube = tn_binary_at(
        b, TN_MAP_MUL, tn_binary_at(b, TN_MAP_MUL, x, x, here), x, here);
    const tn_tensor inner = tn_binary_at(
        b, TN_MAP_ADD, x,
        tn_with_constant_at(b, TN_MAP_MUL, cube, 0.044715, 0, here), here);
    const tn_tensor t =
        tn_unary_at(b, TN_MAP_TANH,
                    tn_with_constant_at(b, TN_MAP_MUL, inner,
                                        0.79788456080286535588, 0, here),
                    here);
    return tn_binary_at(
        b, TN_MAP_MUL, tn_with_constant_at(b, TN_MAP_MUL, x, 0.5, 0, here),
        tn_with_constant_at(b, TN_MAP_ADD, t, 1.0, 0, here), here);
}

static inline tn_tensor tn_relu_at(tn_builder *b, tn_tensor x, tn_here here)
{
    return tn_with_constant_at(b, TN_MAP_MAX, x, 0.0, 0, here);
}

/* log(1 + e^x) = max(x, 0) + log1p(e^-|x|): no overflow. -|x| is min(-x, x),
 * which at 0 has the slope of x: there relu's is 0 and this tail's a half. */
static inline tn_tensor tn_softplus_at(tn_builder *b, tn_tensor x, tn_here here)
{
    const tn_tensor minus = tn_binary_at(
        b, TN_MAP_MIN, tn_unary_at(b, TN_MAP_NEG, x, here), x, here);
    const tn_tensor tail = tn_unary_at(
        b, TN_MAP_LOG1P, tn_unary_at(b, TN_MAP_EXP, minus, here), here);
    return tn_binary_at(b, TN_MAP_ADD, tn_relu_at(b, x, here), tail, here);
}

/* cap * tanh(x / cap): Gemma's soft cap */
static inline tn_tensor tn_softcap_at(tn_builder *b, tn_tensor x, double cap,
                                      tn_here here)
{
    const tn_tensor t = tn_unary_at(
        b, TN_MAP_TANH,
        tn_with_constant_at(b, TN_MAP_MUL, x, 1.0 / cap, 0, here), here);
    return tn_with_constant_at(b, TN_MAP_MUL, t, cap, 0, here);
}

/* x + weight (y - x) */
#define tn_lerp(b, x, y, weight) tn_lerp_at(b, x, y, weight, TN_HERE)
#define tn_square(b, x) tn_mul(b, x, x)
#define tn_silu(b, x) tn_silu_at(b, x, TN_HERE)
#define tn_gelu(b, x) tn_gelu_at(b, x, TN_HERE)
#define tn_gelu_tanh(b, x) tn_gelu_tanh_at(b, x, TN_HERE)
#define tn_relu(b, x) tn_relu_at(b, x, TN_HERE)
#define tn_softplus(b, x) tn_softplus_at(b, x, TN_HERE)
#define tn_softcap(b, x, cap) tn_softcap_at(b, x, cap, TN_HERE)

/* ------------------------------------------------------------------------ */
/* Other looks at the same values                                             */

static inline tn_tensor tn_view_at(tn_builder *b, tn_tensor x,
                                   const tn_view_attr *attr, tn_here here)
{
    return tn_op1_at(b, TN_OP_VIEW, &x, 1, attr, (uint32_t)sizeof *attr, here);
}

static inline tn_tensor tn_shaped_view_at(tn_builder *b, tn_tensor x,
                                          uint32_t kind, uint32_t rank,
                                          const int64_t *sizes, tn_here here)
{
    tn_view_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.kind = kind;
    attr.rank = rank;
    for (uint32_t i = 0; i < rank && i < TN_MAX_RANK; i++) {
        attr.shape[i] = sizes[i];
        attr.axis[i] = (uint32_t)sizes[i];
    }
    return tn_view_at(b, x, &attr, here);
}

static inline tn_tensor tn_slice_at(tn_builder *b, tn_tensor x, int32_t axis,
                                    int64_t start, int64_t length, tn_here here)
{
    tn_view_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.kind = TN_VIEW_SLICE;
    attr.axis[0] = (uint32_t)(axis < 0 ? axis + (int32_t)tn_rank(b, x) : axis);
    attr.start = start;
    attr.length = length;
    return tn_view_at(b, x, &attr, here);
}

static inline tn_tensor tn_transpose_at(tn_builder *b, tn_tensor x,
                                        tn_here here)
{
    const uint32_t rank = tn_rank(b, x);
    int64_t axis[TN_MAX_RANK] = {0, 1, 2, 3, 4, 5};
    if (rank >= 2) {
        axis[rank - 1] = (int64_t)rank - 2;
        axis[rank - 2] = (int64_t)rank - 1;
    }
    return tn_shaped_view_at(b, x, TN_VIEW_PERMUTE, rank, axis, here);
}

#define TN_SIZES_(...)                                                         \
    (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),            \
        (const int64_t[])                                                      \
    {                                                                          \
        __VA_ARGS__                                                            \
    }
/* tn_reshape(b, x, B, T, H, D); one size may be -1. Copies if it must. */
#define tn_reshape(b, x, ...)                                                  \
    tn_shaped_view_at(b, x, TN_VIEW_RESHAPE, TN_SIZES_(__VA_ARGS__), TN_HERE)
/* tn_permute(b, x, 0, 2, 1, 3): axis i of the result is axis arg[i] of x */
#define tn_permute(b, x, ...)                                                  \
    tn_shaped_view_at(b, x, TN_VIEW_PERMUTE, TN_SIZES_(__VA_ARGS__), TN_HERE)
/* sizes of 1 (and missing leading axes) grow to the given ones */
#define tn_broadcast(b, x, ...)                                                \
    tn_shaped_view_at(b, x, TN_VIEW_BROADCAST, TN_SIZES_(__VA_ARGS__), TN_HERE)
/* swap the last two axes */
#define tn_transpose(b, x) tn_transpose_at(b, x, TN_HERE)
/* elements start .. start + length - 1 of one axis (negative: from the end) */
#define tn_slice(b, x, axis, start, length)                                    \
    tn_slice_at(b, x, axis, start, length, TN_HERE)
#define tn_stop_gradient(b, x)                                                 \
    tn_op1_at(b, TN_OP_STOP_GRADIENT, &(tn_tensor){(x).id}, 1, NULL, 0, TN_HERE)

/* ------------------------------------------------------------------------ */
/* Primitives                                                                 */

/* kind over the axes in the mask (bit i: axis i), which stay with size 1 */
static inline tn_tensor tn_reduce_at(tn_builder *b, uint32_t kind, tn_tensor x,
                                     uint32_t axes, tn_here here)
{
    tn_reduce_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.program.instruction[0] = (tn_instruction){TN_MAP_INPUT, 0, 0, 0};
    attr.program.instruction_count = 1;
    attr.program.input_count = 1;
    attr.program.output_count = 1;
    attr.kind = kind;
    attr.axes = axes;
    return tn_op1_at(b, TN_OP_REDUCE, &x, 1, &attr, (uint32_t)sizeof attr,
                     here);
}

/* Mask of one axis; negative counts from the end. */
static inline uint32_t tn_axis(const tn_builder *b, tn_tensor x, int32_t axis)
{
    return 1u << (uint32_t)(axis < 0 ? axis + (int32_t)tn_rank(b, x) : axis);
}

/* (1u << rank) - 1: every axis */
static inline uint32_t tn_all_axes(const tn_builder *b, tn_tensor x)
{
    return (1u << tn_rank(b, x)) - 1u;
}

#define tn_sum(b, x, axes) tn_reduce_at(b, TN_REDUCE_SUM, x, axes, TN_HERE)
#define tn_maximum(b, x, axes) tn_reduce_at(b, TN_REDUCE_MAX, x, axes, TN_HERE)
#define tn_minimum(b, x, axes) tn_reduce_at(b, TN_REDUCE_MIN, x, axes, TN_HERE)

static inline tn_tensor tn_matmul_at(tn_builder *b, tn_tensor x, tn_tensor y,
                                     tn_here here)
{
    const tn_tensor in[] = {x, y};
    return tn_op1_at(b, TN_OP_MATMUL, in, 2, NULL, 0, here);
}

/* y = x W^T: x (..., C), w (O, C) -> (..., O), as one matrix product */
static inline tn_tensor tn_linear_at(tn_builder *b, tn_tensor x, tn_tensor w,
                                     tn_here here)
{
    const tn_tensor_info xi = tn_info(b, x);
    int64_t flat[2] = {-1, xi.rank ? xi.shape[xi.rank - 1] : 0};
    int64_t back[TN_MAX_RANK] = {0};
    const tn_tensor rows =
        xi.rank == 2 ? x
                     : tn_shaped_view_at(b, x, TN_VIEW_RESHAPE, 2, flat, here);
    const tn_tensor y =
        tn_matmul_at(b, rows, tn_transpose_at(b, w, here), here);
    if (xi.rank == 2)
        return y;
    for (uint32_t i = 0; i + 1 < xi.rank; i++)
        back[i] = xi.shape[i];
    back[xi.rank ? xi.rank - 1 : 0] = tn_dim(b, y, -1);
    return tn_shaped_view_at(b, y, TN_VIEW_RESHAPE, xi.rank, back, here);
}

static inline tn_tensor tn_copy_at(tn_builder *b, tn_tensor x, tn_dtype dtype,
                                   tn_here here)
{
    tn_copy_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.dtype = dtype;
    return tn_op1_at(b, TN_OP_COPY, &x, 1, &attr, (uint32_t)sizeof attr, here);
}

static inline tn_tensor tn_concat_at(tn_builder *b, uint32_t axis,
                                     uint32_t count, const tn_tensor *x,
                                     tn_here here)
{
    tn_concat_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.axis = axis;
    return tn_op1_at(b, TN_OP_CONCAT, x, count, &attr, (uint32_t)sizeof attr,
                     here);
}

static inline tn_tensor tn_gather_rows_at(tn_builder *b, tn_tensor table,
                                          tn_tensor index, tn_here here)
{
    const tn_tensor in[] = {table, index};
    return tn_op1_at(b, TN_OP_GATHER_ROWS, in, 2, NULL, 0, here);
}

static inline tn_tensor tn_scatter_add_rows_at(tn_builder *b, tn_tensor index,
                                               tn_tensor x, int64_t rows,
                                               tn_here here)
{
    tn_scatter_attr attr;
    const tn_tensor in[] = {index, x};
    memset(&attr, 0, sizeof attr);
    attr.rows = rows;
    return tn_op1_at(b, TN_OP_SCATTER_ADD_ROWS, in, 2, &attr,
                     (uint32_t)sizeof attr, here);
}

static inline tn_tensor tn_set_rows_at(tn_builder *b, tn_tensor state,
                                       tn_tensor index, tn_tensor x,
                                       tn_here here)
{
    const tn_tensor in[] = {state, index, x};
    return tn_op1_at(b, TN_OP_SET_ROWS, in, 3, NULL, 0, here);
}

static inline tn_tensor tn_assign_at(tn_builder *b, tn_tensor target,
                                     tn_tensor x, tn_here here)
{
    const tn_tensor in[] = {target, x};
    return tn_op1_at(b, TN_OP_ASSIGN, in, 2, NULL, 0, here);
}

static inline tn_tensor tn_cumsum_at(tn_builder *b, tn_tensor x,
                                     const tn_cumsum_attr *attr, tn_here here)
{
    return tn_op1_at(b, TN_OP_CUMSUM, &x, 1, attr, (uint32_t)sizeof *attr,
                     here);
}

static inline void tn_topk_at(tn_builder *b, tn_tensor x, int64_t k,
                              tn_tensor *values, tn_tensor *index, tn_here here)
{
    tn_topk_attr attr;
    tn_tensor out[2] = {TN_NONE, TN_NONE};
    memset(&attr, 0, sizeof attr);
    attr.k = k;
    b->api->op(b, TN_OP_TOPK, &x, 1, &attr, (uint32_t)sizeof attr, out, 2,
               here);
    *values = out[0];
    *index = out[1];
}

static inline tn_tensor tn_argmax_at(tn_builder *b, tn_tensor x, tn_here here)
{
    return tn_op1_at(b, TN_OP_ARGMAX, &x, 1, NULL, 0, here);
}

/* out: order, inverse, offsets (see ops.def) */
static inline void tn_expert_plan_at(tn_builder *b, tn_tensor choice,
                                     int64_t experts, tn_tensor out[3],
                                     tn_here here)
{
    tn_expert_plan_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.experts = experts;
    b->api->op(b, TN_OP_EXPERT_PLAN, &choice, 1, &attr, (uint32_t)sizeof attr,
               out, 3, here);
}

static inline tn_tensor tn_grouped_matmul_at(tn_builder *b, tn_tensor x,
                                             tn_tensor y, tn_tensor offsets,
                                             int transpose_a, tn_here here)
{
    tn_grouped_matmul_attr attr;
    const tn_tensor in[] = {x, y, offsets};
    memset(&attr, 0, sizeof attr);
    attr.transpose_a = transpose_a ? 1 : 0;
    return tn_op1_at(b, TN_OP_GROUPED_MATMUL, in, 3, &attr,
                     (uint32_t)sizeof attr, here);
}

static inline tn_tensor tn_fill_at(tn_builder *b, double value, tn_dtype dtype,
                                   uint32_t rank, const int64_t *shape,
                                   tn_here here)
{
    tn_fill_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.value = value;
    attr.dtype = dtype;
    attr.rank = rank;
    for (uint32_t i = 0; i < rank && i < TN_MAX_RANK; i++)
        attr.shape[i] = shape[i];
    return tn_op1_at(b, TN_OP_FILL, NULL, 0, &attr, (uint32_t)sizeof attr,
                     here);
}

#define tn_matmul(b, x, y) tn_matmul_at(b, x, y, TN_HERE)
#define tn_linear(b, x, w) tn_linear_at(b, x, w, TN_HERE)
#define tn_copy(b, x) tn_copy_at(b, x, TN_DTYPE_NONE, TN_HERE)
#define tn_cast(b, x, dtype) tn_copy_at(b, x, dtype, TN_HERE)
/* tn_concat(b, axis, x, y, ...) */
#define tn_concat(b, axis, ...)                                                \
    tn_concat_at(                                                              \
        b, axis,                                                               \
        (uint32_t)(sizeof((tn_tensor[]){__VA_ARGS__}) / sizeof(tn_tensor)),    \
        (const tn_tensor[]){__VA_ARGS__}, TN_HERE)
#define tn_gather_rows(b, table, index)                                        \
    tn_gather_rows_at(b, table, index, TN_HERE)
#define tn_scatter_add_rows(b, index, x, rows)                                 \
    tn_scatter_add_rows_at(b, index, x, rows, TN_HERE)
#define tn_set_rows(b, state, index, x)                                        \
    tn_set_rows_at(b, state, index, x, TN_HERE)
#define tn_assign(b, target, x) tn_assign_at(b, target, x, TN_HERE)
#define tn_cumsum(b, x, ...)                                                   \
    tn_cumsum_at(b, x, &(const tn_cumsum_attr){__VA_ARGS__}, TN_HERE)
#define tn_topk(b, x, k, values, index)                                        \
    tn_topk_at(b, x, k, values, index, TN_HERE)
#define tn_argmax(b, x) tn_argmax_at(b, x, TN_HERE)
#define tn_expert_plan(b, choice, experts, out)                                \
    tn_expert_plan_at(b, choice, experts, out, TN_HERE)
#define tn_grouped_matmul(b, x, y, offsets)                                    \
    tn_grouped_matmul_at(b, x, y, offsets, 0, TN_HERE)
#define tn_fill(b, value, ...)                                                 \
    tn_fill_at(b, value, TN_DTYPE_NONE, TN_SIZES_(__VA_ARGS__), TN_HERE)

/* ------------------------------------------------------------------------ */
/* Composites (shapes in ops.def)                                             */

static inline tn_tensor tn_rms_norm_at(tn_builder *b, tn_tensor x,
                                       tn_tensor weight, double eps,
                                       tn_here here)
{
    tn_norm_attr attr;
    const tn_tensor in[] = {x, weight};
    tn_tensor out[2] = {TN_NONE, TN_NONE};
    memset(&attr, 0, sizeof attr);
    attr.eps = eps;
    b->api->op(b, TN_OP_RMS_NORM, in, 2, &attr, (uint32_t)sizeof attr, out, 2,
               here);
    return out[0];
}

static inline tn_tensor tn_softmax_at(tn_builder *b, tn_tensor x, tn_here here)
{
    return tn_op1_at(b, TN_OP_SOFTMAX, &x, 1, NULL, 0, here);
}

/* positions may be none: row t is at position t */
static inline tn_tensor tn_rope_at(tn_builder *b, tn_tensor x,
                                   tn_tensor positions,
                                   const tn_rope_attr *attr, tn_here here)
{
    const tn_tensor in[] = {x, positions};
    return tn_op1_at(b, TN_OP_ROPE, in, tn_is_none(positions) ? 1 : 2, attr,
                     (uint32_t)sizeof *attr, here);
}

/* How many of `most` inputs to hand over: none at their end are left out. */
static inline uint32_t tn_present_(const tn_tensor *in, uint32_t least,
                                   uint32_t most)
{
    while (most > least && tn_is_none(in[most - 1]))
        most--;
    return most;
}

/* in: q, k, v, positions, first (both may be none): where each row of q stands,
 * and which key is the first of its document */
static inline tn_tensor tn_attention_within_at(tn_builder *b,
                                               const tn_tensor in[5],
                                               const tn_attention_attr *attr,
                                               tn_here here)
{
    tn_tensor out[2] = {TN_NONE, TN_NONE};
    b->api->op(b, TN_OP_ATTENTION, in, tn_present_(in, 3, 5), attr,
               (uint32_t)sizeof *attr, out, 2, here);
    return out[0];
}

static inline tn_tensor tn_attention_at(tn_builder *b, tn_tensor q, tn_tensor k,
                                        tn_tensor v, tn_tensor positions,
                                        const tn_attention_attr *attr,
                                        tn_here here)
{
    const tn_tensor in[] = {q, k, v, positions, TN_NONE};
    return tn_attention_within_at(b, in, attr, here);
}

static inline tn_tensor tn_linear_cross_entropy_at(tn_builder *b, tn_tensor x,
                                                   tn_tensor w,
                                                   tn_tensor target,
                                                   double softcap, tn_here here)
{
    tn_loss_attr attr;
    const tn_tensor in[] = {x, w, target};
    memset(&attr, 0, sizeof attr);
    attr.softcap = softcap;
    return tn_op1_at(b, TN_OP_LINEAR_CROSS_ENTROPY, in, 3, &attr,
                     (uint32_t)sizeof attr, here);
}

/* in: x, w, history, first (both may be none): what was before x, and which row
 * is the first of each row's document */
static inline tn_tensor tn_conv1d_within_at(tn_builder *b,
                                            const tn_tensor in[4], tn_here here)
{
    return tn_op1_at(b, TN_OP_CONV1D_CAUSAL, in, tn_present_(in, 2, 4), NULL, 0,
                     here);
}

static inline tn_tensor tn_conv1d_causal_at(tn_builder *b, tn_tensor x,
                                            tn_tensor w, tn_tensor history,
                                            tn_here here)
{
    const tn_tensor in[] = {x, w, history, TN_NONE};
    return tn_conv1d_within_at(b, in, here);
}

/* in: x, dt, A, Bm, Cm, state, first (both may be none: zeros; one document).
 * last: the state after the last row; NULL where nobody wants it. */
static inline tn_tensor tn_ssd_scan_within_at(tn_builder *b,
                                              const tn_tensor in[7],
                                              int64_t chunk_size,
                                              tn_tensor *last, tn_here here)
{
    tn_ssd_attr attr;
    tn_tensor out[2] = {TN_NONE, TN_NONE};
    memset(&attr, 0, sizeof attr);
    attr.chunk_size = chunk_size;
    b->api->op(b, TN_OP_SSD_SCAN, in, tn_present_(in, 5, 7), &attr,
               (uint32_t)sizeof attr, out, 2, here);
    if (last)
        *last = out[1];
    return out[0];
}

/* in: x, dt, A, Bm, Cm, state */
static inline tn_tensor tn_ssd_scan_at(tn_builder *b, const tn_tensor in[6],
                                       int64_t chunk_size, tn_tensor *last,
                                       tn_here here)
{
    const tn_tensor all[] = {in[0], in[1], in[2], in[3], in[4], in[5], TN_NONE};
    return tn_ssd_scan_within_at(b, all, chunk_size, last, here);
}

static inline tn_tensor tn_newton_schulz_at(tn_builder *b, tn_tensor x,
                                            const tn_newton_schulz_attr *attr,
                                            tn_here here)
{
    return tn_op1_at(b, TN_OP_NEWTON_SCHULZ, &x, 1, attr,
                     (uint32_t)sizeof *attr, here);
}

/* Each call draws from a stream of its own, the same in every graph described
 * in the same order: recompute and resume see the same zeros. Without rng, as
 * when a model is not trained, x as it is. */
static inline tn_tensor tn_dropout_at(tn_builder *b, tn_tensor x, tn_tensor rng,
                                      double rate, tn_here here)
{
    tn_dropout_attr attr;
    const tn_tensor in[] = {x, rng};
    memset(&attr, 0, sizeof attr);
    attr.rate = rate;
    attr.stream = b->next_stream++;
    if (tn_is_none(rng))
        return x;
    return tn_op1_at(b, TN_OP_DROPOUT, in, 2, &attr, (uint32_t)sizeof attr,
                     here);
}

#define tn_rms_norm(b, x, weight, eps)                                         \
    tn_rms_norm_at(b, x, weight, eps, TN_HERE)
#define tn_softmax(b, x) tn_softmax_at(b, x, TN_HERE)
/* tn_rope(b, x, positions, .theta = 10000) */
#define tn_rope(b, x, positions, ...)                                          \
    tn_rope_at(b, x, positions, &(const tn_rope_attr){__VA_ARGS__}, TN_HERE)
/* tn_attention(b, q, k, v, positions), and any of tn_attention_attr's members:
 * tn_attention(b, q, k, v, positions, .window = 256) */
#define tn_attention(b, q, k, v, ...)                                          \
    tn_attention_with_(b, q, k, v, __VA_ARGS__, .reserved = 0)
#define tn_attention_with_(b, q, k, v, positions, ...)                         \
    tn_attention_at(b, q, k, v, positions,                                     \
                    &(const tn_attention_attr){__VA_ARGS__}, TN_HERE)
#define tn_linear_cross_entropy(b, x, w, target, softcap)                      \
    tn_linear_cross_entropy_at(b, x, w, target, softcap, TN_HERE)
#define tn_conv1d_causal(b, x, w, history)                                     \
    tn_conv1d_causal_at(b, x, w, history, TN_HERE)
#define tn_ssd_scan(b, x, dt, A, Bm, Cm, state, chunk_size, last)              \
    tn_ssd_scan_at(b, (const tn_tensor[]){x, dt, A, Bm, Cm, state},            \
                   chunk_size, last, TN_HERE)
/* tn_newton_schulz(b, x, .steps = 5, .a = 3.4445, ...) */
#define tn_newton_schulz(b, x, ...)                                            \
    tn_newton_schulz_at(b, x, &(const tn_newton_schulz_attr){__VA_ARGS__},     \
                        TN_HERE)
/* A token of each row of logits (N, V); how (N, 3), limits i32 (N, 2): sample.h
 */
#define tn_sample_tokens(b, logits, how, limits)                               \
    tn_op1_at(b, TN_OP_SAMPLE, (const tn_tensor[]){logits, how, limits}, 3,    \
              NULL, 0, TN_HERE)
#define tn_dropout(b, x, rng, rate) tn_dropout_at(b, x, rng, rate, TN_HERE)

TN_END_DECLS
#endif
