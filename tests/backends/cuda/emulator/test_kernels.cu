/*
 * test_kernels.cu - kernels that say whether the emulator works: some right,
 * some wrong in one way each.
 */
#include "test_kernels.h"

static __device__ __forceinline__ float *floats(unsigned long long address)
{
    return (float *)address;
}

/* Sums over a block, by shuffles and then through shared memory. */
extern "C" __global__ void __launch_bounds__(256) sum_blocks(const test_args a)
{
    __shared__ float parts[32];
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    float sum = i < a.count ? floats(a.x)[i] : 0.0f;
    for (int by = 16; by; by /= 2)
        sum += __shfl_down_sync(0xffffffffu, sum, by);
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x)
        return;
    float total = 0.0f;
    for (unsigned k = 0; k < (blockDim.x + 31) / 32; k++)
        total += parts[k];
    floats(a.y)[blockIdx.x] = total;
}

/* y (width, count) = x (count, width) transposed, by tiles. */
extern "C" __global__ void transpose(const test_args a)
{
    __shared__ float tile[TEST_TILE][TEST_TILE + 1];
    const int x = blockIdx.x * TEST_TILE, y = blockIdx.y * TEST_TILE;
    const int c = threadIdx.x, r = threadIdx.y;
    if (y + r < a.count && x + c < a.width)
        tile[r][c] = floats(a.x)[(y + r) * a.width + x + c];
    __syncthreads();
    if (x + r < a.width && y + c < a.count)
        floats(a.y)[(x + r) * a.count + y + c] = tile[c][r];
}

/* The same without the barrier. */
extern "C" __global__ void transpose_without_barrier(const test_args a)
{
    __shared__ float tile[TEST_TILE][TEST_TILE + 1];
    const int x = blockIdx.x * TEST_TILE, y = blockIdx.y * TEST_TILE;
    const int c = threadIdx.x, r = threadIdx.y;
    if (y + r < a.count && x + c < a.width)
        tile[r][c] = floats(a.x)[(y + r) * a.width + x + c];
    if (x + r < a.width && y + c < a.count)
        floats(a.y)[(x + r) * a.count + y + c] = tile[c][r];
}

/* Every collective of a warp, with what each lane should get as y. */
extern "C" __global__ void __launch_bounds__(32) collect(const test_args a)
{
    const int lane = threadIdx.x;
    const unsigned all = 0xffffffffu;
    float *y = floats(a.y) + lane * TEST_COLLECTED;
    y[0] = __shfl_sync(all, (float)lane, 5);
    y[1] = __shfl_sync(all, (float)lane, lane + 1, 8);
    y[2] = __shfl_up_sync(all, (float)lane, 3);
    y[3] = __shfl_down_sync(all, (float)lane, 3, 16);
    y[4] = __shfl_xor_sync(all, (float)lane, 1);
    y[5] = (float)__popc(__ballot_sync(all, lane % 3 == 0));
    y[6] = (float)__any_sync(all, lane == 7);
    y[7] = (float)__all_sync(all, lane != 7);
    if (lane < 16)
        y[8] = __shfl_xor_sync(0x0000ffffu, (float)lane, 8);
    else
        y[8] = __shfl_xor_sync(0xffff0000u, (float)lane, 4);
    y[9] = (float)__syncthreads_count(lane % 2);
}

extern "C" __global__ void half_a_barrier(const test_args)
{
    if (threadIdx.x < 16)
        __syncthreads();
}

extern "C" __global__ void two_barriers(const test_args)
{
    if (threadIdx.x < 16)
        __syncthreads();
    else
        __syncthreads();
}

extern "C" __global__ void half_a_warp(const test_args a)
{
    float value = 1.0f;
    if (threadIdx.x < 16)
        value = __shfl_xor_sync(0xffffffffu, value, 1);
    floats(a.y)[threadIdx.x] = value;
}

extern "C" __global__ void wrong_mask(const test_args a)
{
    floats(a.y)[threadIdx.x] = (float)__any_sync(0x0000ffffu, 1);
}

extern "C" __global__ void unset_shared(const test_args a)
{
    __shared__ float room[64];
    if (threadIdx.x < 32)
        room[threadIdx.x] = 1.0f;
    __syncthreads();
    floats(a.y)[threadIdx.x] = room[threadIdx.x];
}

/* Writes `count` floats of dynamic shared memory. */
extern __shared__ float dynamic_shared[];
extern "C" __global__ void fill_dynamic(const test_args a)
{
    for (int i = threadIdx.x; i < a.count; i += blockDim.x)
        dynamic_shared[i] = (float)i;
    __syncthreads();
    for (int i = threadIdx.x; i < a.count; i += blockDim.x)
        floats(a.y)[i] = dynamic_shared[a.count - 1 - i];
}

/* Writes element `count` of y, which has that many. */
extern "C" __global__ void past_the_end(const test_args a)
{
    if (threadIdx.x == 3)
        floats(a.y)[a.count] = 1.0f;
}

extern "C" __global__ void add_one(const test_args a)
{
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < a.count)
        floats(a.y)[i] = floats(a.x)[i] + 1.0f;
}

extern "C" __global__ void twice(const test_args a)
{
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < a.count)
        floats(a.y)[i] = floats(a.x)[i] * 2.0f;
}
