/*
 * whole.h - numbers as whole numbers of 16 bits times a power of two, the
 * *scale* of a line, and the products of their pairs (gemm_integers.c,
 * attention_whole.h).
 */
#ifndef CPU_WHOLE_H
#define CPU_WHOLE_H

#include "cpu.h"
#include "vec.h"

#include <math.h>

enum { WHOLE_BITS = 15 }; /* that a line is shorter than 2^ */

/* Squares of lines as they usually are. */
static const float WHOLE_LEAST = 0x1p-100f, WHOLE_MOST = 0x1p100f;

static inline int whole_is_usual(vf squares)
{
    return m_all(m_and(v_lt(v_set(WHOLE_LEAST), squares),
                       v_lt(squares, v_set(WHOLE_MOST))));
}

/* 2^-p that brings the root of `squares` under 2^bits, with room for the error
 * of that sum. What is shorter than 2^-50 is taken for that long; NaN where
 * squares are no number. */
CPU_INLINE vf whole_scales(vf squares, int bits)
{
    const vf room = v_max(squares, v_set(WHOLE_LEAST)) * v_set(1.01f);
    const vi exponent = i_shift_right_zero(v_bits(room), 23);
    const vi p = i_shift_right(i_sub(i_set(126 + 2 * bits), exponent), 1);
    const vf scale = v_from_bits(i_shift_left(i_sub(i_set(127), p), 23));
    return v_select(v_lt(squares, v_set(WHOLE_MOST)), scale, v_set(NAN));
}

/* 1 / scale; of 0 and of NaN any number. */
CPU_INLINE vf whole_inverse(vf scale)
{
    return v_from_bits(i_sub(i_set(254 << 23), v_bits(scale)));
}

/* x / scale, to nearest even, in the lower half of a lane: that is where the
 * bits of a whole number are after 1.5 2^23 has been added. */
CPU_INLINE vi whole_of(vf x, vf inverse)
{
    return v_bits(v_fma(x, inverse, v_set(0x1.8p23f)));
}

CPU_INLINE vf whole_words(vi low, vi high)
{
#if defined(__AVX512F__)
    return v_from_bits(
        _mm512_mask_blend_epi16(0xaaaaaaaau, low, i_shift_left(high, 16)));
#else
    return v_from_bits(_mm256_blend_epi16(low, i_shift_left(high, 16), 0xaa));
#endif
}

/* The scale of a line by its squares in double, which are not 0. */
static inline float whole_careful_scale(double squares)
{
    int exponent;
    if (!isfinite(squares))
        return NAN;
    frexp(1.01 * squares, &exponent);
    const int64_t p =
        cpu_max(-126, cpu_min(126, (2 * WHOLE_BITS - exponent) >> 1));
    return ldexpf(1.0f, (int)-p);
}

/* 2 VW numbers of bf16: those at even places, and those at odd ones. */
CPU_INLINE void whole_pairs(const uint16_t *from, vf *even, vf *odd)
{
    const vi both = i_load((const int32_t *)(const void *)from);
    *even = v_from_bits(i_shift_left(both, 16));
    *odd = v_from_bits(i_and(both, i_set((int32_t)0xffff0000u)));
}

/* Written out: by its intrinsic, sums wander from register to register (GCC 12:
 * half the speed). Those of AVX-VNNI are encoded as AVX2's are. */
#if defined(__AVX512F__)
#define VPDPWSSD "vpdpwssd"
#else
#define VPDPWSSD "%{vex%} vpdpwssd"
#endif

/* sum + both products of pairs, in whole numbers. */
CPU_INLINE vf whole_dot(vf sum, vf x, vf y)
{
    __asm__(VPDPWSSD " %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
    return sum;
}

#if !defined(__AVX512F__)
/* The same by AVX2 alone. */
CPU_INLINE vf whole_madd(vf sum, vf x, vf y)
{
    return v_from_bits(
        i_add(v_bits(sum), _mm256_madd_epi16(v_bits(x), v_bits(y))));
}
#endif

/* The float that a sum of such products is. */
CPU_INLINE vf whole_done(vf sum, const float *x_scale, const float *y_scale)
{
    return v_from_i(v_bits(sum)) * v_load(y_scale) * v_set(*x_scale);
}

#endif
