/*
 * attention.c - softmax attention: what it is, its backward op, what it costs.
 *
 * The decomposition, which is its definition, is in attention_decompose.c.
 */
#include <tenon/builder.h>

#include <inttypes.h>
#include <string.h>

#include "graph/ops/ops.h"

/* Vectors may be anywhere; each is dense. So slices of a joint projection, and
 * values that are part of their keys, need no copy. */
int tni_has_dense_vectors(const tn_tensor_info *x)
{
    return x->shape[x->rank - 1] == 1 || x->stride[x->rank - 1] == 1;
}

/* q (B, T, H, D), k (B, S, G, D), v (B, S, G, E), and from input `optional` on
 * [positions (B, T)], [first (B, T)] */
static tn_status check_operands(const tn_builder *b, const tn_op_node *node,
                                const tn_tensor *qkv, uint32_t optional,
                                tn_error *err)
{
    const tn_tensor_info q = tn_info(b, qkv[0]);
    const tn_tensor_info k = tn_info(b, qkv[1]);
    const tn_tensor_info v = tn_info(b, qkv[2]);
    TN_TRY(tni_expect_rank(&q, "q", 4, 4, err));
    TN_TRY(tni_expect_rank(&k, "k", 4, 4, err));
    TN_TRY(tni_expect_rank(&v, "v", 4, 4, err));
    TN_TRY(tni_expect_float(&q, "q", err));
    TN_TRY(tni_expect_same_dtype(&q, "q", &k, "k", err));
    TN_TRY(tni_expect_same_dtype(&q, "q", &v, "v", err));
    TN_TRY(tni_expect_size(&k, "k", 0, q.shape[0], err));
    TN_TRY(tni_expect_size(&k, "k", 3, q.shape[3], err));
    for (uint32_t i = 0; i < 3; i++)
        TN_TRY(tni_expect_size(&v, "v", i, k.shape[i], err));
    if (q.shape[2] % k.shape[2])
        return tn_fail(err, TN_ESHAPE,
                       "%" PRId64 " query heads are no multiple of %" PRId64
                       " key heads",
                       q.shape[2], k.shape[2]);
    TN_TRY(tni_expect_of_rows(b, tni_in(node, optional), "positions", &q, err));
    return tni_expect_of_rows(b, tni_in(node, optional + 1), "first", &q, err);
}

static tn_status check_attr(const tn_attention_attr *a, tn_error *err)
{
    if (!(a->scale >= 0.0) || !(a->softcap >= 0.0) || a->window < 0)
        return tn_fail(err, TN_ESHAPE,
                       "scale %g, softcap %g and window %" PRId64
                       " must not be below 0",
                       a->scale, a->softcap, a->window);
    return TN_OK;
}

tn_status tni_attention_shape(const tn_builder *b, const tn_op_node *node,
                              tn_tensor_info *out, tn_error *err)
{
    TN_TRY(check_operands(b, node, node->in, 3, err));
    TN_TRY(check_attr(node->attr, err));
    const tn_tensor_info q = tn_info(b, node->in[0]);
    const int64_t o[] = {q.shape[0], q.shape[1], q.shape[2],
                         tn_dim(b, node->in[2], 3)};
    const int64_t lse[] = {q.shape[0], q.shape[2], q.shape[1]};
    out[0] = tni_dense(q.dtype, 4, o);
    out[1] = tni_dense(tni_statistic_dtype(b), 3, lse);
    return TN_OK;
}

/* do, q, k, v, o, lse, [positions], [first] */
tn_status tni_attention_bwd_shape(const tn_builder *b, const tn_op_node *node,
                                  tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info d = tn_info(b, node->in[0]);
    const tn_tensor_info o = tn_info(b, node->in[4]);
    const tn_tensor_info lse = tn_info(b, node->in[5]);
    TN_TRY(check_operands(b, node, node->in + 1, 6, err));
    TN_TRY(check_attr(node->attr, err));
    const tn_tensor_info q = tn_info(b, node->in[1]);
    TN_TRY(tni_expect_rank(&o, "o", 4, 4, err));
    TN_TRY(tni_expect_same_shape(&d, "do", &o, "o", err));
    for (uint32_t i = 0; i < 3; i++)
        TN_TRY(tni_expect_size(&o, "o", i, q.shape[i], err));
    TN_TRY(tni_expect_size(&o, "o", 3, tn_dim(b, node->in[3], 3), err));
    TN_TRY(tni_expect_rank(&lse, "lse", 3, 3, err));
    TN_TRY(tni_expect_size(&lse, "lse", 0, q.shape[0], err));
    TN_TRY(tni_expect_size(&lse, "lse", 1, q.shape[2], err));
    TN_TRY(tni_expect_size(&lse, "lse", 2, q.shape[1], err));
    for (uint32_t i = 0; i < 3; i++) {
        const tn_tensor_info x = tn_info(b, node->in[1 + i]);
        out[i] = tni_dense_like(&x);
    }
    return TN_OK;
}

/* lse is a statistic for the backward op; no gradient flows through it. */
void tni_attention_gradient(tn_builder *b, const tn_op_node *node,
                            const tn_tensor *dout, uint32_t wanted,
                            tn_tensor *din)
{
    const tn_tensor in[] = {dout[0],         node->in[0],    node->in[1],
                            node->in[2],     node->out[0],   node->out[1],
                            tni_in(node, 3), tni_in(node, 4)};
    tn_tensor made[3];
    if (tn_is_none(dout[0]) || !(wanted & 7u))
        return;
    b->api->op(b, TN_OP_ATTENTION_BWD, in, 8, node->attr,
               (uint32_t)sizeof(tn_attention_attr), made, 3, TN_HERE);
    tni_take_wanted(din, made, 3, wanted);
}

/*
 * Pairs of query and key that one head looks at: half of all in causal
 * training. Positions are not known here, so where there are more keys than
 * rows (decoding), the rows are taken to be the last ones; nor is where
 * documents begin, so a row is taken to be one document.
 */
static double pairs_seen(const tn_attention_attr *a, int64_t rows, int64_t keys)
{
    const int64_t first = keys > rows ? keys - rows : 0;
    double pairs = 0.0;
    if (a->bidirectional)
        return (double)rows * (double)keys;
    for (int64_t t = 0; t < rows; t++) {
        int64_t seen = first + t + 1;
        if (seen > keys)
            seen = keys;
        if (a->window && seen > a->window)
            seen = a->window;
        pairs += (double)seen;
    }
    return pairs;
}

/* Two products over the pairs that a mask leaves: 2 (D + E) each. Softmax is
 * not counted, as is usual. */
static double flops(const tn_builder *b, const void *attr, const tn_tensor *qkv)
{
    const tn_tensor_info q = tn_info(b, qkv[0]);
    const double heads = (double)q.shape[0] * (double)q.shape[2];
    const double pairs = pairs_seen(attr, q.shape[1], tn_dim(b, qkv[1], 1));
    return 2.0 * heads * pairs * (double)(q.shape[3] + tn_dim(b, qkv[2], 3));
}

double tni_attention_flops(const tn_builder *b, const tn_op_node *node)
{
    return flops(b, node->attr, node->in);
}

/* Five products where the forward has two: scores again, dv, dp, dq, dk. */
double tni_attention_bwd_flops(const tn_builder *b, const tn_op_node *node)
{
    return 2.5 * flops(b, node->attr, node->in + 1);
}
