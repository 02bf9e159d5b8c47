/*
 * gemm_direct.c - small blocks of f32 products, without packing (see gemm.h).
 */
#include "gemm.h"

/* ---- direct: a few rows by a few vectors of c stay in registers ---- */

#if defined(__AVX512F__)
enum { BLOCK_VECTORS = 4 };
#else
enum { BLOCK_VECTORS = 2 };
#endif
enum { BLOCK_ROWS = 12 }; /* of one vector; 6 of several */

/* rows <= BLOCK_ROWS, vectors <= BLOCK_VECTORS; the last vector has `lanes`.
 * Inlined with constants, the loops over them unroll. */
CPU_INLINE void direct_block(int rows, int vectors, int64_t lanes, int64_t K,
                             gemm_matrix a, const float *b, int64_t ldb,
                             float *c, int64_t ldc, uint32_t add)
{
    vf sum[BLOCK_ROWS][BLOCK_VECTORS];
    const int last = vectors - 1;
    CPU_UNROLL(12)
    for (int i = 0; i < rows; i++) {
        CPU_UNROLL(4)
        for (int j = 0; j < vectors; j++)
            sum[i][j] = !add        ? v_zero()
                        : j == last ? v_load_n(c + i * ldc + j * VW, lanes)
                                    : v_load(c + i * ldc + j * VW);
    }
    for (int64_t k = 0; k < K; k++, b += ldb) {
        vf line[BLOCK_VECTORS];
        CPU_UNROLL(4)
        for (int j = 0; j < vectors; j++)
            line[j] =
                j == last ? v_load_n(b + j * VW, lanes) : v_load(b + j * VW);
        CPU_UNROLL(12)
        for (int i = 0; i < rows; i++) {
            const vf x = v_set(a.at[i * a.row + k * a.column]);
            CPU_UNROLL(4)
            for (int j = 0; j < vectors; j++)
                sum[i][j] = v_fma(x, line[j], sum[i][j]);
        }
    }
    CPU_UNROLL(12)
    for (int i = 0; i < rows; i++) {
        CPU_UNROLL(4)
        for (int j = 0; j < vectors; j++)
            if (j == last)
                v_store_n(c + i * ldc + j * VW, sum[i][j], lanes);
            else
                v_store(c + i * ldc + j * VW, sum[i][j]);
    }
}

#define DIRECT_COLUMN(name, vectors)                                           \
    static void name(int64_t M, int64_t lanes, int64_t K, gemm_matrix a,       \
                     const float *b, int64_t ldb, float *c, int64_t ldc,       \
                     uint32_t add)                                             \
    {                                                                          \
        int64_t m = 0;                                                         \
        for (; (vectors) == 1 && m + 12 <= M;                                  \
             m += 12, a.at += 12 * a.row, c += 12 * ldc)                       \
            direct_block(12, vectors, lanes, K, a, b, ldb, c, ldc, add);       \
        for (; m + 6 <= M; m += 6, a.at += 6 * a.row, c += 6 * ldc)            \
            direct_block(6, vectors, lanes, K, a, b, ldb, c, ldc, add);        \
        for (; m + 4 <= M; m += 4, a.at += 4 * a.row, c += 4 * ldc)            \
            direct_block(4, vectors, lanes, K, a, b, ldb, c, ldc, add);        \
        for (; m + 2 <= M; m += 2, a.at += 2 * a.row, c += 2 * ldc)            \
            direct_block(2, vectors, lanes, K, a, b, ldb, c, ldc, add);        \
        if (m < M)                                                             \
            direct_block(1, vectors, lanes, K, a, b, ldb, c, ldc, add);        \
    }
DIRECT_COLUMN(direct_1, 1)
DIRECT_COLUMN(direct_2, 2)
#if defined(__AVX512F__)
DIRECT_COLUMN(direct_3, 3)
DIRECT_COLUMN(direct_4, 4)
#endif

void ISA(gemm_direct)(int64_t M, int64_t N, int64_t K, gemm_matrix a,
                      gemm_matrix b, float *c, int64_t ldc, uint32_t add)
{
    for (int64_t n = 0; n < N; n += BLOCK_VECTORS * VW) {
        const int64_t left = cpu_min(BLOCK_VECTORS * VW, N - n);
        const int64_t vectors = cpu_parts(left, VW);
        const int64_t lanes = left - (vectors - 1) * VW;
        const float *from = b.at + n;
        float *to = c + n;
        if (vectors == 1)
            direct_1(M, lanes, K, a, from, b.row, to, ldc, add);
        else if (vectors == 2)
            direct_2(M, lanes, K, a, from, b.row, to, ldc, add);
#if defined(__AVX512F__)
        else if (vectors == 3)
            direct_3(M, lanes, K, a, from, b.row, to, ldc, add);
        else
            direct_4(M, lanes, K, a, from, b.row, to, ldc, add);
#endif
    }
}
