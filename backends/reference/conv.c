/*
 * conv.c - a causal convolution over time, each channel c by itself.
 *
 *     y[b, t, c]  = sum_k w[c, k] x[b, t - K + 1 + k, c]
 *     dx[b, t, c] = sum_k w[c, k] dy[b, t + K - 1 - k, c]
 *     dw[c, k]    = sum_{b, t} dy[b, t, c] x[b, t - K + 1 + k, c]
 *
 * x before row 0 is the history's, row -1 its last one, or zero. Rows before
 * first[b, t] are zero for row t.
 */
#include "reference.h"

typedef struct conv {
    const ref_tensor *x, *w, *history, *first;
    int64_t B, T, C, K;
} conv;

static const ref_tensor *optional(const ref_node *n, uint32_t i)
{
    return n->plan->in_count > i && n->in[i].data ? &n->in[i] : NULL;
}

/* x, w and, from input `last` on, perhaps a history and where documents begin
 */
static conv problem(const ref_node *n, uint32_t first, uint32_t last)
{
    const ref_tensor *x = &n->in[first], *w = x + 1;
    return (conv){.x = x,
                  .w = w,
                  .history = optional(n, last),
                  .first = optional(n, last + 1),
                  .B = x->shape[0],
                  .T = x->shape[1],
                  .C = x->shape[2],
                  .K = w->shape[1]};
}

/* Whether row `from` sees row t. */
static int sees(const conv *v, int64_t b, int64_t from, int64_t t)
{
    return !v->first || t >= (int64_t)ref_get(v->first, b * v->T + from);
}

/* Row t of x, from -(K - 1) on, as row `from` sees it. */
static double at(const conv *v, int64_t b, int64_t from, int64_t t, int64_t c)
{
    const int64_t before = v->K - 1;
    if (!sees(v, b, from, t))
        return 0.0;
    if (t >= 0)
        return ref_get(v->x, (b * v->T + t) * v->C + c);
    return v->history
               ? ref_get(v->history, (b * before + before + t) * v->C + c)
               : 0.0;
}

void ref_conv1d_causal(const ref_node *n)
{
    const conv v = problem(n, 0, 2);
    for (int64_t b = 0; b < v.B; b++)
        for (int64_t t = 0; t < v.T; t++)
            for (int64_t c = 0; c < v.C; c++) {
                double y = 0.0;
                for (int64_t k = 0; k < v.K; k++)
                    y += ref_get(v.w, c * v.K + k) *
                         at(&v, b, t, t - v.K + 1 + k, c);
                ref_put(n, 0, (b * v.T + t) * v.C + c, y);
            }
}

static double dx_at(const conv *v, const ref_tensor *dy, int64_t b, int64_t t,
                    int64_t c)
{
    double dx = 0.0;
    for (int64_t k = 0; k < v->K; k++) {
        const int64_t to = t + v->K - 1 - k;
        if (to < v->T && sees(v, b, to, t))
            dx += ref_get(v->w, c * v->K + k) *
                  ref_get(dy, (b * v->T + to) * v->C + c);
    }
    return dx;
}

static double dw_at(const conv *v, const ref_tensor *dy, int64_t c, int64_t k)
{
    double dw = 0.0;
    for (int64_t b = 0; b < v->B; b++)
        for (int64_t t = 0; t < v->T; t++)
            dw += ref_get(dy, (b * v->T + t) * v->C + c) *
                  at(v, b, t, t - v->K + 1 + k, c);
    return dw;
}

void ref_conv1d_causal_bwd(const ref_node *n)
{
    const conv v = problem(n, 1, 3);
    for (int64_t b = 0; b < v.B; b++)
        for (int64_t t = 0; t < v.T; t++)
            for (int64_t c = 0; c < v.C; c++)
                ref_put(n, 0, (b * v.T + t) * v.C + c,
                        dx_at(&v, &n->in[0], b, t, c));
    for (int64_t c = 0; c < v.C; c++)
        for (int64_t k = 0; k < v.K; k++)
            ref_put(n, 1, c * v.K + k, dw_at(&v, &n->in[0], c, k));
}
