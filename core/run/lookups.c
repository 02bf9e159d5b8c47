/*
 * lookups.c - gradients of tables of which a step looks up few rows.
 *
 * A step of 1,024 tokens reads some 500 of an embedding's 50,257 rows. The
 * gradient of the others is 0, and all those zeros would be written once and
 * read twice. Here only rows that are looked up are written. Beside the slab
 * lies how often each one was, its *uses*, which say what is valid:
 *
 *     first     uses = counts of tokens; g[tokens] = 0;          g += rows
 *     next      g[tokens] = g[tokens] where uses[tokens], else 0; g += rows;
 *               uses += counts of tokens
 *     update    reads g where uses, else 0
 *
 * A table is taken if nothing else reads it, a step has far fewer tokens than
 * it has rows, its optimizer goes by elements, and no other process adds to its
 * gradient.
 */
#include "graph/ops/ops.h"
#include "run/training.h"

enum { SELDOM = 4 }; /* rows for each token of a step, at least */

/* ---- which tables ---- */

/* What added up all of the gradient, row by row; NULL: something else did. */
static const tni_node *scatter_of(tni_graph *g, tn_tensor gradient)
{
    tni_graph_index(g);
    const tni_value *v = tni_value_of(g, tni_graph_resolve(g, gradient));
    const tni_node *maker = v->node == UINT32_MAX ? NULL : &g->nodes[v->node];
    return maker && maker->desc->number == TN_OP_SCATTER_ADD_ROWS &&
                   v->info.rank == 2
               ? maker
               : NULL;
}

static int is_seldom(const tni_recipe *r, const tni_weight *w)
{
    const int64_t tokens =
        r->train.batch_size * r->train.seq_len * r->train.grad_accum;
    if (w->rank != 2 || w->shape[0] / SELDOM < tokens || r->ranks > 1 ||
        !r->group_count)
        return 0;
    const tn_optimizer *o = r->groups[w->group].optimizer.vtable;
    return !o->per_matrix;
}

void tni_lookups_find(tni_training *t, tni_graph *g, uint32_t weight,
                      tn_tensor gradient)
{
    uint32_t count;
    const tni_weight *w = &tni_model_weights(t->recipe->model, &count)[weight];
    if (!is_seldom(t->recipe, w) || !scatter_of(g, gradient))
        return;
    t->uses[weight] = t->gradient_elements;
    t->gradient_elements += tni_weight_aligned(w->shape[0]);
}

/* ---- writing ---- */

/* (V, 1): of the rows of the slot. */
static tn_tensor uses_leaf(const tni_training *t, tni_graph *g, int64_t uses,
                           tn_tensor slot)
{
    const int64_t shape[2] = {tn_dim(&g->builder, slot, 0), 1};
    return tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_GRAD,
                          uses * t->session->real_bytes, g->builder.dtype, 2,
                          shape, "uses of rows");
}

/* Those of tokens (T) that this step has not used before become 0. */
static void clear_rows(tn_builder *b, tn_tensor slot, tn_tensor uses,
                       tn_tensor tokens, int add)
{
    const int64_t V = tn_dim(b, slot, 0), C = tn_dim(b, slot, 1);
    const int64_t T = tn_dim(b, tokens, 0);
    tn_tensor rows = tn_fill(b, 0.0, T, C);
    if (add)
        rows = tn_select(b, tn_gather_rows(b, uses, tokens),
                         tn_gather_rows(b, slot, tokens), rows);
    tn_set_rows(b, tn_reshape(b, slot, 1, V, C), tn_reshape(b, tokens, 1, T),
                tn_reshape(b, rows, 1, T, C));
}

void tni_lookups_write(const tni_training *t, tni_graph *g, int64_t place,
                       tn_tensor slot, tn_tensor gradient, int add)
{
    tn_builder *b = &g->builder;
    const tni_node *scatter = scatter_of(g, gradient);
    const tn_tensor x = scatter->in[1];
    const int64_t V = tn_dim(b, slot, 0), C = tn_dim(b, slot, 1);
    const tn_tensor tokens = tn_reshape(b, scatter->in[0], -1);
    const int64_t T = tn_dim(b, tokens, 0);
    const tn_tensor uses = uses_leaf(t, g, place, slot);

    clear_rows(b, slot, uses, tokens, add);
    const tn_tensor counts =
        tn_scatter_add_rows(b, tokens, tn_fill(b, 1.0, T, 1), V);
    tn_assign(b, uses, add ? tn_add(b, uses, counts) : counts);
    const tn_tensor sums =
        tn_scatter_add_rows(b, tokens, tn_reshape(b, x, T, C), V);
    tn_assign(b, slot, tn_add(b, slot, sums));
}

/* ---- reading ---- */

tn_tensor tni_lookups_read(const tni_training *t, tni_graph *g, int64_t place,
                           tn_tensor slot)
{
    return tn_select(&g->builder, uses_leaf(t, g, place, slot), slot,
                     tn_fill(&g->builder, 0.0, 1));
}
