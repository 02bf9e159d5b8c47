/*
 * share_loss.c - one pass over the vocabulary instead of two.
 *
 * The backward of the fused head computes each row's loss on its way. Where
 * the gradient that flows into it does not depend on that loss (it is a sum,
 * so it does not), the forward node says nothing new: what reads its loss reads
 * the backward's, and the forward matrix product, as large as the head, is
 * never run. The readers then have to stand after the backward node.
 */
#include <string.h>

#include "graph/rewrite.h"

static int is_op(const tni_node *node, tn_op op)
{
    return node->desc && node->desc->number == op;
}

/* The same head over the same rows. */
static int computes_loss_of(const tni_node *backward, const tni_node *forward)
{
    return is_op(backward, TN_OP_LINEAR_CROSS_ENTROPY_BWD) &&
           memcmp(backward->in, forward->in, 3 * sizeof *forward->in) == 0 &&
           memcmp(backward->attr, forward->attr, forward->desc->attr_size) == 0;
}

/* Whether any input of node `to` is computed from the outputs of `from`. */
static int depends_on(const tni_graph *g, size_t from, size_t to)
{
    tni_arena *scratch = tni_arena_create();
    uint8_t *tainted = tni_arena_alloc(scratch, g->value_count);
    int any = 0;
    tainted[g->nodes[from].out[0].id] = 1;
    for (size_t n = from + 1; n <= to; n++) {
        any = 0;
        for (uint32_t i = 0; i < g->nodes[n].in_count; i++)
            any |= tainted[g->nodes[n].in[i].id];
        for (uint32_t k = 0; any && k < g->nodes[n].out_count; k++)
            tainted[g->nodes[n].out[k].id] = 1;
    }
    tni_arena_destroy(scratch);
    return any;
}

/* Whether fusing has bound the value to a place of the caller's: then the
 * forward node is what writes there, at its time. */
static int is_bound(const tni_graph *g, tn_tensor value)
{
    return tni_value_of(g, value)->storage != value.id;
}

/* Returns 1 where the loss of node `n` now comes from its backward. */
static int share(tni_graph *g, size_t n)
{
    for (size_t m = n + 1; m < g->node_count; m++) {
        if (!computes_loss_of(&g->nodes[m], &g->nodes[n]))
            continue;
        if (depends_on(g, n, m) || is_bound(g, g->nodes[n].out[0]))
            return 0;
        tni_graph_replace(g, g->nodes[n].out[0], g->nodes[m].out[2]);
        g->nodes[n].desc = NULL;
        return 1;
    }
    return 0;
}

tn_status tni_share_loss(tni_graph *g, tn_error *err)
{
    int changed = 0;
    tni_graph_index(g);
    for (size_t n = 0; n < g->node_count; n++)
        if (is_op(&g->nodes[n], TN_OP_LINEAR_CROSS_ENTROPY))
            changed |= share(g, n);
    if (changed)
        tni_graph_sort(g, NULL);
    return tni_graph_status(g, err);
}
