/*
 * gemv.h - a few rows times a large matrix, at the speed of memory.
 *
 * Decoding is such products: one row of x for each sequence, and matrices whose
 * every number is used once for each of them. Matrices lie with the axis that
 * is summed over contiguous, in f32 or bf16.
 */
#ifndef CPU_GEMV_H
#define CPU_GEMV_H

#include "gemm.h"

enum { GEMV_ROWS = 8 };

/* y[i * y_pitch + j] = x_i . w_j for `rows` <= GEMV_ROWS rows of floats and N
 * rows of w; added to y if `add`. Each sum has one order, whatever `rows` is.
 */
typedef struct gemv_block {
    int64_t rows, N, K;
    const float *x;
    int64_t x_pitch;
    const void *w; /* of dtype F32 or BF16 */
    tn_dtype dtype;
    int64_t w_pitch; /* in elements */
    int64_t beside;  /* bytes from w to what is read next, or 0: it is asked
                        for line by line */
    float *y;
    int64_t y_pitch;
    uint32_t add;
} gemv_block;
void ISA(gemv)(const gemv_block *b);

/* A block as gemm's (gemm.h), of any dtypes, without factors and powers.
 * `beside` as above, where b is read by columns; `scratch`: gemm_few_scratch
 * bytes. */
enum { GEMM_FEW_ROWS = 4 };
void ISA(gemm_few)(const gemm_block *p, int64_t beside, float *scratch);
int64_t ISA(gemm_few_scratch)(int64_t M, int64_t N, int64_t K);

/* Whether it takes it: more rows fit where b is read along K. */
static inline int gemm_is_few(int64_t M, gemm_any b)
{
    return b.row == 1 ? M <= GEMV_ROWS : b.column == 1 && M <= GEMM_FEW_ROWS;
}

#endif
