/*
 * matmul.cu - matrix products in f32 arithmetic, of operands at any strides.
 */
#include "place.cuh"
#include "tile.cuh"

template <typename S, typename TA, typename TB, typename TY>
static __device__ __forceinline__ void matmul(const gpu_product_args &p)
{
    const place at = find_place(p, S::BM, S::BN);
    const matrix<TA> a = {(const TA *)p.a + at.a, p.a_stride[0], p.a_stride[1]};
    const matrix<TB> b = {(const TB *)p.b + at.b, p.b_stride[0], p.b_stride[1]};
    float total[S::TM][S::TN];
    const int row = at.tile_row * S::BM, column = at.tile_column * S::BN;
    multiply<S>(total, a, b, row, column, p.rows, p.columns, at.k_begin,
                at.k_end);
    store_tile<S>(total, (TY *)p.y + at.y, row, column, p.rows, p.columns,
                  (int)p.accumulate);
}

typedef tile_shape<128, 128, 16, 8, 8> large;
typedef tile_shape<64, 64, 16, 4, 4> small;

#define MATMUL(tile, name, TA, TB, TY)                                         \
    extern "C" __global__ void __launch_bounds__(256)                          \
        matmul_##tile##_##name(const marked<gpu_product_args> m)               \
    {                                                                          \
        const gpu_product_args &p = begin(m);                                  \
        matmul<tile, TA, TB, TY>(p);                                           \
    }

/* ---- few rows ---- */

enum { FEW = 8 }; /* rows at most */

/* Elements that are read at once. */
template <typename T> struct __align__(16) piece
{
    enum { COUNT = 16 / sizeof(T) };
    T at[COUNT];
};

/* Whether columns of b and k's share begin at whole pieces of 16 bytes. */
template <typename TB>
static __device__ __forceinline__ bool in_pieces(const gpu_product_args &p,
                                                 const place &at)
{
    const int count = piece<TB>::COUNT;
    return (p.b + at.b * sizeof(TB)) % 16 == 0 && p.b_stride[1] % count == 0 &&
           at.k_begin % count == 0 && (at.k_end - at.k_begin) % count == 0;
}

/* total[m] += a[m, k ..] b[k ..], COUNT elements */
template <int COUNT, typename TA, typename TB>
static __device__ __forceinline__ void
add_terms(float (&total)[FEW], const gpu_product_args &p, const TA *a,
          const TB *b, int k)
{
#pragma unroll
    for (int m = 0; m < FEW; m++) {
        if (m >= p.rows)
            break;
#pragma unroll
        for (int i = 0; i < COUNT; i++)
            total[m] =
                fmaf(load(a + m * p.a_stride[0] + (k + i) * p.a_stride[1]),
                     load(b + i), total[m]);
    }
}

/* b along k: a warp for each column. Reading b once, and fast, is all there is
 * to it. */
template <typename TA, typename TB, typename TY>
static __device__ __forceinline__ void matvec_k(const gpu_product_args &p)
{
    const place at = find_place(p, FEW, 8);
    const int lane = threadIdx.x % 32;
    const int n = at.tile_column * 8 + threadIdx.x / 32;
    const TA *a = (const TA *)p.a + at.a;
    const TB *b = (const TB *)p.b + at.b + n * p.b_stride[1];
    float total[FEW] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    if (n >= p.columns)
        return;
    if (in_pieces<TB>(p, at)) {
        const int count = piece<TB>::COUNT;
#pragma unroll 2
        for (int k = at.k_begin + count * lane; k < at.k_end; k += 32 * count) {
            const piece<TB> right = *(const piece<TB> *)(b + k);
            add_terms<piece<TB>::COUNT>(total, p, a, right.at, k);
        }
    } else {
        for (int k = at.k_begin + lane; k < at.k_end; k += 32)
            add_terms<1>(total, p, a, b + k, k);
    }
    TY *y = (TY *)p.y + at.y + n;
#pragma unroll
    for (int m = 0; m < FEW; m++) {
        if (m >= p.rows)
            break;
        const float sum = warp_sum(total[m]);
        TY *to = y + (int64)m * p.columns;
        if (lane == 0)
            store(to, p.accumulate ? load(to) + sum : sum);
    }
}

/* b along columns: 32 columns, k shared by the 8 warps. */
template <typename TA, typename TB, typename TY>
static __device__ __forceinline__ void matvec_n(const gpu_product_args &p)
{
    __shared__ float part[8][FEW][32];
    const place at = find_place(p, FEW, 32);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int n = at.tile_column * 32 + lane;
    const TA *a = (const TA *)p.a + at.a;
    const TB *b = (const TB *)p.b + at.b + n;
    float total[FEW] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int k = at.k_begin + warp; k < at.k_end && n < p.columns; k += 8) {
        const float right = load(b + k * p.b_stride[0]);
#pragma unroll
        for (int m = 0; m < FEW; m++)
            if (m < p.rows)
                total[m] = fmaf(load(a + m * p.a_stride[0] + k * p.a_stride[1]),
                                right, total[m]);
    }
    for (int m = 0; m < FEW; m++)
        part[warp][m][lane] = total[m];
    __syncthreads();
    if (warp >= p.rows || n >= p.columns)
        return; /* warp m joins row m */
    float sum = 0.0f;
    for (int w = 0; w < 8; w++)
        sum += part[w][warp][lane];
    TY *to = (TY *)p.y + at.y + (int64)warp * p.columns + n;
    store(to, p.accumulate ? load(to) + sum : sum);
}

#define MATVEC(name, TA, TB, TY)                                               \
    extern "C" __global__ void __launch_bounds__(256)                          \
        matvec_k_##name(const marked<gpu_product_args> m)                      \
    {                                                                          \
        const gpu_product_args &p = begin(m);                                  \
        matvec_k<TA, TB, TY>(p);                                               \
    }                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                          \
        matvec_n_##name(const marked<gpu_product_args> m)                      \
    {                                                                          \
        const gpu_product_args &p = begin(m);                                  \
        matvec_n<TA, TB, TY>(p);                                               \
    }

/* A product's operands are stored alike, its result either way. */
#define PRODUCT(name, TA, TB, TY)                                              \
    MATMUL(large, name, TA, TB, TY)                                            \
    MATMUL(small, name, TA, TB, TY)                                            \
    MATVEC(name, TA, TB, TY)
PRODUCT(ff, float, float, float)
PRODUCT(fb, float, float, bf16)
PRODUCT(bf, bf16, bf16, float)
PRODUCT(bb, bf16, bf16, bf16)
