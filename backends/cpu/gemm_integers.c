/*
 * gemm_integers.c - products of bf16 as integers of 16 bits (gemm_blocks.h).
 *
 * VPDPWSSD multiplies two pairs of 16-bit integers and adds both products to a
 * lane of 32 bits: twice the work of an f32 FMA, and as many start in a second
 * (measured on Emerald Rapids). VPMADDWD and VPADDD do the same in two
 * (gemm_madd.c). So a line of an operand, over a stretch of K, becomes integers
 * by one power of two, its *scale* (block floating point: Wilkinson, "Rounding
 * Errors in Algebraic Processes", 1963):
 *
 *     a b  =  scale(a) scale(b) sum over k of a'[k] b'[k]
 *
 * The scale brings the length of a line, the root of its sum of squares,
 * between 2^14 and 2^15. So each number fits into 16 bits and no sum leaves 31:
 * by Cauchy and Schwarz it is at most the product of the lengths. Sums are
 * exact; what is rounded is a number that has bits below the scale. Of bf16,
 * with eight bits, that are those smaller than 2^-7 of the length, by 2^-15 of
 * the length at most: docs/decisions/0027-bf16-products-in-whole-numbers.md.
 *
 * A line that holds what is not finite is NaN, whole.
 */
#include "gemm_blocks.h"
#include "turn.h"
#include "whole.h"

/* ---- scales ---- */

enum { TOGETHER = 12 }; /* vectors of lines across */

static int is_zero(gemm_any x, int64_t i, int64_t K)
{
    int64_t k = 0;
    vf bits = v_zero();
    if (x.column == 1)
        for (; k < K; k += VW)
            bits = v_or(bits, gemm_load(x, i * x.row + k, K - k));
    while (k < K && gemm_element(x, i, k) == 0.0f)
        k++;
    return k >= K && m_all(v_eq(bits, v_zero()));
}

/* Where squares leave the range of f32. */
static float careful_scale(gemm_any x, int64_t i, int64_t K)
{
    double squares = 0.0;
    for (int64_t k = 0; k < K; k++) {
        const double number = (double)gemm_element(x, i, k);
        squares += number * number;
    }
    return whole_careful_scale(squares);
}

/* From sums of squares of lines [i, i + VW) of x. */
static void put_scales(float *scale, vf squares, gemm_any x, int64_t i,
                       int64_t lines, int64_t K)
{
    float lane[VW];
    v_store(scale, whole_scales(squares, WHOLE_BITS));
    if (whole_is_usual(squares))
        return;
    v_store(lane, squares);
    for (int64_t k = 0; k < cpu_min(lines, VW); k++)
        if (!(lane[k] > WHOLE_LEAST && lane[k] < WHOLE_MOST))
            scale[k] = is_zero(x, i + k, K) ? 0.0f : careful_scale(x, i + k, K);
}

CPU_INLINE void call_for_line(gemm_any x, int64_t at)
{
    _mm_prefetch(x.at + cpu_bytes(x.dtype) * at, _MM_HINT_T0);
}

/* 2 VW numbers of a line: those at even places, and those at odd ones. */
CPU_INLINE void take_pairs(gemm_any x, int64_t at, vf *even, vf *odd)
{
    if (x.dtype == TN_F32) {
        const float *from = gemm_floats(x) + at;
        v_part(v_load(from), v_load(from + VW), even, odd);
        return;
    }
    whole_pairs(gemm_halves(x) + at, even, odd);
}

/* The same of the last n < 2 VW; zeros behind. */
CPU_INLINE void take_last_pairs(gemm_any x, int64_t at, int64_t n, vf *even,
                                vf *odd)
{
    float last[2 * VW] = {0};
    for (int64_t i = 0; i < n; i++)
        last[i] = gemm_element(x, 0, at + i);
    take_pairs(gemm_of(last, TN_F32, 0, 1), 0, even, odd);
}

/* Of x (n, K). */
CPU_INLINE void scales_along(float *scale, gemm_any x, int64_t n, int64_t K)
{
    for (int64_t i = 0; i < n; i += VW) {
        float squares[VW] = {0};
        for (int64_t j = 0; j < cpu_min(VW, n - i); j++) {
            const int64_t at = (i + j) * x.row;
            vf sum = v_zero(), more = v_zero(), even, odd;
            for (int64_t k = 0; k < K; k += 2 * VW) {
                if (K - k >= 2 * VW)
                    take_pairs(x, at + k, &even, &odd);
                else
                    take_last_pairs(x, at + k, K - k, &even, &odd);
                call_for_line(x, at + 2 * x.row + k);
                sum = v_fma(even, even, sum);
                more = v_fma(odd, odd, more);
            }
            squares[j] = v_sum(sum + more);
        }
        put_scales(scale + i, v_load(squares), x, i, n - i, K);
    }
}

/* Sums of squares of `count` vectors of lines, contiguous across them; the last
 * holds `lanes`. */
CPU_INLINE void squares_across(vf *squares, gemm_any x, int64_t count,
                               int64_t lanes, int64_t K)
{
    vf sum[TOGETHER];
    CPU_UNROLL(12)
    for (int64_t i = 0; i < TOGETHER; i++)
        sum[i] = v_zero();
    for (int64_t k = 0; k < K; k++) {
        CPU_UNROLL(12)
        for (int64_t i = 0; i < count; i++) {
            const int64_t at = k * x.column + i * VW;
            const vf line =
                gemm_load_line(x, k, at, i == count - 1 ? lanes : VW);
            call_for_line(x, at + 12 * x.column);
            sum[i] = v_fma(line, line, sum[i]);
        }
    }
    CPU_UNROLL(12)
    for (int64_t i = 0; i < count; i++)
        squares[i] = sum[i];
}

CPU_INLINE void scales_across(float *scale, gemm_any x, int64_t n, int64_t K)
{
    for (int64_t from = 0; from < n; from += TOGETHER * VW) {
        const gemm_any part = gemm_from(x, from, 0);
        const int64_t left = n - from, count = cpu_parts(left, VW);
        vf squares[TOGETHER];
        if (count >= TOGETHER)
            squares_across(squares, part, TOGETHER, left - (TOGETHER - 1) * VW,
                           K);
        else
            squares_across(squares, part, count, left - (count - 1) * VW, K);
        for (int64_t i = 0; i < cpu_min(count, TOGETHER); i++)
            put_scales(scale + from + i * VW, squares[i], part, i * VW,
                       left - i * VW, K);
    }
}

static void find_scales(float *scale, gemm_any x, int64_t n, int64_t K)
{
    if (gemm_is_across(x))
        GEMM_ACROSS(x, scales_across(scale, x, n, K));
    else
        GEMM_EITHER(x, scales_along(scale, x, n, K));
}

/* ---- packing ---- */

CPU_INLINE vi whole(vf x, vf scale)
{
    return whole_of(x, whole_inverse(scale));
}

CPU_INLINE vi integers_along(gemm_any x, int64_t at, int64_t n, float scale)
{
    vf even, odd;
    if (n >= 2 * VW)
        take_pairs(x, at, &even, &odd);
    else
        take_last_pairs(x, at, n, &even, &odd);
    return v_bits(
        whole_words(whole(even, v_set(scale)), whole(odd, v_set(scale))));
}

CPU_INLINE vi integers_across(gemm_any x, int64_t k, int64_t i, int64_t n,
                              int64_t m, vf scale)
{
    const int64_t low = k * x.column + i, next = m > 0;
    return v_bits(whole_words(
        whole(gemm_load_line(x, k, low, n), scale),
        whole(gemm_load_line(x, k + next, low + next * x.column, m), scale)));
}

#define ALONG(x, at, n, scale) integers_along(x, at, n, *(scale))
#define ACROSS(x, k, i, n, m, scale)                                           \
    integers_across(x, k, i, n, m, v_load(scale))
#include "gemm_words.h"

void ISA(gemm_pack_integers)(const gemm_columns *to, gemm_any y, int64_t K,
                             int64_t n)
{
    find_scales(to->scale, gemm_transposed(y), n, K);
    pack_words(to, y, K, n);
}

gemm_rows ISA(gemm_rows_of_integers)(gemm_any x, int64_t n, int64_t K,
                                     float *room, float *scale)
{
    find_scales(scale, x, n, K);
    return rows_of_words(x, n, K, room, scale);
}

/* ---- tiles ---- */

#define DOT whole_dot
#define DONE whole_done
#define TARGET
#define CALLS_NEXT 1
#include "gemm_tile.h"

const gemm_kind ISA(gemm_integers) = {.numbers = 2,
                                      .rows = ISA(gemm_rows_of_integers),
                                      .pack = ISA(gemm_pack_integers),
                                      .tile = tiles};
