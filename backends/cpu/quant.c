/*
 * quant.c - dot products of integers, and blocks to floats (see quant.h).
 *
 *     Q8_0   sum over blocks of  d s  sum q x
 *     Q4_K   sum over blocks of  d s  sum (s_j q) x  -  dmin sum m_j sum_j x
 *
 * with x the integers of a row, s their scale and sum_j x what 32 of them add
 * up to, times s. A product of a byte and a word, and two of them together, fit
 * in 32 bits, and so do all that one lane adds up in a block:
 * 945 * 32767 * 32 = 991 million for Q4_K.
 */
#include "quant.h"

#include <tenon/blocks.h>

enum {
    MOST_WORD = 32767,
    STREAMS = 8,        /* as gemv.c has them, but a row of each in turn */
    AHEAD_BYTES = 2048, /* of each */
    Q8_0_BLOCKS = 8,    /* whose scales are multiplied together */
};

/* ---- 32 words ---- */

#if defined(__AVX512F__)

typedef __m512i words;

CPU_INLINE words w_load(const int16_t *p)
{
    return _mm512_loadu_si512(p);
}
CPU_INLINE words w_of_bytes(const int8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p));
}
CPU_INLINE words w_of_unsigned_bytes(const uint8_t *p)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
}
CPU_INLINE words w_low_nibbles(words a)
{
    return _mm512_and_si512(a, _mm512_set1_epi16(15));
}
CPU_INLINE words w_high_nibbles(words a)
{
    return _mm512_srli_epi16(a, 4);
}
CPU_INLINE words w_multiply(words a, int32_t twice)
{
    return _mm512_mullo_epi16(a, _mm512_set1_epi32(twice));
}
CPU_INLINE vi w_dot(words a, words b)
{
    return _mm512_madd_epi16(a, b);
}
/* a with b taken from its first eight lanes. */
CPU_INLINE vf v_less(vf a, __m256 b)
{
    return a - _mm512_insertf32x8(_mm512_setzero_ps(), b, 0);
}
CPU_INLINE vf w_half(uint16_t half)
{
    return _mm512_cvtph_ps(_mm256_set1_epi16((int16_t)half));
}
CPU_INLINE void w_store(int16_t *p, vf a)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtsepi32_epi16(v_to_i(a)));
}

#else

typedef struct words {
    __m256i low, high;
} words;

CPU_INLINE words w_load(const int16_t *p)
{
    return (words){_mm256_loadu_si256((const __m256i *)p),
                   _mm256_loadu_si256((const __m256i *)(p + 16))};
}
CPU_INLINE words w_of_bytes(const int8_t *p)
{
    return (words){
        _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p)),
        _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(p + 16)))};
}
CPU_INLINE words w_of_unsigned_bytes(const uint8_t *p)
{
    return (words){
        _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p)),
        _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(p + 16)))};
}
CPU_INLINE words w_low_nibbles(words a)
{
    const __m256i mask = _mm256_set1_epi16(15);
    return (words){_mm256_and_si256(a.low, mask),
                   _mm256_and_si256(a.high, mask)};
}
CPU_INLINE words w_high_nibbles(words a)
{
    return (words){_mm256_srli_epi16(a.low, 4), _mm256_srli_epi16(a.high, 4)};
}
CPU_INLINE words w_multiply(words a, int32_t twice)
{
    const __m256i by = _mm256_set1_epi32(twice);
    return (words){_mm256_mullo_epi16(a.low, by),
                   _mm256_mullo_epi16(a.high, by)};
}
CPU_INLINE vi w_dot(words a, words b)
{
    return _mm256_add_epi32(_mm256_madd_epi16(a.low, b.low),
                            _mm256_madd_epi16(a.high, b.high));
}
CPU_INLINE vf v_less(vf a, __m256 b)
{
    return a - b;
}
CPU_INLINE vf w_half(uint16_t half)
{
    return _mm256_cvtph_ps(_mm_set1_epi16((int16_t)half));
}
CPU_INLINE void w_store(int16_t *p, vf a)
{
    const __m256i whole = v_to_i(a);
    _mm_storeu_si128((__m128i *)p,
                     _mm_packs_epi32(_mm256_castsi256_si128(whole),
                                     _mm256_extracti128_si256(whole, 1)));
}

#endif

/* ---- x in integers ---- */

static int64_t up(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

int64_t ISA(quant_rows_bytes)(tn_dtype dtype, int64_t rows, int64_t K)
{
    return up(2 * rows * K) + up(4 * rows * K / tn_dtype_block(dtype)) +
           up(4 * rows * K / 32);
}

quant_rows ISA(quant_rows_in)(tn_dtype dtype, int64_t rows, int64_t K,
                              void *room)
{
    char *at = room;
    quant_rows r = {.q = room, .K = K, .dtype = dtype};
    at += up(2 * rows * K);
    r.scale = (float *)(void *)at;
    at += up(4 * rows * K / tn_dtype_block(dtype));
    r.sum = (float *)(void *)at;
    return r;
}

/* The largest of n becomes 32767. What is not finite makes the scale NaN, and
 * with it all products. */
static float scale_of(const float *x, int64_t n)
{
    vf most = v_zero(), strange = v_zero();
    for (int64_t i = 0; i < n; i += VW) {
        const vf a = v_load(x + i);
        most = v_max(most, v_abs(a));
        strange = strange + (a - a);
    }
    return v_largest(most) / (float)MOST_WORD + v_sum(strange);
}

void ISA(quant_row_put)(const quant_rows *to, int64_t i, const float *x)
{
    const int64_t block = tn_dtype_block(to->dtype), K = to->K;
    int16_t *q = to->q + i * K;
    for (int64_t k = 0; k < K; k += block) {
        const float scale = scale_of(x + k, block);
        const vf inverse = v_set(scale != 0.0f ? 1.0f / scale : 0.0f);
        to->scale[(i * K + k) / block] = scale;
        for (int64_t j = k; j < k + block; j += VW)
            w_store(q + j, v_load(x + j) * inverse);
        for (int64_t j = k; to->dtype == TN_Q4_K && j < k + block; j += 32) {
            int32_t sum = 0;
            for (int64_t l = j; l < j + 32; l++)
                sum += q[l];
            to->sum[(i * K + j) / 32] = scale * (float)sum;
        }
    }
}

/* ---- dot products ---- */

CPU_INLINE void ahead(const void *p, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += 64)
        _mm_prefetch((const char *)p + at + AHEAD_BYTES, _MM_HINT_T0);
}

/* A row of blocks with each row of x, so far. */
typedef struct sums {
    vf whole[QUANT_ROWS];
    __m256 minima[QUANT_ROWS]; /* Q4_K */
} sums;

/* The scales of eight blocks together, times those of x. */
CPU_INLINE void scales_of_blocks(int rows, const tn_q8_0 *b, int count,
                                 const float *scale, int64_t pitch,
                                 float to[][Q8_0_BLOCKS])
{
    if (count < Q8_0_BLOCKS) {
        for (int i = 0; i < rows; i++)
            for (int u = 0; u < count; u++)
                to[i][u] = _cvtsh_ss(b[u].d) * scale[i * pitch + u];
        return;
    }
    uint64_t low = 0, high = 0;
    CPU_UNROLL(4)
    for (int u = 0; u < 4; u++) {
        low |= (uint64_t)b[u].d << 16 * u;
        high |= (uint64_t)b[u + 4].d << 16 * u;
    }
    const __m256 d =
        _mm256_cvtph_ps(_mm_set_epi64x((int64_t)high, (int64_t)low));
    CPU_UNROLL(2)
    for (int i = 0; i < rows; i++)
        _mm256_storeu_ps(to[i],
                         _mm256_mul_ps(d, _mm256_loadu_ps(scale + i * pitch)));
}

/* Blocks [k, k + count) of a row. */
CPU_INLINE void take_q8_0(int rows, const quant_rows *x, int64_t k, int count,
                          const char *w, sums *s)
{
    const int64_t K = x->K, blocks = K / 32;
    const tn_q8_0 *b = (const tn_q8_0 *)(const void *)w + k;
    const int16_t *q = x->q + 32 * k;
    float factor[QUANT_ROWS][Q8_0_BLOCKS];
    scales_of_blocks(rows, b, count, x->scale + k, blocks, factor);
    /* read back one by one, which costs a load each and no shuffle */
    __asm__("" : "+m"(factor));
    ahead(b, (int64_t)sizeof *b * count);
    CPU_UNROLL(8)
    for (int u = 0; u < count; u++, q += 32) {
        const words integers = w_of_bytes(b[u].q);
        CPU_UNROLL(2)
        for (int i = 0; i < rows; i++)
            s->whole[i] = v_fma(v_from_i(w_dot(integers, w_load(q + i * K))),
                                v_set(factor[i][u]), s->whole[i]);
    }
}

/* Six bits each, at their places of tn_q4_k_scale: scales twice in a word of
 * 32 bits, minima as floats. */
CPU_INLINE __m256 spread_scales(const tn_q4_k *b, int32_t twice[8])
{
    uint32_t word[3];
    for (int i = 0; i < 3; i++)
        __builtin_memcpy(&word[i], b->s + 4 * i, sizeof word[i]);
    const uint64_t six = 0x3f3f3f3fu, four = 0x0f0f0f0fu, two = 0x30303030u;
    const uint64_t scales =
        (word[0] & six) | ((word[2] & four) | (word[0] >> 2 & two)) << 32;
    const uint64_t minima =
        (word[1] & six) | ((word[2] >> 4 & four) | (word[1] >> 2 & two)) << 32;
    const __m256i s = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)scales));
    _mm256_storeu_si256((__m256i *)twice,
                        _mm256_or_si256(s, _mm256_slli_epi32(s, 16)));
    return _mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)minima)));
}

/* Block k of a row. */
CPU_INLINE void take_q4_k(int rows, const quant_rows *x, int64_t k,
                          const char *w, sums *s)
{
    const int64_t K = x->K, blocks = K / 256;
    const tn_q4_k *b = (const tn_q4_k *)(const void *)w + k;
    const int16_t *q = x->q + 256 * k;
    int32_t twice[8];
    float d[4]; /* d and dmin, zeros */
    const __m256 minima = spread_scales(b, twice);
    uint32_t halves;
    __builtin_memcpy(&halves, &b->d, sizeof halves);
    _mm_storeu_ps(d, _mm_cvtph_ps(_mm_cvtsi32_si128((int)halves)));
    /* read back one by one, which costs a load each and no shuffle */
    __asm__("" : "+m"(twice), "+m"(d));
    vi whole[QUANT_ROWS];
    CPU_UNROLL(2)
    for (int i = 0; i < rows; i++)
        whole[i] = i_set(0);
    ahead(b, sizeof *b);
    CPU_UNROLL(4)
    for (int j = 0; j < 4; j++, q += 64) {
        const words both = w_of_unsigned_bytes(b->q + 32 * j);
        const words low = w_multiply(w_low_nibbles(both), twice[2 * j]);
        const words high = w_multiply(w_high_nibbles(both), twice[2 * j + 1]);
        CPU_UNROLL(2)
        for (int i = 0; i < rows; i++)
            whole[i] =
                i_add(whole[i], i_add(w_dot(low, w_load(q + i * K)),
                                      w_dot(high, w_load(q + i * K + 32))));
    }
    CPU_UNROLL(2)
    for (int i = 0; i < rows; i++) {
        const __m256 sum = _mm256_loadu_ps(x->sum + (i * K + 256 * k) / 32);
        s->whole[i] =
            v_fma(v_from_i(whole[i]), v_set(d[0] * x->scale[i * blocks + k]),
                  s->whole[i]);
        s->minima[i] = _mm256_fmadd_ps(
            _mm256_mul_ps(_mm256_set1_ps(d[1]), minima), sum, s->minima[i]);
    }
}

/* Row n of w with all rows of x. */
CPU_INLINE void dot(int rows, tn_dtype dtype, const quant_product *p, int64_t n)
{
    const int64_t blocks = p->x->K / tn_dtype_block(dtype);
    const int step = dtype == TN_Q8_0 ? Q8_0_BLOCKS : 1;
    const char *w = p->w + n * p->w_pitch;
    sums s = {0};
    int64_t k = 0;
    for (; k + step <= blocks; k += step)
        if (dtype == TN_Q8_0)
            take_q8_0(rows, p->x, k, step, w, &s);
        else
            take_q4_k(rows, p->x, k, w, &s);
    if (k < blocks)
        take_q8_0(rows, p->x, k, (int)(blocks - k), w, &s);
    CPU_UNROLL(2)
    for (int i = 0; i < rows; i++)
        p->c[i * p->c_pitch + n] = dtype == TN_Q8_0
                                       ? v_sum(s.whole[i])
                                       : v_sum(v_less(s.whole[i], s.minima[i]));
}

/* A row of each stream in turn. */
#define DOTS(rows, dtype)                                                      \
    static void dots_##rows##_##dtype(const quant_product *p)                  \
    {                                                                          \
        const int64_t each = p->N / STREAMS;                                   \
        for (int64_t n = 0; n < each; n++)                                     \
            for (int64_t j = 0; j < STREAMS; j++)                              \
                dot(rows, dtype, p, j *each + n);                              \
        for (int64_t n = STREAMS * each; n < p->N; n++)                        \
            dot(rows, dtype, p, n);                                            \
    }
DOTS(1, TN_Q8_0)
DOTS(2, TN_Q8_0)
DOTS(1, TN_Q4_K)
DOTS(2, TN_Q4_K)

void ISA(quant_dots)(const quant_product *p)
{
    const int one = p->rows == 1;
    if (p->x->dtype == TN_Q8_0)
        (one ? dots_1_TN_Q8_0 : dots_2_TN_Q8_0)(p);
    else
        (one ? dots_1_TN_Q4_K : dots_2_TN_Q4_K)(p);
}

/* ---- blocks to floats ---- */

CPU_INLINE vi of_bytes(const int8_t *p)
{
#if defined(__AVX512F__)
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
#else
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p));
#endif
}

static void decode_q8_0(const tn_q8_0 *b, float *to)
{
    const vf d = w_half(b->d);
    for (int i = 0; i < 32; i += VW)
        v_store(to + i, d * v_from_i(of_bytes(b->q + i)));
}

/* The low nibbles of 32 bytes are one stretch, the high ones the next. */
static void decode_q4_k(const tn_q4_k *b, float *to)
{
    const float d = tn_float_of_half(b->d), dmin = tn_float_of_half(b->dmin);
    for (int j = 0; j < 8; j++) {
        uint32_t scale, min;
        tn_q4_k_scale(b, j, &scale, &min);
        const vf step = v_set(d * (float)scale);
        const vf offset = v_set(dmin * (float)min);
        const int8_t *both = (const int8_t *)b->q + j / 2 * 32;
        for (int i = 0; i < 32; i += VW) {
            const vi byte = i_shift_right(of_bytes(both + i), j & 1 ? 4 : 0);
            v_store(to + 32 * j + i,
                    step * v_from_i(i_and(byte, i_set(15))) - offset);
        }
    }
}

void ISA(quant_decode)(tn_dtype dtype, const void *blocks, int64_t n, float *to)
{
    const tn_q8_0 *q8 = blocks;
    const tn_q4_k *q4 = blocks;
    for (int64_t i = 0; dtype == TN_Q8_0 && i < n / 32; i++)
        decode_q8_0(q8 + i, to + 32 * i);
    for (int64_t i = 0; dtype == TN_Q4_K && i < n / 256; i++)
        decode_q4_k(q4 + i, to + 256 * i);
}
