/*
 * reduce.c - sums, maxima and running sums.
 *
 *     reduce:  y[o] = sum (max, min) of program(element) over the elements
 *              whose kept coordinates are o's
 *     cumsum:  y[i] = x[0] + ... + x[i] along an axis; exclusive stops at
 *              x[i - 1], reverse runs from the other end
 */
#include "reference.h"

#include <math.h>

/* Whether `random` reads input i, which then has a shape of its own. */
static int is_rng(const tn_program *p, uint32_t i)
{
    for (uint32_t k = 0; k < p->instruction_count; k++)
        if (p->instruction[k].op == TN_MAP_RANDOM && p->instruction[k].a == i)
            return 1;
    return 0;
}

/* The shape before reducing: every input of elements has it. */
static const int64_t *iteration_shape(const ref_node *n, const tn_program *p)
{
    uint32_t i = 0;
    while (i + 1 < n->plan->in_count && is_rng(p, i))
        i++;
    return n->in[i].shape;
}

/* Row-major element of `shape` for kept coordinates `o` (numbered over the
 * kept axes alone) and reduced coordinates `r` (over the reduced alone). */
static int64_t element_of(int64_t o, int64_t r, uint32_t axes, uint32_t rank,
                          const int64_t *shape)
{
    int64_t element = 0, step = 1;
    for (uint32_t axis = rank; axis-- > 0;) {
        int64_t *from = axes >> axis & 1u ? &r : &o;
        element += *from % shape[axis] * step;
        *from /= shape[axis];
        step *= shape[axis];
    }
    return element;
}

static double combine(uint32_t kind, double total, double value)
{
    if (kind == TN_REDUCE_SUM)
        return total + value;
    if (isnan(total) || isnan(value))
        return (double)NAN;
    return kind == TN_REDUCE_MAX ? fmax(total, value) : fmin(total, value);
}

void ref_reduce(const ref_node *n)
{
    const tn_reduce_attr *attr = n->plan->attr;
    const ref_tensor *y = n->out;
    const double start = attr->kind == TN_REDUCE_SUM   ? 0.0
                         : attr->kind == TN_REDUCE_MAX ? -(double)INFINITY
                                                       : (double)INFINITY;
    const int64_t *shape = iteration_shape(n, &attr->program);
    int64_t reduced = 1;
    double r[TN_MAP_MAX_INSTRUCTIONS];
    for (uint32_t axis = 0; axis < y->rank; axis++)
        reduced *= attr->axes >> axis & 1u ? shape[axis] : 1;
    for (int64_t o = 0; o < y->count; o++) {
        double total = start;
        for (int64_t i = 0; i < reduced; i++) {
            const int64_t element =
                element_of(o, i, attr->axes, y->rank, shape);
            ref_program_run(n, &attr->program, element, y->rank, shape, r);
            total = combine(attr->kind, total, r[attr->program.output[0]]);
        }
        ref_put(n, 0, o, total);
    }
}

void ref_cumsum(const ref_node *n)
{
    const tn_cumsum_attr *attr = n->plan->attr;
    const ref_tensor *x = &n->in[0];
    const int64_t length = x->shape[attr->axis];
    const int64_t inner = ref_size(x, attr->axis + 1, x->rank);
    const int64_t outer = ref_size(x, 0, attr->axis);
    for (int64_t line = 0; line < outer * inner; line++) {
        const int64_t first = line / inner * length * inner + line % inner;
        double total = 0.0;
        for (int64_t step = 0; step < length; step++) {
            const int64_t at = attr->reverse ? length - 1 - step : step;
            const double value = ref_get(x, first + at * inner);
            ref_put(n, 0, first + at * inner,
                    attr->exclusive ? total : total + value);
            total += value;
        }
    }
}
