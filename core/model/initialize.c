/*
 * initialize.c - first values of weights.
 *
 * Each draw is a function of (seed, the weight's name, element): a weight's
 * start depends on no other, whatever is added to or taken from the model.
 * One call of philox serves four elements, and normals come from the inverse
 * of their distribution, which needs a logarithm for one draw in seven only:
 * a million weights are a matter of ten milliseconds.
 */
#include "model/initialize.h"

#include <math.h>

#include <tenon/philox.h>

enum { DRAWS = 4 };

/* 64-bit FNV-1a */
static uint64_t hash_name(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

/* Elements 4 index .. 4 index + 3 of a weight: uniform in (0, 1), 32 bits. */
static void uniforms(uint64_t seed, uint64_t name, uint64_t index,
                     double u[DRAWS])
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32),
                                 (uint32_t)name, (uint32_t)(name >> 32)};
    uint32_t word[DRAWS];
    tn_philox(key, counter, word);
    for (int i = 0; i < DRAWS; i++)
        u[i] = ((double)word[i] + 0.5) * 0x1p-32;
}

/* The tails of tni_normal_quantile: p is the smaller of p and 1 - p. */
static double normal_tail(double p)
{
    double r = sqrt(-log(p));
    if (r <= 5.0) {
        r -= 1.6;
        return (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r +
                1.4234372777) /
               ((0.12021132975 * r + 0.73700164250) * r + 1.0);
    }
    r -= 5.0;
    return (((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r +
            6.6579051150) /
           ((0.012258202635 * r + 0.24197894225) * r + 1.0);
}

double tni_normal_quantile(double p)
{
    const double q = p - 0.5;
    if (fabs(q) > 0.425)
        return copysign(normal_tail(q < 0 ? p : 1.0 - p), q);
    const double r = 0.180625 - q * q;
    return q *
           (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r +
            3.3871327179) /
           (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0);
}

static double log_uniform(const tn_init *init, double u)
{
    return exp(log(init->a) + u * (log(init->b) - log(init->a)));
}

/* The value that a uniform u in (0, 1) stands for. */
static double draw(const tn_init *init, double u)
{
    switch (init->kind) {
    case TN_INIT_NORMAL:
        return init->a + init->b * tni_normal_quantile(u);
    case TN_INIT_UNIFORM:
        return init->a + u * (init->b - init->a);
    case TN_INIT_LOG_UNIFORM:
        return log(init->a + u * (init->b - init->a));
    case TN_INIT_SOFTPLUS_INVERSE: {
        const double y = log_uniform(init, u);
        return y + log(-expm1(-y)); /* log(e^y - 1) */
    }
    default:
        return init->a; /* TN_INIT_CONSTANT */
    }
}

void tni_weight_initialize(const tni_weight *w, uint64_t seed, float *to)
{
    const uint64_t name = hash_name(w->name);
    for (int64_t first = 0; first < w->elements; first += DRAWS) {
        double u[DRAWS] = {0};
        if (w->init.kind != TN_INIT_CONSTANT)
            uniforms(seed, name, (uint64_t)first / DRAWS, u);
        for (int64_t i = 0; i < DRAWS && first + i < w->elements; i++)
            to[first + i] = (float)draw(&w->init, u[i]);
    }
}
