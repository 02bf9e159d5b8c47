/*
 * newton_schulz.c - matrices with their singular values brought near 1, by
 * products alone.
 *
 *     X = x / max(|x|, eps), on its side where it has more rows than columns
 *     X = a X + (b G + c G G) X,  G = X X'          `steps` times
 *
 * An odd polynomial of a matrix acts on its singular values and leaves its
 * singular vectors alone: a s + b s^3 + c s^5, again and again, drives every
 * s in (0, 1] towards 1. On its side, G is the smaller of the two squares.
 *
 * Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
 * networks"; Bernstein and Newhouse 2024, arXiv:2409.20325.
 */
#include <tenon/builder.h>

#include <inttypes.h>
#include <math.h>

#include "graph/ops/ops.h"

enum { MOST_STEPS = 99 };

tn_status tni_newton_schulz_shape(const tn_builder *b, const tn_op_node *node,
                                  tn_tensor_info *out, tn_error *err)
{
    const tn_newton_schulz_attr *a = node->attr;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    TN_TRY(tni_expect_rank(&x, "x", 3, 3, err));
    TN_TRY(tni_expect_float(&x, "x", err));
    if (a->steps < 1 || a->steps > MOST_STEPS)
        return tn_fail(err, TN_ESHAPE, "steps is %" PRId64 ", needs 1 to %d",
                       a->steps, MOST_STEPS);
    if (!(a->eps >= 0.0) || !isfinite(a->a + a->b + a->c))
        return tn_fail(err, TN_ESHAPE,
                       "coefficients %g, %g, %g must be finite and eps %g not "
                       "below 0",
                       a->a, a->b, a->c, a->eps);
    out[0] = tni_dense_like(&x);
    return TN_OK;
}

/* Optimizers use it, behind all gradients; what nobody needs is refused, not
 * approximated. */
void tni_newton_schulz_gradient(tn_builder *b, const tn_op_node *node,
                                const tn_tensor *dout, uint32_t wanted,
                                tn_tensor *din)
{
    (void)node, (void)dout, (void)wanted, (void)din;
    tn_builder_fail(b, "newton_schulz has no gradient; it is for optimizers");
}

/* Per step X X', G G and U X; S x L is the matrix on its side. */
double tni_newton_schulz_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_newton_schulz_attr *a = node->attr;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    const double rows = (double)x.shape[1], columns = (double)x.shape[2];
    const double S = fmin(rows, columns), L = fmax(rows, columns);
    return (double)a->steps * (double)x.shape[0] * 2.0 * S * S * (2.0 * L + S);
}

static tn_tensor normalised(tn_builder *b, tn_tensor x, double eps)
{
    const uint32_t matrix = tn_axis(b, x, 1) | tn_axis(b, x, 2);
    const tn_tensor norm = tn_sqrt(b, tn_sum(b, tn_square(b, x), matrix));
    return tn_div(b, x, tn_at_least(b, norm, eps));
}

void tni_newton_schulz_decompose(tn_builder *b, const tn_op_node *node,
                                 tn_tensor *out)
{
    const tn_newton_schulz_attr *a = node->attr;
    const tn_tensor x = node->in[0];
    const int tall = tn_dim(b, x, 1) > tn_dim(b, x, 2);
    tn_tensor X = normalised(b, tall ? tn_transpose(b, x) : x, a->eps);
    for (int64_t i = 0; i < a->steps; i++) {
        const tn_tensor G = tn_matmul(b, X, tn_transpose(b, X));
        const tn_tensor U = tn_add(b, tn_scale(b, G, a->b),
                                   tn_scale(b, tn_matmul(b, G, G), a->c));
        X = tn_add(b, tn_scale(b, X, a->a), tn_matmul(b, U, X));
    }
    out[0] = tall ? tn_transpose(b, X) : X;
}
