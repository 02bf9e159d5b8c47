/*
 * matmul.c - matrix products.
 *
 *     matmul:          y[.., m, n] = sum_k a[.., m, k] b[.., k, n]
 *     grouped_matmul:  y[r, n] = sum_k a[r, k] b[e, k, n],  r in group e
 *     transpose_a:     y[e, k, n] = sum over r in group e of a[r, k] b[r, n]
 *
 * Operands are read through their strides, so a transposed view costs nothing
 * extra here. Batch axes of size 1, or missing, are repeated.
 */
#include "reference.h"

/* A matrix somewhere in a tensor: element (i, j) is at start + i di + j dj. */
typedef struct matrix {
    const ref_tensor *of;
    int64_t start, di, dj;
} matrix;

static double at(matrix m, int64_t i, int64_t j)
{
    return ref_load(m.of, m.start + i * m.di + j * m.dj);
}

/* The matrix of `t` that belongs to batch number `batch` of output `y`. */
static matrix batch_matrix(const ref_tensor *t, const ref_tensor *y,
                           int64_t batch)
{
    const uint32_t r = t->rank;
    matrix m = {t, 0, t->stride[r - 2], t->stride[r - 1]};
    for (uint32_t back = 3; back <= y->rank; back++) {
        const int64_t size = y->shape[y->rank - back];
        if (back <= r && t->shape[r - back] != 1)
            m.start += batch % size * t->stride[r - back];
        batch /= size;
    }
    return m;
}

static double dot(matrix a, matrix b, int64_t row, int64_t column, int64_t from,
                  int64_t to)
{
    double sum = 0.0;
    for (int64_t k = from; k < to; k++)
        sum += at(a, row, k) * at(b, k, column);
    return sum;
}

void ref_matmul(const ref_node *n)
{
    const ref_tensor *y = n->out;
    const int64_t rows = y->shape[y->rank - 2];
    const int64_t columns = y->shape[y->rank - 1];
    const int64_t inner = ref_columns(&n->in[0]);
    const int64_t batches = ref_size(y, 0, y->rank - 2);
    for (int64_t batch = 0; batch < batches; batch++) {
        const matrix a = batch_matrix(&n->in[0], y, batch);
        const matrix b = batch_matrix(&n->in[1], y, batch);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                ref_put(n, 0, (batch * rows + i) * columns + j,
                        dot(a, b, i, j, 0, inner));
    }
}

/* Rows first .. last - 1 belong to expert e; a bad pair fails the node. */
static int group_rows(const ref_node *n, int64_t e, int64_t rows,
                      int64_t *first, int64_t *last)
{
    *first = ref_index(n, 2, e, 0, rows + 1);
    *last = ref_index(n, 2, e + 1, *first, rows + 1);
    return *first >= 0 && *last >= 0;
}

static void grouped_rows(const ref_node *n)
{
    const ref_tensor *a = &n->in[0], *b = &n->in[1];
    const int64_t rows = a->shape[0], inner = a->shape[1];
    const int64_t experts = b->shape[0], columns = b->shape[2];
    const matrix left = {a, 0, a->stride[0], a->stride[1]};
    for (int64_t e = 0; e < experts; e++) {
        const matrix right = {b, e * b->stride[0], b->stride[1], b->stride[2]};
        int64_t first = 0, last = 0;
        if (!group_rows(n, e, rows, &first, &last))
            return;
        for (int64_t i = first; i < last; i++)
            for (int64_t j = 0; j < columns; j++)
                ref_put(n, 0, i * columns + j,
                        dot(left, right, i, j, 0, inner));
    }
}

static void grouped_weights(const ref_node *n)
{
    const ref_tensor *a = &n->in[0], *b = &n->in[1], *y = n->out;
    const int64_t rows = a->shape[0], columns = b->shape[1];
    const int64_t experts = y->shape[0], inner = y->shape[1];
    const matrix left = {a, 0, a->stride[1], a->stride[0]}; /* a^T */
    const matrix right = {b, 0, b->stride[0], b->stride[1]};
    for (int64_t e = 0; e < experts; e++) {
        int64_t first = 0, last = 0;
        if (!group_rows(n, e, rows, &first, &last))
            return;
        for (int64_t k = 0; k < inner; k++)
            for (int64_t j = 0; j < columns; j++)
                ref_put(n, 0, (e * inner + k) * columns + j,
                        dot(left, right, k, j, first, last));
    }
}

void ref_grouped_matmul(const ref_node *n)
{
    const tn_grouped_matmul_attr *attr = n->plan->attr;
    if (attr->transpose_a)
        grouped_weights(n);
    else
        grouped_rows(n);
}
