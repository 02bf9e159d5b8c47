/*
 * gemm_bf16.h - matrix products whose operands may be bf16.
 *
 * The same blocks as gemm.h, one thread each, with operands and result of
 * either dtype; sums are f32 whatever they are. Large blocks are packed into
 * pairs along K for VDPBF16PS where the processor has it; elsewhere they are
 * widened, a stretch of K at a time, for OpenBLAS. A handful of rows
 * (decoding) meet the bf16 matrix as it lies, at the speed of memory.
 */
#ifndef CPU_GEMM_BF16_H
#define CPU_GEMM_BF16_H

#include "gemm.h"

typedef struct gemm_any {
    const char *at;
    tn_dtype dtype;
    int64_t row, column; /* strides, in elements */
} gemm_any;

/* The same from row i and column j on. */
static inline gemm_any gemm_from(gemm_any x, int64_t i, int64_t j)
{
    x.at += cpu_bytes(x.dtype) * (i * x.row + j * x.column);
    return x;
}

static inline gemm_matrix gemm_f32(gemm_any x)
{
    return (gemm_matrix){(const float *)(const void *)x.at, x.row, x.column};
}

/* Where a block goes; `add` only where it is f32. */
typedef struct gemm_into {
    char *at;
    tn_dtype dtype;
    int64_t pitch; /* from row to row, in elements */
    uint32_t add;
} gemm_into;

/* c (M, N) = a (M, K) b (K, N), a and b with stride 1 in one axis. `scratch`:
 * gemm_bf16_scratch bytes, 64-byte aligned. */
void ISA(gemm_bf16)(const cpu_worker *w, int64_t M, int64_t N, int64_t K,
                    gemm_any a, gemm_any b, gemm_into c, float *scratch);
int64_t ISA(gemm_bf16_scratch)(int64_t M, int64_t N, int64_t K);

/* The same for M <= GEMM_DOT_ROWS and b in bf16: one pass over b. */
void ISA(gemm_bf16_thin)(int64_t M, int64_t N, int64_t K, gemm_any a,
                         gemm_any b, gemm_into c, float *scratch);
int64_t ISA(gemm_bf16_thin_scratch)(int64_t M, int64_t N, int64_t K);

#endif
