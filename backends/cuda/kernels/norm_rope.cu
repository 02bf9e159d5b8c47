/*
 * norm_rope.cu - heads of queries and keys that are normed and then turned by
 * their position, and the gradient of both.
 *
 *     y = turn(x r w),  r = 1 / sqrt(mean(x^2) + eps)
 *     dx = r (g - x r^2 mean(g x)),  g = w turn^-1(dy)
 *     dw = sum of turn^-1(dy) x r over rows and heads
 *
 * A block has rows (b, t): its warps share the row's heads, which turn by the
 * same cosines and sines. A head is read twice, the second time from the cache.
 * What lies between norm and rope is rounded to what it would be stored in.
 *
 * The gradient of the weight is summed by each block over its rows, in order,
 * and the blocks' sums are joined by a reduction.
 */
#include "common.cuh"

enum { WARPS = GPU_HEAD_WARPS, MOST = 2 * GPU_ROPE_PAIRS };

/* A pair that turns, or, behind the pairs, one element that does not. */
struct unit {
    int first, second; /* second -1: none */
};

static __device__ __forceinline__ unit unit_of(const gpu_rope_args &a, int i)
{
    if (i >= a.pairs)
        return {a.pairs + i, -1};
    return a.interleaved ? unit{2 * i, 2 * i + 1} : unit{i, i + a.pairs};
}

struct angles {
    float cosine[GPU_ROPE_PAIRS], sine[GPU_ROPE_PAIRS];
};

/* All threads of the block; the last row's are free when they come. */
static __device__ __forceinline__ void find_angles(const gpu_rope_args &a,
                                                   int64 row, angles &turn)
{
    const float position = a.positions ? (float)((const int *)a.positions)[row]
                                       : (float)(row % a.steps);
    for (int i = threadIdx.x; i < a.pairs; i += blockDim.x) {
        const float angle = position * a.frequency[i];
        turn.cosine[i] = cosf(angle);
        turn.sine[i] = a.inverse ? -sinf(angle) : sinf(angle);
    }
    __syncthreads();
}

template <typename T> static __device__ __forceinline__ float rounded(float x)
{
    T kept;
    store(&kept, x);
    return load(&kept);
}

/* ---- forward ---- */

template <typename T>
static __device__ __forceinline__ void
turn_head(const gpu_norm_rope_args &a, const angles &turn, int64 head, float r)
{
    const int lane = threadIdx.x % 32;
    const T *x = (const T *)a.rope.x + head * a.rope.size;
    T *y = (T *)a.rope.y + head * a.rope.size;
    T *normed = a.normed ? (T *)a.normed + head * a.rope.size : nullptr;
    const float *w = (const float *)a.weight;
    for (int i = lane; i < a.rope.size - a.rope.pairs; i += 32) {
        const unit at = unit_of(a.rope, i);
        const float u = rounded<T>(load(x + at.first) * r * w[at.first]);
        if (normed)
            store(normed + at.first, u);
        if (at.second < 0) {
            store(y + at.first, u);
            continue;
        }
        const float v = rounded<T>(load(x + at.second) * r * w[at.second]);
        if (normed)
            store(normed + at.second, v);
        const float c = turn.cosine[i], s = turn.sine[i];
        store(y + at.first, u * c - v * s);
        store(y + at.second, v * c + u * s);
    }
}

template <typename T>
static __device__ __forceinline__ void norm_rope(const gpu_norm_rope_args &a)
{
    __shared__ angles turn;
    const int lane = threadIdx.x % 32;
    const int64 row = blockIdx.x;
    find_angles(a.rope, row, turn);
    for (int h = threadIdx.x / 32; h < a.rope.heads; h += blockDim.x / 32) {
        const int64 head = row * a.rope.heads + h;
        const T *x = (const T *)a.rope.x + head * a.rope.size;
        float sum = 0.0f;
        for (int i = lane; i < a.rope.size; i += 32)
            sum = fmaf(load(x + i), load(x + i), sum);
        const float mean = warp_sum(sum) / (float)a.rope.size;
        const float r = 1.0f / sqrtf(mean + a.eps);
        turn_head<T>(a, turn, head, r);
        if (lane == 0)
            ((float *)a.rstd)[head] = r;
    }
}

/* ---- backward ---- */

/* The gradient of what was normed, at both places of a unit. */
template <typename T>
static __device__ __forceinline__ void
turn_back(const angles &turn, const T *dy, int i, const unit &at, float *u,
          float *v)
{
    *u = load(dy + at.first);
    *v = 0.0f;
    if (at.second < 0)
        return;
    const float p = *u, q = load(dy + at.second);
    const float c = turn.cosine[i], s = turn.sine[i];
    *u = rounded<T>(p * c - q * s);
    *v = rounded<T>(q * c + p * s);
}

/* Of one head; `share` is the warp's part of dw. */
template <typename T>
static __device__ __forceinline__ void
head_gradient(const gpu_norm_rope_args &a, const angles &turn, int64 head,
              float *share)
{
    const int lane = threadIdx.x % 32, units = a.rope.size - a.rope.pairs;
    const T *dy = (const T *)a.rope.x + head * a.rope.size;
    const T *x = (const T *)a.x + head * a.rope.size;
    T *dx = (T *)a.rope.y + head * a.rope.size;
    const float *w = (const float *)a.weight;
    const float r = ((const float *)a.rstd)[head];
    float sum = 0.0f, u, v;
    for (int i = lane; i < units; i += 32) {
        const unit at = unit_of(a.rope, i);
        turn_back(turn, dy, i, at, &u, &v);
        sum = fmaf(u * w[at.first], load(x + at.first), sum);
        if (at.second >= 0)
            sum = fmaf(v * w[at.second], load(x + at.second), sum);
    }
    const float pull = r * r * (warp_sum(sum) / (float)a.rope.size);
    for (int i = lane; i < units; i += 32) {
        const unit at = unit_of(a.rope, i);
        const float p = load(x + at.first);
        turn_back(turn, dy, i, at, &u, &v);
        share[at.first] += u * (p * r);
        if (at.second >= 0) {
            const float q = load(x + at.second);
            share[at.second] += v * (q * r);
            store(dx + at.second, r * (v * w[at.second] - q * pull));
        }
        store(dx + at.first, r * (u * w[at.first] - p * pull));
    }
}

template <typename T>
static __device__ __forceinline__ void
norm_rope_bwd(const gpu_norm_rope_args &a)
{
    __shared__ angles turn;
    __shared__ float share[WARPS][MOST];
    const int warps = blockDim.x / 32, size = a.rope.size;
    for (int i = threadIdx.x; i < WARPS * MOST; i += blockDim.x)
        share[i / MOST][i % MOST] = 0.0f;
    for (int64 row = blockIdx.x; row < a.rope.rows; row += gridDim.x) {
        find_angles(a.rope, row, turn);
        for (int h = threadIdx.x / 32; h < a.rope.heads; h += warps)
            head_gradient<T>(a, turn, row * a.rope.heads + h,
                             share[threadIdx.x / 32]);
        __syncthreads(); /* of the angles; and all shares are there */
    }
    for (int i = threadIdx.x; i < size; i += blockDim.x) {
        float sum = 0.0f;
        for (int n = 0; n < warps; n++)
            sum += share[n][i];
        ((float *)a.partial)[(int64)blockIdx.x * size + i] = sum;
    }
}

#define KERNEL(name)                                                           \
    extern "C" __global__ void __launch_bounds__(256)                          \
        name##_f(const marked<gpu_norm_rope_args> m)                           \
    {                                                                          \
        const gpu_norm_rope_args &a = begin(m);                                \
        name<float>(a);                                                        \
    }                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                          \
        name##_b(const marked<gpu_norm_rope_args> m)                           \
    {                                                                          \
        const gpu_norm_rope_args &a = begin(m);                                \
        name<bf16>(a);                                                         \
    }
KERNEL(norm_rope)
KERNEL(norm_rope_bwd)
