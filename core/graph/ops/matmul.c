/*
 * matmul.c - matrix products, batched and grouped.
 *
 * Transposes and broadcast batches are views, so a gradient is two products of
 * views and the sums over broadcast axes are written by the view's own rule.
 */
#include <tenon/builder.h>

#include <inttypes.h>
#include <string.h>

#include "graph/ops/ops.h"

/* ---- matmul ---- */

int tni_is_matmul_operand(const tn_tensor_info *x)
{
    const int64_t rows = x->shape[x->rank - 2], row = x->stride[x->rank - 2];
    const int64_t cols = x->shape[x->rank - 1], col = x->stride[x->rank - 1];
    return (col == 1 && (rows == 1 || row >= cols)) ||
           (row == 1 && (cols == 1 || col >= rows));
}

static tn_tensor as_operand(tni_graph *g, tn_tensor x, tn_here here)
{
    const tn_tensor_info info = tn_info(&g->builder, x);
    return info.rank < 2 || tni_is_matmul_operand(&info)
               ? x
               : tn_copy_at(&g->builder, x, TN_DTYPE_NONE, here);
}

/* x with the batch axes of `joint` before its own last two. */
static tn_tensor with_batch(tni_graph *g, tn_tensor x, tn_tensor_info joint,
                            tn_here here)
{
    const tn_tensor_info info = tn_info(&g->builder, x);
    joint.shape[joint.rank] = info.shape[info.rank - 2];
    joint.shape[joint.rank + 1] = info.shape[info.rank - 1];
    return tni_broadcast(g, x, joint.rank + 2, joint.shape, here);
}

tn_status tni_matmul_prepare(tni_graph *g, tn_tensor *in, uint32_t in_count,
                             const void *attr, tn_here here, tn_error *err)
{
    static const char *const what[] = {"the left operand", "the right operand"};
    tn_tensor_info joint = {0};
    (void)attr;
    for (uint32_t i = 0; i < in_count; i++) {
        tn_tensor_info x = tn_info(&g->builder, in[i]);
        TN_TRY(tni_expect_rank(&x, what[i], 2, TN_MAX_RANK, err));
        x.rank -= 2;
        TN_TRY(tni_broadcast_shapes(&joint, &x, err));
        in[i] = as_operand(g, in[i], here);
    }
    for (uint32_t i = 0; i < in_count; i++)
        in[i] = with_batch(g, in[i], joint, here);
    return TN_OK;
}

tn_status tni_matmul_shape(const tn_builder *b, const tn_op_node *node,
                           tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    const tn_tensor_info y = tn_info(b, node->in[1]);
    const uint32_t r = x.rank;
    TN_TRY(tni_expect_float(&x, "the left operand", err));
    TN_TRY(tni_expect_same_dtype(&x, "the left operand", &y,
                                 "the right operand", err));
    if (x.shape[r - 1] != y.shape[r - 2])
        return tn_fail(err, TN_ESHAPE,
                       "inner sizes %" PRId64 " and %" PRId64 " differ",
                       x.shape[r - 1], y.shape[r - 2]);
    out[0] = tni_dense(x.dtype, r, x.shape);
    out[0].shape[r - 1] = y.shape[r - 1];
    return TN_OK;
}

void tni_matmul_gradient(tn_builder *b, const tn_op_node *node,
                         const tn_tensor *dout, uint32_t wanted, tn_tensor *din)
{
    const tn_tensor x = node->in[0], w = node->in[1];
    if (tn_is_none(dout[0]))
        return;
    if (tni_wants(wanted, 0))
        din[0] = tn_matmul(b, dout[0], tn_transpose(b, w));
    if (tni_wants(wanted, 1))
        din[1] = tn_matmul(b, tn_transpose(b, x), dout[0]);
}

double tni_matmul_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info y = tn_info(b, node->out[0]);
    return 2.0 * (double)tn_elements(&y) * (double)tn_dim(b, node->in[0], -1);
}

/* ---- grouped_matmul ---- */

tn_status tni_grouped_matmul_prepare(tni_graph *g, tn_tensor *in,
                                     uint32_t in_count, const void *attr,
                                     tn_here here, tn_error *err)
{
    (void)in_count;
    (void)attr;
    (void)err;
    in[1] = as_operand(g, in[1], here);
    return TN_OK;
}

tn_status tni_grouped_matmul_shape(const tn_builder *b, const tn_op_node *node,
                                   tn_tensor_info *out, tn_error *err)
{
    const tn_grouped_matmul_attr *attr = node->attr;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    const tn_tensor_info y = tn_info(b, node->in[1]);
    const tn_tensor_info offsets = tn_info(b, node->in[2]);
    TN_TRY(tni_expect_rank(&x, "a", 2, 2, err));
    TN_TRY(tni_expect_float(&x, "a", err));
    TN_TRY(tni_expect_same_dtype(&x, "a", &y, "b", err));
    TN_TRY(tni_expect_rank(&offsets, "offsets", 1, 1, err));
    TN_TRY(tni_expect_i32(&offsets, "offsets", err));
    if (offsets.shape[0] < 2)
        return tn_fail(err, TN_ESHAPE, "offsets %s name no group",
                       tni_shape_text(&offsets).text);
    const int64_t groups = offsets.shape[0] - 1;
    if (attr->transpose_a) {
        TN_TRY(tni_expect_rank(&y, "b", 2, 2, err));
        TN_TRY(tni_expect_size(&y, "b", 0, x.shape[0], err));
        const int64_t shape[] = {groups, x.shape[1], y.shape[1]};
        out[0] = tni_dense(x.dtype, 3, shape);
        return TN_OK;
    }
    TN_TRY(tni_expect_rank(&y, "b", 3, 3, err));
    TN_TRY(tni_expect_size(&y, "b", 0, groups, err));
    if (x.shape[1] != y.shape[1])
        return tn_fail(err, TN_ESHAPE,
                       "inner sizes %" PRId64 " and %" PRId64 " differ",
                       x.shape[1], y.shape[1]);
    const int64_t shape[] = {x.shape[0], y.shape[2]};
    out[0] = tni_dense(x.dtype, 2, shape);
    return TN_OK;
}

/* Plain:       y[r] = a[r] B[g]        da = dy B^T        dB[g] = a^T dy
 * transpose_a: Y[g] = a^T b            da[r] = b[r] dY^T  db[r] = a[r] dY */
void tni_grouped_matmul_gradient(tn_builder *b, const tn_op_node *node,
                                 const tn_tensor *dout, uint32_t wanted,
                                 tn_tensor *din)
{
    const tn_grouped_matmul_attr *attr = node->attr;
    const tn_tensor x = node->in[0], y = node->in[1], offsets = node->in[2];
    const tn_tensor d = dout[0];
    if (tn_is_none(d))
        return;
    if (tni_wants(wanted, 0))
        din[0] = attr->transpose_a
                     ? tn_grouped_matmul(b, y, tn_transpose(b, d), offsets)
                     : tn_grouped_matmul(b, d, tn_transpose(b, y), offsets);
    if (tni_wants(wanted, 1))
        din[1] = attr->transpose_a
                     ? tn_grouped_matmul(b, x, d, offsets)
                     : tn_grouped_matmul_at(b, x, d, offsets, 1, TN_HERE);
}

/* Every row meets one matrix, whichever it is. */
double tni_grouped_matmul_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    return 2.0 * (double)tn_elements(&x) * (double)tn_dim(b, node->in[1], -1);
}
