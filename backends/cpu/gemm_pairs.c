/*
 * gemm_pairs.c - large blocks of products of bf16, in pairs.
 *
 * VDPBF16PS takes two vectors of pairs of bf16 and adds the two products of
 * each pair to a lane of floats: twice the work of an f32 FMA. So operands are
 * packed in pairs along K, as 32-bit words:
 *
 *     panel of A:  for each pair of k, PANEL_ROWS words      (broadcast)
 *     panel of B:  for each pair of k, PANEL_COLUMNS words   (three vectors)
 *
 * and 8 rows by 48 columns of c stay in 24 registers over a stretch of K. A
 * stretch of B's panels, packed once, is met by blocks of A's panels that sit
 * in L2; c is read and written once in each stretch.
 *
 * The instruction takes subnormal inputs and results for 0 and rounds each of
 * its two additions to nearest: docs/decisions/0015-bf16-is-storage.md.
 */
#include "gemm_blocks.h"

enum {
    STRETCH = 512, /* of K, even */
    BLOCK_ROWS = 128,
    PANEL_ROWS = 8,
    PANEL_VECTORS = 3,
    PANEL_COLUMNS = PANEL_VECTORS * 16,
};

/* ---- packing ---- */

#if defined(__AVX512F__)

#define WITH_BF16 __attribute__((target("avx512bf16,avx512vl")))

static uint32_t half_at(gemm_any x, int64_t i, int64_t j)
{
    const int64_t at = i * x.row + j * x.column;
    return x.dtype == TN_BF16 ? gemm_halves(x)[at]
                              : bf16_of_f(gemm_floats(x)[at]);
}

/* Words [word, words) of `width` lines, one by one; zeros up to `panel` lines
 * and where K is odd. */
static void pack_slowly(uint32_t *to, int64_t panel, gemm_any x, int64_t width,
                        int64_t K, int64_t word)
{
    for (; 2 * word < K; word++)
        for (int64_t i = 0; i < panel; i++) {
            const int64_t k = 2 * word;
            const uint32_t low = i < width ? half_at(x, i, k) : 0;
            const uint32_t high =
                i < width && k + 1 < K ? half_at(x, i, k + 1) : 0;
            to[word * panel + i] = low | high << 16;
        }
}

/* n of 16 numbers of bf16 from element `at` on, the others 0. */
CPU_INLINE __m256i sixteen(gemm_any x, int64_t at, int64_t n)
{
    return x.dtype == TN_BF16
               ? _mm256_maskz_loadu_epi16(m_first(n), gemm_halves(x) + at)
               : v_to_bf16(v_load_n(gemm_floats(x) + at, n));
}

/* Eight lines of eight words, turned: to[word][line], lines `panel` apart. */
CPU_INLINE void turn_eight(uint32_t *to, int64_t panel, const __m256i *line)
{
    __m256i a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_epi32(line[i], line[i + 1]);
        a[i + 1] = _mm256_unpackhi_epi32(line[i], line[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            b[i + 2 * k] = _mm256_unpacklo_epi64(a[i + k], a[i + k + 2]);
            b[i + 2 * k + 1] = _mm256_unpackhi_epi64(a[i + k], a[i + k + 2]);
        }
    for (int k = 0; k < 4; k++) {
        _mm256_storeu_si256((__m256i *)(void *)(to + k * panel),
                            _mm256_permute2x128_si256(b[k], b[k + 4], 0x20));
        _mm256_storeu_si256((__m256i *)(void *)(to + (k + 4) * panel),
                            _mm256_permute2x128_si256(b[k], b[k + 4], 0x31));
    }
}

/* Lines contiguous along K: words are there already, and are turned. */
static void pack_along(uint32_t *to, int64_t panel, gemm_any x, int64_t K)
{
    int64_t k = 0;
    for (; k + 16 <= K; k += 16)
        for (int64_t i = 0; i < panel; i += 8) {
            __m256i line[8];
            for (int64_t r = 0; r < 8; r++)
                line[r] = sixteen(x, (i + r) * x.row + k, 16);
            turn_eight(to + k / 2 * panel + i, panel, line);
        }
    pack_slowly(to, panel, x, panel, K, k / 2);
}

/* Contiguous across: two rows of K become words. */
static void pack_across(uint32_t *to, int64_t panel, gemm_any x, int64_t width,
                        int64_t K)
{
    int64_t k = 0;
    for (; k + 2 <= K; k += 2)
        for (int64_t i = 0; i < panel; i += 16) {
            const int64_t n = cpu_max(0, cpu_min(16, width - i));
            const __m512i low =
                _mm512_cvtepu16_epi32(sixteen(x, k * x.column + i, n));
            const __m512i high =
                _mm512_cvtepu16_epi32(sixteen(x, (k + 1) * x.column + i, n));
            const __m512i words =
                _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
            _mm512_mask_storeu_epi32(to + k / 2 * panel + i, m_first(panel - i),
                                     words);
        }
    pack_slowly(to, panel, x, width, K, k / 2);
}

/* x as (width, K): panels of `panel` lines, one after the other. */
static void pack(uint32_t *to, int64_t panel, gemm_any x, int64_t width,
                 int64_t K)
{
    const int64_t words = (K + 1) / 2;
    for (int64_t i = 0; i < width; i += panel, to += words * panel) {
        const gemm_any at = gemm_from(x, i, 0);
        const int64_t count = cpu_min(width - i, panel);
        if (x.column == 1 && count == panel)
            pack_along(to, panel, at, K);
        else if (x.row == 1)
            pack_across(to, panel, at, count, K);
        else
            pack_slowly(to, panel, at, count, K, 0);
    }
}

/* ---- 8 by 48 ---- */

CPU_INLINE WITH_BF16 void tile(int vectors, int64_t words, const uint32_t *a,
                               const uint32_t *b, float *c, int64_t pitch,
                               int64_t rows, int64_t lanes, uint32_t add)
{
    vf sum[PANEL_ROWS][PANEL_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < PANEL_ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++)
            sum[i][j] = v_zero();
    for (int64_t k = 0; k < words; k++, a += PANEL_ROWS, b += PANEL_COLUMNS) {
        __m512i line[PANEL_VECTORS];
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++)
            line[j] = _mm512_loadu_si512(b + 16 * j);
#pragma GCC unroll 8
        for (int i = 0; i < PANEL_ROWS; i++) {
            const __m512i pair = _mm512_set1_epi32((int32_t)a[i]);
#pragma GCC unroll 3
            for (int j = 0; j < vectors; j++)
                sum[i][j] = _mm512_dpbf16_ps(sum[i][j], (__m512bh)pair,
                                             (__m512bh)line[j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < PANEL_ROWS; i++)
#pragma GCC unroll 3
        for (int j = 0; j < vectors; j++) {
            float *to = c + i * pitch + 16 * j;
            const int64_t n = i >= rows ? 0 : j == vectors - 1 ? lanes : 16;
            const vf before = add ? v_load_n(to, n) : v_zero();
            v_store_n(to, before + sum[i][j], n);
        }
}

#define TILE_OF(vectors)                                                       \
    static WITH_BF16 void tile_##vectors(                                      \
        int64_t words, const uint32_t *a, const uint32_t *b, float *c,         \
        int64_t pitch, int64_t rows, int64_t lanes, uint32_t add)              \
    {                                                                          \
        tile(vectors, words, a, b, c, pitch, rows, lanes, add);                \
    }
TILE_OF(1)
TILE_OF(2)
TILE_OF(3)

/* All rows of a block of A by one panel of B. */
static void panel(int64_t M, int64_t columns, int64_t words, const uint32_t *a,
                  const uint32_t *b, float *c, int64_t pitch, uint32_t add)
{
    const int64_t vectors = cpu_parts(columns, 16);
    const int64_t lanes = columns - (vectors - 1) * 16;
    for (int64_t m = 0; m < M; m += PANEL_ROWS) {
        const int64_t rows = cpu_min(PANEL_ROWS, M - m);
        const uint32_t *at = a + m * words;
        float *to = c + m * pitch;
        if (vectors == 3)
            tile_3(words, at, b, to, pitch, rows, lanes, add);
        else if (vectors == 2)
            tile_2(words, at, b, to, pitch, rows, lanes, add);
        else
            tile_1(words, at, b, to, pitch, rows, lanes, add);
    }
}

void ISA(gemm_pairs)(int64_t M, int64_t N, int64_t K, gemm_any a, gemm_any b,
                     float *c, int64_t pitch, uint32_t add, float *scratch)
{
    uint32_t *packed_b = (uint32_t *)(void *)scratch;
    const gemm_any turned = {b.at, b.dtype, b.column, b.row};
    for (int64_t k = 0; k < K; k += STRETCH, add = 1) {
        const int64_t depth = cpu_min(STRETCH, K - k), words = (depth + 1) / 2;
        uint32_t *packed_a = packed_b + gemm_round_up(N, PANEL_COLUMNS) * words;
        pack(packed_b, PANEL_COLUMNS, gemm_from(turned, 0, k), N, depth);
        for (int64_t m = 0; m < M; m += BLOCK_ROWS) {
            const int64_t rows = cpu_min(BLOCK_ROWS, M - m);
            pack(packed_a, PANEL_ROWS, gemm_from(a, m, k), rows, depth);
            for (int64_t n = 0; n < N; n += PANEL_COLUMNS)
                panel(rows, cpu_min(PANEL_COLUMNS, N - n), words, packed_a,
                      packed_b + n * words, c + m * pitch + n, pitch, add);
        }
    }
}

int64_t ISA(gemm_pairs_floats)(int64_t N, int64_t K)
{
    const int64_t words = (cpu_min(STRETCH, K) + 1) / 2;
    return (gemm_round_up(N, PANEL_COLUMNS) + BLOCK_ROWS) * words;
}

#else

void ISA(gemm_pairs)(int64_t M, int64_t N, int64_t K, gemm_any a, gemm_any b,
                     float *c, int64_t pitch, uint32_t add, float *scratch)
{
    (void)M, (void)N, (void)K, (void)a, (void)b;
    (void)c, (void)pitch, (void)add, (void)scratch;
}

int64_t ISA(gemm_pairs_floats)(int64_t N, int64_t K)
{
    (void)N, (void)K;
    return 0;
}

#endif
