/*
 * gemm_few.c - a handful of rows by a matrix of either dtype, as it lies: by
 * columns gemv.c, by rows gemm_direct.c, or what is below where it is bf16.
 */
#include "gemv.h"

enum { DIRECT_VECTORS = 4 };

/* ---- bf16, row by row of b ---- */

/* A stretch of all rows of c at a time. */
CPU_INLINE void stretch(int rows, int64_t N, int64_t K, gemm_matrix x,
                        const uint16_t *b, int64_t pitch, float *c,
                        int64_t c_pitch)
{
    const int64_t whole = N / VW;
    const int vectors = (int)cpu_min(DIRECT_VECTORS, cpu_parts(N, VW));
    vf sum[GEMM_FEW_ROWS][DIRECT_VECTORS];
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
                sum[i][j] =
                    v_fma(v_set(x.at[i * x.row + k]), line[j], sum[i][j]);
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++)
            v_store_n(c + i * c_pitch + j * VW, sum[i][j], N - j * VW);
}

#define STRETCHES(rows)                                                        \
    static void stretches_##rows(int64_t N, int64_t K, gemm_matrix x,          \
                                 gemm_any b, float *c)                         \
    {                                                                          \
        for (int64_t n = 0; n < N; n += DIRECT_VECTORS * VW)                   \
            stretch(rows, cpu_min(N - n, DIRECT_VECTORS * VW), K, x,           \
                    gemm_halves(b) + n, b.row, c + n, N);                      \
    }
STRETCHES(1)
STRETCHES(2)
STRETCHES(3)
STRETCHES(4)

static void by_rows(int64_t M, int64_t N, int64_t K, gemm_matrix x, gemm_any b,
                    float *y)
{
    static void (*const of[])(int64_t, int64_t, gemm_matrix, gemm_any,
                              float *) = {NULL, stretches_1, stretches_2,
                                          stretches_3, stretches_4};
    of[M](N, K, x, b, y);
}

/* ---- rows in floats, and back ---- */

static gemm_matrix gather(int64_t M, int64_t K, gemm_any a, float *room)
{
    if (a.dtype == TN_F32 && (a.column == 1 || K == 1))
        return gemm_f32(a);
    for (int64_t i = 0; i < M; i++)
        if (a.column == 1)
            v_widen(room + i * K, gemm_halves(gemm_from(a, i, 0)), K);
        else
            for (int64_t k = 0; k < K; k++)
                room[i * K + k] = gemm_element(a, i, k);
    return (gemm_matrix){room, K, 1};
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

int64_t ISA(gemm_few_scratch)(int64_t M, int64_t N, int64_t K)
{
    return M * (N + K) * (int64_t)sizeof(float);
}

void ISA(gemm_few)(const gemm_block *p, int64_t beside, float *scratch)
{
    const int64_t M = p->M, N = p->N, K = p->K;
    const gemm_any b = p->b;
    const gemm_into c = p->c;
    const gemm_matrix x = gather(M, K, p->a, scratch);
    const int by_stretches = b.row != 1 && b.dtype == TN_BF16;
    const int there = c.dtype == TN_F32 && !by_stretches;
    float *y = there ? (float *)(void *)c.at : scratch + M * K;
    const int64_t pitch = there ? c.pitch : N;
    const uint32_t add = there ? c.add : 0;
    if (b.row == 1)
        ISA(gemv)
    (&(gemv_block){M, N, K, x.at, x.row, b.at, b.dtype, b.column, beside, y,
                   pitch, add});
    else if (by_stretches) by_rows(M, N, K, x, b, y);
    else ISA(gemm_direct)(M, N, K, x, gemm_f32(b), y, pitch, add);
    for (int64_t i = 0; i < M && !there; i++)
        put_row(c, i, y + i * N, N);
}
