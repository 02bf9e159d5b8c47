/*
 * gemm_blocks.h - the two kinds of large blocks behind gemm() (gemm.c).
 *
 * Of both: c (M, N), rows `pitch` apart, is f32 and = a b, added to what is
 * there if `add`.
 */
#ifndef CPU_GEMM_BLOCKS_H
#define CPU_GEMM_BLOCKS_H

#include "gemm.h"

/* gemm_packed.c: products of f32, from operands of either dtype. */
void ISA(gemm_packed)(int64_t M, int64_t N, int64_t K, gemm_any a, gemm_any b,
                      float *c, int64_t pitch, uint32_t add, float *scratch);
int64_t ISA(gemm_packed_floats)(int64_t M, int64_t N, int64_t K);

/* gemm_pairs.c: products of bf16, where the processor has VDPBF16PS. */
void ISA(gemm_pairs)(int64_t M, int64_t N, int64_t K, gemm_any a, gemm_any b,
                     float *c, int64_t pitch, uint32_t add, float *scratch);
int64_t ISA(gemm_pairs_floats)(int64_t N, int64_t K);

static inline int64_t gemm_round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

#endif
