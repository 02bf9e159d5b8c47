/*
 * hazards.c - which nodes may run at the same time.
 *
 * Two nodes conflict when one writes bytes that the other reads or writes;
 * adding into bytes is writing them, also for two that both add. Walking in
 * program order, a node joins the group of its predecessor while it conflicts
 * with none of the group. Byte ranges are the whole reach of an operand, so
 * that two interleaved slices count as one: a barrier too many, never one too
 * few.
 */
#include "graph/place.h"

#include <stdlib.h>

typedef struct range {
    tn_arena arena;
    int32_t is_write;
    int64_t low, high;
} range;

/* What the nodes of the current group touch. */
typedef struct group {
    tni_arena *scratch;
    range *at;
    size_t count, capacity;
} group;

static range range_of(const tn_operand *o, int32_t is_write)
{
    int64_t last = 0;
    for (uint32_t i = 0; i < o->rank; i++)
        last += (o->shape[i] - 1) * o->stride[i];
    return (range){o->arena, is_write, o->offset,
                   o->offset + tn_dtype_span(o->dtype, last + 1)};
}

static int conflicts(const group *g, const range *r)
{
    for (size_t i = 0; i < g->count; i++) {
        const range *q = &g->at[i];
        if (q->arena == r->arena && (q->is_write || r->is_write) &&
            q->low < r->high && r->low < q->high)
            return 1;
    }
    return 0;
}

/* Operand i of a node: inputs, then outputs. */
static range operand_range(const tn_plan_node *node, uint32_t i)
{
    return i < node->in_count ? range_of(&node->in[i], 0)
                              : range_of(&node->out[i - node->in_count], 1);
}

static int fits(const group *g, const tn_plan_node *node)
{
    for (uint32_t i = 0; i < node->in_count + node->out_count; i++) {
        const range r = operand_range(node, i);
        if (r.arena && conflicts(g, &r))
            return 0;
    }
    return 1;
}

static void enter(group *g, const tn_plan_node *node)
{
    for (uint32_t i = 0; i < node->in_count + node->out_count; i++) {
        const range r = operand_range(node, i);
        if (r.arena)
            *TNI_PUSH(g->scratch, g->at, g->count, g->capacity) = r;
    }
}

void tni_group_nodes(tn_plan_node *nodes, uint32_t count)
{
    group g = {.scratch = tni_arena_create()};
    uint32_t number = 0;
    for (uint32_t n = 0; n < count; n++) {
        if (!fits(&g, &nodes[n])) {
            number++;
            g.count = 0;
        }
        nodes[n].group = number;
        enter(&g, &nodes[n]);
    }
    tni_arena_destroy(g.scratch);
}
