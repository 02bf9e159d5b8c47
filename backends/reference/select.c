/*
 * select.c - choosing: the largest elements of a row, and who goes to which
 * expert.
 *
 *     topk:         the k first elements of a row in the order "larger value
 *                   first, then lower index"
 *     argmax:       the first of that order
 *     expert_plan:  flat positions of `choice` sorted by expert, stable
 *
 * A NaN ranks with minus infinity, so that indices stay valid.
 */
#include "reference.h"

#include <math.h>

static double rank_value(const ref_tensor *x, int64_t i)
{
    const double value = ref_get(x, i);
    return isnan(value) ? -(double)INFINITY : value;
}

/* The best column of the row that begins at `first`, among those that come
 * after column `previous` in the order (-1: among all). */
static int64_t next_best(const ref_tensor *x, int64_t first, int64_t columns,
                         int64_t previous)
{
    int64_t best = -1;
    double best_value = 0.0, bound = 0.0;
    if (previous >= 0)
        bound = rank_value(x, first + previous);
    for (int64_t c = 0; c < columns; c++) {
        const double value = rank_value(x, first + c);
        const int left =
            previous < 0 || value < bound || (value == bound && c > previous);
        if (left && (best < 0 || value > best_value)) {
            best = c;
            best_value = value;
        }
    }
    return best;
}

void ref_topk(const ref_node *n)
{
    const tn_topk_attr *attr = n->plan->attr;
    const ref_tensor *x = &n->in[0];
    const int64_t columns = ref_columns(x);
    for (int64_t row = 0; row < ref_rows(x); row++) {
        int64_t best = -1;
        for (int64_t j = 0; j < attr->k; j++) {
            best = next_best(x, row * columns, columns, best);
            ref_put(n, 0, row * attr->k + j, ref_get(x, row * columns + best));
            ref_put(n, 1, row * attr->k + j, (double)best);
        }
    }
}

void ref_argmax(const ref_node *n)
{
    const ref_tensor *x = &n->in[0];
    const int64_t columns = ref_columns(x);
    for (int64_t row = 0; row < ref_rows(x); row++)
        ref_put(n, 0, row, (double)next_best(x, row * columns, columns, -1));
}

void ref_expert_plan(const ref_node *n)
{
    enum { ORDER, INVERSE, OFFSETS };
    const tn_expert_plan_attr *attr = n->plan->attr;
    const int64_t count = n->in[0].count;
    int64_t sorted = 0;
    for (int64_t expert = 0; expert < attr->experts; expert++) {
        ref_put(n, OFFSETS, expert, (double)sorted);
        for (int64_t flat = 0; flat < count; flat++) {
            if (ref_index(n, 0, flat, 0, attr->experts) != expert)
                continue;
            ref_put(n, ORDER, sorted, (double)flat);
            ref_put(n, INVERSE, flat, (double)sorted);
            sorted++;
        }
    }
    ref_put(n, OFFSETS, attr->experts, (double)sorted);
}
