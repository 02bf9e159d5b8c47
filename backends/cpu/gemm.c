/*
 * gemm.c - the door to large blocks (gemm.h): which kind of words multiplies.
 */
#include "gemm_blocks.h"

static const gemm_kind *kind_of(cpu_products how)
{
#if defined(__AVX512F__)
    if (how == CPU_PAIRS)
        return &ISA(gemm_pairs);
#else
    if (how == CPU_MADD)
        return &ISA(gemm_madd);
#endif
    return how == CPU_INTEGERS ? &ISA(gemm_integers) : &ISA(gemm_floats);
}

int64_t ISA(gemm_scratch)(cpu_products how, int64_t M, int64_t N, int64_t K,
                          tn_dtype c)
{
    return ISA(gemm_packed_floats)(kind_of(how), M, N, K, c) *
           (int64_t)sizeof(float);
}

void ISA(gemm)(const gemm_block *p, float *scratch)
{
    ISA(gemm_packed)(kind_of(p->how), p, scratch);
}
