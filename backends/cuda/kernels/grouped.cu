/*
 * grouped.cu - rows of a, sorted by expert, times the expert's matrix:
 *
 *     y[r, n]    = sum over k of a[r, k] b[e, k, n],   r in group e
 *     y[e, k, n] = sum over r in group e of a[r, k] b[r, n]     (transposed)
 *
 * Where groups begin is known to the device only: for rows, as many blocks run
 * as tiles could be needed, and each looks for its own.
 */
#include "grouped.cuh"
#include "tile.cuh"

template <typename S, typename TA, typename TB, typename TY>
static __device__ __forceinline__ void
rows_of_experts(const gpu_grouped_args &g)
{
    const int tiles_n = (g.columns + S::BN - 1) / S::BN;
    const int column = blockIdx.x % tiles_n * S::BN;
    const group_tile at = find_group_tile(g, blockIdx.x / tiles_n, S::BM);
    if (at.expert == g.experts)
        return;
    const matrix<TA> a = {(const TA *)g.a, g.inner, 1};
    const matrix<TB> b = {(const TB *)g.b + at.expert * g.b_stride[0],
                          g.b_stride[1], g.b_stride[2]};
    float total[S::TM][S::TN];
    multiply<S>(total, a, b, at.row, column, at.last, g.columns, 0, g.inner);
    store_tile<S>(total, (TY *)g.y, at.row, column, at.last, g.columns,
                  (int)g.accumulate);
}

template <typename S, typename TA, typename TB, typename TY>
static __device__ __forceinline__ void
weights_of_experts(const gpu_grouped_args &g)
{
    const int tiles_n = (g.columns + S::BN - 1) / S::BN;
    const int tiles_m = (g.inner + S::BM - 1) / S::BM;
    const int column = blockIdx.x % tiles_n * S::BN;
    const int row = blockIdx.x / tiles_n % tiles_m * S::BM;
    const int e = blockIdx.x / tiles_n / tiles_m;
    int first, last;
    group_rows(g, e, &first, &last);
    const matrix<TA> a = {(const TA *)g.a, 1, g.inner};
    const matrix<TB> b = {(const TB *)g.b, g.columns, 1};
    float total[S::TM][S::TN];
    multiply<S>(total, a, b, row, column, g.inner, g.columns, first, last);
    store_tile<S>(total, (TY *)g.y + (int64)e * g.inner * g.columns, row,
                  column, g.inner, g.columns, (int)g.accumulate);
}

typedef tile_shape<128, 128, 16, 8, 8> large;
typedef tile_shape<64, 64, 16, 4, 4> small;

#define ROWS(name, S, TA, TB, TY)                                              \
    extern "C" __global__ void __launch_bounds__(256)                          \
        grouped_rows_##S##_##name(const marked<gpu_grouped_args> m)            \
    {                                                                          \
        const gpu_grouped_args &g = begin(m);                                  \
        rows_of_experts<S, TA, TB, TY>(g);                                     \
    }
#define WEIGHTS(name, S, TA, TB, TY)                                           \
    extern "C" __global__ void __launch_bounds__(256)                          \
        grouped_weights_##S##_##name(const marked<gpu_grouped_args> m)         \
    {                                                                          \
        const gpu_grouped_args &g = begin(m);                                  \
        weights_of_experts<S, TA, TB, TY>(g);                                  \
    }

/* A product's operands are stored alike, its result either way. */
#define PRODUCT(name, TA, TB, TY)                                              \
    ROWS(name, large, TA, TB, TY)                                              \
    ROWS(name, small, TA, TB, TY)                                              \
    WEIGHTS(name, large, TA, TB, TY)                                           \
    WEIGHTS(name, small, TA, TB, TY)
PRODUCT(ff, float, float, float)
PRODUCT(fb, float, float, bf16)
PRODUCT(bf, bf16, bf16, float)
PRODUCT(bb, bf16, bf16, bf16)
