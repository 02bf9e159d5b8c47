/*
 * ssd.c - the scan of Mamba-2's state space layer: what it is, its backward
 * op, what it costs.
 *
 * The decompositions are in ssd_decompose.c.
 */
#include <tenon/builder.h>

#include <inttypes.h>

#include "graph/ops/ops.h"
#include "graph/ops/ssd.h"

int64_t tni_ssd_chunk(const tn_ssd_attr *attr, int64_t T)
{
    const int64_t chunk = attr->chunk_size ? attr->chunk_size : 256;
    return chunk < T ? chunk : T;
}

/* ---- shapes ---- */

/* Bm or Cm: (B, T, G, N) beside x (B, T, H, P) */
static tn_status check_groups(const tn_tensor_info *x, const tn_tensor_info *y,
                              const char *what, tn_error *err)
{
    TN_TRY(tni_expect_rank(y, what, 4, 4, err));
    TN_TRY(tni_expect_same_dtype(x, "x", y, what, err));
    TN_TRY(tni_expect_size(y, what, 0, x->shape[0], err));
    return tni_expect_size(y, what, 1, x->shape[1], err);
}

/* x, dt, A, Bm, Cm */
static tn_status check_operands(const tn_builder *b, const tn_ssd_attr *attr,
                                const tn_tensor *in, tn_error *err)
{
    const tn_tensor_info x = tn_info(b, in[0]), dt = tn_info(b, in[1]);
    const tn_tensor_info A = tn_info(b, in[2]), Bm = tn_info(b, in[3]);
    const tn_tensor_info Cm = tn_info(b, in[4]);
    TN_TRY(tni_expect_rank(&x, "x", 4, 4, err));
    TN_TRY(tni_expect_float(&x, "x", err));
    TN_TRY(tni_expect_rank(&dt, "dt", 3, 3, err));
    TN_TRY(tni_expect_same_dtype(&x, "x", &dt, "dt", err));
    for (uint32_t i = 0; i < 3; i++)
        TN_TRY(tni_expect_size(&dt, "dt", i, x.shape[i], err));
    TN_TRY(tni_expect_rank(&A, "A", 1, 1, err));
    TN_TRY(tni_expect_same_dtype(&x, "x", &A, "A", err));
    TN_TRY(tni_expect_size(&A, "A", 0, x.shape[2], err));
    TN_TRY(check_groups(&x, &Bm, "Bm", err));
    TN_TRY(check_groups(&x, &Cm, "Cm", err));
    TN_TRY(tni_expect_same_shape(&Bm, "Bm", &Cm, "Cm", err));
    if (x.shape[2] % Bm.shape[2])
        return tn_fail(err, TN_ESHAPE,
                       "%" PRId64 " heads are no multiple of %" PRId64
                       " groups",
                       x.shape[2], Bm.shape[2]);
    if (attr->chunk_size < 0)
        return tn_fail(err, TN_ESHAPE,
                       "chunk_size %" PRId64 " must not be below 0",
                       attr->chunk_size);
    return TN_OK;
}

tn_status tni_ssd_scan_shape(const tn_builder *b, const tn_op_node *node,
                             tn_tensor_info *out, tn_error *err)
{
    TN_TRY(check_operands(b, node->attr, node->in, err));
    const tn_tensor_info x = tn_info(b, node->in[0]);
    TN_TRY(tni_expect_of_rows(b, tni_in(node, 6), "first", &x, err));
    const int64_t state[] = {x.shape[0], x.shape[2], x.shape[3],
                             tn_dim(b, node->in[3], 3)};
    out[0] = tni_dense_like(&x);
    out[1] = tni_dense(x.dtype, 4, state);
    if (tn_is_none(tni_in(node, 5)))
        return TN_OK;
    const tn_tensor_info start = tn_info(b, node->in[5]);
    TN_TRY(tni_expect_same_dtype(&x, "x", &start, "state", err));
    return tni_expect_same_shape(&start, "state", &out[1], "the last state",
                                 err);
}

tn_status tni_ssd_scan_bwd_shape(const tn_builder *b, const tn_op_node *node,
                                 tn_tensor_info *out, tn_error *err)
{
    TN_TRY(check_operands(b, node->attr, node->in + 1, err));
    const tn_tensor_info dy = tn_info(b, node->in[0]);
    const tn_tensor_info x = tn_info(b, node->in[1]);
    TN_TRY(tni_expect_same_shape(&dy, "dy", &x, "x", err));
    TN_TRY(tni_expect_of_rows(b, tni_in(node, 6), "first", &x, err));
    for (uint32_t i = 0; i < 5; i++) {
        const tn_tensor_info of = tn_info(b, node->in[1 + i]);
        out[i] = tni_dense_like(&of);
    }
    return TN_OK;
}

/* ---- gradient ---- */

/* Training starts every sequence from zeros and reads no last state; what
 * nobody needs is refused, not approximated. */
void tni_ssd_scan_gradient(tn_builder *b, const tn_op_node *node,
                           const tn_tensor *dout, uint32_t wanted,
                           tn_tensor *din)
{
    const tn_tensor in[] = {dout[0],        node->in[0], node->in[1],
                            node->in[2],    node->in[3], node->in[4],
                            tni_in(node, 6)};
    tn_tensor made[5];
    if (!tn_is_none(dout[1]) || !tn_is_none(tni_in(node, 5))) {
        tn_builder_fail(b, "ssd_scan has no gradient through its first and "
                           "last state");
        return;
    }
    if (tn_is_none(dout[0]) || !(wanted & 31u))
        return;
    b->api->op(b, TN_OP_SSD_SCAN_BWD, in, 7, node->attr,
               (uint32_t)sizeof(tn_ssd_attr), made, 5, TN_HERE);
    tni_take_wanted(din, made, 5, wanted);
}

/* ---- cost ---- */

typedef struct cost {
    double of_groups; /* products over pairs of a chunk, N per pair and group */
    double of_heads;  /* the same, P per pair and head */
    double of_states; /* products of rows with states, P N per row and head */
} cost;

/* Of a pair (t, j) of a chunk half are needed: j <= t. */
static double flops(const tn_builder *b, const tn_ssd_attr *attr,
                    const tn_tensor *in, cost products)
{
    const tn_tensor_info x = tn_info(b, in[0]), Bm = tn_info(b, in[3]);
    const int64_t *n = x.shape;
    const double rows = (double)n[0] * (double)n[1];
    const double H = (double)n[2], P = (double)n[3];
    const double G = (double)Bm.shape[2], N = (double)Bm.shape[3];
    const double pairs = ((double)tni_ssd_chunk(attr, n[1]) + 1.0) / 2.0;
    return 2.0 * rows *
           (pairs * (products.of_groups * G * N + products.of_heads * H * P) +
            products.of_states * H * P * N);
}

/* C B', and that with x; each chunk's state, and C with it. */
double tni_ssd_scan_flops(const tn_builder *b, const tn_op_node *node)
{
    return flops(b, node->attr, node->in, (cost){1, 1, 2});
}

/* C B', dB and dC over pairs, dy x' and dx; states twice, and read thrice. */
double tni_ssd_scan_bwd_flops(const tn_builder *b, const tn_op_node *node)
{
    return flops(b, node->attr, node->in + 1, (cost){3, 2, 5});
}
