/*
 * op_rope.c - rotary position embedding; its gradient is itself, turned back.
 * Where heads are normed before they turn, one kernel does both (join.c).
 */
#include "emit_launch.h"

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

static gpu_rope_args arguments_of(gpu_compiler *c, const tn_plan_node *n)
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
    return a;
}

tn_status gpu_compile_rope(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    const tn_operand *x = &n->in[0];
    const gpu_rope_args a = arguments_of(c, n);
    const int64_t threads = a.rows * (a.size - a.pairs);
    return gpu_launch(c, GPU_FAMILY_rope,
                      x->dtype == TN_BF16 ? "rope_b" : "rope_f", &a, sizeof a,
                      (gpu_grid){gpu_ceil(threads, 256), 1, 1, 256, 0}, err);
}

/* ---- with the norm of each head ---- */

enum { MOST_BLOCKS = 1056 }; /* that leave a share of the weight's gradient */

/* A norm over heads of that size; where `with` is written it may lie on
 * `read`, of which a warp has read its own by then. */
static uint32_t fits_heads(const tn_plan_node *rope, const tn_operand *normed,
                           const tn_operand *read, const tn_operand *with)
{
    const int64_t size = rope->in[0].shape[3];
    return gpu_elements(normed) && size <= 2 * GPU_ROPE_PAIRS &&
           normed->shape[normed->rank - 1] == size &&
           (gpu_is_apart(read, with) || gpu_is_same(read, with));
}

static uint32_t is_apart_from_positions(const tn_plan_node *rope,
                                        const tn_operand *o)
{
    return rope->in_count < 2 || gpu_is_apart(&rope->in[1], o);
}

static uint32_t threads_of(const gpu_rope_args *a)
{
    return 32 *
           (uint32_t)(a->heads < GPU_HEAD_WARPS ? a->heads : GPU_HEAD_WARPS);
}

uint32_t gpu_norm_rope_fits(const gpu_compiler *c, const gpu_pair *p)
{
    const tn_plan_node *norm = p->first, *rope = p->second;
    (void)c;
    return gpu_is_same(&norm->out[0], &rope->in[0]) &&
           fits_heads(rope, &norm->in[0], &norm->in[0], &rope->out[0]) &&
           gpu_is_apart(&norm->in[1], &rope->out[0]) &&
           is_apart_from_positions(rope, &norm->out[1]);
}

tn_status gpu_compile_norm_rope(gpu_compiler *c, const gpu_pair *p,
                                tn_error *err)
{
    const tn_plan_node *norm = p->first, *rope = p->second;
    const tn_norm_attr *attr = norm->attr;
    gpu_norm_rope_args a = {.rope = arguments_of(c, rope),
                            .weight = gpu_at(c, &norm->in[1]),
                            .rstd = gpu_at(c, &norm->out[1]),
                            .eps = (float)attr->eps};
    a.rope.x = gpu_at(c, &norm->in[0]);
    if (gpu_is_read_later(c, p, &norm->out[0]))
        a.normed = gpu_at(c, &norm->out[0]);
    return gpu_launch(
        c, GPU_FAMILY_norm_rope,
        norm->in[0].dtype == TN_BF16 ? "norm_rope_b" : "norm_rope_f", &a,
        sizeof a, (gpu_grid){a.rope.rows, 1, 1, threads_of(&a.rope), 0}, err);
}

/* What lies between is not kept: the weight's gradient is made here, too. */
uint32_t gpu_rope_norm_bwd_fits(const gpu_compiler *c, const gpu_pair *p)
{
    const tn_plan_node *rope = p->first, *bwd = p->second;
    return gpu_is_same(&rope->out[0], &bwd->in[0]) &&
           fits_heads(rope, &bwd->in[1], &rope->in[0], &bwd->out[0]) &&
           is_apart_from_positions(rope, &bwd->out[0]) &&
           gpu_is_apart(&rope->in[0], &bwd->out[1]) &&
           is_apart_from_positions(rope, &bwd->out[1]) &&
           !gpu_is_read_later(c, p, &rope->out[0]);
}

tn_status gpu_compile_rope_norm_bwd(gpu_compiler *c, const gpu_pair *p,
                                    tn_error *err)
{
    const tn_plan_node *rope = p->first, *bwd = p->second;
    gpu_norm_rope_args a = {.rope = arguments_of(c, rope),
                            .weight = gpu_at(c, &bwd->in[2]),
                            .rstd = gpu_at(c, &bwd->in[3]),
                            .x = gpu_at(c, &bwd->in[1])};
    const int64_t blocks =
        a.rope.rows < MOST_BLOCKS ? a.rope.rows : MOST_BLOCKS;
    a.rope.y = gpu_at(c, &bwd->out[0]);
    a.partial = gpu_scratch(c, 4 * blocks * a.rope.size);
    TN_TRY(gpu_launch(
        c, GPU_FAMILY_norm_rope,
        bwd->in[1].dtype == TN_BF16 ? "norm_rope_bwd_b" : "norm_rope_bwd_f", &a,
        sizeof a, (gpu_grid){blocks, 1, 1, threads_of(&a.rope), 0}, err));
    return gpu_launch_join(c, TN_REDUCE_SUM, blocks, a.partial,
                           gpu_at(c, &bwd->out[1]), bwd->out[1].dtype,
                           a.rope.size, bwd->accumulate >> 1 & 1u, err);
}
