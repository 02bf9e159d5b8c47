/*
 * blocks.h - weights in 8 and 4 bits: ggml's blocks, byte for byte.
 *
 * Neighbours of a row share a scale, so a number is an integer of few bits and
 * a share of 16 bits:
 *
 *     Q8_0   32 numbers, 34 bytes    x = d q                  q in -127 .. 127
 *     Q4_K  256 numbers, 144 bytes   x = d s_j q - dmin m_j   q in 0 .. 15
 *
 * In Q4_K, j = 0 .. 7 counts stretches of 32 numbers; their scales s_j and
 * minima m_j have 6 bits each and are again scaled, by d and dmin. The nibbles
 * of stretches 2i (low) and 2i + 1 (high) share 32 bytes. Source: ggml-common.h
 * and ggml-quants.c of ggml, where the formats come from.
 */
#ifndef TENON_BLOCKS_H
#define TENON_BLOCKS_H

#include <tenon/base.h>

#include <string.h>

TN_BEGIN_DECLS

typedef struct tn_q8_0 {
    uint16_t d; /* f16 */
    int8_t q[32];
} tn_q8_0;

typedef struct tn_q4_k {
    uint16_t d, dmin; /* f16 */
    uint8_t s[12];    /* eight scales and eight minima: tn_q4_k_scale */
    uint8_t q[128];
} tn_q4_k;

/* Exact, for all 65536. */
static inline float tn_float_of_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t bits = (uint32_t)(half & 0x7fffu) << 13; /* f16's places in f32 */
    float value;
    if (bits >= 0x0f800000u) /* infinity and NaN */
        bits += 0x70000000u;
    else /* 2^112: the difference of the biases; subnormals come out right */
        bits += 0x38000000u;
    if (bits < 0x38800000u) { /* it had no leading 1 */
        const uint32_t one = 0x38800000u;
        float base;
        bits += 1u << 23;
        memcpy(&value, &bits, sizeof value);
        memcpy(&base, &one, sizeof base);
        value -= base;
        memcpy(&bits, &value, sizeof bits);
    }
    bits |= sign;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Scale and minimum of stretch j, both in 0 .. 63. The first four have the low
 * six bits of bytes 0 .. 3 and 4 .. 7; the others have four bits in bytes
 * 8 .. 11 and two on top of those. */
static inline void tn_q4_k_scale(const tn_q4_k *b, int j, uint32_t *scale,
                                 uint32_t *min)
{
    if (j < 4) {
        *scale = b->s[j] & 63u;
        *min = b->s[j + 4] & 63u;
    } else {
        *scale = (b->s[j + 4] & 15u) | (uint32_t)(b->s[j - 4] >> 6) << 4;
        *min = (uint32_t)(b->s[j + 4] >> 4) | (uint32_t)(b->s[j] >> 6) << 4;
    }
}

/* Number i of a block. */
static inline float tn_q8_0_at(const tn_q8_0 *b, int i)
{
    return tn_float_of_half(b->d) * (float)b->q[i];
}

static inline float tn_q4_k_at(const tn_q4_k *b, int i)
{
    const int j = i / 32;
    const uint32_t both = b->q[j / 2 * 32 + i % 32];
    uint32_t scale, min;
    tn_q4_k_scale(b, j, &scale, &min);
    const float d = tn_float_of_half(b->d) * (float)scale;
    const float m = tn_float_of_half(b->dmin) * (float)min;
    return d * (float)(j & 1 ? both >> 4 : both & 15u) - m;
}

TN_END_DECLS
#endif
