/*
 * random_graph.h - many small graphs, the same for the same seed: maps,
 * reductions, products, views, slices, concats and softmaxes over whatever was
 * made before, so that values have one reader or several, far and near.
 */
#ifndef TN_RANDOM_GRAPH_H
#define TN_RANDOM_GRAPH_H

#include <tenon/builder.h>
#include <tenon/philox.h>

enum { RANDOM_ROWS = 6, RANDOM_COLUMNS = 8, RANDOM_POOL = 64 };

typedef struct random_graph {
    uint32_t seed, drawn;
    tn_tensor pool[RANDOM_POOL]; /* all (ROWS, COLUMNS) */
    uint32_t count;
} random_graph;

static inline uint32_t random_below(random_graph *r, uint32_t n)
{
    return (uint32_t)(tn_philox_uniform(r->seed, 7, 0, r->drawn++) * (float)n);
}

static inline tn_tensor random_value(random_graph *r)
{
    return r->pool[random_below(r, r->count)];
}

static inline tn_tensor random_map(random_graph *r, tn_builder *b)
{
    const tn_tensor x = random_value(r), y = random_value(r);
    switch (random_below(r, 6)) {
    case 0:
        return tn_tanh(b, x);
    case 1:
        return tn_add(b, x, y);
    case 2:
        return tn_mul(b, x, tn_sigmoid(b, y));
    case 3:
        return tn_max(b, x, tn_scale(b, y, 0.5));
    case 4:
        return tn_select(b, tn_lt(b, x, y), x, tn_scale(b, y, 0.25));
    default:
        return tn_sub(b, tn_lerp(b, x, y, 0.3), tn_shift(b, x, 0.1));
    }
}

static inline tn_tensor random_other(random_graph *r, tn_builder *b)
{
    const tn_tensor x = random_value(r), y = random_value(r);
    switch (random_below(r, 6)) {
    case 0: /* a product back to the same shape */
        return tn_scale(b, tn_matmul(b, tn_matmul(b, x, tn_transpose(b, y)), x),
                        0.02);
    case 1: /* two halves change places */
        return tn_concat(b, 1, tn_slice(b, x, 1, 4, 4),
                         tn_slice(b, y, 1, 0, 4));
    case 2: /* a statistic per row */
        return tn_sub(b, x, tn_scale(b, tn_sum(b, x, 2u), 0.125));
    case 3: /* the same elements in another shape and back */
        return tn_reshape(b,
                          tn_exp(b, tn_scale(b, tn_reshape(b, x, 3, 16), 0.1)),
                          RANDOM_ROWS, RANDOM_COLUMNS);
    case 4:
        return tn_softmax(b, x);
    default: /* a transposed read */
        return tn_add(b, y, tn_transpose(b, tn_tanh(b, tn_transpose(b, x))));
    }
}

/* Grow `values` values from what the pool holds. */
static inline void random_describe(random_graph *r, tn_builder *b,
                                   uint32_t values)
{
    for (uint32_t i = 0; i < values && r->count < RANDOM_POOL; i++) {
        const tn_tensor x =
            random_below(r, 3) ? random_map(r, b) : random_other(r, b);
        r->pool[r->count++] = x;
    }
}

#endif
