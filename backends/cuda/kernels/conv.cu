/*
 * conv.cu - a causal convolution of each channel by itself:
 *
 *     y[t]     = sum_k w[:, k] x[t - K + 1 + k]
 *     dx[t]    = sum_k w[:, k] dy[t + K - 1 - k]
 *     dw[:, k] = sum over b and t of dy[t] x[t - K + 1 + k]
 *
 * Before row 0 of x stands the history, or zeros; row t sees no row before its
 * document. Threads stand along channels; each has some rows of one and reads
 * them once.
 */
#include "common.cuh"
#include "sequence.h"

/* x, y and their gradients are T; taps and history are F32. */

/* Blocks are numbered by rows, then by batch row; y along channels. */
struct conv_place {
    int b, t, c;
};

static __device__ __forceinline__ conv_place find_place(const gpu_conv_args &a,
                                                        int rows)
{
    conv_place p;
    p.b = (int)blockIdx.x / a.blocks;
    p.t = (int)blockIdx.x % a.blocks * rows;
    p.c = (int)(blockIdx.y * GPU_CONV_CHANNELS + threadIdx.x);
    return p;
}

/* x at row t, which may lie before row 0 or behind the last. */
template <int K, typename T>
static __device__ __forceinline__ float x_at(const gpu_conv_args &a, int b,
                                             int t, int c)
{
    if (t >= a.rows)
        return 0.0f;
    if (t >= 0)
        return load((const T *)a.x + b * a.x_stride[0] + t * a.x_stride[1] + c);
    if (!a.history)
        return 0.0f;
    return ((const float *)a.history)[b * a.history_stride[0] +
                                      (t + K - 1) * a.history_stride[1] + c];
}

template <typename T>
static __device__ __forceinline__ float dy_at(const gpu_conv_args &a, int b,
                                              int t, int c)
{
    return t < a.rows ? load((const T *)a.dy +
                             ((int64)b * a.rows + t) * a.channels + c)
                      : 0.0f;
}

/* Whether row t sees row `from`. */
static __device__ __forceinline__ bool sees(const gpu_conv_args &a, int b,
                                            int t, int from)
{
    return !a.begins ||
           (t < a.rows &&
            from >= ((const int *)a.begins)[(int64)b * a.rows + t]);
}

template <int K, typename T>
static __device__ __forceinline__ void conv(const gpu_conv_args &a)
{
    enum { ROWS = GPU_CONV_ROWS };
    const conv_place p = find_place(a, ROWS);
    float tap[K], window[ROWS + K - 1];
    if (p.c >= a.channels)
        return;
#pragma unroll
    for (int k = 0; k < K; k++)
        tap[k] = ((const float *)a.w)[(int64)p.c * K + k];
#pragma unroll
    for (int i = 0; i < ROWS + K - 1; i++)
        window[i] = x_at<K, T>(a, p.b, p.t + i - K + 1, p.c);
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        const int t = p.t + i;
        float sum = 0.0f;
#pragma unroll
        for (int k = 0; k < K; k++)
            if (sees(a, p.b, t, t + k - K + 1))
                sum = fmaf(tap[k], window[i + k], sum);
        if (t < a.rows)
            store((T *)a.y + ((int64)p.b * a.rows + t) * a.channels + p.c, sum);
    }
}

/* window[i] is dy of row t + i: row t is seen by those up to K - 1 after it */
template <int K, typename T>
static __device__ __forceinline__ void conv_dx(const gpu_conv_args &a)
{
    enum { ROWS = GPU_CONV_ROWS };
    const conv_place p = find_place(a, ROWS);
    float tap[K], window[ROWS + K - 1];
    if (p.c >= a.channels)
        return;
#pragma unroll
    for (int k = 0; k < K; k++)
        tap[k] = ((const float *)a.w)[(int64)p.c * K + K - 1 - k];
#pragma unroll
    for (int i = 0; i < ROWS + K - 1; i++)
        window[i] = dy_at<T>(a, p.b, p.t + i, p.c);
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        const int t = p.t + i;
        float sum = 0.0f;
#pragma unroll
        for (int k = 0; k < K; k++)
            if (sees(a, p.b, t + k, t))
                sum = fmaf(tap[k], window[i + k], sum);
        if (t < a.rows)
            store((T *)a.y + ((int64)p.b * a.rows + t) * a.channels + p.c, sum);
    }
}

/* The part of dw that some rows of a batch row make. */
template <int K, typename T>
static __device__ __forceinline__ void conv_dw(const gpu_conv_args &a)
{
    const conv_place p = find_place(a, GPU_CONV_PART);
    const int end = min(p.t + GPU_CONV_PART, a.rows);
    float sum[K], window[K];
    if (p.c >= a.channels)
        return;
#pragma unroll
    for (int k = 0; k < K; k++) {
        sum[k] = 0.0f;
        window[k] = k ? x_at<K, T>(a, p.b, p.t + k - K, p.c) : 0.0f;
    }
    for (int t = p.t; t < end; t++) {
        const float dy = dy_at<T>(a, p.b, t, p.c);
#pragma unroll
        for (int k = 0; k + 1 < K; k++)
            window[k] = window[k + 1];
        window[K - 1] = x_at<K, T>(a, p.b, t, p.c);
#pragma unroll
        for (int k = 0; k < K; k++)
            if (sees(a, p.b, t, t + k - K + 1))
                sum[k] = fmaf(dy, window[k], sum[k]);
    }
    float *to = (float *)a.y + ((int64)blockIdx.x * a.channels + p.c) * K;
#pragma unroll
    for (int k = 0; k < K; k++)
        to[k] = sum[k];
}

#define KERNEL(name, K, letter, T)                                             \
    extern "C" __global__ void __launch_bounds__(GPU_CONV_CHANNELS)            \
        name##_##K##letter(const marked<gpu_conv_args> m)                      \
    {                                                                          \
        const gpu_conv_args &a = begin(m);                                     \
        name<K, T>(a);                                                         \
    }
#define TAPS(K)                                                                \
    KERNEL(conv, K, f, float)                                                  \
    KERNEL(conv, K, b, bf16)                                                   \
    KERNEL(conv_dx, K, f, float)                                               \
    KERNEL(conv_dx, K, b, bf16)                                                \
    KERNEL(conv_dw, K, f, float)                                               \
    KERNEL(conv_dw, K, b, bf16)
TAPS(2)
TAPS(3)
TAPS(4)
