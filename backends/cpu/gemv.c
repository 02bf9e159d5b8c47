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
    TASK_ELEMENTS = 32 * 1024,
    MOST_PARTS = 1024,
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

/* ---- as a step ---- */

typedef struct gemv_step {
    gemv_product p;
    int64_t slice; /* columns of a task */
    uint32_t x_in_place, y_in_place;
} gemv_step;

static float element(gemm_any x, int64_t i, int64_t k)
{
    const int64_t at = i * x.row + k * x.column;
    return x.dtype == TN_F32
               ? ((const float *)(const void *)x.at)[at]
               : f_of_bf16(((const uint16_t *)(const void *)x.at)[at]);
}

static void gather_x(const gemv_product *p, float *x)
{
    for (int64_t i = 0; i < p->M; i++) {
        const gemm_any row = gemm_from(p->a, i, 0);
        if (row.column == 1 && row.dtype == TN_BF16)
            v_widen(x + i * p->K, (const uint16_t *)(const void *)row.at, p->K);
        else
            for (int64_t k = 0; k < p->K; k++)
                x[i * p->K + k] = element(p->a, i, k);
    }
}

static void run_gemv(const void *argument, cpu_worker *w, int64_t task)
{
    const gemv_step *s = argument;
    const gemv_product *p = &s->p;
    const int64_t n = task * s->slice, N = cpu_min(s->slice, p->N - n);
    float *x = w->scratch, *y = x + p->M * p->K;
    gemv_block b = {.rows = p->M,
                    .N = N,
                    .K = p->K,
                    .x = x,
                    .x_pitch = p->K,
                    .w = gemm_from(p->b, 0, n).at,
                    .dtype = p->b.dtype,
                    .w_pitch = p->b.column,
                    .y = y,
                    .y_pitch = N};
    if (s->x_in_place) {
        b.x = (const float *)(const void *)p->a.at;
        b.x_pitch = p->a.row;
    } else {
        gather_x(p, x);
    }
    if (s->y_in_place) {
        b.y = (float *)(void *)p->c.at + n;
        b.y_pitch = p->c.pitch;
        b.add = p->c.add;
    }
    ISA(gemv)(&b);
    for (int64_t i = 0; !s->y_in_place && i < p->M; i++)
        v_narrow((uint16_t *)(void *)p->c.at + i * p->c.pitch + n, y + i * N,
                 N);
}

/* Powers of two, so that they spread evenly over few threads. */
void ISA(emit_gemv)(cpu_compiler *c, const gemv_product *p)
{
    gemv_step *s = CPU_ARGUMENT(c, gemv_step);
    int64_t parts = 1;
    while (2 * parts <= MOST_PARTS && 2 * parts * TASK_ELEMENTS <= p->N * p->K)
        parts *= 2;
    *s = (gemv_step){
        .p = *p,
        .slice = cpu_parts(cpu_parts(p->N, parts), TOGETHER) * TOGETHER,
        .x_in_place = p->a.dtype == TN_F32 && (p->a.column == 1 || p->K == 1),
        .y_in_place = p->c.dtype == TN_F32};
    cpu_scratch(c, 4 * p->M * (p->K + s->slice));
    cpu_step(c, run_gemv, s, cpu_parts(p->N, s->slice));
}
