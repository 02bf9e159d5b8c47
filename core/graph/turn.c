/*
 * turn.c - compute the transpose of a product as a product.
 *
 * y = x W^T gives dW = (x^T dy)^T: a matrix whose only reader is a view that
 * swaps its axes, so that its gradient would lie in memory the wrong way round
 * and could not be written straight to its slot. (A B)^T is B^T A^T, and the
 * transposes of operands cost nothing.
 */
#include "graph/rewrite.h"

static int swaps_last_axes(const tni_node *node)
{
    const tn_view_attr *a = node->attr;
    if (node->desc->number != TN_OP_VIEW || a->kind != TN_VIEW_PERMUTE)
        return 0;
    for (uint32_t i = 0; i + 2 < a->rank; i++)
        if (a->axis[i] != i)
            return 0;
    return a->rank >= 2 && a->axis[a->rank - 1] == a->rank - 2;
}

/* By value: 1 + the node that reads it; UINT32_MAX where there are several. */
static uint32_t *find_readers(const tni_graph *g, tni_arena *scratch)
{
    uint32_t *reader =
        tni_arena_alloc(scratch, g->value_count * sizeof *reader);
    for (uint32_t n = 0; n < g->node_count; n++)
        for (uint32_t i = 0; i < g->nodes[n].in_count; i++) {
            uint32_t *r = &reader[g->nodes[n].in[i].id];
            *r = *r ? UINT32_MAX : n + 1;
        }
    return reader;
}

/* The view that turns the product made by `node`; NULL: there is none. */
static const tni_node *turning_view(const tni_graph *g, const tni_node *node,
                                    const tni_node *nodes,
                                    const uint32_t *reader)
{
    if (node->desc->number != TN_OP_MATMUL || tni_is_effect(g, node))
        return NULL;
    const uint32_t r = reader[node->out[0].id];
    return r && r != UINT32_MAX && swaps_last_axes(&nodes[r - 1])
               ? &nodes[r - 1]
               : NULL;
}

static void turn(tni_graph *g, const tni_node *product, const tni_node *view)
{
    tn_builder *b = &g->builder;
    const tn_here here = product->here;
    g->phase = product->phase;
    g->layer = product->layer;
    const tn_tensor turned =
        tn_matmul_at(b, tn_transpose_at(b, product->in[1], here),
                     tn_transpose_at(b, product->in[0], here), here);
    if (turned.id) /* bf16 operands may have an f32 product */
        g->values[turned.id].info.dtype =
            g->values[product->out[0].id].info.dtype;
    tni_graph_replace(g, view->out[0], turned);
}

void tni_turn_products(tni_graph *g)
{
    tni_arena *scratch = tni_arena_create();
    tni_graph_index(g);
    const uint32_t *reader = find_readers(g, scratch);
    const tni_node *old = g->nodes;
    const size_t count = g->node_count;
    const uint32_t phase = g->phase, layer = g->layer;
    g->nodes = NULL;
    g->node_count = g->node_capacity = 0;
    for (size_t n = 0; n < count; n++) {
        const tni_node *view = turning_view(g, &old[n], old, reader);
        if (view)
            turn(g, &old[n], view);
        else if (!g->values[old[n].out[0].id].replaced_by)
            tni_graph_put(g, &old[n]);
    }
    g->phase = phase;
    g->layer = layer;
    tni_arena_destroy(scratch);
    tni_graph_index(g);
}
