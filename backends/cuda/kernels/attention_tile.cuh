/*
 * attention_tile.cuh - products of 64 x 64 tiles in shared memory, in f32.
 *
 * A block of 256 threads is 16 x 16: thread (x, y) has rows 4 y .. 4 y + 3. A
 * tile lies in shared memory with the axis that is summed over outermost, or
 * with rows that are read in fours: both ways a float4 at a time.
 */
#ifndef CUDA_KERNELS_ATTENTION_TILE_CUH
#define CUDA_KERNELS_ATTENTION_TILE_CUH

#include "attention.cuh"

enum { PITCH = GPU_ATTENTION_PITCH };

static __device__ __forceinline__ four read_four(const float *x)
{
    return *(const four *)x;
}

/* Sizes in shared memory are padded to 16. */
static __device__ __forceinline__ int padded(int size)
{
    return (size + 15) / 16 * 16;
}

/* x[row][d] of TILE rows to to[d][row]; rows from `count` on are 0, as is what
 * pads d. */
template <typename T>
static __device__ __forceinline__ void
load_turned(float *to, const T *x, int64 pitch, int count, int size)
{
    const int all = padded(size);
    for (int n = threadIdx.x; n < TILE * all; n += 256) {
        const int row = n / all, d = n % all;
        to[d * PITCH + row] =
            row < count && d < size ? load(x + row * pitch + d) : 0.0f;
    }
}

/* total[i][j] += sum over d of a[d][4 y + i] b[d][4 x + j] */
static __device__ __forceinline__ void multiply_turned(float (&total)[4][4],
                                                       const float *a,
                                                       const float *b, int size,
                                                       int x, int y)
{
#pragma unroll 4
    for (int d = 0; d < size; d++) {
        const four left = read_four(a + d * PITCH + 4 * y);
        const four right = read_four(b + d * PITCH + 4 * x);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                total[i][j] = fmaf(left.at[i], right.at[j], total[i][j]);
    }
}

/* total[i][c] += sum over j of p[j][4 y + i] b[x + 16 c][j], columns below
 * `size` */
template <int C>
static __device__ __forceinline__ void
multiply_columns(float (&total)[4][C], const float *p, const float *b, int size,
                 int x, int y)
{
    for (int j = 0; j < TILE; j += 4) {
        four left[4];
#pragma unroll
        for (int k = 0; k < 4; k++)
            left[k] = read_four(p + (j + k) * PITCH + 4 * y);
#pragma unroll
        for (int c = 0; c < C; c++) {
            if (16 * c >= size)
                break;
            const four right = read_four(b + (x + 16 * c) * PITCH + j);
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int k = 0; k < 4; k++)
                    total[i][c] = fmaf(left[k].at[i], right.at[k], total[i][c]);
        }
    }
}

#endif
