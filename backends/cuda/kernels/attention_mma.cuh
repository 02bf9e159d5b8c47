/*
 * attention_mma.cuh - what the attention kernels on tensor cores share: tiles
 * of bf16 rows in shared memory, products of them by four warps.
 *
 * A warp has 16 rows of a 64 x 64 tile of scores. What it makes of them stays
 * in its registers and is an operand of the next product as it lies there.
 * Rows of a tile are 16 bytes longer than they need be: then neither loads nor
 * fragments meet in one bank.
 */
#ifndef CUDA_KERNELS_ATTENTION_MMA_CUH
#define CUDA_KERNELS_ATTENTION_MMA_CUH

#include "attention.cuh"
#include "mma.cuh"

enum { MMA_THREADS = 128, PAD = 8 };

/* TILE rows of x, `stride` apart, to shared memory; rows from `count` on are 0.
 * It is over after wait_copies and a barrier. */
static __device__ __forceinline__ void
copy_rows(bf16 *to, const bf16 *x, int64 stride, int count, int size)
{
    const int pieces = size / 8;
    for (int n = threadIdx.x; n < TILE * pieces; n += MMA_THREADS) {
        const int row = n / pieces, c = n % pieces * 8;
        const bool there = row < count;
        copy_16(to + row * (size + PAD) + c, x + (there ? row : 0) * stride + c,
                there);
    }
}

/* s = a b', 16 rows of a from `a` on, all TILE rows of b */
template <int SIZE>
static __device__ __forceinline__ void
multiply_rows(float (&s)[TILE / 8][4], const bf16 *a, const bf16 *b, int size)
{
#pragma unroll
    for (int n = 0; n < TILE / 8; n++)
        s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0f;
#pragma unroll
    for (int k = 0; k < SIZE; k += 16) {
        if (k >= size)
            break;
        pair left[4];
        load_a(left, a, size + PAD, k);
#pragma unroll
        for (int n = 0; n < TILE; n += 16) {
            pair right[4];
            load_b(right, b, size + PAD, n, k);
            mma(s[n / 8], left, right);
            mma(s[n / 8 + 1], left, right + 2);
        }
    }
}

/* total += p b: 16 rows of p as scores lie in registers, TILE rows of b */
template <int SIZE>
static __device__ __forceinline__ void
add_product(float (&total)[SIZE / 8][4], const float (&p)[TILE / 8][4],
            const bf16 *b, int size)
{
#pragma unroll
    for (int k = 0; k < TILE; k += 16) {
        const float *x = p[k / 8], *y = p[k / 8 + 1];
        const pair left[4] = {make_pair(x[0], x[1]), make_pair(x[2], x[3]),
                              make_pair(y[0], y[1]), make_pair(y[2], y[3])};
#pragma unroll
        for (int n = 0; n < SIZE; n += 16) {
            if (n >= size)
                break;
            pair right[4];
            load_b_rows(right, b, size + PAD, k, n);
            mma(total[n / 8], left, right);
            mma(total[n / 8 + 1], left, right + 2);
        }
    }
}

/* Whether each of the queries sees each of the keys from `key` on: what a row
 * sees is an interval. Asked by whole warps. */
static __device__ __forceinline__ bool all_see(const gpu_attention_args &a,
                                               const queries *rows, int key)
{
    bool all = true;
    for (int i = threadIdx.x % 32; i < TILE; i += 32)
        all = all && sees(a, rows->position[i], rows->first[i], key) &&
              sees(a, rows->position[i], rows->first[i], key + TILE - 1);
    return __ballot_sync(0xffffffffu, all) == 0xffffffffu;
}

/* A warp's 16 rows to memory, factor[h] times rows g + 8 h; `left` rows are
 * there. */
template <int SIZE>
static __device__ __forceinline__ void
store_fragments(bf16 *to, int64 stride, const float (&x)[SIZE / 8][4],
                const float (&factor)[2], int left, int size)
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        if (g + 8 * h >= left)
            break;
        bf16 *row = to + (g + 8 * h) * stride + 2 * t;
#pragma unroll
        for (int n = 0; n < SIZE / 8; n++)
            if (8 * n < size)
                *(pair *)(row + 8 * n) = make_pair(x[n][2 * h] * factor[h],
                                                   x[n][2 * h + 1] * factor[h]);
    }
}

#endif
