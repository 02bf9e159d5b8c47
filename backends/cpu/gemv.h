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
    float *y;
    int64_t y_pitch;
    uint32_t add;
} gemv_block;
void ISA(gemv)(const gemv_block *b);

/* The same as a step: c (M, N) = a (M, K) b, M <= GEMV_ROWS, b.row = 1. */
typedef struct gemv_product {
    int64_t M, N, K;
    gemm_any a, b;
    gemm_into c;
} gemv_product;
void ISA(emit_gemv)(cpu_compiler *c, const gemv_product *p);

#endif
