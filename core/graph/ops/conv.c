/*
 * conv.c - a causal convolution over time, each channel by itself.
 *
 *     y[t]  = sum_k w[:, k] x[t - K + 1 + k]
 *     dx[t] = sum_k w[:, k] dy[t + K - 1 - k]
 *     dw[:, k] = sum_{b, t} dy[t] x[t - K + 1 + k]
 *
 * Rows before x are the history's, or zero; rows of dy after the last are zero.
 * So with both padded by K - 1 rows, every sum is over K shifted views. Where
 * documents share x, a row sees none before its own began: of each shift, rows
 * that would reach over that border are zero.
 */
#include <tenon/builder.h>

#include "graph/ops/ops.h"
#include "graph/workspace.h"

/* ---- shapes ---- */

/* x (B, T, C), w (C, K), and from input `optional` on [history (B, K-1, C)],
 * [first (B, T)] */
static tn_status check_operands(const tn_builder *b, const tn_op_node *node,
                                const tn_tensor *x_w, uint32_t optional,
                                tn_error *err)
{
    const tn_tensor history = tni_in(node, optional);
    const tn_tensor_info x = tn_info(b, x_w[0]), w = tn_info(b, x_w[1]);
    TN_TRY(tni_expect_rank(&x, "x", 3, 3, err));
    TN_TRY(tni_expect_rank(&w, "w", 2, 2, err));
    TN_TRY(tni_expect_float(&x, "x", err));
    TN_TRY(tni_expect_same_dtype(&x, "x", &w, "w", err));
    TN_TRY(tni_expect_size(&w, "w", 0, x.shape[2], err));
    if (w.shape[1] < 2)
        return tn_fail(err, TN_ESHAPE,
                       "w %s reaches back over no row, its last axis needs at "
                       "least 2; a map can scale channels",
                       tni_shape_text(&w).text);
    TN_TRY(tni_expect_of_rows(b, tni_in(node, optional + 1), "first", &x, err));
    if (tn_is_none(history))
        return TN_OK;
    const tn_tensor_info h = tn_info(b, history);
    TN_TRY(tni_expect_rank(&h, "history", 3, 3, err));
    TN_TRY(tni_expect_same_dtype(&x, "x", &h, "history", err));
    TN_TRY(tni_expect_size(&h, "history", 0, x.shape[0], err));
    TN_TRY(tni_expect_size(&h, "history", 1, w.shape[1] - 1, err));
    return tni_expect_size(&h, "history", 2, x.shape[2], err);
}

tn_status tni_conv1d_causal_shape(const tn_builder *b, const tn_op_node *node,
                                  tn_tensor_info *out, tn_error *err)
{
    TN_TRY(check_operands(b, node, node->in, 2, err));
    const tn_tensor_info x = tn_info(b, node->in[0]);
    out[0] = tni_dense_like(&x);
    return TN_OK;
}

tn_status tni_conv1d_causal_bwd_shape(const tn_builder *b,
                                      const tn_op_node *node,
                                      tn_tensor_info *out, tn_error *err)
{
    TN_TRY(check_operands(b, node, node->in + 1, 3, err));
    const tn_tensor_info dy = tn_info(b, node->in[0]);
    const tn_tensor_info x = tn_info(b, node->in[1]);
    const tn_tensor_info w = tn_info(b, node->in[2]);
    TN_TRY(tni_expect_same_shape(&dy, "dy", &x, "x", err));
    out[0] = tni_dense_like(&x);
    out[1] = tni_dense_like(&w);
    return TN_OK;
}

/* ---- gradient and cost ---- */

void tni_conv1d_causal_gradient(tn_builder *b, const tn_op_node *node,
                                const tn_tensor *dout, uint32_t wanted,
                                tn_tensor *din)
{
    const tn_tensor in[] = {dout[0], node->in[0], node->in[1], tni_in(node, 2),
                            tni_in(node, 3)};
    tn_tensor made[2];
    if (tn_is_none(dout[0]) || !(wanted & 3u))
        return;
    b->api->op(b, TN_OP_CONV1D_CAUSAL_BWD, in, 5, NULL, 0, made, 2, TN_HERE);
    tni_take_wanted(din, made, 2, wanted);
}

double tni_conv1d_causal_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    return 2.0 * (double)tn_elements(&x) * (double)tn_dim(b, node->in[1], 1);
}

double tni_conv1d_causal_bwd_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[1]);
    return 4.0 * (double)tn_elements(&x) * (double)tn_dim(b, node->in[2], 1);
}

/* ---- what it is ---- */

/* K - 1 rows of zeros beside x */
static tn_tensor no_rows(tn_builder *b, tn_tensor x, int64_t K)
{
    return tn_fill_at(
        b, 0.0, tn_info(b, x).dtype, 3,
        (const int64_t[]){tn_dim(b, x, 0), K - 1, tn_dim(b, x, 2)}, TN_HERE);
}

/* (B, K - 1 + T, C) */
static tn_tensor after_history(tn_builder *b, tn_tensor x, tn_tensor history,
                               int64_t K)
{
    if (tn_is_none(history))
        history = no_rows(b, x, K);
    return tn_concat(b, 1, history, x);
}

/* x (B, T, C), zero in rows that have not `back` rows of their document before
 * them */
static tn_tensor within(tn_builder *b, tn_tensor x, tn_tensor first,
                        int64_t back)
{
    const int64_t B = tn_dim(b, x, 0), T = tn_dim(b, x, 1);
    if (tn_is_none(first))
        return x;
    const tn_tensor in[] = {x, tn_reshape(b, first, B, T, 1)};
    tni_work w = {0};
    const tni_register row =
        tni_work_emit(&w, (tni_work_instruction){.op = TN_MAP_INDEX, .a = 1});
    const tni_register from = tni_work_op(
        &w, TN_MAP_SUB, row, tni_work_constant(&w, (double)back), 0);
    const tni_register own =
        tni_work_op(&w, TN_MAP_LE, tni_work_input(&w, 1), from, 0);
    const tni_register y =
        tni_work_op(&w, TN_MAP_SELECT, own, tni_work_input(&w, 0),
                    tni_work_constant(&w, 0.0));
    return tni_map_written1(b, &w, y, in, 2);
}

/* Row t - K + 1 + k of x, for every t. */
static tn_tensor row_of_tap(tn_builder *b, tn_tensor rows, tn_tensor first,
                            int64_t K, int64_t k)
{
    const int64_t T = tn_dim(b, rows, 1) - K + 1;
    return within(b, tn_slice(b, rows, 1, k, T), first, K - 1 - k);
}

/* sum + w[:, tap] x; sum may be none */
static tn_tensor add_tap(tn_builder *b, tn_tensor sum, tn_tensor w, int64_t tap,
                         tn_tensor x)
{
    const tn_tensor column =
        tn_reshape(b, tn_slice(b, w, 1, tap, 1), tn_dim(b, w, 0));
    const tn_tensor term = tn_mul(b, x, column);
    return tn_is_none(sum) ? term : tn_add(b, sum, term);
}

void tni_conv1d_causal_decompose(tn_builder *b, const tn_op_node *node,
                                 tn_tensor *out)
{
    const tn_tensor x = node->in[0], w = node->in[1];
    const tn_tensor first = tni_in(node, 3);
    const int64_t K = tn_dim(b, w, 1);
    const tn_tensor rows = after_history(b, x, tni_in(node, 2), K);
    out[0] = TN_NONE;
    for (int64_t k = 0; k < K; k++)
        out[0] = add_tap(b, out[0], w, k, row_of_tap(b, rows, first, K, k));
}

/* dy with rows of zeros after the last: of each row what flows back to the one
 * `ahead` before it */
static tn_tensor before_zeros(tn_builder *b, tn_tensor dy, tn_tensor first,
                              int64_t K, int64_t ahead)
{
    return tn_concat(b, 1, within(b, dy, first, ahead), no_rows(b, dy, K));
}

void tni_conv1d_causal_bwd_decompose(tn_builder *b, const tn_op_node *node,
                                     tn_tensor *out)
{
    const tn_tensor dy = node->in[0], x = node->in[1], w = node->in[2];
    const tn_tensor first = tni_in(node, 4);
    const int64_t T = tn_dim(b, x, 1);
    const int64_t C = tn_dim(b, w, 0), K = tn_dim(b, w, 1);
    const tn_tensor rows = after_history(b, x, tni_in(node, 3), K);
    tn_tensor later = before_zeros(b, dy, TN_NONE, K, 0);
    out[0] = TN_NONE;
    for (int64_t k = 0; k < K; k++) {
        if (!tn_is_none(first))
            later = before_zeros(b, dy, first, K, k);
        out[0] = add_tap(b, out[0], w, K - 1 - k, tn_slice(b, later, 1, k, T));
        const tn_tensor term = tn_mul(b, dy, row_of_tap(b, rows, first, K, k));
        const tn_tensor column = tn_reshape(b, tn_sum(b, term, 3u), C, 1);
        out[1] = k ? tn_concat(b, 1, out[1], column) : column;
    }
}
