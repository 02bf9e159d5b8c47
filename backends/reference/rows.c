/*
 * rows.c - tables addressed by rows. A row is everything inside the first axis
 * (or, for a state, inside the first two).
 *
 *     gather_rows:       y[i] = table[index[i]], 0 where index[i] = -1
 *     scatter_add_rows:  y[r] = sum of x[i] over the i with index[i] = r
 *     set_rows:          state[b, index[b, t]] = x[b, t]
 *
 * An index outside [-1, rows) fails the run: it is data, and wrong.
 */
#include "reference.h"

void ref_gather_rows(const ref_node *n)
{
    const ref_tensor *table = &n->in[0], *index = &n->in[1];
    const int64_t width = ref_size(table, 1, table->rank);
    for (int64_t i = 0; i < index->count; i++) {
        const int64_t row = ref_index(n, 1, i, -1, table->shape[0]);
        for (int64_t c = 0; c < width; c++)
            ref_put(n, 0, i * width + c,
                    row < 0 ? 0.0 : ref_get(table, row * width + c));
    }
}

int64_t ref_scatter_add_rows_scratch(const ref_node *n)
{
    return n->out->count;
}

void ref_scatter_add_rows(const ref_node *n)
{
    const ref_tensor *index = &n->in[0], *x = &n->in[1], *y = n->out;
    const int64_t width = ref_size(y, 1, y->rank);
    double *sum = n->scratch;
    for (int64_t i = 0; i < y->count; i++)
        sum[i] = 0.0;
    for (int64_t i = 0; i < index->count; i++) {
        const int64_t row = ref_index(n, 0, i, -1, y->shape[0]);
        for (int64_t c = 0; row >= 0 && c < width; c++)
            sum[row * width + c] += ref_get(x, i * width + c);
    }
    for (int64_t i = 0; i < y->count; i++)
        ref_put(n, 0, i, sum[i]);
}

/* The output lies on the state, input 0. Of two rows with the same index the
 * later one stays. */
void ref_set_rows(const ref_node *n)
{
    const ref_tensor *index = &n->in[1], *x = &n->in[2], *y = n->out;
    const int64_t width = ref_size(y, 2, y->rank);
    const int64_t rows = y->shape[1], steps = index->shape[1];
    for (int64_t i = 0; i < index->count; i++) {
        const int64_t row = ref_index(n, 1, i, -1, rows);
        for (int64_t c = 0; row >= 0 && c < width; c++)
            ref_put(n, 0, (i / steps * rows + row) * width + c,
                    ref_get(x, i * width + c));
    }
}
