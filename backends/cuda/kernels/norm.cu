/*
 * norm.cu - root mean square normalisation and softmax, of rows.
 *
 * A warp has a row, which it reads twice: the second time from the cache.
 */
#include "common.cuh"

enum { ROWS = 8 }; /* warps of a block */

static __device__ __forceinline__ int64 my_row(void)
{
    return (int64)blockIdx.x * ROWS + threadIdx.x / 32;
}

template <typename T>
static __device__ __forceinline__ void rms_norm(const gpu_norm_args &a)
{
    const int64 row = my_row();
    const int lane = threadIdx.x % 32;
    if (row >= a.rows)
        return;
    const T *x = (const T *)a.x + row * a.columns;
    const float *w = (const float *)a.weight;
    T *y = (T *)a.y + row * a.columns;
    float sum = 0.0f;
#pragma unroll 4
    for (int64 c = lane; c < a.columns; c += 32) {
        const float v = load(x + c);
        sum = fmaf(v, v, sum);
    }
    const float mean = warp_sum(sum) / (float)a.columns;
    const float r = 1.0f / sqrtf(mean + a.eps);
#pragma unroll 4
    for (int64 c = lane; c < a.columns; c += 32)
        store(y + c, load(x + c) * r * w[c]);
    if (lane == 0)
        ((float *)a.rstd)[row] = r;
}

/* dx = r (g - x r^2 mean(g x)), g = dy w */
template <typename T>
static __device__ __forceinline__ void rms_norm_bwd(const gpu_norm_args &a)
{
    const int64 row = my_row();
    const int lane = threadIdx.x % 32;
    if (row >= a.rows)
        return;
    const T *x = (const T *)a.x + row * a.columns;
    const T *dy = (const T *)a.dy + row * a.columns;
    const float *w = (const float *)a.weight;
    T *dx = (T *)a.y + row * a.columns;
    float sum = 0.0f;
#pragma unroll 4
    for (int64 c = lane; c < a.columns; c += 32)
        sum = fmaf(load(dy + c) * w[c], load(x + c), sum);
    const float r = ((const float *)a.rstd)[row];
    const float pull = r * r * (warp_sum(sum) / (float)a.columns);
#pragma unroll 4
    for (int64 c = lane; c < a.columns; c += 32)
        store(dx + c, r * (load(dy + c) * w[c] - load(x + c) * pull));
}

template <typename T>
static __device__ __forceinline__ void softmax(const gpu_softmax_args &a)
{
    const int64 row = my_row();
    const int lane = threadIdx.x % 32;
    if (row >= a.rows)
        return;
    const T *x = (const T *)a.x + row * a.columns;
    T *y = (T *)a.y + row * a.columns;
    float most = load(x), sum = 0.0f;
    for (int64 c = lane; c < a.columns; c += 32)
        most = fmaxf(most, load(x + c));
    most = warp_max(most);
    for (int64 c = lane; c < a.columns; c += 32)
        sum += expf(load(x + c) - most);
    sum = warp_sum(sum);
    for (int64 c = lane; c < a.columns; c += 32)
        store(y + c, expf(load(x + c) - most) / sum);
}

/* dx = y (dy - sum(dy y)); x is y here */
template <typename T>
static __device__ __forceinline__ void softmax_bwd(const gpu_softmax_args &a)
{
    const int64 row = my_row();
    const int lane = threadIdx.x % 32;
    if (row >= a.rows)
        return;
    const T *y = (const T *)a.x + row * a.columns;
    const T *dy = (const T *)a.dy + row * a.columns;
    T *dx = (T *)a.y + row * a.columns;
    float sum = 0.0f;
    for (int64 c = lane; c < a.columns; c += 32)
        sum = fmaf(load(dy + c), load(y + c), sum);
    sum = warp_sum(sum);
    for (int64 c = lane; c < a.columns; c += 32)
        store(dx + c, load(y + c) * (load(dy + c) - sum));
}

#define KERNEL(name, args)                                                     \
    extern "C" __global__ void __launch_bounds__(256)                          \
        name##_f(const marked<args> m)                                         \
    {                                                                          \
        const args &a = begin(m);                                              \
        name<float>(a);                                                        \
    }                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                          \
        name##_b(const marked<args> m)                                         \
    {                                                                          \
        const args &a = begin(m);                                              \
        name<bf16>(a);                                                         \
    }
KERNEL(rms_norm, gpu_norm_args)
KERNEL(rms_norm_bwd, gpu_norm_args)
KERNEL(softmax, gpu_softmax_args)
KERNEL(softmax_bwd, gpu_softmax_args)
