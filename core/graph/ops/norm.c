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

void tni_rms_norm_gradient(tn_builder *b, const tn_op_node *node,
                           const tn_tensor *dout, uint32_t wanted,
                           tn_tensor *din)
{
    const tn_tensor in[] = {dout[0], node->in[0], node->in[1], node->out[1]};
    tn_tensor made[2];
    if (tn_is_none(dout[0]) || !(wanted & 3u))
        return;
    b->api->op(b, TN_OP_RMS_NORM_BWD, in, 4, node->attr,
               (uint32_t)sizeof(tn_norm_attr), made, 2, TN_HERE);
    tni_take_wanted(din, made, 2, wanted);
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

/* ---- rms_norm: what it is ---- */

void tni_rms_norm_decompose(tn_builder *b, const tn_op_node *node,
                            tn_tensor *out)
{
    const tn_norm_attr *attr = node->attr;
    const tn_tensor x = node->in[0], weight = node->in[1];
    const double columns = (double)tn_dim(b, x, -1);
    const tn_tensor mean = tn_scale(
        b, tn_sum(b, tn_square(b, x), tn_axis(b, x, -1)), 1.0 / columns);
    const tn_tensor rstd = tn_rsqrt(b, tn_shift(b, mean, attr->eps));
    out[0] = tn_mul(b, tn_mul(b, x, rstd), weight);
    out[1] = tn_reshape(b, rstd, -1);
}

/* rstd (rows) as a column beside x: (..., 1) */
static tn_tensor as_column(tn_builder *b, tn_tensor rstd, tn_tensor x)
{
    tn_tensor_info like = tn_info(b, x);
    if (like.rank)
        like.shape[like.rank - 1] = 1;
    return tn_shaped_view_at(b, rstd, TN_VIEW_RESHAPE, like.rank, like.shape,
                             TN_HERE);
}

void tni_rms_norm_bwd_decompose(tn_builder *b, const tn_op_node *node,
                                tn_tensor *out)
{
    const tn_tensor dy = node->in[0], x = node->in[1], weight = node->in[2];
    const tn_tensor r = as_column(b, node->in[3], x);
    const double columns = (double)tn_dim(b, x, -1);
    const uint32_t last = tn_axis(b, x, -1);
    const uint32_t rows = tn_all_axes(b, x) & ~last;

    const tn_tensor g = tn_mul(b, dy, weight);
    const tn_tensor mean =
        tn_scale(b, tn_sum(b, tn_mul(b, g, x), last), 1.0 / columns);
    const tn_tensor pull = tn_mul(b, tn_mul(b, r, r), mean);
    out[0] = tn_mul(b, r, tn_sub(b, g, tn_mul(b, x, pull)));
    const tn_tensor dw = tn_mul(b, dy, tn_mul(b, x, r));
    out[1] = rows ? tn_reshape(b, tn_sum(b, dw, rows), -1) : dw;
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

void tni_softmax_decompose(tn_builder *b, const tn_op_node *node,
                           tn_tensor *out)
{
    const tn_tensor x = node->in[0];
    const uint32_t last = tn_axis(b, x, -1);
    const tn_tensor e = tn_exp(b, tn_sub(b, x, tn_maximum(b, x, last)));
    out[0] = tn_div(b, e, tn_sum(b, e, last));
}

/* dx = y (dy - sum(dy y)) */
void tni_softmax_bwd_decompose(tn_builder *b, const tn_op_node *node,
                               tn_tensor *out)
{
    const tn_tensor dy = node->in[0], y = node->in[1];
    const tn_tensor mean = tn_sum(b, tn_mul(b, dy, y), tn_axis(b, y, -1));
    out[0] = tn_mul(b, y, tn_sub(b, dy, mean));
}
