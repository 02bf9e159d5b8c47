/*
 * gemm_thin.c - a handful of rows by a matrix in bf16 (see gemm.h).
 */
#include "gemm.h"

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
        const uint16_t *at = gemm_halves(b);                                   \
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
                    gemm_halves(b) + n, b.row, c + n, N);                      \
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

int64_t ISA(gemm_thin_scratch)(int64_t M, int64_t N, int64_t K)
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

void ISA(gemm_thin)(int64_t M, int64_t N, int64_t K, gemm_any a, gemm_any b,
                    gemm_into c, float *scratch)
{
    float *x = scratch, *y = scratch + M * K;
    for (int64_t i = 0; i < M; i++)
        for (int64_t k = 0; k < K; k++)
            x[i * K + k] = gemm_element(a, i, k);
    (b.row == 1 ? by_columns : by_rows)[M](N, K, x, b, y);
    for (int64_t i = 0; i < M; i++)
        put_row(c, i, y + i * N, N);
}
