/*
 * rope.c - rotary position embedding: pairs of a head turn by an angle that
 * grows with the position.
 *
 *     angle_i = position * theta^(-2 i / dims)      pair i of dims / 2
 *     (a, b) -> (a cos - b sin, a sin + b cos)
 *
 * Pair i is (i, i + dims/2), or (2i, 2i + 1) when interleaved. Elements from
 * `dims` on pass through. `inverse` turns by the negative angle, which is also
 * the gradient.
 *
 * Source: Su et al. 2021, "RoFormer", arXiv:2104.09864.
 */
#include "reference.h"

#include <math.h>

static void turn_head(const ref_node *n, int64_t first, int64_t size,
                      double position)
{
    const tn_rope_attr *attr = n->plan->attr;
    const ref_tensor *x = &n->in[0];
    const int64_t dims = attr->dims ? attr->dims : size;
    const double direction = attr->inverse ? -1.0 : 1.0;
    for (int64_t i = 0; i < dims / 2; i++) {
        const double angle = direction * position *
                             pow(attr->theta, -2.0 * (double)i / (double)dims);
        const int64_t p = first + (attr->interleaved ? 2 * i : i);
        const int64_t q = p + (attr->interleaved ? 1 : dims / 2);
        const double a = ref_get(x, p), b = ref_get(x, q);
        ref_put(n, 0, p, a * cos(angle) - b * sin(angle));
        ref_put(n, 0, q, a * sin(angle) + b * cos(angle));
    }
    for (int64_t i = dims; i < size; i++)
        ref_put(n, 0, first + i, ref_get(x, first + i));
}

void ref_rope(const ref_node *n)
{
    const ref_tensor *x = &n->in[0];
    const int64_t steps = x->shape[1], heads = x->shape[2];
    const int64_t size = x->shape[3], rows = x->shape[0] * steps;
    const int has_positions = n->plan->in_count > 1 && n->in[1].data;
    for (int64_t row = 0; row < rows; row++) {
        const double position =
            has_positions ? ref_get(&n->in[1], row) : (double)(row % steps);
        for (int64_t h = 0; h < heads; h++)
            turn_head(n, (row * heads + h) * size, size, position);
    }
}
