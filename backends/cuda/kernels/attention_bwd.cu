/*
 * attention_bwd.cu - gradients of attention, without scores in memory.
 *
 *     p = exp(s - lse)     ds = p (do v' - delta)     du = ds slope
 *     dq = du k            dk = du' q                 dv = p' do
 *
 * Scores are computed again, in two kernels so that each sum has one owner and
 * one order: a block has 64 queries and passes over keys, or 64 keys and passes
 * over the queries of the heads that share them.
 */
#include "attention_tile.cuh"

/* What is known of TILE rows beside their vectors. */
struct row_facts {
    float lse[TILE], delta[TILE];
};

static __device__ __forceinline__ void load_facts(row_facts *facts,
                                                  const gpu_attention_args &a,
                                                  int batch, int head,
                                                  int begin)
{
    for (int i = threadIdx.x; i < TILE; i += 256) {
        const int row = begin + i;
        const int64 by_head = ((int64)batch * a.heads + head) * a.rows + row;
        facts->lse[i] = row < a.rows ? ((const float *)a.lse)[by_head] : 0.0f;
        facts->delta[i] =
            row < a.rows
                ? ((const float *)a.delta)[dense_at(a, batch, row, head, 1)]
                : 0.0f;
    }
}

/* p and du of one pair, from the products q k' and do v'. */
static __device__ __forceinline__ void pair_of(const gpu_attention_args &a,
                                               const queries *rows,
                                               const row_facts *facts, int row,
                                               int key, float qk, float dov,
                                               float *p, float *du)
{
    const float s = score_of(a, qk);
    const bool seen = sees(a, rows->position[row], rows->first[row], key);
    *p = seen ? expf(s - facts->lse[row]) : 0.0f;
    *du = *p * (dov - facts->delta[row]) * slope_of(a, s);
}

template <typename T>
static __device__ __forceinline__ const T *
out_gradient(const gpu_attention_args &a, int batch, int row, int head)
{
    return (const T *)a.d_out + dense_at(a, batch, row, head, a.value_size);
}

/* ---- queries ---- */

template <typename T, int C>
static __device__ __forceinline__ void attention_dq(const gpu_attention_args &a)
{
    float *const room = dynamic_shared->at;
    __shared__ queries rows;
    __shared__ row_facts facts;
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
    const attention_place at = place_of(a, a.rows, a.heads);
    float *q = room;
    float *k = q + padded(a.key_size) * PITCH;
    float *d_out = k + padded(a.key_size) * PITCH;
    float *v = d_out + padded(a.value_size) * PITCH;
    float *turned = v + padded(a.value_size) * PITCH; /* du[key][row] */
    float dq[4][C];
    for (int i = 0; i < 4; i++)
        for (int c = 0; c < C; c++)
            dq[i][c] = 0.0f;
    load_queries(&rows, a, at.batch, at.begin);
    load_facts(&facts, a, at.batch, at.head, at.begin);
    load_turned(q, vectors<T>(a.q, a.q_stride, at.batch, at.begin, at.head),
                a.q_stride[1], a.rows - at.begin, a.key_size);
    load_turned(d_out, out_gradient<T>(a, at.batch, at.begin, at.head),
                (int64)a.heads * a.value_size, a.rows - at.begin, a.value_size);
    __syncthreads();
    int key, end;
    seen_keys(a, &rows, &key, &end);
    for (; key < end; key += TILE) {
        float qk[4][4] = {{0.0f}}, dov[4][4] = {{0.0f}};
        load_turned(k, vectors<T>(a.k, a.k_stride, at.batch, key, at.group),
                    a.k_stride[1], a.keys - key, a.key_size);
        load_turned(v, vectors<T>(a.v, a.v_stride, at.batch, key, at.group),
                    a.v_stride[1], a.keys - key, a.value_size);
        __syncthreads();
        multiply_turned(qk, q, k, a.key_size, x, y);
        multiply_turned(dov, d_out, v, a.value_size, x, y);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float p, du;
                pair_of(a, &rows, &facts, 4 * y + i, key + 4 * x + j, qk[i][j],
                        dov[i][j], &p, &du);
                turned[(4 * x + j) * PITCH + 4 * y + i] = du;
            }
        __syncthreads();
        multiply_columns(dq, turned, k, a.key_size, x, y);
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = at.begin + 4 * y + i;
        T *to = (T *)a.dq + dense_at(a, at.batch, row, at.head, a.key_size);
#pragma unroll
        for (int c = 0; c < C; c++)
            if (row < a.rows && x + 16 * c < a.key_size)
                store(to + x + 16 * c, dq[i][c]);
    }
}

/* ---- keys ---- */

/* Whether any of the queries sees any of the keys from `key` on. */
static __device__ __forceinline__ bool meets(const gpu_attention_args &a,
                                             const queries *rows, int key)
{
    int begin, end;
    seen_keys(a, rows, &begin, &end);
    return begin < key + TILE && end > key;
}

template <typename T, int C>
static __device__ __forceinline__ void
store_keys(const gpu_attention_args &a, const attention_place &at,
           uint64_t address, const float (&total)[4][C], int size, int x, int y)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int key = at.begin + 4 * y + i;
        T *to = (T *)address +
                (((int64)at.batch * a.keys + key) * a.groups + at.head) * size;
#pragma unroll
        for (int c = 0; c < C; c++)
            if (key < a.keys && x + 16 * c < size)
                store(to + x + 16 * c, total[i][c]);
    }
}

template <typename T, int C>
static __device__ __forceinline__ void
attention_dkv(const gpu_attention_args &a)
{
    float *const room = dynamic_shared->at;
    __shared__ queries rows;
    __shared__ row_facts facts;
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
    attention_place at = place_of(a, a.keys, a.groups);
    at.begin = (a.keys + TILE - 1) / TILE * TILE - TILE - at.begin;
    const int share = a.heads / a.groups;
    float *k = room;
    float *q = k + padded(a.key_size) * PITCH;
    float *v = q + padded(a.key_size) * PITCH;
    float *d_out = v + padded(a.value_size) * PITCH;
    float *turned = d_out + padded(a.value_size) * PITCH; /* [row][key] */
    float dk[4][C], dv[4][C];
    for (int i = 0; i < 4; i++)
        for (int c = 0; c < C; c++)
            dk[i][c] = dv[i][c] = 0.0f;
    load_turned(k, vectors<T>(a.k, a.k_stride, at.batch, at.begin, at.head),
                a.k_stride[1], a.keys - at.begin, a.key_size);
    load_turned(v, vectors<T>(a.v, a.v_stride, at.batch, at.begin, at.head),
                a.v_stride[1], a.keys - at.begin, a.value_size);
    for (int begin = 0; begin < a.rows; begin += TILE) {
        __syncthreads();
        load_queries(&rows, a, at.batch, begin);
        __syncthreads();
        if (!meets(a, &rows, at.begin))
            continue;
        for (int head = at.head * share; head < (at.head + 1) * share; head++) {
            float qk[4][4] = {{0.0f}}, dov[4][4] = {{0.0f}}, du[4][4];
            load_facts(&facts, a, at.batch, head, begin);
            load_turned(q, vectors<T>(a.q, a.q_stride, at.batch, begin, head),
                        a.q_stride[1], a.rows - begin, a.key_size);
            load_turned(d_out, out_gradient<T>(a, at.batch, begin, head),
                        (int64)a.heads * a.value_size, a.rows - begin,
                        a.value_size);
            __syncthreads();
            multiply_turned(qk, k, q, a.key_size, x, y);
            multiply_turned(dov, v, d_out, a.value_size, x, y);
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    float p;
                    pair_of(a, &rows, &facts, 4 * x + j, at.begin + 4 * y + i,
                            qk[i][j], dov[i][j], &p, &du[i][j]);
                    turned[(4 * x + j) * PITCH + 4 * y + i] = p;
                }
            __syncthreads();
            multiply_columns(dv, turned, d_out, a.value_size, x, y);
            __syncthreads();
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    turned[(4 * x + j) * PITCH + 4 * y + i] = du[i][j];
            __syncthreads();
            multiply_columns(dk, turned, q, a.key_size, x, y);
            __syncthreads();
        }
    }
    store_keys<T>(a, at, a.dk, dk, a.key_size, x, y);
    store_keys<T>(a, at, a.dv, dv, a.value_size, x, y);
}

#define BACKWARD(name, T, C)                                                   \
    extern "C" __global__ void __launch_bounds__(256)                          \
        attention_dq_##name(const marked<gpu_attention_args> m)                \
    {                                                                          \
        const gpu_attention_args &a = begin(m);                                \
        attention_dq<T, C>(a);                                                 \
    }                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                          \
        attention_dkv_##name(const marked<gpu_attention_args> m)               \
    {                                                                          \
        const gpu_attention_args &a = begin(m);                                \
        attention_dkv<T, C>(a);                                                \
    }
BACKWARD(64_f, float, 4)
BACKWARD(128_f, float, 8)
BACKWARD(256_f, float, 16)
BACKWARD(64_b, bf16, 4)
BACKWARD(128_b, bf16, 8)
BACKWARD(256_b, bf16, 16)
