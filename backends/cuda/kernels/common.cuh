/*
 * common.cuh - what every kernel file shares: how a kernel begins, storage
 * types, sums over a block.
 *
 * Kernels are plain CUDA C++: what needs a tensor core or PTX stands behind
 * __CUDA_ARCH__ and has a plain form beside it, so that the same files also
 * build for a CPU (tests/backends/cuda/emulator).
 *
 * Tensors are stored as float or bf16 and computed in float.
 */
#ifndef CUDA_KERNELS_COMMON_CUH
#define CUDA_KERNELS_COMMON_CUH

#include "args.h"

typedef long long int64;

/* ---- how a kernel begins ---- */

template <typename A> struct marked {
    gpu_mark mark;
    A a;
};

/* Its arguments; the CPU is told that it has begun. */
template <typename A>
static __device__ __forceinline__ const A &begin(const marked<A> &m)
{
    if (m.mark.word && !(blockIdx.x | blockIdx.y | blockIdx.z | threadIdx.x))
        *(volatile unsigned long long *)m.mark.word = m.mark.value;
    return m.a;
}

/* ---- storage types ---- */

/* The upper half of a float. */
struct bf16 {
    unsigned short bits;
};

static __device__ __forceinline__ float load(const float *x)
{
    return *x;
}

static __device__ __forceinline__ float load(const bf16 *x)
{
    return __uint_as_float((unsigned)x->bits << 16);
}

/* Round to nearest even; a NaN stays one. */
static __device__ __forceinline__ unsigned short bf16_bits(float x)
{
    const unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (unsigned short)(bits >> 16 | 64u);
    return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static __device__ __forceinline__ void store(float *y, float x)
{
    *y = x;
}

static __device__ __forceinline__ void store(bf16 *y, float x)
{
    y->bits = bf16_bits(x);
}

/* Four floats that are moved at once. */
struct __align__(16) four
{
    float at[4];
};

/* Shared memory of a size that the launch says. */
extern __shared__ four dynamic_shared[];

/* ---- sums over the threads of a warp or block, in one order ---- */

static __device__ __forceinline__ float warp_sum(float x)
{
    for (int away = 16; away; away /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, away);
    return x;
}

static __device__ __forceinline__ float warp_max(float x)
{
    for (int away = 16; away; away /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, away));
    return x;
}

/* Of a block whose size is a multiple of 32, at most 1024; every thread gets
 * it. `room` is shared, 32 floats, free for use again when all have it. */
static __device__ __forceinline__ float block_sum(float x, float *room)
{
    const unsigned warps = blockDim.x / 32;
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0)
        room[threadIdx.x / 32] = x;
    __syncthreads();
    x = threadIdx.x % 32 < warps ? room[threadIdx.x % 32] : 0.0f;
    x = warp_sum(x);
    __syncthreads();
    return x;
}

static __device__ __forceinline__ float block_max(float x, float *room)
{
    const unsigned warps = blockDim.x / 32;
    x = warp_max(x);
    if (threadIdx.x % 32 == 0)
        room[threadIdx.x / 32] = x;
    __syncthreads();
    x = room[threadIdx.x % 32 < warps ? threadIdx.x % 32 : 0];
    x = warp_max(x);
    __syncthreads();
    return x;
}

#endif
