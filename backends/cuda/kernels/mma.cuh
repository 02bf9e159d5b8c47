/*
 * mma.cuh - products of small bf16 matrices by a warp, on tensor cores.
 *
 * A fragment is a warp's share of a matrix, as mma.sync.m16n8k16 lays it out.
 * With g = lane / 4 and t = lane % 4, a register holds two neighbours:
 *
 *     a (16 x 16)  rows g and g + 8, columns 2 t and 2 t + 8
 *     b (16 x 8)   column g, rows 2 t and 2 t + 8
 *     c (16 x 8)   rows g and g + 8, columns 2 t and 2 t + 1, in float
 *
 * Each instruction stands beside its definition in plain CUDA C++, which is
 * what runs where there is no tensor core.
 */
#ifndef CUDA_KERNELS_MMA_CUH
#define CUDA_KERNELS_MMA_CUH

#include "common.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define HAS_MMA 1
#else
#define HAS_MMA 0
#endif

typedef unsigned pair; /* two bf16, the first in the lower half */

static __device__ __forceinline__ pair make_pair(float low, float high)
{
    return (pair)bf16_bits(low) | (pair)bf16_bits(high) << 16;
}

static __device__ __forceinline__ float low_of(pair x)
{
    return __uint_as_float(x << 16);
}

static __device__ __forceinline__ float high_of(pair x)
{
    return __uint_as_float(x & 0xffff0000u);
}

#if HAS_MMA

static __device__ __forceinline__ unsigned shared_address(const void *x)
{
    return (unsigned)__cvta_generic_to_shared(x);
}

/* c += a b */
static __device__ __forceinline__ void mma(float (&c)[4], const pair (&a)[4],
                                           const pair *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]),
                   "r"(b[1]));
}

/* Four 8 x 8 matrices; lanes 8 i .. 8 i + 7 point at the rows of the i-th. */
static __device__ __forceinline__ void load_matrices(pair (&to)[4],
                                                     const bf16 *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

static __device__ __forceinline__ void load_turned_matrices(pair (&to)[4],
                                                            const bf16 *row)
{
    asm volatile(
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
        : "r"(shared_address(row))
        : "memory");
}

/* 16 bytes from memory to shared memory, behind the thread's back; zeros where
 * there is nothing. */
static __device__ __forceinline__ void copy_16(bf16 *to, const bf16 *from,
                                               bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     shared_address(to)),
                 "l"(from), "r"(there ? 16 : 0)
                 : "memory");
}

static __device__ __forceinline__ void end_copies(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* All copies are over but those of the last LEFT groups. */
template <int LEFT> static __device__ __forceinline__ void wait_copies(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

#else

static __device__ __forceinline__ float dot(pair x, pair y, float sum)
{
    return fmaf(high_of(x), high_of(y), fmaf(low_of(x), low_of(y), sum));
}

static __device__ __forceinline__ void mma(float (&c)[4], const pair (&a)[4],
                                           const pair *b)
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (int k = 0; k < 4; k++) { /* columns 2 k of a, rows 2 k of b */
        pair left[4], right[2][2];
        for (int i = 0; i < 4; i++)
            left[i] = __shfl_sync(0xffffffffu, a[i], 4 * g + k);
        for (int n = 0; n < 2; n++)
            for (int i = 0; i < 2; i++)
                right[n][i] =
                    __shfl_sync(0xffffffffu, b[i], 4 * (2 * t + n) + k);
        for (int n = 0; n < 2; n++) {
            c[n] = dot(left[0], right[n][0], c[n]);
            c[n] = dot(left[2], right[n][1], c[n]);
            c[2 + n] = dot(left[1], right[n][0], c[2 + n]);
            c[2 + n] = dot(left[3], right[n][1], c[2 + n]);
        }
    }
}

/* Row `row` of matrix i, as the lane that has it points at it. */
static __device__ __forceinline__ const bf16 *row_of(const bf16 *mine, int i,
                                                     int row)
{
    const unsigned long long at = (unsigned long long)mine;
    const unsigned low = __shfl_sync(0xffffffffu, (unsigned)at, 8 * i + row);
    const unsigned high =
        __shfl_sync(0xffffffffu, (unsigned)(at >> 32), 8 * i + row);
    return (const bf16 *)((unsigned long long)high << 32 | low);
}

static __device__ __forceinline__ void load_matrices(pair (&to)[4],
                                                     const bf16 *row)
{
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int i = 0; i < 4; i++) {
        const bf16 *x = row_of(row, i, g) + 2 * t;
        to[i] = (pair)x[0].bits | (pair)x[1].bits << 16;
    }
}

static __device__ __forceinline__ void load_turned_matrices(pair (&to)[4],
                                                            const bf16 *row)
{
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int i = 0; i < 4; i++) {
        const bf16 *x = row_of(row, i, 2 * t), *y = row_of(row, i, 2 * t + 1);
        to[i] = (pair)x[g].bits | (pair)y[g].bits << 16;
    }
}

static __device__ __forceinline__ void copy_16(bf16 *to, const bf16 *from,
                                               bool there)
{
    for (int i = 0; i < 8; i++)
        to[i].bits = there ? from[i].bits : (unsigned short)0;
}

static __device__ __forceinline__ void end_copies(void)
{
}

template <int LEFT> static __device__ __forceinline__ void wait_copies(void)
{
}

#endif

/* ---- fragments from shared memory, of row-major matrices ---- */

/* a: 16 rows from `x` on, columns k .. k + 15 */
static __device__ __forceinline__ void load_a(pair (&a)[4], const bf16 *x,
                                              int pitch, int k)
{
    const int lane = threadIdx.x % 32;
    load_matrices(a, x + lane % 16 * pitch + k + lane / 16 * 8);
}

/* Two b's side by side, of x': columns n .. n + 15 are rows of x. The first is
 * b[0], b[1], the second b[2], b[3]. */
static __device__ __forceinline__ void load_b(pair (&b)[4], const bf16 *x,
                                              int pitch, int n, int k)
{
    const int lane = threadIdx.x % 32;
    const int row = n + lane % 8 + lane / 16 * 8;
    load_matrices(b, x + row * pitch + k + lane / 8 % 2 * 8);
}

/* Two b's side by side, of x: rows k .. k + 15, columns n .. n + 15. */
static __device__ __forceinline__ void load_b_rows(pair (&b)[4], const bf16 *x,
                                                   int pitch, int k, int n)
{
    const int lane = threadIdx.x % 32;
    const int row = k + lane % 16;
    load_turned_matrices(b, x + row * pitch + n + lane / 16 * 8);
}

#endif
