/*
 * loss.cu - rows of logits to their cross-entropy and its gradient: a block has
 * a row, whose largest logit and sum of exponentials it finds in one pass.
 *
 *     z = cap tanh(u / cap)       nll = log sum exp z - z[target]
 *     du = (softmax z - onehot) dnll (1 - (z / cap)^2)
 *
 * A target of -1 has no loss and no gradient.
 */
#include "common.cuh"

enum { THREADS = 512 };

static __device__ __forceinline__ float capped(float u, float cap)
{
    return cap > 0.0f ? cap * tanhf(u / cap) : u;
}

/* A row's largest z, and log sum exp z. */
static __device__ __forceinline__ float log_sum(const gpu_loss_args &a,
                                                const float *u, float *room)
{
    float most = -3.402823466e38f, sum = 0.0f;
    for (int64 c = threadIdx.x; c < a.classes; c += THREADS) {
        const float z = capped(u[c], a.cap);
        if (z > most) {
            sum *= expf(most - z);
            most = z;
        }
        sum += expf(z - most);
    }
    const float all = block_max(most, room);
    return all + logf(block_sum(sum * expf(most - all), room));
}

template <typename D>
static __device__ __forceinline__ void loss(const gpu_loss_args &a)
{
    __shared__ float room[32];
    const int64 row = blockIdx.x;
    const float *u = (const float *)a.logits + row * a.classes;
    D *du = (D *)a.dlogits + row * a.classes;
    const int target = ((const int *)a.target)[row];
    const bool counts = target >= 0 && target < a.classes;
    const float lse = counts ? log_sum(a, u, room) : 0.0f;
    if (threadIdx.x == 0)
        ((float *)a.nll)[row] = counts ? lse - capped(u[target], a.cap) : 0.0f;
    if (!a.backward)
        return;
    __syncthreads(); /* u[target] has been read */
    const float scale = counts ? ((const float *)a.dnll)[row] : 0.0f;
    for (int64 c = threadIdx.x; c < a.classes; c += THREADS) {
        const float z = capped(u[c], a.cap);
        const float t = a.cap > 0.0f ? z / a.cap : 0.0f;
        const float p = expf(z - lse) - (c == target ? 1.0f : 0.0f);
        store(du + c, counts ? p * scale * (1.0f - t * t) : 0.0f);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    loss_f(const marked<gpu_loss_args> m)
{
    const gpu_loss_args &a = begin(m);
    loss<float>(a);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    loss_b(const marked<gpu_loss_args> m)
{
    const gpu_loss_args &a = begin(m);
    loss<bf16>(a);
}
