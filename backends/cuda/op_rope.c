/*
 * op_rope.c - rotary position embedding; its gradient is itself, turned back.
 */
#include "compiler.h"

#include <math.h>

static int64_t pairs_of(const tn_plan_node *n)
{
    const tn_rope_attr *attr = n->attr;
    return (attr->dims ? attr->dims : n->in[0].shape[3]) / 2;
}

uint32_t gpu_rope_fits(const tn_device *d, const tn_plan_node *n)
{
    (void)d;
    return pairs_of(n) <= GPU_ROPE_PAIRS && n->in[0].dtype == n->out[0].dtype;
}

tn_status gpu_compile_rope(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    const tn_rope_attr *attr = n->attr;
    const tn_operand *x = &n->in[0];
    const int64_t pairs = pairs_of(n);
    gpu_rope_args a = {.x = gpu_at(c, x),
                       .y = gpu_at(c, &n->out[0]),
                       .positions = n->in_count > 1 ? gpu_at(c, &n->in[1]) : 0,
                       .rows = x->shape[0] * x->shape[1],
                       .steps = (int32_t)x->shape[1],
                       .heads = (int32_t)x->shape[2],
                       .size = (int32_t)x->shape[3],
                       .pairs = (int32_t)pairs,
                       .interleaved = attr->interleaved,
                       .inverse = attr->inverse};
    for (int64_t i = 0; i < pairs; i++)
        a.frequency[i] = (float)pow(attr->theta, -(double)i / (double)pairs);
    const int64_t threads = a.rows * (x->shape[3] - pairs);
    return gpu_launch(c, GPU_FAMILY_rope,
                      x->dtype == TN_BF16 ? "rope_b" : "rope_f", &a, sizeof a,
                      (gpu_grid){gpu_ceil(threads, 256), 1, 1, 256, 0}, err);
}
