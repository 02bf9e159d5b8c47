/*
 * matmul_mma.cu - products of bf16 matrices on tensor cores.
 */
#include "matmul_mma.cuh"
#include "place.cuh"

template <bool A_ALONG_K, bool B_ALONG_K, typename TY>
static __device__ __forceinline__ void matmul(const gpu_product_args &p)
{
    const place at = find_place(p, SIZE, SIZE);
    const int row = at.tile_row * SIZE, column = at.tile_column * SIZE;
    const operand<A_ALONG_K> a = {(const bf16 *)p.a + at.a,
                                  p.a_stride[A_ALONG_K ? 0 : 1], row, p.rows};
    const operand<B_ALONG_K> b = {(const bf16 *)p.b + at.b,
                                  p.b_stride[B_ALONG_K ? 1 : 0], column,
                                  p.columns};
    mma_tile total;
    multiply_tile(total, a, b, at.k_begin, at.k_end);
    store_tile(total, (TY *)p.y + at.y, row, column, p.rows, p.columns,
               p.accumulate != 0);
}

#define MATMUL(name, A_ALONG_K, B_ALONG_K, TY)                                 \
    extern "C" __global__ void __launch_bounds__(THREADS)                      \
        matmul_mma_##name(const marked<gpu_product_args> m)                    \
    {                                                                          \
        const gpu_product_args &p = begin(m);                                  \
        matmul<A_ALONG_K, B_ALONG_K, TY>(p);                                   \
    }
MATMUL(kk_bf, true, true, float)
MATMUL(kn_bf, true, false, float)
MATMUL(mk_bf, false, true, float)
MATMUL(mn_bf, false, false, float)
MATMUL(kk_bb, true, true, bf16)
MATMUL(kn_bb, true, false, bf16)
MATMUL(mk_bb, false, true, bf16)
MATMUL(mn_bb, false, false, bf16)
