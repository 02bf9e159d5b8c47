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
#include "graph/workspace.h"

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
    tn_tensor made[3];
    if (tn_is_none(dout[0]) || !(wanted & 3u))
        return;
    b->api->op(b, TN_OP_LINEAR_CROSS_ENTROPY_BWD, in, 4, node->attr,
               (uint32_t)sizeof(tn_loss_attr), made, 3, TN_HERE);
    tni_take_wanted(din, made, 2, wanted);
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

/* ---- what it is ---- */

/* The logits and what both directions need of them; columns are (N, 1). */
typedef struct head {
    tn_tensor z;      /* (N, V) capped logits */
    tn_tensor lse;    /* log sum exp of a row */
    tn_tensor target; /* i32 */
    tn_tensor valid;  /* 1, or 0 where the target is -1 */
} head;

static head describe_head(tn_builder *b, const tn_op_node *node)
{
    const tn_loss_attr *attr = node->attr;
    const uint32_t columns = 1u << 1;
    head h = {.z = tn_linear(b, node->in[0], node->in[1])};
    if (attr->softcap > 0.0)
        h.z = tn_softcap(b, h.z, attr->softcap);
    const tn_tensor most = tn_maximum(b, h.z, columns);
    const tn_tensor e = tn_exp(b, tn_sub(b, h.z, most));
    h.lse = tn_add(b, most, tn_log(b, tn_sum(b, e, columns)));
    h.target = tn_reshape(b, node->in[2], -1, 1);
    h.valid = tn_with_constant_at(b, TN_MAP_LE, h.target, 0.0, 1, TN_HERE);
    return h;
}

/* 1 in the target's column, else 0; inputs: something (N, V), target */
static tni_register onehot(tni_work *w, uint32_t target)
{
    const tni_register column =
        tni_work_emit(w, (tni_work_instruction){.op = TN_MAP_INDEX, .a = 1});
    return tni_work_op(w, TN_MAP_EQ, column, tni_work_input(w, target), 0);
}

static tn_tensor describe_nll(tn_builder *b, const head *h)
{
    tni_work w = {0};
    const tni_register z = tni_work_input(&w, 0);
    const tni_register at_target = tni_work_op(&w, TN_MAP_SELECT, onehot(&w, 1),
                                               z, tni_work_constant(&w, 0.0));
    const tn_tensor in[] = {h->z, h->target};
    const tn_tensor score =
        tni_reduce_written(b, &w, at_target, TN_REDUCE_SUM, 1u << 1, in, 2);
    return tn_reshape(b, tn_mul(b, h->valid, tn_sub(b, h->lse, score)), -1);
}

/* softmax(z) - onehot(target) */
static tn_tensor describe_error(tn_builder *b, const head *h)
{
    tni_work w = {0};
    const tni_register z = tni_work_input(&w, 0), lse = tni_work_input(&w, 1);
    const tni_register p = tni_work_op(
        &w, TN_MAP_EXP, tni_work_op(&w, TN_MAP_SUB, z, lse, 0), 0, 0);
    const tn_tensor in[] = {h->z, h->lse, h->target};
    return tni_map_written1(
        b, &w, tni_work_op(&w, TN_MAP_SUB, p, onehot(&w, 2), 0), in, 3);
}

void tni_linear_cross_entropy_decompose(tn_builder *b, const tn_op_node *node,
                                        tn_tensor *out)
{
    const head h = describe_head(b, node);
    out[0] = describe_nll(b, &h);
}

void tni_linear_cross_entropy_bwd_decompose(tn_builder *b,
                                            const tn_op_node *node,
                                            tn_tensor *out)
{
    const tn_loss_attr *attr = node->attr;
    const tn_tensor x = node->in[0], w = node->in[1];
    const head h = describe_head(b, node);
    const tn_tensor scale =
        tn_mul(b, h.valid, tn_reshape(b, node->in[3], -1, 1));
    tn_tensor dz = tn_mul(b, describe_error(b, &h), scale);
    if (attr->softcap > 0.0) { /* d cap tanh(s / cap) / ds = 1 - (z / cap)^2 */
        const tn_tensor t = tn_scale(b, h.z, 1.0 / attr->softcap);
        dz = tn_mul(b, dz, tn_rsub(b, 1.0, tn_square(b, t)));
    }
    out[0] = tn_matmul(b, dz, w);
    out[1] = tn_matmul(b, tn_transpose(b, dz), x);
    out[2] = describe_nll(b, &h);
}
