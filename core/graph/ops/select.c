/*
 * select.c - choosing along the last axis: topk, argmax, and the sorting of
 * rows by the expert that was chosen for them. And cumsum, the other op that
 * walks an axis in order.
 */
#include <tenon/builder.h>

#include <inttypes.h>
#include <string.h>

#include "graph/ops/ops.h"
#include "graph/workspace.h"

/* ---- topk, argmax ---- */

tn_status tni_topk_shape(const tn_builder *b, const tn_op_node *node,
                         tn_tensor_info *out, tn_error *err)
{
    const int64_t k = ((const tn_topk_attr *)node->attr)->k;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    TN_TRY(tni_expect_rank(&x, "x", 1, TN_MAX_RANK, err));
    TN_TRY(tni_expect_float(&x, "x", err));
    if (k < 1 || k > x.shape[x.rank - 1])
        return tn_fail(err, TN_ESHAPE,
                       "k is %" PRId64 ", needs 1 to %" PRId64
                       ", the size of the last axis",
                       k, x.shape[x.rank - 1]);
    out[0] = tni_dense(x.dtype, x.rank, x.shape);
    out[0].shape[x.rank - 1] = k;
    out[1] = out[0];
    out[1].dtype = TN_I32;
    return TN_OK;
}

/* (..., k) -> (rows, k, n), the same along n */
static tn_tensor across(tn_builder *b, tn_tensor x, int64_t n)
{
    const int64_t k = tn_dim(b, x, -1);
    const tn_tensor columns = tn_reshape(b, x, -1, k, 1);
    return tn_broadcast(b, columns, tn_dim(b, columns, 0), k, n);
}

/*
 * dx[r, c] is the sum over j of dvalues[r, j] where index[r, j] is c: a
 * reduction of a comparison with the coordinate, which needs no scatter.
 */
static tn_tensor topk_adjoint(tn_builder *b, tn_tensor x, tn_tensor index,
                              tn_tensor dvalues)
{
    const tn_tensor_info like = tn_info(b, x);
    const int64_t n = tn_dim(b, x, -1);
    const tn_tensor in[] = {across(b, index, n), across(b, dvalues, n)};
    tni_work w = {0};
    const tni_register column =
        tni_work_emit(&w, (tni_work_instruction){.op = TN_MAP_INDEX, .a = 2});
    const tni_register chosen =
        tni_work_op(&w, TN_MAP_EQ, tni_work_input(&w, 0), column, 0);
    const tni_register dx =
        tni_work_op(&w, TN_MAP_SELECT, chosen, tni_work_input(&w, 1),
                    tni_work_constant(&w, 0.0));
    return tn_shaped_view_at(
        b, tni_reduce_written(b, &w, dx, TN_REDUCE_SUM, 1u << 1, in, 2),
        TN_VIEW_RESHAPE, like.rank, like.shape, TN_HERE);
}

void tni_topk_gradient(tn_builder *b, const tn_op_node *node,
                       const tn_tensor *dout, uint32_t wanted, tn_tensor *din)
{
    if (tni_wants(wanted, 0) && !tn_is_none(dout[0]))
        din[0] = topk_adjoint(b, node->in[0], node->out[1], dout[0]);
}

tn_status tni_argmax_shape(const tn_builder *b, const tn_op_node *node,
                           tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    TN_TRY(tni_expect_rank(&x, "x", 1, TN_MAX_RANK, err));
    TN_TRY(tni_expect_float(&x, "x", err));
    out[0] = tni_dense(TN_I32, x.rank - 1, x.shape);
    return TN_OK;
}

/* ---- expert_plan ---- */

tn_status tni_expert_plan_shape(const tn_builder *b, const tn_op_node *node,
                                tn_tensor_info *out, tn_error *err)
{
    const int64_t experts = ((const tn_expert_plan_attr *)node->attr)->experts;
    const tn_tensor_info choice = tn_info(b, node->in[0]);
    TN_TRY(tni_expect_i32(&choice, "choice", err));
    TN_TRY(tni_expect_rank(&choice, "choice", 2, 2, err));
    if (experts < 1 || experts >= INT32_MAX)
        return tn_fail(err, TN_ESHAPE,
                       "%" PRId64 " experts, needs 1 to what an I32 can count",
                       experts);
    const int64_t rows = choice.shape[0] * choice.shape[1];
    const int64_t offsets = experts + 1;
    out[0] = out[1] = tni_dense(TN_I32, 1, &rows);
    out[2] = tni_dense(TN_I32, 1, &offsets);
    return TN_OK;
}

/* ---- cumsum ---- */

tn_status tni_cumsum_shape(const tn_builder *b, const tn_op_node *node,
                           tn_tensor_info *out, tn_error *err)
{
    const uint32_t axis = ((const tn_cumsum_attr *)node->attr)->axis;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    TN_TRY(tni_expect_float(&x, "x", err));
    if (axis >= x.rank)
        return tn_fail(err, TN_ESHAPE, "axis %u of %u axes", axis, x.rank);
    out[0] = tni_dense_like(&x);
    return TN_OK;
}

/* y[i] sums x[j] for j <= i, so dx[j] sums dy[i] for i >= j: from the end. */
void tni_cumsum_gradient(tn_builder *b, const tn_op_node *node,
                         const tn_tensor *dout, uint32_t wanted, tn_tensor *din)
{
    tn_cumsum_attr attr = *(const tn_cumsum_attr *)node->attr;
    attr.reverse = !attr.reverse;
    if (tni_wants(wanted, 0) && !tn_is_none(dout[0]))
        din[0] = tn_cumsum_at(b, dout[0], &attr, TN_HERE);
}

double tni_cumsum_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    return (double)tn_elements(&x);
}
