/*
 * graph.c - a graph's life, its values, and the bookkeeping between passes.
 *
 * Values are only ever added; nodes are rewritten. A pass that replaces a value
 * says so with tni_graph_replace() and calls tni_graph_index() when it is done,
 * which makes every node read what stands for its inputs now and lays views
 * over the storage that is there now.
 */
#include "graph/graph.h"

#include <stdlib.h>
#include <string.h>

#include "graph/ops/ops.h"

#define NO_NODE UINT32_MAX

extern const tn_builder_api tni_builder_api; /* builder.c */

tni_graph *tni_graph_create(tn_dtype dtype)
{
    tni_arena *arena = tni_arena_create();
    tni_graph *g = tni_arena_alloc(arena, sizeof *g);
    g->arena = arena;
    g->builder.struct_size = (uint32_t)sizeof g->builder;
    g->builder.dtype = dtype;
    g->builder.api = &tni_builder_api;
    TNI_PUSH(arena, g->values, g->value_count, g->value_capacity)->node =
        NO_NODE; /* values[0]: "none" */
    return g;
}

void tni_graph_destroy(tni_graph *g)
{
    if (g)
        tni_arena_destroy(g->arena);
}

tn_status tni_graph_status(const tni_graph *g, tn_error *err)
{
    if (g->error.status == TN_OK)
        return TN_OK;
    return tn_fail(err, g->error.status, "%s", g->error.message);
}

/* ---- values ---- */

void tni_info_make_dense(tn_tensor_info *info)
{
    int64_t pitch = 1;
    for (uint32_t i = TN_MAX_RANK; i-- > 0;) {
        info->stride[i] = i < info->rank ? pitch : 0;
        if (i < info->rank) /* unsigned: sizes may not be checked yet */
            pitch = (int64_t)((uint64_t)pitch * (uint64_t)info->shape[i]);
        else
            info->shape[i] = 0;
    }
}

/* The stride of an axis with one element says nothing. */
int tni_info_is_dense(const tn_tensor_info *info)
{
    int64_t pitch = 1;
    for (uint32_t i = info->rank; i-- > 0;) {
        if (info->shape[i] != 1 && info->stride[i] != pitch)
            return 0;
        pitch *= info->shape[i];
    }
    return 1;
}

tn_tensor tni_graph_value(tni_graph *g, tn_dtype dtype, uint32_t rank,
                          const int64_t *shape)
{
    const tn_tensor x = {(uint32_t)g->value_count};
    tni_value *v =
        TNI_PUSH(g->arena, g->values, g->value_count, g->value_capacity);
    memset(v, 0, sizeof *v);
    v->node = NO_NODE;
    v->storage = x.id;
    v->info.dtype = dtype;
    v->info.rank = rank;
    for (uint32_t i = 0; i < rank; i++)
        v->info.shape[i] = shape[i];
    tni_info_make_dense(&v->info);
    return x;
}

tn_tensor tni_graph_resolve(const tni_graph *g, tn_tensor x)
{
    while (x.id < g->value_count && g->values[x.id].replaced_by)
        x.id = g->values[x.id].replaced_by;
    return x;
}

void tni_graph_replace(tni_graph *g, tn_tensor old, tn_tensor by)
{
    old = tni_graph_resolve(g, old);
    by = tni_graph_resolve(g, by);
    if (old.id == by.id)
        return;
    g->values[old.id].replaced_by = by.id;
    if (!g->values[by.id].name)
        g->values[by.id].name = g->values[old.id].name;
}

/* ---- between passes ---- */

/* Lay the output of a view or an effect over the storage of its input. */
static void overlay(tni_graph *g, const tni_node *node)
{
    tni_value *y = tni_value_of(g, node->out[0]);
    tni_overlay(node->desc, node->attr, tni_value_of(g, node->in[0]), y);
}

void tni_graph_index(tni_graph *g)
{
    for (size_t i = 0; i < g->value_count; i++)
        g->values[i].node = NO_NODE;
    for (size_t n = 0; n < g->node_count; n++) {
        tni_node *node = &g->nodes[n];
        for (uint32_t i = 0; i < node->in_count; i++)
            node->in[i] = tni_graph_resolve(g, node->in[i]);
        for (uint32_t i = 0; i < node->out_count; i++) {
            tni_value *v = tni_value_of(g, node->out[i]);
            v->node = (uint32_t)n;
            v->output = i;
        }
        if (tni_op_is_over_first(node->desc))
            overlay(g, node);
    }
}

/* A view of a result that fuse bound to its target: the describer's handle may
 * be to the view, and nothing else reads it any more. */
static int is_view_of_bound(const tni_graph *g, const tni_node *node)
{
    const uint32_t owner = g->values[node->out[0].id].storage;
    while (node->desc->tier == TN_TIER_VIEW) {
        const uint32_t maker = g->values[node->in[0].id].node;
        if (maker == NO_NODE)
            return 0; /* fused away */
        node = &g->nodes[maker];
    }
    return node->desc->tier != TN_TIER_LEAF && g->values[owner].arena != 0;
}

/* Leaves stay for handles to them; what writes another value's storage is an
 * effect, be it an op of that kind or an output that fuse bound there. */
static int is_needed(const tni_graph *g, const tni_node *node,
                     const uint8_t *read)
{
    if (node->desc->tier == TN_TIER_LEAF)
        return 1;
    for (uint32_t i = 0; i < node->out_count; i++) {
        const uint32_t id = node->out[i].id;
        if (read[id])
            return 1;
        if (node->desc->tier != TN_TIER_VIEW && g->values[id].storage != id)
            return 1;
    }
    return node->desc->tier == TN_TIER_VIEW && is_view_of_bound(g, node);
}

void tni_graph_prune(tni_graph *g)
{
    uint8_t *read = calloc(g->value_count, 1);
    uint8_t *keep = calloc(g->node_count + 1, 1);
    size_t kept = 0;
    if (!read || !keep) {
        free(read);
        free(keep);
        return; /* a graph that is not pruned is still right */
    }
    tni_graph_index(g);
    for (size_t n = g->node_count; n-- > 0;) {
        const tni_node *node = &g->nodes[n];
        keep[n] = (uint8_t)is_needed(g, node, read);
        for (uint32_t i = 0; keep[n] && i < node->in_count; i++)
            read[node->in[i].id] = 1;
    }
    for (size_t n = 0; n < g->node_count; n++)
        if (keep[n])
            g->nodes[kept++] = g->nodes[n];
    g->node_count = kept;
    tni_graph_index(g);
    free(read);
    free(keep);
}
