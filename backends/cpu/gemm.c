/*
 * gemm.c - the door to large blocks (gemm.h): which kind of words multiplies,
 * and results in bf16, which are summed in f32 and narrowed in the end.
 */
#include "gemm_blocks.h"

static const gemm_kind *kind_of(cpu_products how)
{
#if defined(__AVX512F__)
    if (how == CPU_PAIRS)
        return &ISA(gemm_pairs);
#endif
    return how == CPU_INTEGERS ? &ISA(gemm_integers) : &ISA(gemm_floats);
}

/* Floats of c before it is narrowed. */
static int64_t wide_floats(int64_t M, int64_t N, tn_dtype c)
{
    return c == TN_F32 ? 0 : gemm_round_up(M * N, 16);
}

int64_t ISA(gemm_scratch)(cpu_products how, int64_t M, int64_t N, int64_t K,
                          tn_dtype c)
{
    return (wide_floats(M, N, c) +
            ISA(gemm_packed_floats)(kind_of(how), M, N, K)) *
           (int64_t)sizeof(float);
}

void ISA(gemm)(cpu_products how, int64_t M, int64_t N, int64_t K, gemm_any a,
               gemm_any b, gemm_into c, float *scratch)
{
    const int direct = c.dtype == TN_F32;
    float *to = direct ? (float *)(void *)c.at : scratch;
    ISA(gemm_packed)
    (kind_of(how), M, N, K, a, b, to, direct ? c.pitch : N, direct && c.add,
     scratch + wide_floats(M, N, c.dtype));
    uint16_t *half = (uint16_t *)(void *)c.at;
    for (int64_t i = 0; i < M && !direct; i++)
        v_narrow(half + i * c.pitch, to + i * N, N);
}
