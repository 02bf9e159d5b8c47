/*
 * vec.h - one vector of floats, eight or sixteen wide, by the same names.
 *
 * Every kernel file is compiled twice, once for AVX2 and FMA and once for
 * AVX-512 (F, BW, DQ, VL); ISA(name) gives what it exports a name of its own
 * in each. Kernels are written for VW lanes and for nothing else, so that the
 * two builds are the same text. Arithmetic on `vf` is written + - * /; the
 * files are compiled with contraction off, so v_fma is where one rounding is.
 *
 * Sums over lanes are a fixed tree: the same lanes give the same bits.
 */
#ifndef CPU_VEC_H
#define CPU_VEC_H

#include <immintrin.h>
#include <stdint.h>

#define CPU_INLINE static inline __attribute__((always_inline, unused))

/* The loop behind it is written out, up to n times: arrays of vectors that it
 * goes over are registers then. To clang a number means at once, before it has
 * inlined a function and knows how often its loops run. */
#define CPU_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define CPU_UNROLL(n) CPU_PRAGMA(clang loop unroll(full))
#else
#define CPU_UNROLL(n) CPU_PRAGMA(GCC unroll n)
#endif

#if defined(__AVX512F__)
#include "vec_avx512.h"
#else
#include "vec_avx2.h"
#endif

/* In a register: compilers would load it again for each product. */
CPU_INLINE vf v_broadcast(const float *at)
{
    vf x = v_set(*at);
    __asm__("" : "+v"(x));
    return x;
}

CPU_INLINE vf v_zero(void)
{
    return v_set(0.0f);
}
CPU_INLINE vf v_abs(vf a)
{
    return v_from_bits(i_and(v_bits(a), i_set(0x7fffffff)));
}
CPU_INLINE vf v_sign_bit(vf a)
{
    return v_and(a, v_set(-0.0f));
}
CPU_INLINE vf v_neg(vf a)
{
    return v_xor(a, v_set(-0.0f));
}
/* Largest lane, not NaN-aware. */
CPU_INLINE float v_largest(vf a)
{
    float lane[VW];
    v_store(lane, a);
    float most = lane[0];
    for (int i = 1; i < VW; i++)
        most = lane[i] > most ? lane[i] : most;
    return most;
}
/* Lines of n between bf16 and float. */
CPU_INLINE void v_widen(float *to, const uint16_t *from, int64_t n)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(to + i, v_load_bf16(from + i));
    if (i < n)
        v_store_n(to + i, v_load_bf16_n(from + i, n - i), n - i);
}
CPU_INLINE void v_narrow(uint16_t *to, const float *from, int64_t n)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store_bf16(to + i, v_load(from + i));
    if (i < n)
        v_store_bf16_n(to + i, v_load_n(from + i, n - i), n - i);
}
/* One number. */
CPU_INLINE float f_of_bf16(uint16_t x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}
CPU_INLINE uint16_t bf16_of_f(float x)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    if (x != x)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
/* 0, 1, 2 ... */
CPU_INLINE vi i_lanes(void)
{
    int32_t lane[VW];
    for (int i = 0; i < VW; i++)
        lane[i] = i;
    return i_load(lane);
}
CPU_INLINE int64_t v_round_up(int64_t n)
{
    return (n + VW - 1) / VW * VW;
}

#endif
