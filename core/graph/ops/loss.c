/*
 * loss.c - the head and the cross-entropy as one op, forward and backward.
 *
 *     z = cap(x w^T)      nll = log sum exp z - z[target], 0 where target is -1
 *     dz = (softmax z - onehot(target)) dnll cap'     dx = dz w     dw = dz^T x
 *
 * A native kernel never stores the logits; the decomposition does and is for
 * small shapes and for checking.
 */
#include <tenon/builder.h>

#include <string.h>

#include "graph/ops/ops.h"

static tn_status check_operands(const tn_builder *b, const tn_op_node *node,
                                tn_error *err)
{
    const tn_loss_attr *attr = node->attr;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    const tn_tensor_info w = tn_info(b, node->in[1]);
    const tn_tensor_info target = tn_info(b, node->in[2]);
    TN_TRY(tni_expect_rank(&x, "x", 2, 2, err));
    TN_TRY(tni_expect_float(&x, "x", err));
    TN_TRY(tni_expect_rank(&w, "w", 2, 2, err));
    TN_TRY(tni_expect_same_dtype(&x, "x", &w, "w", err));
    TN_TRY(tni_expect_size(&w, "w", 1, x.shape[1], err));
    TN_TRY(tni_expect_i32(&target, "target", err));
    TN_TRY(tni_expect_rank(&target, "target", 1, 1, err));
    TN_TRY(tni_expect_size(&target, "target", 0, x.shape[0], err));
    if (!(attr->softcap >= 0.0))
        return tn_fail(err, TN_ESHAPE, "softcap is %g, must not be below 0",
                       attr->softcap);
    return TN_OK;
}

tn_status tni_linear_cross_entropy_shape(const tn_builder *b,
                                         const tn_op_node *node,
                                         tn_tensor_info *out, tn_error *err)
{
    TN_TRY(check_operands(b, node, err));
    const int64_t rows = tn_dim(b, node->in[0], 0);
    out[0] = tni_dense(tni_statistic_dtype(b), 1, &rows);
    return TN_OK;
}

tn_status tni_linear_cross_entropy_bwd_shape(const tn_builder *b,
                                             const tn_op_node *node,
                                             tn_tensor_info *out, tn_error *err)
{
    TN_TRY(check_operands(b, node, err));
    const tn_tensor_info x = tn_info(b, node->in[0]);
    const tn_tensor_info w = tn_info(b, node->in[1]);
    const tn_tensor_info dnll = tn_info(b, node->in[3]);
    TN_TRY(tni_expect_rank(&dnll, "dnll", 1, 1, err));
    TN_TRY(tni_expect_size(&dnll, "dnll", 0, x.shape[0], err));
    out[0] = tni_dense_like(&x);
    out[1] = tni_dense_like(&w);
    out[2] = tni_dense(tni_statistic_dtype(b), 1, x.shape);
    return TN_OK;
}

void tni_linear_cross_entropy_gradient(tn_builder *b, const tn_op_node *node,
                                       const tn_tensor *dout, uint32_t wanted,
                                       tn_tensor *din)
{
    const tn_tensor in[] = {node->in[0], node->in[1], node->in[2], dout[0]};
    tn_tensor out[3] = {TN_NONE, TN_NONE, TN_NONE};
    if (tn_is_none(dout[0]) || !(wanted & 3u))
        return;
    b->api->op(b, TN_OP_LINEAR_CROSS_ENTROPY_BWD, in, 4, node->attr,
               (uint32_t)sizeof(tn_loss_attr), out, 3, TN_HERE);
    din[0] = out[0];
    din[1] = out[1];
}

/* The product x w^T; the softmax is not counted. */
double tni_linear_cross_entropy_flops(const tn_builder *b,
                                      const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    return 2.0 * (double)tn_elements(&x) * (double)tn_dim(b, node->in[1], 0);
}

/* The same product again, and one each for dx and dw. */
double tni_linear_cross_entropy_bwd_flops(const tn_builder *b,
                                          const tn_op_node *node)
{
    return 3.0 * tni_linear_cross_entropy_flops(b, node);
}
