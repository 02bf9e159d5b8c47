/*
 * gemm.h - matrix products as kernels call them: one thread, one block.
 *
 * Matrices are (pointer, row stride, column stride) in elements. Large blocks
 * go to OpenBLAS, which packs its operands; blocks that sit in L1 or L2 with
 * B's rows contiguous (attention's) or a handful of rows (decoding's) to
 * kernels of our own, which do not.
 */
#ifndef CPU_GEMM_H
#define CPU_GEMM_H

#include "cpu.h"
#include "vec.h"

typedef struct gemm_matrix {
    const float *at;
    int64_t row, column; /* strides */
} gemm_matrix;

/* c (M, N), rows ldc apart, = a (M, K) b (K, N), added to c if `add`. Through
 * OpenBLAS: a and b have stride 1 in one axis. */
void ISA(gemm_blas)(const cpu_worker *w, int64_t M, int64_t N, int64_t K,
                    gemm_matrix a, gemm_matrix b, float *c, int64_t ldc,
                    uint32_t add);

/* The same without packing; b.column is 1. */
void ISA(gemm_direct)(int64_t M, int64_t N, int64_t K, gemm_matrix a,
                      gemm_matrix b, float *c, int64_t ldc, uint32_t add);

/* The same for M <= GEMM_DOT_ROWS with a.column = b.row = 1: dot products, one
 * pass over b at the speed of memory. */
enum { GEMM_DOT_ROWS = 4 };
void ISA(gemm_dot)(int64_t M, int64_t N, int64_t K, gemm_matrix a,
                   gemm_matrix b, float *c, int64_t ldc, uint32_t add);

#endif
