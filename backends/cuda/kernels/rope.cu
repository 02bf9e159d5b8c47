/*
 * rope.cu - rotary position embedding: a thread has one pair of one row and
 * turns it in every head, by one cosine and one sine.
 *
 * Frequencies come from the CPU, where they are exact: an angle then carries
 * the error of one product.
 */
#include "common.cuh"

template <typename T>
static __device__ __forceinline__ void rope(const gpu_rope_args &a)
{
    const int each =
        a.pairs + (a.size - 2 * a.pairs); /* pairs, then the rest */
    const int64 n = (int64)blockIdx.x * 256 + threadIdx.x;
    const int64 row = n / each;
    const int i = (int)(n % each);
    if (row >= a.rows)
        return;
    const T *x = (const T *)a.x + row * a.heads * a.size;
    T *y = (T *)a.y + row * a.heads * a.size;
    if (i >= a.pairs) { /* what lies behind the pairs passes through */
        for (int h = 0; h < a.heads; h++) {
            const int at = h * a.size + a.pairs + i;
            y[at] = x[at];
        }
        return;
    }
    const float position = a.positions ? (float)((const int *)a.positions)[row]
                                       : (float)(row % a.steps);
    const float angle = position * a.frequency[i];
    const float c = cosf(angle), s = a.inverse ? -sinf(angle) : sinf(angle);
    const int first = a.interleaved ? 2 * i : i;
    const int apart = a.interleaved ? 1 : a.pairs;
    for (int h = 0; h < a.heads; h++) {
        const int at = h * a.size + first;
        const float u = load(x + at), v = load(x + at + apart);
        store(y + at, u * c - v * s);
        store(y + at + apart, v * c + u * s);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    rope_f(const marked<gpu_rope_args> m)
{
    const gpu_rope_args &a = begin(m);
    rope<float>(a);
}

extern "C" __global__ void __launch_bounds__(256)
    rope_b(const marked<gpu_rope_args> m)
{
    const gpu_rope_args &a = begin(m);
    rope<bf16>(a);
}
