/*
 * shape.c - moving values without changing them.
 *
 *     copy, assign:  y[i] = x[i], in y's dtype
 *     concat:        y = x0 x1 ... joined along an axis
 *     fill:          y[i] = value
 */
#include "reference.h"

void ref_copy(const ref_node *n)
{
    for (int64_t i = 0; i < n->out->count; i++)
        ref_put(n, 0, i, ref_get(&n->in[0], i));
}

/* The output lies on the target, input 0. */
void ref_assign(const ref_node *n)
{
    for (int64_t i = 0; i < n->out->count; i++)
        ref_put(n, 0, i, ref_get(&n->in[1], i));
}

/* Seen from outside the axis, each input gives a run of consecutive elements:
 * its part of the axis times everything inside it. */
void ref_concat(const ref_node *n)
{
    const tn_concat_attr *attr = n->plan->attr;
    const ref_tensor *y = n->out;
    const int64_t outer = ref_size(y, 0, attr->axis);
    int64_t to = 0;
    for (int64_t o = 0; o < outer; o++)
        for (uint32_t part = 0; part < n->plan->in_count; part++) {
            const ref_tensor *x = &n->in[part];
            const int64_t run = ref_size(x, attr->axis, x->rank);
            for (int64_t i = 0; i < run; i++)
                ref_put(n, 0, to++, ref_get(x, o * run + i));
        }
}

void ref_fill(const ref_node *n)
{
    const tn_fill_attr *attr = n->plan->attr;
    for (int64_t i = 0; i < n->out->count; i++)
        ref_put(n, 0, i, attr->value);
}
