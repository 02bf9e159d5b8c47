/*
 * vec_avx512.h - sixteen lanes (see vec.h, which includes this).
 */
#ifndef CPU_VEC_AVX512_H
#define CPU_VEC_AVX512_H

#define ISA(name) name##_avx512
enum { VW = 16 };
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;
typedef __m512d vd; /* VW / 2 doubles */

CPU_INLINE vf v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
CPU_INLINE void v_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}
CPU_INLINE vm m_first(int64_t n)
{
    return (vm)(n >= VW ? 0xffffu : (1u << n) - 1u);
}
/* The first n <= VW lanes; the others are 0, or left as they are. */
CPU_INLINE vf v_load_n(const float *p, int64_t n)
{
    return _mm512_maskz_loadu_ps(m_first(n), p);
}
CPU_INLINE void v_store_n(float *p, vf x, int64_t n)
{
    _mm512_mask_storeu_ps(p, m_first(n), x);
}
/* bf16 is the upper half of a float. */
CPU_INLINE vf v_load_bf16(const uint16_t *p)
{
    const __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
CPU_INLINE vf v_load_bf16_n(const uint16_t *p, int64_t n)
{
    const __m256i half = _mm256_maskz_loadu_epi16(m_first(n), p);
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
CPU_INLINE __m256i v_to_bf16(vf x)
{
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i below = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
    const __m512i numbers = _mm512_mask_add_epi32(
        below, _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000)), below,
        _mm512_set1_epi32(1));
    /* a NaN is x, quiet; numbers stay */
    const __m512i rounded = _mm512_castps_si512(_mm512_fixupimm_ps(
        _mm512_castsi512_ps(numbers), x, _mm512_set1_epi32(0x22), 0));
    /* upper halves, by one permutation where a shift and VPMOVDW take three */
    const __m512i upper = _mm512_set_epi16(
        31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 31, 29, 27,
        25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return _mm512_castsi512_si256(_mm512_permutexvar_epi16(upper, rounded));
}
/* Rounded to nearest even; NaN stays NaN. */
CPU_INLINE void v_store_bf16(uint16_t *p, vf x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v_to_bf16(x));
}
CPU_INLINE void v_store_bf16_n(uint16_t *p, vf x, int64_t n)
{
    _mm256_mask_storeu_epi16(p, m_first(n), v_to_bf16(x));
}
CPU_INLINE vf v_set(float x)
{
    return _mm512_set1_ps(x);
}
CPU_INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
CPU_INLINE vf v_fnma(vf a, vf b, vf c) /* c - a b */
{
    return _mm512_fnmadd_ps(a, b, c);
}
/* The second operand where either is NaN. */
CPU_INLINE vf v_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
CPU_INLINE vf v_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
CPU_INLINE vf v_sqrt(vf a)
{
    return _mm512_sqrt_ps(a);
}
CPU_INLINE vf v_round(vf a)
{
    return _mm512_roundscale_ps(a, 0x08);
}
CPU_INLINE vf v_floor(vf a)
{
    return _mm512_roundscale_ps(a, 0x09);
}
CPU_INLINE vm v_lt(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
CPU_INLINE vm v_not_lt(vf a, vf b) /* true where either is NaN */
{
    return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ);
}
CPU_INLINE vm v_le(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
CPU_INLINE vm v_eq(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
CPU_INLINE vm v_ne(vf a, vf b) /* true where either is NaN */
{
    return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ);
}
CPU_INLINE vm m_and(vm a, vm b)
{
    return a & b;
}
CPU_INLINE vm m_or(vm a, vm b)
{
    return a | b;
}
CPU_INLINE int m_all(vm a)
{
    return a == 0xffffu;
}
CPU_INLINE vf v_select(vm m, vf yes, vf no)
{
    return _mm512_mask_blend_ps(m, no, yes);
}
CPU_INLINE vi v_bits(vf a)
{
    return _mm512_castps_si512(a);
}
CPU_INLINE vf v_from_bits(vi a)
{
    return _mm512_castsi512_ps(a);
}
CPU_INLINE vi i_set(int32_t x)
{
    return _mm512_set1_epi32(x);
}
CPU_INLINE vi i_load(const int32_t *p)
{
    return _mm512_loadu_si512(p);
}
CPU_INLINE void i_store(int32_t *p, vi x)
{
    _mm512_storeu_si512(p, x);
}
CPU_INLINE vi i_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
CPU_INLINE vi i_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}
CPU_INLINE vi i_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}
CPU_INLINE vi i_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}
CPU_INLINE vi i_shift_right(vi a, int bits) /* arithmetic */
{
    return _mm512_srai_epi32(a, (unsigned)bits);
}
CPU_INLINE vi i_shift_left(vi a, int bits)
{
    return _mm512_slli_epi32(a, (unsigned)bits);
}
CPU_INLINE vi i_shift_right_zero(vi a, int bits)
{
    return _mm512_srli_epi32(a, (unsigned)bits);
}
CPU_INLINE vi i_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}
/* The low and the high half of a times m, unsigned. */
CPU_INLINE vi i_multiply(vi a, uint32_t m, vi *high)
{
    const vi factor = i_set((int32_t)m);
    const vi even = _mm512_mul_epu32(a, factor);
    const vi odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), factor);
    *high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
    return _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}
CPU_INLINE vm i_gt(vi a, vi b)
{
    return _mm512_cmpgt_epi32_mask(a, b);
}
CPU_INLINE vf v_from_i(vi a)
{
    return _mm512_cvtepi32_ps(a);
}
CPU_INLINE vi v_to_i(vf a) /* to nearest even */
{
    return _mm512_cvtps_epi32(a);
}
CPU_INLINE vf v_and(vf a, vf b)
{
    return _mm512_and_ps(a, b);
}
CPU_INLINE vf v_or(vf a, vf b)
{
    return _mm512_or_ps(a, b);
}
CPU_INLINE vf v_xor(vf a, vf b)
{
    return _mm512_xor_ps(a, b);
}
/* a 2^n for whole n; subnormal results are rounded once. */
CPU_INLINE vf v_scale2(vf a, vf n)
{
    return _mm512_scalef_ps(a, n);
}
/* 0 where not m, whatever n is there. */
CPU_INLINE vf v_scale2_if(vm m, vf a, vf n)
{
    return _mm512_maskz_scalef_ps(m, a, n);
}
CPU_INLINE vf v_scale2_near_if(vm m, vf a, vf n)
{
    return v_scale2_if(m, a, n);
}
CPU_INLINE float v_sum(vf a)
{
    const __m256 half =
        _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half),
                                      _mm256_extractf128_ps(half, 1));
    const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}

/* The numbers at even and at odd places of 2 VW. */
CPU_INLINE void v_part(vf a, vf b, vf *even, vf *odd)
{
    const vi lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20,
                                       22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, lanes, b);
    *odd = _mm512_permutex2var_ps(
        a, _mm512_add_epi32(lanes, _mm512_set1_epi32(1)), b);
}

CPU_INLINE vd d_low(vf a)
{
    return _mm512_cvtps_pd(_mm512_castps512_ps256(a));
}
CPU_INLINE vd d_high(vf a)
{
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1));
}
CPU_INLINE vf d_join(vd low, vd high)
{
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)),
                              _mm512_cvtpd_ps(high), 1);
}
CPU_INLINE vd d_set(double x)
{
    return _mm512_set1_pd(x);
}
CPU_INLINE vd d_load(const double *p)
{
    return _mm512_loadu_pd(p);
}
CPU_INLINE void d_store(double *p, vd x)
{
    _mm512_storeu_pd(p, x);
}
CPU_INLINE vd d_fma(vd a, vd b, vd c)
{
    return _mm512_fmadd_pd(a, b, c);
}
CPU_INLINE vd d_round(vd a)
{
    return _mm512_roundscale_pd(a, 0x08);
}

#endif
