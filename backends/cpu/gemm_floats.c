/*
 * gemm_floats.c - products of f32 (gemm_blocks.h): a word is a number.
 *
 * Rows of x are read where they lie. Operands in bf16 are widened as they are
 * copied.
 */
#include "gemm_blocks.h"
#include "turn.h"

enum { ROWS = GEMM_ROWS, COLUMNS = GEMM_COLUMNS };

/* ---- packing ---- */

/* x (K, n) contiguous along n, into panels of `panel` columns. Row by row of x,
 * for its pages' sake. */
CPU_INLINE void pack_across(int64_t panel, float *to, gemm_any x, int64_t K,
                            int64_t n)
{
    for (int64_t k = 0; k < K; k++, to += panel)
        for (int64_t j = 0; j < n; j += panel) {
            float *line = to + j * K;
            const int64_t at = k * x.row + j;
            const int64_t left = cpu_min(panel, n - j);
            for (int64_t i = 0; i < panel; i += VW)
                if (panel - i < VW)
                    v_store_n(line + i, gemm_load_line(x, k, at + i, left - i),
                              panel - i);
                else
                    v_store(line + i,
                            left > i ? gemm_load_line(x, k, at + i, left - i)
                                     : v_zero());
        }
}

/* Rows of x (n, K) contiguous along n, into panels of ROWS. */
static void pack_rows(float *to, gemm_any x, int64_t K, int64_t n)
{
    const gemm_any turned = gemm_transposed(x);
#if defined(__AVX512F__)
    const int64_t whole = n / (2 * ROWS) * (2 * ROWS);
    for (int64_t k = 0; k < K; k++)
        for (int64_t i = 0; i < whole; i += 2 * ROWS) {
            const vf line = gemm_load_line(turned, k, k * turned.row + i, VW);
            float *at = to + i * K + k * ROWS;
            _mm256_storeu_ps(at, _mm512_castps512_ps256(line));
            _mm256_storeu_ps(at + ROWS * K, _mm512_extractf32x8_ps(line, 1));
        }
#else
    const int64_t whole = 0;
#endif
    pack_across(ROWS, to + whole * K, gemm_from(turned, 0, whole), K,
                n - whole);
}

CPU_INLINE __m256 eight(gemm_any x, int64_t at)
{
    if (x.dtype == TN_F32)
        return _mm256_loadu_ps(gemm_floats(x) + at);
    const __m128i half =
        _mm_loadu_si128((const __m128i *)(const void *)(gemm_halves(x) + at));
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* x (K, n) contiguous along K, into panels of COLUMNS. */
static void pack_along(float *to, gemm_any x, int64_t K, int64_t n)
{
    for (int64_t j = 0; j < gemm_round_up(n, COLUMNS); j += 8) {
        float *lines = to + j / COLUMNS * COLUMNS * K + j % COLUMNS;
        int64_t k = 0;
        for (; j + 8 <= n && k + 8 <= K; k += 8) {
            __m256 line[8];
            for (int64_t i = 0; i < 8; i++)
                line[i] = eight(x, (j + i) * x.column + k);
            turn_eight(lines + k * COLUMNS, COLUMNS, line);
        }
        for (; k < K; k++)
            for (int64_t i = 0; i < 8; i++)
                lines[k * COLUMNS + i] =
                    j + i < n ? gemm_element(x, k, j + i) : 0;
    }
}

static void pack(const gemm_columns *to, gemm_any y, int64_t K, int64_t n)
{
    if (y.column == 1)
        pack_across(COLUMNS, to->at, y, K, n);
    else
        pack_along(to->at, y, K, n);
}

/* Where they lie, widened, or in panels of ROWS. */
static gemm_rows rows(gemm_any x, int64_t n, int64_t K, float *room,
                      float *scale)
{
    if (gemm_lies_well(x))
        return (gemm_rows){gemm_floats(x), x.row, x.column, ROWS * x.row,
                           scale};
    if (gemm_is_across(x)) {
        pack_rows(room, x, K, n);
        return (gemm_rows){room, 1, ROWS, ROWS * K, scale};
    }
    for (int64_t i = 0; i < n; i++)
        v_widen(room + i * K, gemm_halves(x) + i * x.row, K);
    return (gemm_rows){room, K, 1, ROWS * K, scale};
}

#define DOT(sum, x, y) v_fma(x, y, sum)
#define DONE(sum, x_scale, y_scale) (sum)
#define TARGET
#define CALLS_NEXT 0
#include "gemm_tile.h"

const gemm_kind ISA(gemm_floats) = {
    .numbers = 1, .rows = rows, .pack = pack, .tile = tiles};
