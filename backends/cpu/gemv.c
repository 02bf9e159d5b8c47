/*
 * gemv.c - a few rows times a matrix that is read once (see gemv.h).
 *
 * What limits a core is how many lines of memory it waits for at a time, so
 * lines are asked for long before they are used, and from several places: the
 * rows that are read together lie far apart,
 *
 *     w  |1 . . . . |1 . . . . |1 . . . . |1 . . . . | ...  1: read first
 *
 * because the hardware follows a stream better that has its pages to itself.
 * Eight streams whose next 2 KB are on their way read as fast as anything that
 * was tried, neighbouring rows 5 to 15 % slower. With more rows of x streams
 * are fewer, since each pair has its sum in a register.
 */
#include "gemv.h"

enum {
    MOST_STREAMS = 8,
    SUMS = VW,           /* in registers */
    AHEAD_BYTES = 16384, /* of all streams */
    STRETCH_BYTES = 128, /* of a stream, then the next one */
};

/* The cache that what is asked for comes to. Emerald Rapids, with AVX-512,
 * reads 93 % of its stream into the first; Zen 4, with AVX2, waits for more
 * lines at the second: 61 tokens a second where the first gave 44. */
#if defined(__AVX512F__)
#define NEAR _MM_HINT_T0
#else
#define NEAR _MM_HINT_T1
#endif

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

/* `columns` rows of w, `apart` bytes from one to the next; results are y_apart
 * apart. */
CPU_INLINE void block(int rows, int columns, tn_dtype dtype,
                      const gemv_block *b, const char *w, int64_t apart,
                      int64_t ahead, float *y, int64_t y_apart)
{
    const int64_t bytes = dtype == TN_F32 ? 4 : 2, K = b->K;
    const int64_t stretch = STRETCH_BYTES / bytes;
    vf sum[GEMV_ROWS][MOST_STREAMS];
    CPU_UNROLL(8)
    for (int i = 0; i < rows; i++) {
        CPU_UNROLL(8)
        for (int j = 0; j < columns; j++)
            sum[i][j] = v_zero();
    }
    int64_t k = 0;
    for (; k + stretch <= K; k += stretch) {
        CPU_UNROLL(8)
        for (int j = 0; j < columns; j++) {
            const char *row = w + j * apart;
            CPU_UNROLL(2)
            for (int64_t at = 0; at < STRETCH_BYTES; at += 64) {
                _mm_prefetch(row + bytes * k + at + ahead, NEAR);
                if (b->beside)
                    _mm_prefetch(row + bytes * k + at + b->beside, _MM_HINT_T1);
            }
            CPU_UNROLL(8)
            for (int64_t u = 0; u < stretch; u += VW) {
                const vf line = line_of(dtype, row, k + u);
                CPU_UNROLL(8)
                for (int i = 0; i < rows; i++)
                    sum[i][j] = v_fma(v_load(b->x + i * b->x_pitch + k + u),
                                      line, sum[i][j]);
            }
        }
    }
    for (; k < K; k += VW) {
        CPU_UNROLL(8)
        for (int j = 0; j < columns; j++) {
            const int64_t n = cpu_min(VW, K - k);
            const vf line = rest_of(dtype, w + j * apart, k, n);
            CPU_UNROLL(8)
            for (int i = 0; i < rows; i++)
                sum[i][j] = v_fma(v_load_n(b->x + i * b->x_pitch + k, n), line,
                                  sum[i][j]);
        }
    }
    CPU_UNROLL(8)
    for (int i = 0; i < rows; i++) {
        CPU_UNROLL(8)
        for (int j = 0; j < columns; j++) {
            float *to = y + i * b->y_pitch + j * y_apart;
            const float value = v_sum(sum[i][j]);
            *to = b->add ? *to + value : value;
        }
    }
}

/* A power of two, so that the sums have registers. */
CPU_INLINE int streams_of(int rows)
{
    const int most = SUMS / rows;
    return most >= MOST_STREAMS ? MOST_STREAMS
           : most >= 4          ? 4
           : most >= 2          ? 2
                                : 1;
}

/* How far ahead of a line the one is that is asked for: in rows that leave gaps
 * between them, whole rows. */
CPU_INLINE int64_t ahead_of(int64_t row_bytes, int64_t pitch, int streams)
{
    const int64_t bytes = AHEAD_BYTES / streams;
    return pitch == row_bytes ? bytes : cpu_parts(bytes, row_bytes) * pitch;
}

CPU_INLINE void gemv_of(int rows, tn_dtype dtype, const gemv_block *b)
{
    const char *w = b->w;
    const int64_t bytes = dtype == TN_F32 ? 4 : 2, pitch = bytes * b->w_pitch;
    const int streams = streams_of(rows);
    const int64_t each = b->N / streams; /* rows of w */
    const int64_t ahead = ahead_of(bytes * b->K, pitch, streams);
    for (int64_t n = 0; n < each; n++)
        block(rows, streams, dtype, b, w + n * pitch, each * pitch, ahead,
              b->y + n, each);
    for (int64_t n = each * streams; n < b->N; n++)
        block(rows, 1, dtype, b, w + n * pitch, 0, ahead, b->y + n, 0);
}

#define GEMV(rows, dtype)                                                      \
    static void gemv_##rows##_##dtype(const gemv_block *b)                     \
    {                                                                          \
        gemv_of(rows, dtype, b);                                               \
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
