/*
 * loss.c - the head and the cross-entropy in one op.
 *
 *     u_v = x . w_v          z_v = u_v, or cap tanh(u_v / cap)
 *     nll = log sum_v exp(z_v) - z_target,   0 where target is -1
 *
 *     dz_v = dnll (softmax(z)_v - [v = target]),  0 where target is -1
 *     du_v = dz_v (1 - (z_v / cap)^2)
 *     dx = sum_v du_v w_v    dw_v = sum over rows of du_v x
 */
#include "reference.h"

#include <math.h>

/* Capped logits of row r into z[]; log of the sum of their exponentials. */
static double logits(const ref_tensor *x, const ref_tensor *w, int64_t r,
                     double cap, double *z)
{
    const int64_t classes = w->shape[0], columns = w->shape[1];
    double top = -(double)INFINITY, sum = 0.0;
    for (int64_t v = 0; v < classes; v++) {
        double u = 0.0;
        for (int64_t c = 0; c < columns; c++)
            u += ref_get(x, r * columns + c) * ref_get(w, v * columns + c);
        z[v] = cap > 0.0 ? cap * tanh(u / cap) : u;
        top = fmax(top, z[v]);
    }
    for (int64_t v = 0; v < classes; v++)
        sum += exp(z[v] - top);
    return top + log(sum);
}

int64_t ref_linear_cross_entropy_scratch(const ref_node *n)
{
    return n->in[1].shape[0];
}

void ref_linear_cross_entropy(const ref_node *n)
{
    const tn_loss_attr *attr = n->plan->attr;
    const ref_tensor *x = &n->in[0], *w = &n->in[1];
    for (int64_t r = 0; r < x->shape[0]; r++) {
        const int64_t target = ref_index(n, 2, r, -1, w->shape[0]);
        const double lse = logits(x, w, r, attr->softcap, n->scratch);
        ref_put(n, 0, r, target < 0 ? 0.0 : lse - n->scratch[target]);
    }
}

/* z (V), then the sum of dw (V, C). */
int64_t ref_linear_cross_entropy_bwd_scratch(const ref_node *n)
{
    return n->in[1].shape[0] + n->out[1].count;
}

/* z[] becomes du[] for one row. */
static void logit_gradients(double *z, int64_t classes, int64_t target,
                            double lse, double cap, double dnll)
{
    for (int64_t v = 0; v < classes; v++) {
        const double bend = cap > 0.0 ? 1.0 - (z[v] / cap) * (z[v] / cap) : 1.0;
        const double hit = v == target ? 1.0 : 0.0;
        z[v] = target < 0 ? 0.0 : dnll * bend * (exp(z[v] - lse) - hit);
    }
}

void ref_linear_cross_entropy_bwd(const ref_node *n)
{
    enum { DX, DW, NLL };
    const tn_loss_attr *attr = n->plan->attr;
    const ref_tensor *x = &n->in[0], *w = &n->in[1];
    const int64_t classes = w->shape[0], columns = w->shape[1];
    double *z = n->scratch, *dw = n->scratch + classes;
    for (int64_t i = 0; i < w->count; i++)
        dw[i] = 0.0;
    for (int64_t r = 0; r < x->shape[0]; r++) {
        const int64_t target = ref_index(n, 2, r, -1, classes);
        const double lse = logits(x, w, r, attr->softcap, z);
        ref_put(n, NLL, r, target < 0 ? 0.0 : lse - z[target]);
        logit_gradients(z, classes, target, lse, attr->softcap,
                        ref_get(&n->in[3], r));
        for (int64_t c = 0; c < columns; c++) {
            double dx = 0.0;
            for (int64_t v = 0; v < classes; v++) {
                dx += z[v] * ref_get(w, v * columns + c);
                dw[v * columns + c] += z[v] * ref_get(x, r * columns + c);
            }
            ref_put(n, DX, r * columns + c, dx);
        }
    }
    for (int64_t i = 0; i < w->count; i++)
        ref_put(n, DW, i, dw[i]);
}
