/*
 * tile.cuh - one tile of a matrix product by one block, in f32.
 *
 * BM x BN results, each of the 256 threads TM x TN of them in registers.
 * Operands pass through shared memory in slices of BK; the next slice is on its
 * way from memory while this one is multiplied. They are loaded so that
 * neighbouring threads read neighbouring elements, whichever axis of an operand
 * is contiguous, and multiplied four in a row.
 */
#ifndef CUDA_KERNELS_TILE_CUH
#define CUDA_KERNELS_TILE_CUH

#include "common.cuh"

/* Element (i, j) lies at x[i di + j dj]. */
template <typename T> struct matrix {
    const T *x;
    int64 di, dj;
};

template <int M, int N, int K, int TM_, int TN_> struct tile_shape {
    enum { BM = M, BN = N, BK = K, TM = TM_, TN = TN_ };
    enum { DX = N / TN_, DY = M / TM_ };       /* threads */
    enum { A_PITCH = M + 4, B_PITCH = N + 4 }; /* of a slice's rows */
    enum { A_LOADS = M * K / 256, B_LOADS = N * K / 256 }; /* of a thread */
};

/* A slice along k of `count` lines (rows of a, columns of b), LINES at most:
 * element n of the slice is of line `line` and step `step`. */
template <int LINES, int BK>
static __device__ __forceinline__ void slice_place(int n, bool along_k,
                                                   int *line, int *step)
{
    *line = along_k ? n / BK : n % LINES;
    *step = along_k ? n % BK : n / LINES;
}

/* x[line, step] of the slice that begins at step k; beyond the edges 0. */
template <int LINES, int BK, int LOADS, typename T>
static __device__ __forceinline__ void
fetch_slice(float *part, const T *x, int64 by_line, int64 by_step, int first,
            int count, int k, int k_end)
{
    const bool along_k = by_step == 1;
    const int lines = along_k ? 256 / BK : 0; /* from one load to the next */
    const int steps = along_k ? 0 : 256 / LINES;
    const int64 hop = lines * by_line + steps * by_step;
    int line, step;
    slice_place<LINES, BK>(threadIdx.x, along_k, &line, &step);
    line += first;
    step += k;
    x += line * by_line + step * by_step;
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
        const bool inside =
            line + i * lines < count && step + i * steps < k_end;
        part[i] = inside ? load(x + i * hop) : 0.0f;
    }
}

template <int LINES, int BK, int LOADS, int PITCH>
static __device__ __forceinline__ void put_slice(const float *part,
                                                 float *slice, bool along_k)
{
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
        int line, step;
        slice_place<LINES, BK>(i * 256 + threadIdx.x, along_k, &line, &step);
        slice[step * PITCH + line] = part[i];
    }
}

/* Number of the i-th row or column of a thread: fours, LINES / (T / 4) apart.
 */
template <int LINES, int T>
static __device__ __forceinline__ int owned(int thread, int i)
{
    return i / 4 * (LINES / (T / 4)) + thread * 4 + i % 4;
}

template <int LINES, int T>
static __device__ __forceinline__ void read_fours(const float *slice,
                                                  int thread, float *to)
{
#pragma unroll
    for (int i = 0; i < T; i += 4) {
        const four f = *(const four *)(slice + owned<LINES, T>(thread, i));
        for (int k = 0; k < 4; k++)
            to[i + k] = f.at[k];
    }
}

/* total = sum of a[i, k] b[k, j] over k_begin <= k < k_end, of the tile at
 * (row, column) of a result of rows x columns. */
template <typename S, typename TA, typename TB>
static __device__ __forceinline__ void
multiply(float (&total)[S::TM][S::TN], const matrix<TA> &a, const matrix<TB> &b,
         int row, int column, int rows, int columns, int k_begin, int k_end)
{
    __shared__ four a_room[S::BK * S::A_PITCH / 4];
    __shared__ four b_room[S::BK * S::B_PITCH / 4];
    float *const a_slice = a_room[0].at, *const b_slice = b_room[0].at;
    float a_part[S::A_LOADS], b_part[S::B_LOADS];
    const int x = threadIdx.x % S::DX, y = threadIdx.x / S::DX;
#pragma unroll
    for (int i = 0; i < S::TM; i++)
        for (int j = 0; j < S::TN; j++)
            total[i][j] = 0.0f;
    for (int k = k_begin; k <= k_end + S::BK - 1; k += S::BK) {
        if (k > k_begin) {
            put_slice<S::BM, S::BK, S::A_LOADS, S::A_PITCH>(a_part, a_slice,
                                                            a.dj == 1);
            put_slice<S::BN, S::BK, S::B_LOADS, S::B_PITCH>(b_part, b_slice,
                                                            b.di == 1);
            __syncthreads();
        }
        fetch_slice<S::BM, S::BK, S::A_LOADS>(a_part, a.x, a.di, a.dj, row,
                                              rows, k, k_end);
        fetch_slice<S::BN, S::BK, S::B_LOADS>(b_part, b.x, b.dj, b.di, column,
                                              columns, k, k_end);
        if (k == k_begin)
            continue;
        for (int step = 0; step < S::BK; step++) {
            float left[S::TM], right[S::TN];
            read_fours<S::BM, S::TM>(a_slice + step * S::A_PITCH, y, left);
            read_fours<S::BN, S::TN>(b_slice + step * S::B_PITCH, x, right);
#pragma unroll
            for (int i = 0; i < S::TM; i++)
#pragma unroll
                for (int j = 0; j < S::TN; j++)
                    total[i][j] = fmaf(left[i], right[j], total[i][j]);
        }
        __syncthreads();
    }
}

/* The tile to a dense matrix of `columns` columns. */
template <typename S, typename TY>
static __device__ __forceinline__ void
store_tile(const float (&total)[S::TM][S::TN], TY *y, int row, int column,
           int rows, int columns, int accumulate)
{
    const int x = threadIdx.x % S::DX, yy = threadIdx.x / S::DX;
#pragma unroll
    for (int i = 0; i < S::TM; i++) {
        const int r = row + owned<S::BM, S::TM>(yy, i);
#pragma unroll
        for (int j = 0; j < S::TN; j++) {
            const int c = column + owned<S::BN, S::TN>(x, j);
            TY *to = y + (int64)r * columns + c;
            if (r < rows && c < columns)
                store(to, accumulate ? load(to) + total[i][j] : total[i][j]);
        }
    }
}

#endif
