/*
 * philox.h - counter-based random numbers: no state, the same everywhere.
 *
 * philox4x32-10 of Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1,
 * 2, 3". A draw is a pure function of (key, counter), so dropout, sampling and
 * shuffles give the same values in any order, on any device, after any resume.
 * It lies here because every backend's RANDOM instruction must draw the same.
 */
#ifndef TENON_PHILOX_H
#define TENON_PHILOX_H

#include <tenon/base.h>

TN_BEGIN_DECLS

static inline void tn_philox_round(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    const uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
    const uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
    const uint32_t c1 = c[1], c3 = c[3];
    c[0] = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    c[1] = (uint32_t)p1;
    c[2] = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c[3] = (uint32_t)p0;
}

static inline void tn_philox(const uint32_t key[2], const uint32_t counter[4],
                             uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    for (int i = 0; i < 4; i++)
        out[i] = counter[i];
    for (int round = 0; round < 10; round++) {
        tn_philox_round(out, k0, k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/*
 * The draw that map's RANDOM instruction is defined as: uniform in [0, 1) with
 * 24 bits. key = (seed, stream); counter = (element low, element high, step,
 * 0); the first word, its top 24 bits.
 */
static inline float tn_philox_uniform(uint32_t seed, uint32_t stream,
                                      uint32_t step, uint64_t element)
{
    const uint32_t key[2] = {seed, stream};
    const uint32_t counter[4] = {(uint32_t)element, (uint32_t)(element >> 32),
                                 step, 0};
    uint32_t out[4];
    tn_philox(key, counter, out);
    return (float)(out[0] >> 8) / 16777216.0f;
}

TN_END_DECLS
#endif
