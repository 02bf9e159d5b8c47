/*
 * rows.c - picking, adding and writing rows by an index tensor; effects.
 */
#include <tenon/builder.h>

#include <inttypes.h>
#include <string.h>

#include "graph/ops/ops.h"

/* into = leading, then the axes of x from `from` on. */
static tn_status join_shapes(const tn_tensor_info *leading,
                             const tn_tensor_info *x, uint32_t from,
                             tn_tensor_info *into, tn_error *err)
{
    *into = tni_dense(x->dtype, leading->rank, leading->shape);
    for (uint32_t i = from; i < x->rank; i++) {
        if (into->rank == TN_MAX_RANK)
            return tn_fail(err, TN_ESHAPE,
                           "the result would have more than %d axes",
                           TN_MAX_RANK);
        into->shape[into->rank++] = x->shape[i];
    }
    tni_info_make_dense(into);
    return TN_OK;
}

/* ---- gather_rows, scatter_add_rows ---- */

/* Rows may be anywhere; each row is dense. */
int tni_has_dense_rows(const tn_tensor_info *x)
{
    tn_tensor_info row = *x;
    if (row.rank)
        row.shape[0] = 1;
    return tni_info_is_dense(&row);
}

tn_status tni_gather_rows_shape(const tn_builder *b, const tn_op_node *node,
                                tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info table = tn_info(b, node->in[0]);
    const tn_tensor_info index = tn_info(b, node->in[1]);
    TN_TRY(tni_expect_rank(&table, "table", 1, TN_MAX_RANK, err));
    TN_TRY(tni_expect_i32(&index, "index", err));
    return join_shapes(&index, &table, 1, &out[0], err);
}

void tni_gather_rows_gradient(tn_builder *b, const tn_op_node *node,
                              const tn_tensor *dout, uint32_t wanted,
                              tn_tensor *din)
{
    if (tni_wants(wanted, 0) && !tn_is_none(dout[0]))
        din[0] = tn_scatter_add_rows(b, node->in[1], dout[0],
                                     tn_dim(b, node->in[0], 0));
}

tn_status tni_scatter_add_rows_shape(const tn_builder *b,
                                     const tn_op_node *node,
                                     tn_tensor_info *out, tn_error *err)
{
    const tn_scatter_attr *attr = node->attr;
    const tn_tensor_info index = tn_info(b, node->in[0]);
    const tn_tensor_info x = tn_info(b, node->in[1]);
    const tn_tensor_info rows = {.rank = 1, .shape = {attr->rows}};
    TN_TRY(tni_expect_i32(&index, "index", err));
    TN_TRY(tni_expect_float(&x, "x", err));
    TN_TRY(tni_expect_rank(&x, "x", index.rank, TN_MAX_RANK, err));
    for (uint32_t i = 0; i < index.rank; i++)
        TN_TRY(tni_expect_size(&x, "x", i, index.shape[i], err));
    if (attr->rows < 1)
        return tn_fail(err, TN_ESHAPE, "%" PRId64 " rows, needs at least 1",
                       attr->rows);
    return join_shapes(&rows, &x, index.rank, &out[0], err);
}

void tni_scatter_add_rows_gradient(tn_builder *b, const tn_op_node *node,
                                   const tn_tensor *dout, uint32_t wanted,
                                   tn_tensor *din)
{
    if (tni_wants(wanted, 1) && !tn_is_none(dout[0]))
        din[1] = tn_gather_rows(b, dout[0], node->in[0]);
}

/* one addition per element of x */
double tni_scatter_add_rows_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[1]);
    return (double)tn_elements(&x);
}

/* ---- effects: written in place, so only where storage outlives the run ----
 */

static tn_status expect_target(const tn_builder *b, tn_tensor target,
                               const char *what, tn_error *err)
{
    const tni_graph *g = (const tni_graph *)(const void *)b;
    const tni_value *v = tni_value_of(g, target);
    const tni_value *owner = &g->values[v->storage];
    if (owner->arena == 0 || owner->arena == TN_ARENA_INPUT ||
        owner->arena == TN_ARENA_SCALAR)
        return tn_fail(err, TN_ESHAPE,
                       "%s is %s, and only parameters, gradients, optimizer "
                       "and decoding state and metrics can be written",
                       what, owner->arena ? "an input" : "a computed value");
    if (!tni_info_is_dense(&v->info))
        return tn_fail(err, TN_ESHAPE,
                       "%s is a view with gaps; only contiguous views can be "
                       "written",
                       what);
    return TN_OK;
}

tn_status tni_set_rows_shape(const tn_builder *b, const tn_op_node *node,
                             tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info state = tn_info(b, node->in[0]);
    const tn_tensor_info index = tn_info(b, node->in[1]);
    const tn_tensor_info x = tn_info(b, node->in[2]);
    TN_TRY(tni_expect_rank(&state, "state", 2, TN_MAX_RANK, err));
    TN_TRY(expect_target(b, node->in[0], "state", err));
    TN_TRY(tni_expect_i32(&index, "index", err));
    TN_TRY(tni_expect_rank(&index, "index", 2, 2, err));
    TN_TRY(tni_expect_size(&index, "index", 0, state.shape[0], err));
    TN_TRY(tni_expect_same_dtype(&state, "state", &x, "x", err));
    TN_TRY(tni_expect_rank(&x, "x", state.rank, state.rank, err));
    TN_TRY(tni_expect_size(&x, "x", 0, state.shape[0], err));
    TN_TRY(tni_expect_size(&x, "x", 1, index.shape[1], err));
    for (uint32_t i = 2; i < state.rank; i++)
        TN_TRY(tni_expect_size(&x, "x", i, state.shape[i], err));
    out[0] = state;
    return TN_OK;
}

tn_status tni_assign_shape(const tn_builder *b, const tn_op_node *node,
                           tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info target = tn_info(b, node->in[0]);
    const tn_tensor_info x = tn_info(b, node->in[1]);
    TN_TRY(expect_target(b, node->in[0], "target", err));
    TN_TRY(tni_expect_same_dtype(&target, "target", &x, "x", err));
    TN_TRY(tni_expect_same_shape(&target, "target", &x, "x", err));
    out[0] = target;
    return TN_OK;
}
