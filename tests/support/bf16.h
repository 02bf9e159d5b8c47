/*
 * bf16.h - bf16 by its definition, for tests of what rounds and reads it.
 */
#ifndef TESTS_BF16_H
#define TESTS_BF16_H

#include <stdint.h>
#include <string.h>

static inline float from_bf16(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The nearest, ties to even; of NaN anything. */
static inline uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* x becomes what `to` holds then. */
static inline void round_to_bf16(float *x, uint16_t *to, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        to[i] = to_bf16(x[i]);
        x[i] = from_bf16(to[i]);
    }
}

#endif
