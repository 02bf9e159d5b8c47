/*
 * gemm_pairs.c - products of bf16 in pairs (gemm_blocks.h).
 *
 * VDPBF16PS takes two vectors of pairs of bf16 and adds the two products of
 * each pair to a lane of floats: twice the work of an f32 FMA. It takes
 * subnormal inputs and results for 0 and rounds each of its two additions to
 * nearest: docs/decisions/0015-bf16-is-storage.md.
 */
#include "gemm_blocks.h"

#if defined(__AVX512F__)
#include "turn.h"

/* n of 16 numbers of line k, from element `at` on, the others 0. */
CPU_INLINE __m256i sixteen(gemm_any x, int64_t k, int64_t at, int64_t n)
{
    if (x.by)
        return v_to_bf16(gemm_load_line(x, k, at, n));
    return x.dtype == TN_BF16
               ? _mm256_maskz_loadu_epi16(m_first(n), gemm_halves(x) + at)
               : v_to_bf16(v_load_n(gemm_floats(x) + at, n));
}

CPU_INLINE vi one_line(gemm_any x, int64_t at, int64_t n)
{
    const int64_t more = cpu_max(0, n - VW);
    x.by = NULL;
    return _mm512_inserti32x8(_mm512_castsi256_si512(sixteen(x, 0, at, n)),
                              sixteen(x, 0, more ? at + VW : at, more), 1);
}

CPU_INLINE vi two_lines(gemm_any x, int64_t k, int64_t i, int64_t n, int64_t m)
{
    const int64_t low = k * x.column + i, next = m > 0;
    const vi a = _mm512_cvtepu16_epi32(sixteen(x, k, low, n));
    const vi b =
        _mm512_cvtepu16_epi32(sixteen(x, k + next, low + next * x.column, m));
    return i_or(a, i_shift_left(b, 16));
}

#define ALONG(x, at, n, scale) ((void)(scale), one_line(x, at, n))
#define ACROSS(x, k, i, n, m, scale) ((void)(scale), two_lines(x, k, i, n, m))
#include "gemm_words.h"

#define DOT(sum, x, y)                                                         \
    _mm512_dpbf16_ps(sum, (__m512bh)v_bits(x), (__m512bh)v_bits(y))
#define DONE(sum, x_scale, y_scale) (sum)
#define TARGET __attribute__((target("avx512bf16,avx512vl")))
#define CALLS_NEXT 1
#include "gemm_tile.h"

const gemm_kind ISA(gemm_pairs) = {
    .numbers = 2, .rows = rows_of_words, .pack = pack_words, .tile = tiles};
#endif
