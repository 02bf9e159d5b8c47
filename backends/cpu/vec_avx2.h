/*
 * vec_avx2.h - eight lanes (see vec.h, which includes this).
 */
#ifndef CPU_VEC_AVX2_H
#define CPU_VEC_AVX2_H

#define ISA(name) name##_avx2
enum { VW = 8 };
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;
typedef __m256d vd;

CPU_INLINE vf v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
CPU_INLINE void v_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x);
}
CPU_INLINE __m256i first_lanes(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > VW ? VW : (int32_t)n),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
CPU_INLINE vm m_first(int64_t n)
{
    return _mm256_castsi256_ps(first_lanes(n));
}
CPU_INLINE vf v_load_n(const float *p, int64_t n)
{
    return _mm256_maskload_ps(p, first_lanes(n));
}
CPU_INLINE void v_store_n(float *p, vf x, int64_t n)
{
    _mm256_maskstore_ps(p, first_lanes(n), x);
}
CPU_INLINE vf v_load_bf16(const uint16_t *p)
{
    const __m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
CPU_INLINE vf v_load_bf16_n(const uint16_t *p, int64_t n)
{
    uint16_t line[VW] = {0};
    __builtin_memcpy(line, p, sizeof *p * (size_t)(n < VW ? n : VW));
    return v_load_bf16(line);
}
CPU_INLINE void v_store_bf16(uint16_t *p, vf x)
{
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd =
        _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i bias = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i rounded = _mm256_blendv_epi8(
        _mm256_add_epi32(bits, bias), quiet,
        _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
    const __m256i half = _mm256_srli_epi32(rounded, 16);
    const __m256i pairs =
        _mm256_permute4x64_epi64(_mm256_packus_epi32(half, half), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(pairs));
}
CPU_INLINE void v_store_bf16_n(uint16_t *p, vf x, int64_t n)
{
    uint16_t line[VW];
    v_store_bf16(line, x);
    __builtin_memcpy(p, line, sizeof *p * (size_t)(n < VW ? n : VW));
}
CPU_INLINE vf v_set(float x)
{
    return _mm256_set1_ps(x);
}
CPU_INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
CPU_INLINE vf v_fnma(vf a, vf b, vf c)
{
    return _mm256_fnmadd_ps(a, b, c);
}
CPU_INLINE vf v_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
CPU_INLINE vf v_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
CPU_INLINE vf v_sqrt(vf a)
{
    return _mm256_sqrt_ps(a);
}
CPU_INLINE vf v_round(vf a)
{
    return _mm256_round_ps(a, 0x08);
}
CPU_INLINE vf v_floor(vf a)
{
    return _mm256_round_ps(a, 0x09);
}
CPU_INLINE vm v_lt(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
CPU_INLINE vm v_not_lt(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_NLT_UQ);
}
CPU_INLINE vm v_le(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_LE_OQ);
}
CPU_INLINE vm v_eq(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
CPU_INLINE vm v_ne(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ);
}
CPU_INLINE vm m_and(vm a, vm b)
{
    return _mm256_and_ps(a, b);
}
CPU_INLINE vm m_or(vm a, vm b)
{
    return _mm256_or_ps(a, b);
}
CPU_INLINE int m_all(vm a)
{
    return _mm256_movemask_ps(a) == 0xff;
}
CPU_INLINE vf v_select(vm m, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, m);
}
CPU_INLINE vi v_bits(vf a)
{
    return _mm256_castps_si256(a);
}
CPU_INLINE vf v_from_bits(vi a)
{
    return _mm256_castsi256_ps(a);
}
CPU_INLINE vi i_set(int32_t x)
{
    return _mm256_set1_epi32(x);
}
CPU_INLINE vi i_load(const int32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
CPU_INLINE void i_store(int32_t *p, vi x)
{
    _mm256_storeu_si256((__m256i *)p, x);
}
CPU_INLINE vi i_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
CPU_INLINE vi i_sub(vi a, vi b)
{
    return _mm256_sub_epi32(a, b);
}
CPU_INLINE vi i_and(vi a, vi b)
{
    return _mm256_and_si256(a, b);
}
CPU_INLINE vi i_or(vi a, vi b)
{
    return _mm256_or_si256(a, b);
}
CPU_INLINE vi i_shift_right(vi a, int bits)
{
    return _mm256_srai_epi32(a, bits);
}
CPU_INLINE vi i_shift_left(vi a, int bits)
{
    return _mm256_slli_epi32(a, bits);
}
CPU_INLINE vi i_shift_right_zero(vi a, int bits)
{
    return _mm256_srli_epi32(a, bits);
}
CPU_INLINE vi i_xor(vi a, vi b)
{
    return _mm256_xor_si256(a, b);
}
CPU_INLINE vi i_multiply(vi a, uint32_t m, vi *high)
{
    const vi factor = i_set((int32_t)m);
    const vi even = _mm256_mul_epu32(a, factor);
    const vi odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), factor);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}
CPU_INLINE vm i_gt(vi a, vi b)
{
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b));
}
CPU_INLINE vf v_from_i(vi a)
{
    return _mm256_cvtepi32_ps(a);
}
CPU_INLINE vi v_to_i(vf a)
{
    return _mm256_cvtps_epi32(a);
}
CPU_INLINE vf v_and(vf a, vf b)
{
    return _mm256_and_ps(a, b);
}
CPU_INLINE vf v_or(vf a, vf b)
{
    return _mm256_or_ps(a, b);
}
CPU_INLINE vf v_xor(vf a, vf b)
{
    return _mm256_xor_ps(a, b);
}
/* In two halves, so that neither factor overflows; |n| < 250. */
CPU_INLINE vf v_scale2(vf a, vf n)
{
    const vi whole = v_to_i(n);
    const vi half = i_shift_right(whole, 1);
    const vi rest = i_sub(whole, half);
    const vi bias = i_set(127);
    const vf first = v_from_bits(i_shift_left(i_add(half, bias), 23));
    const vf second = v_from_bits(i_shift_left(i_add(rest, bias), 23));
    return a * first * second;
}
CPU_INLINE vf v_scale2_if(vm m, vf a, vf n)
{
    const vf scaled = v_scale2(a, v_select(m, n, v_set(0.0f)));
    return v_select(m, scaled, v_set(0.0f));
}
/* The same where |n| <= 126, in half as many instructions. */
CPU_INLINE vf v_scale2_near_if(vm m, vf a, vf n)
{
    const vi power = i_shift_left(i_add(v_to_i(n), i_set(127)), 23);
    return v_select(m, a * v_from_bits(power), v_set(0.0f));
}
CPU_INLINE float v_sum(vf a)
{
    const __m128 quarter =
        _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}

/* The numbers at even and at odd places of 2 VW. */
CPU_INLINE void v_part(vf a, vf b, vf *even, vf *odd)
{
    const vf x = _mm256_permute2f128_ps(a, b, 0x20);
    const vf y = _mm256_permute2f128_ps(a, b, 0x31);
    *even = _mm256_shuffle_ps(x, y, 0x88);
    *odd = _mm256_shuffle_ps(x, y, 0xdd);
}

CPU_INLINE vd d_low(vf a)
{
    return _mm256_cvtps_pd(_mm256_castps256_ps128(a));
}
CPU_INLINE vd d_high(vf a)
{
    return _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1));
}
CPU_INLINE vf d_join(vd low, vd high)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low)),
                                _mm256_cvtpd_ps(high), 1);
}
CPU_INLINE vd d_set(double x)
{
    return _mm256_set1_pd(x);
}
CPU_INLINE vd d_load(const double *p)
{
    return _mm256_loadu_pd(p);
}
CPU_INLINE void d_store(double *p, vd x)
{
    _mm256_storeu_pd(p, x);
}
CPU_INLINE vd d_fma(vd a, vd b, vd c)
{
    return _mm256_fmadd_pd(a, b, c);
}
CPU_INLINE vd d_round(vd a)
{
    return _mm256_round_pd(a, 0x08);
}

#endif
