/*
 * op_copy.c - moving values: copies, casts, concatenation, fills. All of them
 * are emitted: a copy is a map of one instruction. Whole numbers move as they
 * are: where both sides are I32 they are called F32 on the way, which keeps all
 * their bits.
 */
#include "blocks.h"

#include <string.h>

static tn_dtype carrier(tn_dtype from, tn_dtype to)
{
    return from == TN_I32 && to == TN_I32 ? TN_F32 : from;
}

static tn_status move(gpu_compiler *c, uint32_t rank, const int64_t *shape,
                      uint64_t from, gpu_view from_view, uint64_t to,
                      gpu_view to_view, tn_error *err)
{
    const tn_dtype source = from_view.dtype, target = to_view.dtype;
    from_view.dtype = carrier(source, target);
    to_view.dtype = carrier(target, source);
    return gpu_launch_copy(c, rank, shape, from, &from_view, to, &to_view, err);
}

/* y = x in y's dtype, x at any strides, y dense */
static tn_status copy(gpu_compiler *c, const tn_operand *x, const tn_operand *y,
                      tn_error *err)
{
    gpu_view from = {.dtype = x->dtype}, to = {.dtype = y->dtype};
    memcpy(from.stride, x->stride, sizeof from.stride);
    gpu_dense(y->rank, y->shape, to.stride);
    return move(c, y->rank, y->shape, gpu_at(c, x), from, gpu_at(c, y), to,
                err);
}

tn_status gpu_compile_copy(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    if (gpu_is_blocks(n->in[0].dtype))
        return gpu_unblock_copy(c, n, err);
    return copy(c, &n->in[0], &n->out[0], err);
}

/* The output lies on the target, input 0. */
tn_status gpu_compile_assign(gpu_compiler *c, const tn_plan_node *n,
                             tn_error *err)
{
    return copy(c, &n->in[1], &n->out[0], err);
}

/* Axes of x and of its part of y that go on where the one before ends become
 * one. Their number. */
static uint32_t join_axes(const tn_operand *x, const tn_operand *y,
                          int64_t *shape, int64_t *from, int64_t *to)
{
    uint32_t rank = 0;
    for (uint32_t i = 0; i < x->rank; i++) {
        if (rank && from[rank - 1] == x->stride[i] * x->shape[i] &&
            to[rank - 1] == y->stride[i] * x->shape[i])
            shape[rank - 1] *= x->shape[i];
        else
            shape[rank++] = x->shape[i];
        from[rank - 1] = x->stride[i];
        to[rank - 1] = y->stride[i];
    }
    return rank;
}

tn_status gpu_compile_concat(gpu_compiler *c, const tn_plan_node *n,
                             tn_error *err)
{
    const uint32_t axis = ((const tn_concat_attr *)n->attr)->axis;
    const tn_operand *y = n->out;
    uint64_t to = gpu_at(c, y);
    for (uint32_t i = 0; i < n->in_count; i++) {
        const tn_operand *x = &n->in[i];
        int64_t shape[TN_MAX_RANK];
        gpu_view from = {.dtype = x->dtype}, part = {.dtype = y->dtype};
        const uint32_t rank = join_axes(x, y, shape, from.stride, part.stride);
        TN_TRY(move(c, rank, shape, gpu_at(c, x), from, to, part, err));
        to +=
            (uint64_t)(x->shape[axis] * y->stride[axis]) * gpu_bytes(y->dtype);
    }
    return TN_OK;
}

tn_status gpu_compile_fill(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    const tn_fill_attr *attr = n->attr;
    return gpu_launch_fill(c, gpu_at(c, &n->out[0]), gpu_elements(&n->out[0]),
                           n->out[0].dtype, attr->value, err);
}
