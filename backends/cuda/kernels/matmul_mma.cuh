/*
 * matmul_mma.cuh - a tile of a product of bf16 matrices on tensor cores.
 *
 * A block of 8 warps makes 128 x 128 results, a warp 64 x 32 of them. Slices of
 * 32 along k travel to shared memory 16 bytes at a time while the ones before
 * them are multiplied. An operand lies along k or across it: its slice keeps
 * that order, and is turned as it is read.
 */
#ifndef CUDA_KERNELS_MATMUL_MMA_CUH
#define CUDA_KERNELS_MATMUL_MMA_CUH

#include "mma.cuh"

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

/* A tile's results, as the warp has them. */
struct mma_tile {
    float at[4][4][4];

    static __device__ __forceinline__ int row(void)
    {
        return (int)threadIdx.x / 32 / 4 * 64;
    }
    static __device__ __forceinline__ int column(void)
    {
        return (int)threadIdx.x / 32 % 4 * 32;
    }
};

/* Sums over k_begin <= k < k_end. */
template <bool A_ALONG_K, bool B_ALONG_K>
static __device__ __forceinline__ void
multiply_tile(mma_tile &total, const operand<A_ALONG_K> &a,
              const operand<B_ALONG_K> &b, int k_begin, int k_end)
{
    __shared__ four room[4 * SLICE * sizeof(bf16) / sizeof(four)];
    bf16 *const slices = (bf16 *)room; /* a, b of one stage, then the other */
    for (int n = 0; n < 64; n++)
        total.at[n / 16][n / 4 % 4][n % 4] = 0.0f;
    a.copy(slices, k_begin, k_end);
    b.copy(slices + SLICE, k_begin, k_end);
    end_copies();
    int stage = 0;
    for (int k = k_begin; k < k_end; k += DEPTH) {
        bf16 *const here = slices + stage * 2 * SLICE;
        bf16 *const next = slices + (1 - stage) * 2 * SLICE;
        if (k + DEPTH < k_end) {
            a.copy(next, k + DEPTH, k_end);
            b.copy(next + SLICE, k + DEPTH, k_end);
        }
        end_copies();
        wait_copies<1>();
        __syncthreads(); /* this slice is there */
        multiply_slice<A_ALONG_K, B_ALONG_K>(total.at, here, here + SLICE,
                                             total.row(), total.column());
        __syncthreads(); /* and free again */
        stage = 1 - stage;
    }
    wait_copies<0>();
}

/* To rows and columns from (row, column) on, below their ends; y is dense. */
template <typename TY>
static __device__ __forceinline__ void store_tile(const mma_tile &total, TY *y,
                                                  int row, int column, int rows,
                                                  int columns, bool accumulate)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int n = 0; n < 4; n++) {
                const int r = row + total.row() + 16 * i + lane / 4 + n / 2 * 8;
                const int c =
                    column + total.column() + 8 * j + lane % 4 * 2 + n % 2;
                TY *to = y + (int64)r * columns + c;
                const float sum = total.at[i][j][n];
                if (r < rows && c < columns)
                    store(to, accumulate ? load(to) + sum : sum);
            }
}

#endif
