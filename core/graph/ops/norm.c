/*
 * norm.c - root mean square normalisation (Zhang and Sennrich 2019,
 * arXiv:1910.07467) and softmax over the last axis, with their backward ops.
 *
 *     r = 1 / sqrt(mean(x^2) + eps)        y = x r w
 *     dx = r (g - x r^2 mean(g x)),  g = dy w
 *     dw = sum over rows of dy x r
 */
#include <tenon/builder.h>

#include <string.h>

#include "graph/ops/ops.h"

/* ---- rms_norm: shapes ---- */

static tn_status check_norm(const tn_tensor_info *x,
                            const tn_tensor_info *weight, tn_error *err)
{
    TN_TRY(tni_expect_rank(x, "x", 1, TN_MAX_RANK, err));
    TN_TRY(tni_expect_float(x, "x", err));
    TN_TRY(tni_expect_rank(weight, "weight", 1, 1, err));
    TN_TRY(tni_expect_same_dtype(x, "x", weight, "weight", err));
    return tni_expect_size(weight, "weight", 0, x->shape[x->rank - 1], err);
}

static int64_t rows_of(const tn_tensor_info *x)
{
    return tn_elements(x) / x->shape[x->rank - 1];
}

tn_status tni_rms_norm_shape(const tn_builder *b, const tn_op_node *node,
                             tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    const tn_tensor_info weight = tn_info(b, node->in[1]);
    TN_TRY(check_norm(&x, &weight, err));
    const int64_t rows = rows_of(&x);
    out[0] = tni_dense_like(&x);
    out[1] = tni_dense(tni_statistic_dtype(b), 1, &rows);
    return TN_OK;
}

tn_status tni_rms_norm_bwd_shape(const tn_builder *b, const tn_op_node *node,
                                 tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info dy = tn_info(b, node->in[0]);
    const tn_tensor_info x = tn_info(b, node->in[1]);
    const tn_tensor_info weight = tn_info(b, node->in[2]);
    const tn_tensor_info rstd = tn_info(b, node->in[3]);
    TN_TRY(check_norm(&x, &weight, err));
    TN_TRY(tni_expect_same_shape(&dy, "dy", &x, "x", err));
    TN_TRY(tni_expect_rank(&rstd, "rstd", 1, 1, err));
    TN_TRY(tni_expect_size(&rstd, "rstd", 0, rows_of(&x), err));
    out[0] = tni_dense_like(&x);
    out[1] = tni_dense_like(&weight);
    return TN_OK;
}

/* ---- rms_norm: gradient and cost ---- */

/* The op computes both; what nobody reads costs a backend little. */
void tni_rms_norm_gradient(tn_builder *b, const tn_op_node *node,
                           const tn_tensor *dout, uint32_t wanted,
                           tn_tensor *din)
{
    const tn_tensor in[] = {dout[0], node->in[0], node->in[1], node->out[1]};
    if (tn_is_none(dout[0]) || !wanted)
        return;
    b->api->op(b, TN_OP_RMS_NORM_BWD, in, 4, node->attr,
               (uint32_t)sizeof(tn_norm_attr), din, 2, TN_HERE);
}

/* square, add; scale twice */
double tni_rms_norm_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    return 4.0 * (double)tn_elements(&x);
}

double tni_rms_norm_bwd_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[1]);
    return 10.0 * (double)tn_elements(&x);
}

/* ---- softmax ---- */

tn_status tni_softmax_shape(const tn_builder *b, const tn_op_node *node,
                            tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    TN_TRY(tni_expect_rank(&x, "x", 1, TN_MAX_RANK, err));
    TN_TRY(tni_expect_float(&x, "x", err));
    out[0] = tni_dense_like(&x);
    return TN_OK;
}

tn_status tni_softmax_bwd_shape(const tn_builder *b, const tn_op_node *node,
                                tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info dy = tn_info(b, node->in[0]);
    const tn_tensor_info y = tn_info(b, node->in[1]);
    TN_TRY(tni_expect_rank(&y, "y", 1, TN_MAX_RANK, err));
    TN_TRY(tni_expect_float(&y, "y", err));
    TN_TRY(tni_expect_same_shape(&dy, "dy", &y, "y", err));
    out[0] = tni_dense_like(&y);
    return TN_OK;
}

void tni_softmax_gradient(tn_builder *b, const tn_op_node *node,
                          const tn_tensor *dout, uint32_t wanted,
                          tn_tensor *din)
{
    const tn_tensor in[] = {dout[0], node->out[0]};
    if (tni_wants(wanted, 0) && !tn_is_none(dout[0]))
        din[0] = tn_op1_at(b, TN_OP_SOFTMAX_BWD, in, 2, NULL, 0, TN_HERE);
}

/* max, subtract, exp, add, divide */
double tni_softmax_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    return 5.0 * (double)tn_elements(&x);
}

double tni_softmax_bwd_flops(const tn_builder *b, const tn_op_node *node)
{
    return 0.8 * tni_softmax_flops(b, node);
}
