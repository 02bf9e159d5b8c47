/*
 * gemv.c - a few rows times a matrix that is read once (see gemv.h).
 *
 * What limits a core is how many lines of memory it waits for at a time, so
 * lines are asked for long before they are used: the hardware does not look
 * past a page, and with little arithmetic to a line it does not get far ahead.
 * Up to two rows, four rows of w at once keep the sums independent; above, the
 * rows of x do.
 */
#include "gemv.h"

enum {
    AHEAD_BYTES = 16384,
    TOGETHER = 4, /* rows of w, for a row or two of x */
};

CPU_INLINE vf line_of(tn_dtype dtype, const char *w, int64_t k)
{
    return dtype == TN_F32 ? v_load((const float *)(const void *)w + k)
                           : v_load_bf16((const uint16_t *)(const void *)w + k);
}

CPU_INLINE vf rest_of(tn_dtype dtype, const char *w, int64_t k, int64_t n)
{
    return dtype == TN_F32
               ? v_load_n((const float *)(const void *)w + k, n)
               : v_load_bf16_n((const uint16_t *)(const void *)w + k, n);
}

/* `columns` rows of w from `w` on. A stretch is a line of memory in f32, two
 * lines of lanes in bf16 and AVX-512; half of that with AVX2. */
CPU_INLINE void block(int rows, int columns, tn_dtype dtype,
                      const gemv_block *b, const char *w, float *y)
{
    enum { UNROLL = 64 / VW };
    const int64_t bytes = dtype == TN_F32 ? 4 : 2, K = b->K;
    const int64_t pitch = bytes * b->w_pitch;
    vf sum[GEMV_ROWS][TOGETHER];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++)
            sum[i][j] = v_zero();
    int64_t k = 0;
    for (; k + UNROLL * VW <= K; k += UNROLL * VW)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) {
            const char *row = w + j * pitch;
#pragma GCC unroll 4
            for (int64_t at = 0; at < 64 * bytes; at += 64)
                _mm_prefetch(row + bytes * k + at + AHEAD_BYTES, _MM_HINT_T1);
#pragma GCC unroll 8
            for (int u = 0; u < UNROLL; u++) {
                const vf line = line_of(dtype, row, k + u * VW);
#pragma GCC unroll 8
                for (int i = 0; i < rows; i++)
                    sum[i][j] =
                        v_fma(v_load(b->x + i * b->x_pitch + k + u * VW), line,
                              sum[i][j]);
            }
        }
    for (; k < K; k += VW)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) {
            const int64_t n = cpu_min(VW, K - k);
            const vf line = rest_of(dtype, w + j * pitch, k, n);
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++)
                sum[i][j] = v_fma(v_load_n(b->x + i * b->x_pitch + k, n), line,
                                  sum[i][j]);
        }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) {
            float *to = y + i * b->y_pitch + j;
            const float value = v_sum(sum[i][j]);
            *to = b->add ? *to + value : value;
        }
}

#define GEMV(rows, dtype)                                                      \
    static void gemv_##rows##_##dtype(const gemv_block *b)                     \
    {                                                                          \
        const char *w = b->w;                                                  \
        const int64_t pitch = ((dtype) == TN_F32 ? 4 : 2) * b->w_pitch;        \
        int64_t n = 0;                                                         \
        for (; (rows) <= 2 && n + TOGETHER <= b->N; n += TOGETHER)             \
            block(rows, TOGETHER, dtype, b, w + n * pitch, b->y + n);          \
        for (; n < b->N; n++)                                                  \
            block(rows, 1, dtype, b, w + n * pitch, b->y + n);                 \
    }
#define GEMVS(rows) GEMV(rows, TN_F32) GEMV(rows, TN_BF16)
GEMVS(1)
GEMVS(2)
GEMVS(3)
GEMVS(4)
GEMVS(5)
GEMVS(6)
GEMVS(7)
GEMVS(8)

#define BOTH(rows)                                                             \
    {                                                                          \
        gemv_##rows##_TN_F32, gemv_##rows##_TN_BF16                            \
    }
void ISA(gemv)(const gemv_block *b)
{
    static void (*const of[][2])(const gemv_block *) = {
        {NULL, NULL}, BOTH(1), BOTH(2), BOTH(3), BOTH(4),
        BOTH(5),      BOTH(6), BOTH(7), BOTH(8)};
    if (b->rows > 0)
        of[b->rows][b->dtype == TN_BF16](b);
}
