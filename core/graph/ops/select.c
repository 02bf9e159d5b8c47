/*
 * select.c - choosing along the last axis: topk, argmax, and the sorting of
 * rows by the expert that was chosen for them. And cumsum, the other op that
 * walks an axis in order.
 */
#include <tenon/builder.h>

#include <inttypes.h>
#include <string.h>

#include "graph/ops/ops.h"

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

/*
 * One element per chosen position, the rest zero. With c the coordinate along
 * the last axis, dx[.., c] = sum over j of dvalues[.., j] where index[.., j] is
 * c: a reduction over a broadcast comparison, which needs no scatter.
 */
static tn_tensor topk_adjoint(tn_builder *b, tn_tensor x, tn_tensor index,
                              tn_tensor dvalues)
{
    tn_tensor_info wide = tn_info(b, index);
    tn_reduce_attr attr;
    tn_tensor in[2];
    if (wide.rank == TN_MAX_RANK) { /* needs one axis more: fold the others */
        const int64_t k = wide.shape[wide.rank - 1];
        in[0] = tn_reshape(b, index, -1, k);
        in[1] = tn_reshape(b, dvalues, -1, k);
    } else {
        in[0] = index;
        in[1] = dvalues;
    }
    wide = tn_info(b, in[0]);
    wide.shape[wide.rank] = tn_dim(b, x, -1);
    for (int i = 0; i < 2; i++) {
        int64_t column[TN_MAX_RANK];
        memcpy(column, wide.shape, sizeof column);
        column[wide.rank] = 1;
        in[i] = tn_shaped_view_at(b, in[i], TN_VIEW_RESHAPE, wide.rank + 1,
                                  column, TN_HERE);
        in[i] = tn_shaped_view_at(b, in[i], TN_VIEW_BROADCAST, wide.rank + 1,
                                  wide.shape, TN_HERE);
    }
    memset(&attr, 0, sizeof attr);
    attr.kind = TN_REDUCE_SUM;
    attr.axes = 1u << (wide.rank - 1);
    attr.program = (tn_program){
        .input_count = 2,
        .output_count = 1,
        .instruction_count = 6,
        .constant_count = 1,
        .output = {5},
        .instruction = {{TN_MAP_INPUT, 0, 0, 0},
                        {TN_MAP_INPUT, 1, 0, 0},
                        {TN_MAP_INDEX, (uint8_t)wide.rank, 0, 0},
                        {TN_MAP_EQ, 0, 2, 0},
                        {TN_MAP_CONST, 0, 0, 0},
                        {TN_MAP_SELECT, 3, 1, 4}},
    };
    const tn_tensor dx = tn_op1_at(b, TN_OP_REDUCE, in, 2, &attr,
                                   (uint32_t)sizeof attr, TN_HERE);
    const tn_tensor_info like = tn_info(b, x);
    return tn_shaped_view_at(b, dx, TN_VIEW_RESHAPE, like.rank, like.shape,
                             TN_HERE);
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
