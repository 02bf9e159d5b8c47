/*
 * join.c - two neighbours of a plan as one kernel, where what the first writes
 * is what the second reads.
 *
 *     map, rms_norm          a residual and its norm
 *     rms_norm_bwd, map      the norm's gradient and the residual's
 *     rms_norm, rope         queries and keys that are normed, then turned
 *     rope, rms_norm_bwd     and back
 *
 * The core has placed every tensor for nodes that run one after the other, so a
 * result of the second may lie on what the first reads and nobody reads again.
 * That is no harm where element meets element, because a thread has read its
 * own before it writes them; anything else keeps the two apart. What lies
 * between the two is written only if a later node reads it.
 */
#include "exec.h"

#include <string.h>

typedef struct joint {
    tn_op first, second;
    uint32_t (*fits)(const gpu_compiler *c, const gpu_pair *pair);
    tn_status (*compile)(gpu_compiler *c, const gpu_pair *pair, tn_error *err);
} joint;

static const joint joints[] = {
    {TN_OP_MAP, TN_OP_RMS_NORM, gpu_map_norm_fits, gpu_compile_map_norm},
    {TN_OP_RMS_NORM_BWD, TN_OP_MAP, gpu_norm_bwd_map_fits,
     gpu_compile_norm_bwd_map},
    {TN_OP_RMS_NORM, TN_OP_ROPE, gpu_norm_rope_fits, gpu_compile_norm_rope},
    {TN_OP_ROPE, TN_OP_RMS_NORM_BWD, gpu_rope_norm_bwd_fits,
     gpu_compile_rope_norm_bwd},
};

/* ---- which bytes ---- */

typedef struct range {
    tn_arena arena;
    int64_t low, high;
} range;

static range range_of(const tn_operand *o)
{
    int64_t last = 0;
    for (uint32_t i = 0; i < o->rank; i++)
        last += (o->shape[i] - 1) * o->stride[i];
    return (range){o->arena, o->offset,
                   o->offset + tn_dtype_span(o->dtype, last + 1)};
}

static int overlap(const range *a, const range *b)
{
    return a->arena && a->arena == b->arena && a->low < b->high &&
           b->low < a->high;
}

static int is_dense(const tn_operand *o)
{
    int64_t step = 1;
    for (uint32_t i = o->rank; i-- > 0;) {
        if (o->shape[i] != 1 && o->stride[i] != step)
            return 0;
        step *= o->shape[i];
    }
    return 1;
}

uint32_t gpu_is_same(const tn_operand *a, const tn_operand *b)
{
    return a->arena && a->arena == b->arena && a->offset == b->offset &&
           a->dtype == b->dtype && gpu_elements(a) == gpu_elements(b) &&
           is_dense(a) && is_dense(b);
}

uint32_t gpu_is_apart(const tn_operand *a, const tn_operand *b)
{
    const range x = range_of(a), y = range_of(b);
    return !overlap(&x, &y);
}

uint32_t gpu_is_read_later(const gpu_compiler *c, const gpu_pair *pair,
                           const tn_operand *o)
{
    const tn_plan *plan = gpu_plan_of(c);
    const range what = range_of(o);
    if (o->arena != TN_ARENA_TRANSIENT)
        return 1;
    for (uint32_t i = pair->number + 1; i < plan->node_count; i++) {
        const tn_plan_node *n = gpu_node(plan, i);
        for (uint32_t k = 0; k < n->in_count; k++) {
            const range r = range_of(&n->in[k]);
            if (overlap(&r, &what))
                return 1;
        }
        for (uint32_t k = 0; k < n->out_count; k++) {
            const range r = range_of(&n->out[k]);
            if (r.arena == what.arena && r.low <= what.low &&
                r.high >= what.high)
                return n->accumulate >> k & 1u;
        }
    }
    return 0;
}

/* ---- which pairs ---- */

static int have_dtypes(const gpu_pair *p)
{
    return gpu_check_dtypes(&gpu_ops[p->first->op], p->first, NULL) == TN_OK &&
           gpu_check_dtypes(&gpu_ops[p->second->op], p->second, NULL) == TN_OK;
}

static const joint *joint_of(const gpu_compiler *c, const gpu_pair *p)
{
    for (size_t i = 0; i < sizeof joints / sizeof joints[0]; i++)
        if (joints[i].first == p->first->op &&
            joints[i].second == p->second->op && have_dtypes(p) &&
            joints[i].fits(c, p))
            return &joints[i];
    return NULL;
}

uint32_t gpu_joins_next(const gpu_compiler *c, uint32_t i)
{
    const gpu_pair pair = gpu_pair_at(gpu_plan_of(c), i);
    return joint_of(c, &pair) != NULL;
}

tn_status gpu_compile_pair(gpu_compiler *c, uint32_t i, tn_error *err)
{
    const gpu_pair pair = gpu_pair_at(gpu_plan_of(c), i);
    return joint_of(c, &pair)->compile(c, &pair, err);
}
