/*
 * attention_mma.cu - attention.cu on tensor cores: operands in bf16, sums and
 * softmax in f32. While scores of a tile become probabilities, the next keys
 * are on their way.
 */
#include "attention_mma.cuh"

static const float log2_e = 1.44269504088896340736f, ln_2 = 0.693147180559945f;

/* Of rows g and g + 8 of a warp: a largest score so far, the sum of
 * exponentials beside it, both to base 2, and the output. */
template <int E> struct running {
    float most[2], sum[2];
    float o[E / 8][4];
};

/* Over the four lanes that share rows. */
static __device__ __forceinline__ float row_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

static __device__ __forceinline__ float row_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/* Products to scores, and minus infinity where a row does not see a key. */
static __device__ __forceinline__ void take_scores(const gpu_attention_args &a,
                                                   const queries *rows,
                                                   float (&s)[TILE / 8][4],
                                                   int row, int key)
{
    const int t = threadIdx.x % 4;
    const bool all = all_see(a, rows, key);
#pragma unroll
    for (int n = 0; n < TILE / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int r = row + i / 2 * 8, k = key + 8 * n + 2 * t + i % 2;
            const bool seen =
                all || sees(a, rows->position[r], rows->first[r], k);
            s[n][i] = seen ? score_of(a, s[n][i]) * log2_e
                           : __uint_as_float(0xff800000u);
        }
}

/* Scores to exponentials; what was summed so far shrinks. */
template <int E>
static __device__ __forceinline__ void
take_exponentials(float (&s)[TILE / 8][4], running<E> &r)
{
    const float none = __uint_as_float(0xff800000u);
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float most = r.most[h], sum = 0.0f;
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
            most = fmaxf(most, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
        most = row_max(most);
        const float base = most == none ? 0.0f : most;
        const float shrink = exp2f(r.most[h] - base);
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int i = 2 * h; i < 2 * h + 2; i++) {
                s[n][i] = exp2f(s[n][i] - base);
                sum += s[n][i];
            }
        r.sum[h] = r.sum[h] * shrink + row_sum(sum);
        r.most[h] = most;
#pragma unroll
        for (int n = 0; n < E / 8; n++) {
            r.o[n][2 * h] *= shrink;
            r.o[n][2 * h + 1] *= shrink;
        }
    }
}

template <int E>
static __device__ __forceinline__ void store_rows(const gpu_attention_args &a,
                                                  const attention_place &at,
                                                  const running<E> &r, int warp)
{
    const int lane = threadIdx.x % 32, row = at.begin + 16 * warp;
    float factor[2];
    for (int h = 0; h < 2; h++) {
        const int mine = row + lane / 4 + 8 * h;
        const bool sees_any = r.sum[h] > 0.0f;
        factor[h] = sees_any ? 1.0f / r.sum[h] : 0.0f;
        if (lane % 4 == 0 && mine < a.rows)
            ((float *)
                 a.lse)[((int64)at.batch * a.heads + at.head) * a.rows + mine] =
                sees_any ? r.most[h] * ln_2 + logf(r.sum[h]) : 0.0f;
    }
    store_fragments<E>(
        (bf16 *)a.o + dense_at(a, at.batch, row, at.head, a.value_size),
        (int64)a.heads * a.value_size, r.o, factor, a.rows - row, a.value_size);
}

template <int D, int E>
static __device__ __forceinline__ void attention(const gpu_attention_args &a)
{
    __shared__ queries rows;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const attention_place at = place_of(a, a.rows, a.heads);
    bf16 *const q = (bf16 *)dynamic_shared;
    bf16 *const k = q + TILE * (a.key_size + PAD);
    bf16 *const v = k + TILE * (a.key_size + PAD);
    running<E> r;
    for (int h = 0; h < 2; h++) {
        r.most[h] = __uint_as_float(0xff800000u);
        r.sum[h] = 0.0f;
    }
    for (int n = 0; n < E / 8; n++)
        for (int i = 0; i < 4; i++)
            r.o[n][i] = 0.0f;
    load_queries(&rows, a, at.batch, at.begin);
    __syncthreads();
    int key, end;
    seen_keys(a, &rows, &key, &end);
    copy_rows(q, vectors<bf16>(a.q, a.q_stride, at.batch, at.begin, at.head),
              a.q_stride[1], a.rows - at.begin, a.key_size);
    if (key < end)
        copy_rows(k, vectors<bf16>(a.k, a.k_stride, at.batch, key, at.group),
                  a.k_stride[1], a.keys - key, a.key_size);
    end_copies();
    for (; key < end; key += TILE) {
        float s[TILE / 8][4];
        __syncthreads(); /* v is free */
        copy_rows(v, vectors<bf16>(a.v, a.v_stride, at.batch, key, at.group),
                  a.v_stride[1], a.keys - key, a.value_size);
        end_copies();
        wait_copies<1>();
        __syncthreads(); /* k is there */
        multiply_rows<D>(s, q + 16 * warp * (a.key_size + PAD), k, a.key_size);
        __syncthreads(); /* k is free */
        if (key + TILE < end)
            copy_rows(
                k,
                vectors<bf16>(a.k, a.k_stride, at.batch, key + TILE, at.group),
                a.k_stride[1], a.keys - key - TILE, a.key_size);
        end_copies();
        take_scores(a, &rows, s, 16 * warp + lane / 4, key);
        take_exponentials<E>(s, r);
        wait_copies<1>();
        __syncthreads(); /* v is there */
        add_product<E>(r.o, s, v, a.value_size);
    }
    wait_copies<0>();
    store_rows<E>(a, at, r, warp);
}

#define ATTENTION(D, E)                                                        \
    extern "C" __global__ void __launch_bounds__(MMA_THREADS)                  \
        attention_mma_##D##_##E(const marked<gpu_attention_args> m)            \
    {                                                                          \
        const gpu_attention_args &a = begin(m);                                \
        attention<D, E>(a);                                                    \
    }
ATTENTION(64, 64)
ATTENTION(128, 128)
ATTENTION(192, 128)
