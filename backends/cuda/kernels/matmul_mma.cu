/*
 * matmul_mma.cu - products of bf16 matrices on tensor cores.
 *
 * A block of 8 warps makes 128 x 128 results, a warp 64 x 32 of them. Slices of
 * 32 along k travel to shared memory 16 bytes at a time while the ones before
 * them are multiplied. An operand lies along k or across it: its slice keeps
 * that order, and is turned as it is read.
 */
#include "mma.cuh"
#include "place.cuh"

enum { SIZE = 128, DEPTH = 32, THREADS = 256, PAD = 8 };
enum { SLICE = SIZE * (DEPTH + PAD) }; /* elements, either way */

/* One operand: element (line, k), lines being rows of a or columns of b. */
template <bool ALONG_K> struct operand {
    const bf16 *x;
    int64 pitch; /* of lines, or of steps along k */
    int first, lines;

    /* Its slice from k on; what is beyond the edges is 0. */
    __device__ __forceinline__ void copy(bf16 *to, int k, int k_end) const
    {
        const int inner = ALONG_K ? DEPTH : SIZE; /* contiguous */
        const int pieces = inner / 8;
#pragma unroll
        for (int n = threadIdx.x; n < SIZE * DEPTH / 8; n += THREADS) {
            const int outer = n / pieces, c = n % pieces * 8;
            const int line = first + (ALONG_K ? outer : c);
            const int step = k + (ALONG_K ? c : outer);
            const bool there = line < lines && step < k_end;
            const int64 at =
                ALONG_K ? line * pitch + step : step * pitch + line;
            copy_16(to + outer * (inner + PAD) + c, x + (there ? at : 0),
                    there);
        }
    }

    /* As a: 16 lines, 16 steps. */
    static __device__ __forceinline__ void read_a(pair (&a)[4], const bf16 *x,
                                                  int line, int k)
    {
        const int lane = threadIdx.x % 32;
        if (ALONG_K) {
            load_a(a, x + line * (DEPTH + PAD), DEPTH + PAD, k);
        } else {
            const int row = k + lane % 8 + lane / 16 * 8;
            load_turned_matrices(a, x + row * (SIZE + PAD) + line +
                                        lane / 8 % 2 * 8);
        }
    }

    /* As two b's: 16 steps, 16 lines. */
    static __device__ __forceinline__ void read_b(pair (&b)[4], const bf16 *x,
                                                  int line, int k)
    {
        if (ALONG_K)
            load_b(b, x, DEPTH + PAD, line, k);
        else
            load_b_rows(b, x, SIZE + PAD, k, line);
    }
};

/* A warp's 64 x 32 of one slice. */
template <bool A_ALONG_K, bool B_ALONG_K>
static __device__ __forceinline__ void
multiply_slice(float (&total)[4][4][4], const bf16 *a, const bf16 *b, int row,
               int column)
{
#pragma unroll
    for (int k = 0; k < DEPTH; k += 16) {
        pair left[4][4], right[2][4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            operand<A_ALONG_K>::read_a(left[i], a, row + 16 * i, k);
#pragma unroll
        for (int j = 0; j < 2; j++)
            operand<B_ALONG_K>::read_b(right[j], b, column + 16 * j, k);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                mma(total[i][j], left[i], right[j / 2] + j % 2 * 2);
    }
}

template <typename TY>
static __device__ __forceinline__ void
store_results(const gpu_product_args &p, TY *y, const float (&total)[4][4][4],
              int row, int column)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const int r = row + 16 * i + lane / 4 + n / 2 * 8;
                const int c = column + 8 * j + lane % 4 * 2 + n % 2;
                TY *to = y + (int64)r * p.columns + c;
                if (r < p.rows && c < p.columns)
                    store(to, p.accumulate ? load(to) + total[i][j][n]
                                           : total[i][j][n]);
            }
}

template <bool A_ALONG_K, bool B_ALONG_K, typename TY>
static __device__ __forceinline__ void matmul(const gpu_product_args &p)
{
    __shared__ four room[4 * SLICE * sizeof(bf16) / sizeof(four)];
    bf16 *const slices = (bf16 *)room; /* a, b of one stage, then the other */
    const place at = find_place(p, SIZE, SIZE);
    const operand<A_ALONG_K> a = {(const bf16 *)p.a + at.a,
                                  p.a_stride[A_ALONG_K ? 0 : 1],
                                  at.tile_row * SIZE, p.rows};
    const operand<B_ALONG_K> b = {(const bf16 *)p.b + at.b,
                                  p.b_stride[B_ALONG_K ? 1 : 0],
                                  at.tile_column * SIZE, p.columns};
    const int warp = threadIdx.x / 32;
    const int row = warp / 4 * 64, column = warp % 4 * 32;
    float total[4][4][4];
    for (int n = 0; n < 64; n++)
        total[n / 16][n / 4 % 4][n % 4] = 0.0f;
    a.copy(slices, at.k_begin, at.k_end);
    b.copy(slices + SLICE, at.k_begin, at.k_end);
    end_copies();
    int stage = 0;
    for (int k = at.k_begin; k < at.k_end; k += DEPTH) {
        bf16 *const here = slices + stage * 2 * SLICE;
        bf16 *const next = slices + (1 - stage) * 2 * SLICE;
        if (k + DEPTH < at.k_end) {
            a.copy(next, k + DEPTH, at.k_end);
            b.copy(next + SLICE, k + DEPTH, at.k_end);
        }
        end_copies();
        wait_copies<1>();
        __syncthreads(); /* this slice is there */
        multiply_slice<A_ALONG_K, B_ALONG_K>(total, here, here + SLICE, row,
                                             column);
        __syncthreads(); /* and free again */
        stage = 1 - stage;
    }
    wait_copies<0>();
    store_results(p, (TY *)p.y + at.y, total, at.tile_row * SIZE + row,
                  at.tile_column * SIZE + column);
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
