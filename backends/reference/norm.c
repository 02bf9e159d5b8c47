/*
 * norm.c - rows brought to a common scale, and the way back.
 *
 *     rms_norm:     rstd = 1 / sqrt(mean(x^2) + eps),  y = x rstd w
 *     rms_norm_bwd: with h = x rstd and g = dy w:
 *                   dx = rstd (g - h mean(g h)),  dw = sum over rows of dy h
 *     softmax:      y = exp(x - max) / sum(exp(x - max))
 *     softmax_bwd:  dx = y (dy - sum(dy y))
 *
 * Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization",
 * arXiv:1910.07467.
 */
#include "reference.h"

#include <math.h>

void ref_rms_norm(const ref_node *n)
{
    const tn_norm_attr *attr = n->plan->attr;
    const ref_tensor *x = &n->in[0], *w = &n->in[1];
    const int64_t rows = ref_rows(x), columns = ref_columns(x);
    for (int64_t r = 0; r < rows; r++) {
        double squares = 0.0;
        for (int64_t c = 0; c < columns; c++) {
            const double value = ref_get(x, r * columns + c);
            squares += value * value;
        }
        const double rstd = 1.0 / sqrt(squares / (double)columns + attr->eps);
        for (int64_t c = 0; c < columns; c++)
            ref_put(n, 0, r * columns + c,
                    ref_get(x, r * columns + c) * rstd * ref_get(w, c));
        ref_put(n, 1, r, rstd);
    }
}

static void rms_norm_dx(const ref_node *n, int64_t row, int64_t columns)
{
    const ref_tensor *dy = &n->in[0], *x = &n->in[1], *w = &n->in[2];
    const double rstd = ref_get(&n->in[3], row);
    const int64_t first = row * columns;
    double gh = 0.0;
    for (int64_t c = 0; c < columns; c++)
        gh += ref_get(dy, first + c) * ref_get(w, c) * ref_get(x, first + c) *
              rstd;
    for (int64_t c = 0; c < columns; c++) {
        const double g = ref_get(dy, first + c) * ref_get(w, c);
        const double h = ref_get(x, first + c) * rstd;
        ref_put(n, 0, first + c, rstd * (g - h * gh / (double)columns));
    }
}

void ref_rms_norm_bwd(const ref_node *n)
{
    const ref_tensor *dy = &n->in[0], *x = &n->in[1], *rstd = &n->in[3];
    const int64_t rows = ref_rows(x), columns = ref_columns(x);
    for (int64_t r = 0; r < rows; r++)
        rms_norm_dx(n, r, columns);
    for (int64_t c = 0; c < columns; c++) {
        double dw = 0.0;
        for (int64_t r = 0; r < rows; r++)
            dw += ref_get(dy, r * columns + c) * ref_get(x, r * columns + c) *
                  ref_get(rstd, r);
        ref_put(n, 1, c, dw);
    }
}

void ref_softmax(const ref_node *n)
{
    const ref_tensor *x = &n->in[0];
    const int64_t rows = ref_rows(x), columns = ref_columns(x);
    for (int64_t r = 0; r < rows; r++) {
        double top = -(double)INFINITY, sum = 0.0;
        for (int64_t c = 0; c < columns; c++)
            top = fmax(top, ref_get(x, r * columns + c));
        for (int64_t c = 0; c < columns; c++)
            sum += exp(ref_get(x, r * columns + c) - top);
        for (int64_t c = 0; c < columns; c++)
            ref_put(n, 0, r * columns + c,
                    exp(ref_get(x, r * columns + c) - top) / sum);
    }
}

void ref_softmax_bwd(const ref_node *n)
{
    const ref_tensor *dy = &n->in[0], *y = &n->in[1];
    const int64_t rows = ref_rows(y), columns = ref_columns(y);
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0.0;
        for (int64_t c = 0; c < columns; c++)
            sum += ref_get(dy, r * columns + c) * ref_get(y, r * columns + c);
        for (int64_t c = 0; c < columns; c++)
            ref_put(n, 0, r * columns + c,
                    ref_get(y, r * columns + c) *
                        (ref_get(dy, r * columns + c) - sum));
    }
}
