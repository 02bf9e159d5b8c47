/*
 * sample.h - how a token is drawn from logits: the same one on every device.
 *
 * Probabilities are whole numbers. With L the largest logit, a logit l weighs
 *
 *     floor(2^40 e^((l - L) / temperature))
 *
 * so that a sum of weights rounds nothing, and whoever adds them, in whatever
 * order, comes to the same number. The exponential is a polynomial of exactly
 * rounded operations. Tokens are ordered by logit, of equals the lower id
 * first; those that are not finite do not take part.
 *
 *     top_k   keeps the first top_k of that order
 *     top_p   of those, the first whose weights reach that share of their sum
 *     u       the token, by id among those kept, where the running sum of
 *             weights passes the share u of the sum
 *
 * temperature 0 takes the first of the order. It lies here because every
 * backend with a kernel for SAMPLE must draw the same.
 */
#ifndef TENON_SAMPLE_H
#define TENON_SAMPLE_H

#include <math.h>
#include <string.h>

#include <tenon/base.h>

TN_BEGIN_DECLS

typedef struct tn_sample_how {
    float temperature; /* >= 0 */
    float top_p;       /* (0, 1]; 1: all */
    float u;           /* [0, 1), 24 bits */
    int32_t top_k;     /* 0: all */
    int32_t ids;       /* only the first so many logits are tokens */
} tn_sample_how;

/* Ordered as logits are; the zeros are equal. */
static inline uint32_t tn_sample_key(float logit)
{
    const float x = logit + 0.0f;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* rate: log2(e) / temperature */
static inline uint64_t tn_sample_weight(float logit, float most, float rate)
{
    if (logit == most)
        return (uint64_t)1 << 40;
    const float below = logit - most, x = below * rate;
    if (!(x > -42.0f))
        return 0;
    /* the fma is there so that no compiler makes one of x - whole */
    const float whole = floorf(x), f = fmaf(below, rate, -whole);
    float y = 0.00186708709f; /* 2^f in [0, 1): to 1.4e-7 */
    y = fmaf(y, f, 0.00901712198f);
    y = fmaf(y, f, 0.0557998456f);
    y = fmaf(y, f, 0.240164474f);
    y = fmaf(y, f, 0.693151295f);
    y = fmaf(y, f, 1.0f);
    return (uint64_t)(uint32_t)(y * 0x1p23f) << 17 >> (uint32_t)-whole;
}

/* floor(share sum), of a share with 24 bits; sum below 2^63 */
static inline uint64_t tn_sample_part(uint64_t sum, float share)
{
    const uint64_t s = (uint64_t)(share * 0x1p24f);
    return (sum >> 24) * s + ((sum & 0xffffffu) * s >> 24);
}

/* A row that is drawn from, as far as `last` in its order. */
typedef struct tn_sample_row {
    const float *logits;
    int32_t ids, last;
    uint32_t last_key;
    float most, rate;
} tn_sample_row;

/* Of token i: 1 or its weight; 0 where it does not take part. */
static inline uint64_t tn_sample_measure_(const tn_sample_row *r, int32_t i,
                                          int by_count)
{
    const float x = r->logits[i];
    const uint32_t key = tn_sample_key(x);
    if (!isfinite(x) || key < r->last_key ||
        (key == r->last_key && i > r->last))
        return 0;
    return by_count ? 1 : tn_sample_weight(x, r->most, r->rate);
}

static inline uint64_t tn_sample_sum_(const tn_sample_row *r, int by_count)
{
    uint64_t sum = 0;
    for (int32_t i = 0; i < r->ids; i++)
        sum += tn_sample_measure_(r, i, by_count);
    return sum;
}

/* The order ends where its running measure reaches `wanted`, which is at least
 * 1 and at most the sum: found digit by digit of the key. */
static inline void tn_sample_cut_(tn_sample_row *r, int by_count,
                                  uint64_t wanted)
{
    uint64_t before = 0;
    uint32_t key = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        uint64_t sum[256] = {0};
        int digit = 255;
        for (int32_t i = 0; i < r->ids; i++) {
            const uint32_t k = tn_sample_key(r->logits[i]);
            if (((uint64_t)(k ^ key) >> shift >> 8) == 0)
                sum[k >> shift & 255u] += tn_sample_measure_(r, i, by_count);
        }
        while (digit > 0 && before + sum[digit] < wanted)
            before += sum[digit--];
        key |= (uint32_t)digit << shift;
    }
    for (int32_t i = 0; i < r->ids; i++) {
        if (tn_sample_key(r->logits[i]) != key)
            continue;
        before += tn_sample_measure_(r, i, by_count);
        if (before >= wanted) {
            r->last_key = key;
            r->last = i;
            return;
        }
    }
}

/* The token; -1 where no logit is finite. */
static inline int32_t tn_sample(const float *logits, const tn_sample_how *how)
{
    tn_sample_row r = {.logits = logits, .ids = how->ids, .last = INT32_MAX};
    int32_t best = -1, count = 0;
    for (int32_t i = 0; i < r.ids; i++) {
        if (!isfinite(logits[i]))
            continue;
        if (best < 0 || logits[i] > logits[best])
            best = i;
        count++;
    }
    if (best < 0 || !(how->temperature > 0.0f))
        return best;
    r.most = logits[best];
    r.rate = 1.44269504f / how->temperature;
    if (how->top_k > 0 && how->top_k < count)
        tn_sample_cut_(&r, 1, (uint64_t)how->top_k);
    uint64_t sum = tn_sample_sum_(&r, 0);
    if (how->top_p < 1.0f) {
        const uint64_t enough = tn_sample_part(sum, how->top_p);
        tn_sample_cut_(&r, 0, enough ? enough : 1);
        sum = tn_sample_sum_(&r, 0);
    }
    uint64_t left = tn_sample_part(sum, how->u);
    for (int32_t i = 0; i < r.ids; i++) {
        const uint64_t weight = tn_sample_measure_(&r, i, 0);
        if (weight > left)
            return i;
        left -= weight;
    }
    return best;
}

TN_END_DECLS
#endif
