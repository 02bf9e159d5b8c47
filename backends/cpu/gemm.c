/*
 * gemm.c - which kind of block multiplies what (gemm.h).
 *
 * Pairs of bf16 are multiplied as such where that is faster (probe.c); else
 * operands are widened as they are copied. A result in bf16 is summed in f32
 * and narrowed in the end.
 */
#include "gemm_blocks.h"

static int is_narrow(gemm_any a, gemm_any b)
{
    return a.dtype == TN_BF16 || b.dtype == TN_BF16;
}

/* Floats of c before it is narrowed. */
static int64_t wide_floats(int64_t M, int64_t N, tn_dtype c)
{
    return c == TN_F32 ? 0 : gemm_round_up(M * N, 16);
}

int64_t ISA(gemm_scratch)(int64_t M, int64_t N, int64_t K, gemm_any a,
                          gemm_any b, tn_dtype c)
{
    int64_t floats = ISA(gemm_packed_floats)(M, N, K);
    if (is_narrow(a, b))
        floats = cpu_max(floats, ISA(gemm_pairs_floats)(N, K));
    return (wide_floats(M, N, c) + floats) * (int64_t)sizeof(float);
}

void ISA(gemm)(const cpu_worker *w, int64_t M, int64_t N, int64_t K, gemm_any a,
               gemm_any b, gemm_into c, float *scratch)
{
    const int direct = c.dtype == TN_F32;
    float *to = direct ? (float *)(void *)c.at : scratch;
    float *rest = scratch + wide_floats(M, N, c.dtype);
    const int64_t pitch = direct ? c.pitch : N;
    if (w->dot_bf16 && is_narrow(a, b))
        ISA(gemm_pairs)(M, N, K, a, b, to, pitch, direct && c.add, rest);
    else
        ISA(gemm_packed)(M, N, K, a, b, to, pitch, direct && c.add, rest);
    uint16_t *half = (uint16_t *)(void *)c.at;
    for (int64_t i = 0; i < M && !direct; i++)
        v_narrow(half + i * c.pitch, to + i * N, N);
}
