/*
 * op_copy.c - moving values: copies, casts, concatenation, fills. All of them
 * are emitted: a copy is a map of one instruction, or of none where bits only
 * move.
 */
#include "emit_dispatch.h"

#include <string.h>

/* y = x in y's dtype, x at any strides, y dense */
static tn_status copy(gpu_compiler *c, const tn_operand *x, const tn_operand *y,
                      tn_error *err)
{
    int64_t dense[TN_MAX_RANK];
    gpu_dense(y->rank, y->shape, dense);
    if (x->dtype == y->dtype)
        return gpu_dispatch_move(c, y->rank, y->shape, gpu_at(c, x), x->stride,
                                 gpu_place_of(c, y), dense, err);
    gpu_map_spec s = {.rank = y->rank, .in_count = 1, .out_count = 1};
    const gpu_addresses a = {{gpu_at(c, x), gpu_at(c, y)}, 2};
    memcpy(s.shape, y->shape, sizeof s.shape);
    memcpy(s.in[0].stride, x->stride, sizeof x->stride);
    memcpy(s.out[0].stride, dense, sizeof dense);
    s.in[0].dtype = x->dtype;
    s.out[0].dtype = y->dtype;
    s.program.instruction[0] = (tn_instruction){.op = TN_MAP_INPUT};
    s.program.instruction_count = 1;
    return gpu_dispatch_map(c, &s, &a, err);
}

tn_status gpu_compile_copy(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
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
    gpu_place to = gpu_place_of(c, y);
    for (uint32_t i = 0; i < n->in_count; i++) {
        const tn_operand *x = &n->in[i];
        int64_t shape[TN_MAX_RANK], from[TN_MAX_RANK], part[TN_MAX_RANK];
        const uint32_t rank = join_axes(x, y, shape, from, part);
        if (x->dtype != y->dtype)
            return gpu_refuse(n, err, "input %u is %s and the output %s", i,
                              tn_dtype_name(x->dtype), tn_dtype_name(y->dtype));
        TN_TRY(gpu_dispatch_move(c, rank, shape, gpu_at(c, x), from, to, part,
                                 err));
        to.at += (uint64_t)(x->shape[axis] * y->stride[axis] *
                            tn_dtype_bytes(y->dtype));
    }
    return TN_OK;
}

tn_status gpu_compile_fill(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    const tn_fill_attr *attr = n->attr;
    return gpu_dispatch_fill(c, gpu_at(c, &n->out[0]), gpu_elements(&n->out[0]),
                             n->out[0].dtype, attr->value, err);
}
