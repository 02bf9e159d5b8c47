/*
 * attention.cu - softmax attention forward, without scores in memory.
 *
 *     s = cap(scale q k')      o = softmax(s) v      lse = log sum exp s
 *
 * Dao et al. 2022, "FlashAttention", arXiv:2205.14135: a block has 64 queries
 * of a head and passes over the keys 64 at a time, rescaling what it has when a
 * larger score turns up.
 */
#include "attention_tile.cuh"

/* A largest score so far, the sum of exponentials beside it, and the output. */
template <int C> struct running {
    float most[4], sum[4];
    float o[4][C];
};

/* Over the 16 threads that share rows. */
static __device__ __forceinline__ float row_max(float x)
{
    for (int away = 8; away; away /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, away));
    return x;
}

static __device__ __forceinline__ float row_sum(float x)
{
    for (int away = 8; away; away /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, away);
    return x;
}

/* Products become scores, and p[key][row] = exp(score - most). */
template <int C>
static __device__ __forceinline__ void
take_scores(const gpu_attention_args &a, const queries *rows, float (&s)[4][4],
            running<C> &r, float *p, int key, int x, int y)
{
    const float none = __uint_as_float(0xff800000u);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = 4 * y + i;
        float most = r.most[i], sum = 0.0f;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            s[i][j] =
                sees(a, rows->position[row], rows->first[row], key + 4 * x + j)
                    ? score_of(a, s[i][j])
                    : none;
            most = fmaxf(most, s[i][j]);
        }
        most = row_max(most);
        const float base = most == none ? 0.0f : most;
        const float shrink = expf(r.most[i] - base);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float e = expf(s[i][j] - base);
            p[(4 * x + j) * PITCH + row] = e;
            sum += e;
        }
        r.sum[i] = r.sum[i] * shrink + row_sum(sum);
        r.most[i] = most;
#pragma unroll
        for (int c = 0; c < C; c++)
            r.o[i][c] *= shrink;
    }
}

template <typename T, int C>
static __device__ __forceinline__ void
store_rows(const gpu_attention_args &a, const attention_place &at,
           const running<C> &r, int x, int y)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = at.begin + 4 * y + i;
        if (row >= a.rows)
            break;
        const bool sees_any = r.sum[i] > 0.0f;
        T *o = (T *)a.o + dense_at(a, at.batch, row, at.head, a.value_size);
#pragma unroll
        for (int c = 0; c < C; c++)
            if (x + 16 * c < a.value_size)
                store(o + x + 16 * c, sees_any ? r.o[i][c] / r.sum[i] : 0.0f);
        if (x == 0)
            ((float *)
                 a.lse)[((int64)at.batch * a.heads + at.head) * a.rows + row] =
                sees_any ? r.most[i] + logf(r.sum[i]) : 0.0f;
    }
}

template <typename T, int C>
static __device__ __forceinline__ void attention(const gpu_attention_args &a)
{
    float *const room = dynamic_shared->at;
    __shared__ queries rows;
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
    const attention_place at = place_of(a, a.rows, a.heads);
    const int widest = a.key_size > a.value_size ? a.key_size : a.value_size;
    float *q = room;
    float *kv = q + padded(a.key_size) * PITCH;
    float *p = kv + padded(widest) * PITCH;
    running<C> r;
    for (int i = 0; i < 4; i++) {
        r.most[i] = __uint_as_float(0xff800000u);
        r.sum[i] = 0.0f;
        for (int c = 0; c < C; c++)
            r.o[i][c] = 0.0f;
    }
    load_queries(&rows, a, at.batch, at.begin);
    load_turned(q, vectors<T>(a.q, a.q_stride, at.batch, at.begin, at.head),
                a.q_stride[1], a.rows - at.begin, a.key_size);
    __syncthreads();
    int key, end;
    seen_keys(a, &rows, &key, &end);
    for (; key < end; key += TILE) {
        float s[4][4] = {{0.0f}};
        load_turned(kv, vectors<T>(a.k, a.k_stride, at.batch, key, at.group),
                    a.k_stride[1], a.keys - key, a.key_size);
        __syncthreads();
        multiply_turned(s, q, kv, a.key_size, x, y);
        take_scores(a, &rows, s, r, p, key, x, y);
        __syncthreads();
        load_turned(kv, vectors<T>(a.v, a.v_stride, at.batch, key, at.group),
                    a.v_stride[1], a.keys - key, a.value_size);
        __syncthreads();
        multiply_columns(r.o, p, kv, a.value_size, x, y);
        __syncthreads();
    }
    store_rows<T>(a, at, r, x, y);
}

#define ATTENTION(name, T, C)                                                  \
    extern "C" __global__ void __launch_bounds__(256)                          \
        attention_##name(const marked<gpu_attention_args> m)                   \
    {                                                                          \
        const gpu_attention_args &a = begin(m);                                \
        attention<T, C>(a);                                                    \
    }
ATTENTION(64_f, float, 4)
ATTENTION(128_f, float, 8)
ATTENTION(256_f, float, 16)
ATTENTION(64_b, bf16, 4)
ATTENTION(128_b, bf16, 8)
ATTENTION(256_b, bf16, 16)
