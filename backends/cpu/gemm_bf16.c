/*
 * gemm_bf16.c - blocks of products with bf16 operands (see gemm_bf16.h).
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
#include "gemm_bf16.h"

#include <string.h>

enum {
    STRETCH = 512, /* of K, even */
    BLOCK_ROWS = 128,
    PANEL_ROWS = 8,
    PANEL_VECTORS = 3,
    PANEL_COLUMNS = PANEL_VECTORS * 16,
};

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static const uint16_t *halves(gemm_any x)
{
    return (const uint16_t *)(const void *)x.at;
}

static const float *floats(gemm_any x)
{
    return (const float *)(const void *)x.at;
}

static float element(gemm_any x, int64_t i, int64_t j)
{
    const int64_t at = i * x.row + j * x.column;
    return x.dtype == TN_BF16 ? f_of_bf16(halves(x)[at]) : floats(x)[at];
}

/* ---- packing ---- */

#if defined(__AVX512F__)

#define WITH_BF16 __attribute__((target("avx512bf16,avx512vl")))

static uint32_t half_at(gemm_any x, int64_t i, int64_t j)
{
    const int64_t at = i * x.row + j * x.column;
    return x.dtype == TN_BF16 ? halves(x)[at] : bf16_of_f(floats(x)[at]);
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
               ? _mm256_maskz_loadu_epi16(m_first(n), halves(x) + at)
               : v_to_bf16(v_load_n(floats(x) + at, n));
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

static void multiply(int64_t M, int64_t N, int64_t K, gemm_any a, gemm_any b,
                     float *c, int64_t pitch, uint32_t add, float *scratch)
{
    uint32_t *packed_b = (uint32_t *)(void *)scratch;
    const gemm_any turned = {b.at, b.dtype, b.column, b.row};
    for (int64_t k = 0; k < K; k += STRETCH, add = 1) {
        const int64_t depth = cpu_min(STRETCH, K - k), words = (depth + 1) / 2;
        uint32_t *packed_a = packed_b + round_up(N, PANEL_COLUMNS) * words;
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

static int64_t packed_floats(int64_t N, int64_t K)
{
    const int64_t words = (cpu_min(STRETCH, K) + 1) / 2;
    return (round_up(N, PANEL_COLUMNS) + BLOCK_ROWS) * words;
}

static int has_instruction(const cpu_worker *w)
{
    return w->dot_bf16 != 0;
}

#else

static void multiply(int64_t M, int64_t N, int64_t K, gemm_any a, gemm_any b,
                     float *c, int64_t pitch, uint32_t add, float *scratch)
{
    (void)M, (void)N, (void)K, (void)a, (void)b;
    (void)c, (void)pitch, (void)add, (void)scratch;
}

static int64_t packed_floats(int64_t N, int64_t K)
{
    (void)N, (void)K;
    return 0;
}

static int has_instruction(const cpu_worker *w)
{
    (void)w;
    return 0;
}

#endif

/* ---- without the instruction ---- */

/* Lines of x (rows, columns) as floats, contiguous where x is. */
static gemm_matrix widened(gemm_any x, int64_t rows, int64_t columns, float *to)
{
    const int by_rows = x.column == 1;
    const int64_t lines = by_rows ? rows : columns;
    const int64_t n = by_rows ? columns : rows;
    if (x.dtype == TN_F32)
        return gemm_f32(x);
    for (int64_t i = 0; i < lines; i++)
        v_widen(to + i * n, halves(x) + i * (by_rows ? x.row : x.column), n);
    return by_rows ? (gemm_matrix){to, n, 1} : (gemm_matrix){to, 1, n};
}

static void multiply_widened(const cpu_worker *w, int64_t M, int64_t N,
                             int64_t K, gemm_any a, gemm_any b, float *c,
                             int64_t pitch, uint32_t add, float *scratch)
{
    for (int64_t k = 0; k < K; k += STRETCH, add = 1) {
        const int64_t depth = cpu_min(STRETCH, K - k);
        const gemm_matrix left = widened(gemm_from(a, 0, k), M, depth, scratch);
        const gemm_matrix right =
            widened(gemm_from(b, k, 0), depth, N, scratch + M * depth);
        ISA(gemm_blas)(w, M, N, depth, left, right, c, pitch, add);
    }
}

/* ---- a block ---- */

int64_t ISA(gemm_bf16_scratch)(int64_t M, int64_t N, int64_t K)
{
    const int64_t wide = (M + N) * cpu_min(STRETCH, K);
    return (round_up(M * N, 16) + cpu_max(packed_floats(N, K), wide)) *
           (int64_t)sizeof(float);
}

void ISA(gemm_bf16)(const cpu_worker *w, int64_t M, int64_t N, int64_t K,
                    gemm_any a, gemm_any b, gemm_into c, float *scratch)
{
    const int direct = c.dtype == TN_F32;
    float *to = direct ? (float *)(void *)c.at : scratch;
    float *rest = scratch + (direct ? 0 : round_up(M * N, 16));
    const int64_t pitch = direct ? c.pitch : N;
    if (has_instruction(w))
        multiply(M, N, K, a, b, to, pitch, direct && c.add, rest);
    else
        multiply_widened(w, M, N, K, a, b, to, pitch, direct && c.add, rest);
    uint16_t *half = (uint16_t *)(void *)c.at;
    for (int64_t i = 0; i < M && !direct; i++)
        v_narrow(half + i * c.pitch, to + i * N, N);
}

/* ---- a few rows ---- */

enum { DOT_COLUMNS = 4, DIRECT_VECTORS = 4, AHEAD = 8 };

/* b's columns contiguous: dot products. */
CPU_INLINE void dots(int rows, int columns, int64_t K, const float *a,
                     const uint16_t *b, int64_t pitch, float *c, int64_t N)
{
    vf sum[GEMM_DOT_ROWS][DOT_COLUMNS];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++)
            sum[i][j] = v_zero();
    for (int64_t k = 0; k < K; k += VW) {
        const int whole = k + VW <= K;
        vf line[DOT_COLUMNS];
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++)
            line[j] = whole ? v_load_bf16(b + j * pitch + k)
                            : v_load_bf16_n(b + j * pitch + k, K - k);
        /* rows are short: the hardware does not look past them */
#pragma GCC unroll 4
        for (int j = 0; j < columns && columns > 1; j++)
            _mm_prefetch((const char *)(b + (j + AHEAD) * pitch + k),
                         _MM_HINT_T0);
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            const vf x =
                whole ? v_load(a + i * K + k) : v_load_n(a + i * K + k, K - k);
#pragma GCC unroll 4
            for (int j = 0; j < columns; j++)
                sum[i][j] = v_fma(x, line[j], sum[i][j]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++)
            c[i * N + j] = v_sum(sum[i][j]);
}

#define DOTS(rows)                                                             \
    static void dots_##rows(int64_t N, int64_t K, const float *a, gemm_any b,  \
                            float *c)                                          \
    {                                                                          \
        const uint16_t *at = halves(b);                                        \
        int64_t n = 0;                                                         \
        for (; n + 4 <= N; n += 4)                                             \
            dots(rows, 4, K, a, at + n * b.column, b.column, c + n, N);        \
        for (; n < N; n++)                                                     \
            dots(rows, 1, K, a, at + n * b.column, b.column, c + n, N);        \
    }
DOTS(1)
DOTS(2)
DOTS(3)
DOTS(4)

/* b's rows contiguous: a stretch of all rows of c at a time. */
CPU_INLINE void stretch(int rows, int64_t N, int64_t K, const float *a,
                        const uint16_t *b, int64_t pitch, float *c,
                        int64_t c_pitch)
{
    const int64_t whole = N / VW;
    const int vectors = (int)cpu_min(DIRECT_VECTORS, cpu_parts(N, VW));
    vf sum[GEMM_DOT_ROWS][DIRECT_VECTORS];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < DIRECT_VECTORS; j++)
            sum[i][j] = v_zero();
    for (int64_t k = 0; k < K; k++, b += pitch) {
        vf line[DIRECT_VECTORS];
        for (int j = 0; j < DIRECT_VECTORS; j++)
            line[j] = j < whole     ? v_load_bf16(b + j * VW)
                      : j < vectors ? v_load_bf16_n(b + j * VW, N - j * VW)
                                    : v_zero();
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < DIRECT_VECTORS; j++)
                sum[i][j] = v_fma(v_set(a[i * K + k]), line[j], sum[i][j]);
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++)
            v_store_n(c + i * c_pitch + j * VW, sum[i][j], N - j * VW);
}

#define STRETCHES(rows)                                                        \
    static void stretches_##rows(int64_t N, int64_t K, const float *a,         \
                                 gemm_any b, float *c)                         \
    {                                                                          \
        for (int64_t n = 0; n < N; n += DIRECT_VECTORS * VW)                   \
            stretch(rows, cpu_min(N - n, DIRECT_VECTORS * VW), K, a,           \
                    halves(b) + n, b.row, c + n, N);                           \
    }
STRETCHES(1)
STRETCHES(2)
STRETCHES(3)
STRETCHES(4)

typedef void thin_product(int64_t N, int64_t K, const float *a, gemm_any b,
                          float *c);
static thin_product *const by_columns[] = {NULL, dots_1, dots_2, dots_3,
                                           dots_4};
static thin_product *const by_rows[] = {NULL, stretches_1, stretches_2,
                                        stretches_3, stretches_4};

int64_t ISA(gemm_bf16_thin_scratch)(int64_t M, int64_t N, int64_t K)
{
    return M * (N + K) * (int64_t)sizeof(float);
}

static void put_row(gemm_into c, int64_t i, const float *from, int64_t N)
{
    float *wide = (float *)(void *)c.at + i * c.pitch;
    if (c.dtype == TN_BF16)
        v_narrow((uint16_t *)(void *)c.at + i * c.pitch, from, N);
    else
        for (int64_t n = 0; n < N; n++)
            wide[n] = c.add ? wide[n] + from[n] : from[n];
}

void ISA(gemm_bf16_thin)(int64_t M, int64_t N, int64_t K, gemm_any a,
                         gemm_any b, gemm_into c, float *scratch)
{
    float *x = scratch, *y = scratch + M * K;
    for (int64_t i = 0; i < M; i++)
        for (int64_t k = 0; k < K; k++)
            x[i * K + k] = element(a, i, k);
    (b.row == 1 ? by_columns : by_rows)[M](N, K, x, b, y);
    for (int64_t i = 0; i < M; i++)
        put_row(c, i, y + i * N, N);
}
