/*
 * grouped_mma.cu - the products of grouped.cu on tensor cores, of bf16 operands
 * that move by 16 bytes.
 */
#include "grouped.cuh"
#include "matmul_mma.cuh"

/* b along k, or along the result's columns. */
template <bool B_ALONG_K, typename TY>
static __device__ __forceinline__ void
rows_of_experts(const gpu_grouped_args &g)
{
    const int tiles_n = (g.columns + SIZE - 1) / SIZE;
    const int column = blockIdx.x % tiles_n * SIZE;
    const group_tile at = find_group_tile(g, blockIdx.x / tiles_n, SIZE);
    if (at.expert == g.experts)
        return;
    const operand<true> a = {(const bf16 *)g.a, g.inner, at.row, at.last};
    const operand<B_ALONG_K> b = {(const bf16 *)g.b + at.expert * g.b_stride[0],
                                  g.b_stride[B_ALONG_K ? 2 : 1], column,
                                  g.columns};
    mma_tile total;
    multiply_tile(total, a, b, 0, g.inner);
    store_tile(total, (TY *)g.y, at.row, column, at.last, g.columns,
               g.accumulate != 0);
}

/* Sums over a group's rows: both operands lie across them. */
template <typename TY>
static __device__ __forceinline__ void
weights_of_experts(const gpu_grouped_args &g)
{
    const int tiles_n = (g.columns + SIZE - 1) / SIZE;
    const int tiles_m = (g.inner + SIZE - 1) / SIZE;
    const int column = blockIdx.x % tiles_n * SIZE;
    const int row = blockIdx.x / tiles_n % tiles_m * SIZE;
    const int e = blockIdx.x / tiles_n / tiles_m;
    int first, last;
    group_rows(g, e, &first, &last);
    const operand<false> a = {(const bf16 *)g.a, g.inner, row, g.inner};
    const operand<false> b = {(const bf16 *)g.b, g.columns, column, g.columns};
    mma_tile total;
    multiply_tile(total, a, b, first, last);
    store_tile(total, (TY *)g.y + (int64)e * g.inner * g.columns, row, column,
               g.inner, g.columns, g.accumulate != 0);
}

#define KERNEL(name, ...)                                                      \
    extern "C" __global__ void __launch_bounds__(THREADS)                      \
        grouped_mma_##name(const marked<gpu_grouped_args> m)                   \
    {                                                                          \
        const gpu_grouped_args &g = begin(m);                                  \
        __VA_ARGS__(g);                                                        \
    }
KERNEL(rows_k_bf, rows_of_experts<true, float>)
KERNEL(rows_k_bb, rows_of_experts<true, bf16>)
KERNEL(rows_n_bf, rows_of_experts<false, float>)
KERNEL(rows_n_bb, rows_of_experts<false, bf16>)
KERNEL(weights_bf, weights_of_experts<float>)
KERNEL(weights_bb, weights_of_experts<bf16>)
