/*
 * newton_schulz.c - matrices with their singular values brought near 1.
 *
 *     X = x / max(|x|, eps)                    on its side: S x L, S <= L
 *     X = a X + U X,  U = b G + c G G,  G = X X'      `steps` times
 *
 * Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
 * networks".
 */
#include "reference.h"

#include <math.h>

typedef struct square {
    int64_t S, L;
    double *X, *next; /* S x L */
    double *G, *U;    /* S x S */
} square;

static square sizes(const ref_node *n)
{
    const int64_t rows = n->in->shape[1], columns = n->in->shape[2];
    square q = {rows < columns ? rows : columns,
                rows < columns ? columns : rows,
                NULL,
                NULL,
                NULL,
                NULL};
    q.X = n->scratch;
    if (q.X) {
        q.next = q.X + q.S * q.L;
        q.G = q.next + q.S * q.L;
        q.U = q.G + q.S * q.S;
    }
    return q;
}

int64_t ref_newton_schulz_scratch(const ref_node *n)
{
    const square q = sizes(n);
    return 2 * q.S * (q.L + q.S);
}

/* Element (i, j) of matrix m on its side, as an element of x. */
static int64_t element(const ref_node *n, int64_t m, int64_t i, int64_t j)
{
    const int64_t rows = n->in->shape[1], columns = n->in->shape[2];
    const int64_t at = m * rows * columns;
    return rows > columns ? at + j * columns + i : at + i * columns + j;
}

static void load(const ref_node *n, const square *q, int64_t m)
{
    const tn_newton_schulz_attr *attr = n->plan->attr;
    double squares = 0.0;
    for (int64_t i = 0; i < q->S; i++)
        for (int64_t j = 0; j < q->L; j++) {
            const double x = ref_get(n->in, element(n, m, i, j));
            q->X[i * q->L + j] = x;
            squares += x * x;
        }
    const double norm = fmax(sqrt(squares), attr->eps);
    for (int64_t i = 0; i < q->S * q->L; i++)
        q->X[i] /= norm;
}

/* Of x, `inner` numbers side by side, and y, as many `stride` apart. */
static double dot(const double *x, const double *y, int64_t stride,
                  int64_t inner)
{
    double sum = 0.0;
    for (int64_t k = 0; k < inner; k++)
        sum += x[k] * y[k * stride];
    return sum;
}

static void iterate(const square *q, const tn_newton_schulz_attr *attr)
{
    const int64_t S = q->S, L = q->L;
    for (int64_t i = 0; i < S; i++)
        for (int64_t j = 0; j < S; j++)
            q->G[i * S + j] = dot(q->X + i * L, q->X + j * L, 1, L);
    for (int64_t i = 0; i < S; i++)
        for (int64_t j = 0; j < S; j++)
            q->U[i * S + j] = attr->b * q->G[i * S + j] +
                              attr->c * dot(q->G + i * S, q->G + j, S, S);
    for (int64_t i = 0; i < S; i++)
        for (int64_t j = 0; j < L; j++)
            q->next[i * L + j] =
                attr->a * q->X[i * L + j] + dot(q->U + i * S, q->X + j, L, S);
    for (int64_t i = 0; i < S * L; i++)
        q->X[i] = q->next[i];
}

void ref_newton_schulz(const ref_node *n)
{
    const tn_newton_schulz_attr *attr = n->plan->attr;
    const square q = sizes(n);
    for (int64_t m = 0; m < n->in->shape[0]; m++) {
        load(n, &q, m);
        for (int64_t i = 0; i < attr->steps; i++)
            iterate(&q, attr);
        for (int64_t i = 0; i < q.S; i++)
            for (int64_t j = 0; j < q.L; j++)
                ref_put(n, 0, element(n, m, i, j), q.X[i * q.L + j]);
    }
}
