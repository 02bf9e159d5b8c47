/*
 * sample.c - SAMPLE: the token that tenon/sample.h draws, a row a task.
 *
 * A row becomes keys that order its logits and, once, their weights; what is
 * left out by a cut has key and weight 0. A cut finds where the order ends
 * digit by digit of the key, in lists that get shorter. Weights are whole
 * numbers, so all sums are exact and the token is the same one, to the bit. The
 * likeliest token alone is found without keys.
 */
#include "kernels.h"
#include "vec.h"

#include <math.h>

#include <tenon/sample.h>

typedef struct sampling {
    const float *logits, *how; /* (N, V), (N, 3) */
    const int32_t *limits;     /* (N, 2) */
    int32_t *token;
    int64_t V;
} sampling;

/* Of a row: key 0 takes no part. */
typedef struct candidates {
    uint64_t *weight;
    uint32_t *key, *list;
    int64_t n;
} candidates;

enum {
    BYTES_EACH = sizeof(uint64_t) + 2 * sizeof(uint32_t),
    DIGITS = 256,
    STRETCH = 1024
};

static candidates candidates_in(float *scratch, int64_t V)
{
    candidates c = {.weight = (uint64_t *)(void *)scratch};
    c.key = (uint32_t *)(void *)(c.weight + V);
    c.list = c.key + V;
    return c;
}

/* How many take part. */
static int64_t read_keys(candidates *c, const float *x)
{
    int32_t count = 0;
    for (int64_t i = 0; i < c->n; i++) {
        const uint32_t key = tn_sample_key(x[i]);
        c->key[i] = x[i] - x[i] == 0.0f ? key : 0;
    }
    for (int64_t i = 0; i < c->n; i++)
        count += c->key[i] != 0;
    return count;
}

/* -infinity where no number is finite. */
static float largest_finite(const float *x, int64_t n)
{
    const vf minus = v_set(-INFINITY);
    vf most = minus;
    for (int64_t i = 0; i < n; i += VW) {
        const vf a = v_select(m_first(n - i), v_load_n(x + i, n - i), minus);
        most = v_max(most, v_select(v_eq(a - a, v_zero()), a, minus));
    }
    return v_largest(most);
}

/* The first of the largest that take part, or -1. Only the stretch that it lies
 * in is searched for it. */
static int64_t best_of(const float *x, int64_t n)
{
    int64_t first = -1;
    float most = -INFINITY;
    for (int64_t i = 0; i < n; i += STRETCH) {
        const float here = largest_finite(x + i, cpu_min(STRETCH, n - i));
        first = here > most ? i : first;
        most = here > most ? here : most;
    }
    while (first >= 0 && x[first] != most)
        first++;
    return first;
}

static uint64_t read_weights(candidates *c, const float *x, float most,
                             float rate)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < c->n; i++) {
        c->weight[i] = c->key[i] ? tn_sample_weight(x[i], most, rate) : 0;
        sum += c->weight[i];
    }
    return sum;
}

static uint64_t measure(const candidates *c, uint32_t i, int by_count)
{
    return by_count ? 1 : c->weight[i];
}

/* The digit of the listed keys at which their measure, from the largest down
 * and on top of *before, reaches `wanted`; the list becomes those that have it.
 */
static uint32_t narrow(candidates *c, int64_t *count, int shift, int by_count,
                       uint64_t wanted, uint64_t *before)
{
    uint64_t sum[DIGITS] = {0};
    uint32_t digit = DIGITS - 1;
    int64_t kept = 0;
    for (int64_t i = 0; i < *count; i++) {
        const uint32_t at = c->list[i];
        sum[c->key[at] >> shift & (DIGITS - 1)] += measure(c, at, by_count);
    }
    while (digit > 0 && *before + sum[digit] < wanted)
        *before += sum[digit--];
    for (int64_t i = 0; i < *count; i++)
        if ((c->key[c->list[i]] >> shift & (DIGITS - 1)) == digit)
            c->list[kept++] = c->list[i];
    *count = kept;
    return digit;
}

/* Keep the order's first until their measure reaches `wanted`: their weights'
 * sum. */
static uint64_t cut(candidates *c, int by_count, uint64_t wanted)
{
    uint64_t before = 0, sum = 0;
    uint32_t key = 0, last = UINT32_MAX;
    int64_t count = 0;
    for (int64_t i = 0; i < c->n; i++)
        if (c->key[i])
            c->list[count++] = (uint32_t)i;
    for (int shift = 24; shift >= 0; shift -= 8)
        key |= narrow(c, &count, shift, by_count, wanted, &before) << shift;
    for (int64_t i = 0; i < count && last == UINT32_MAX; i++) {
        before += measure(c, c->list[i], by_count);
        if (before >= wanted)
            last = c->list[i];
    }
    for (int64_t i = 0; i < c->n; i++) {
        if (c->key[i] < key || (c->key[i] == key && (uint64_t)i > last))
            c->key[i] = 0, c->weight[i] = 0;
        sum += c->weight[i];
    }
    return sum;
}

static int32_t draw(candidates *c, const float *x, const tn_sample_how *how)
{
    const int64_t best = best_of(x, c->n);
    if (best < 0 || !(how->temperature > 0.0f))
        return (int32_t)best;
    const int64_t count = read_keys(c, x);
    const float rate = 1.44269504f / how->temperature;
    uint64_t sum = read_weights(c, x, x[best], rate);
    if (how->top_k > 0 && how->top_k < count)
        sum = cut(c, 1, (uint64_t)how->top_k);
    if (how->top_p < 1.0f) {
        const uint64_t enough = tn_sample_part(sum, how->top_p);
        sum = cut(c, 0, enough ? enough : 1);
    }
    uint64_t left = tn_sample_part(sum, how->u);
    for (int64_t i = 0; i < c->n; i++) {
        if (c->weight[i] > left)
            return (int32_t)i;
        left -= c->weight[i];
    }
    return (int32_t)best;
}

static void run_sample(const void *argument, cpu_worker *w, int64_t row)
{
    const sampling *s = argument;
    const tn_sample_how how = {.temperature = s->how[3 * row],
                               .top_p = s->how[3 * row + 1],
                               .u = s->how[3 * row + 2],
                               .top_k = s->limits[2 * row]};
    candidates c = candidates_in(w->scratch, s->V);
    c.n = cpu_max(0, cpu_min(s->limits[2 * row + 1], s->V));
    s->token[row] = draw(&c, s->logits + row * s->V, &how);
}

tn_status ISA(compile_sample)(cpu_compiler *c, const tn_plan_node *node,
                              tn_error *err)
{
    sampling *s = CPU_ARGUMENT(c, sampling);
    (void)err;
    s->logits = cpu_at(c, &node->in[0]);
    s->how = cpu_at(c, &node->in[1]);
    s->limits = cpu_at(c, &node->in[2]);
    s->token = cpu_at(c, &node->out[0]);
    s->V = node->in[0].shape[1];
    cpu_scratch(c, s->V * BYTES_EACH);
    cpu_step(c, run_sample, s, node->in[0].shape[0]);
    return TN_OK;
}
