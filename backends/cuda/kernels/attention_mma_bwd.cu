/*
 * attention_mma_bwd.cu - attention_bwd.cu on tensor cores: operands in bf16,
 * sums in f32.
 */
#include "attention_mma.cuh"

static const float log2_e = 1.44269504088896340736f;

/* What is known of TILE rows beside their vectors. */
struct row_facts {
    float lse[TILE], delta[TILE];
};

static __device__ __forceinline__ void load_facts(row_facts *facts,
                                                  const gpu_attention_args &a,
                                                  int batch, int head,
                                                  int begin)
{
    for (int i = threadIdx.x; i < TILE; i += MMA_THREADS) {
        const int row = begin + i;
        const int64 by_head = ((int64)batch * a.heads + head) * a.rows + row;
        facts->lse[i] = row < a.rows ? ((const float *)a.lse)[by_head] : 0.0f;
        facts->delta[i] =
            row < a.rows
                ? ((const float *)a.delta)[dense_at(a, batch, row, head, 1)]
                : 0.0f;
    }
}

/* q k' of a pair to p, and do v' to du. */
static __device__ __forceinline__ void pair_of(const gpu_attention_args &a,
                                               const row_facts *facts, int row,
                                               bool seen, float *qk, float *dov)
{
    const float s = score_of(a, *qk);
    const float p = seen ? exp2f((s - facts->lse[row]) * log2_e) : 0.0f;
    *qk = p;
    *dov = p * (*dov - facts->delta[row]) * slope_of(a, s);
}

static __device__ __forceinline__ const bf16 *
out_gradient(const gpu_attention_args &a, int batch, int row, int head)
{
    return (const bf16 *)a.d_out + dense_at(a, batch, row, head, a.value_size);
}

/* ---- queries ---- */

template <int D, int E>
static __device__ __forceinline__ void attention_dq(const gpu_attention_args &a)
{
    __shared__ queries rows;
    __shared__ row_facts facts;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int g = lane / 4, t = lane % 4;
    const attention_place at = place_of(a, a.rows, a.heads);
    bf16 *const q = (bf16 *)dynamic_shared;
    bf16 *const k = q + TILE * (a.key_size + PAD);
    bf16 *const d_out = k + TILE * (a.key_size + PAD);
    bf16 *const v = d_out + TILE * (a.value_size + PAD);
    const float one[2] = {1.0f, 1.0f};
    float dq[D / 8][4];
    for (int n = 0; n < D / 8; n++)
        for (int i = 0; i < 4; i++)
            dq[n][i] = 0.0f;
    load_queries(&rows, a, at.batch, at.begin);
    load_facts(&facts, a, at.batch, at.head, at.begin);
    copy_rows(q, vectors<bf16>(a.q, a.q_stride, at.batch, at.begin, at.head),
              a.q_stride[1], a.rows - at.begin, a.key_size);
    copy_rows(d_out, out_gradient(a, at.batch, at.begin, at.head),
              (int64)a.heads * a.value_size, a.rows - at.begin, a.value_size);
    __syncthreads();
    int key, end;
    seen_keys(a, &rows, &key, &end);
    for (; key < end; key += TILE) {
        float s[TILE / 8][4], dov[TILE / 8][4];
        copy_rows(k, vectors<bf16>(a.k, a.k_stride, at.batch, key, at.group),
                  a.k_stride[1], a.keys - key, a.key_size);
        copy_rows(v, vectors<bf16>(a.v, a.v_stride, at.batch, key, at.group),
                  a.v_stride[1], a.keys - key, a.value_size);
        end_copies();
        wait_copies<0>();
        __syncthreads();
        multiply_rows<D>(s, q + 16 * warp * (a.key_size + PAD), k, a.key_size);
        multiply_rows<E>(dov, d_out + 16 * warp * (a.value_size + PAD), v,
                         a.value_size);
        const bool all = all_see(a, &rows, key);
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int r = 16 * warp + g + i / 2 * 8;
                const int c = key + 8 * n + 2 * t + i % 2;
                pair_of(a, &facts, r,
                        all || sees(a, rows.position[r], rows.first[r], c),
                        &s[n][i], &dov[n][i]);
            }
        add_product<D>(dq, dov, k, a.key_size);
        __syncthreads();
    }
    wait_copies<0>();
    const int row = at.begin + 16 * warp;
    store_fragments<D>(
        (bf16 *)a.dq + dense_at(a, at.batch, row, at.head, a.key_size),
        (int64)a.heads * a.key_size, dq, one, a.rows - row, a.key_size);
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

/* Element 0 of key (b, s, g) in a dense (B, S, G, size). */
static __device__ __forceinline__ int64 key_at(const gpu_attention_args &a,
                                               const attention_place &at,
                                               int key, int size)
{
    return (((int64)at.batch * a.keys + key) * a.groups + at.head) * size;
}

template <int D, int E>
static __device__ __forceinline__ void
attention_dkv(const gpu_attention_args &a)
{
    __shared__ queries rows;
    __shared__ row_facts facts;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int g = lane / 4, t = lane % 4;
    attention_place at = place_of(a, a.keys, a.groups);
    at.begin = (a.keys + TILE - 1) / TILE * TILE - TILE - at.begin;
    const int share = a.heads / a.groups;
    bf16 *const q = (bf16 *)dynamic_shared;
    bf16 *const k = q + TILE * (a.key_size + PAD);
    bf16 *const d_out = k + TILE * (a.key_size + PAD);
    bf16 *const v = d_out + TILE * (a.value_size + PAD);
    const float one[2] = {1.0f, 1.0f};
    float dk[D / 8][4], dv[E / 8][4];
    for (int i = 0; i < 4; i++) {
        for (int n = 0; n < D / 8; n++)
            dk[n][i] = 0.0f;
        for (int n = 0; n < E / 8; n++)
            dv[n][i] = 0.0f;
    }
    copy_rows(k, vectors<bf16>(a.k, a.k_stride, at.batch, at.begin, at.head),
              a.k_stride[1], a.keys - at.begin, a.key_size);
    copy_rows(v, vectors<bf16>(a.v, a.v_stride, at.batch, at.begin, at.head),
              a.v_stride[1], a.keys - at.begin, a.value_size);
    for (int begin = 0; begin < a.rows; begin += TILE) {
        __syncthreads();
        load_queries(&rows, a, at.batch, begin);
        __syncthreads();
        if (!meets(a, &rows, at.begin))
            continue;
        const bool all = all_see(a, &rows, at.begin);
        for (int head = at.head * share; head < (at.head + 1) * share; head++) {
            float s[TILE / 8][4], dov[TILE / 8][4]; /* [key][query] */
            load_facts(&facts, a, at.batch, head, begin);
            copy_rows(q, vectors<bf16>(a.q, a.q_stride, at.batch, begin, head),
                      a.q_stride[1], a.rows - begin, a.key_size);
            copy_rows(d_out, out_gradient(a, at.batch, begin, head),
                      (int64)a.heads * a.value_size, a.rows - begin,
                      a.value_size);
            end_copies();
            wait_copies<0>();
            __syncthreads();
            multiply_rows<D>(s, k + 16 * warp * (a.key_size + PAD), q,
                             a.key_size);
            multiply_rows<E>(dov, v + 16 * warp * (a.value_size + PAD), d_out,
                             a.value_size);
#pragma unroll
            for (int n = 0; n < TILE / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int r = 8 * n + 2 * t + i % 2;
                    const int c = at.begin + 16 * warp + g + i / 2 * 8;
                    pair_of(a, &facts, r,
                            all || sees(a, rows.position[r], rows.first[r], c),
                            &s[n][i], &dov[n][i]);
                }
            add_product<E>(dv, s, d_out, a.value_size);
            add_product<D>(dk, dov, q, a.key_size);
            __syncthreads();
        }
    }
    wait_copies<0>();
    const int key = at.begin + 16 * warp;
    store_fragments<D>((bf16 *)a.dk + key_at(a, at, key, a.key_size),
                       (int64)a.groups * a.key_size, dk, one, a.keys - key,
                       a.key_size);
    store_fragments<E>((bf16 *)a.dv + key_at(a, at, key, a.value_size),
                       (int64)a.groups * a.value_size, dv, one, a.keys - key,
                       a.value_size);
}

#define BACKWARD(D, E)                                                         \
    extern "C" __global__ void __launch_bounds__(MMA_THREADS)                  \
        attention_mma_dq_##D##_##E(const marked<gpu_attention_args> m)         \
    {                                                                          \
        const gpu_attention_args &a = begin(m);                                \
        attention_dq<D, E>(a);                                                 \
    }                                                                          \
    extern "C" __global__ void __launch_bounds__(MMA_THREADS)                  \
        attention_mma_dkv_##D##_##E(const marked<gpu_attention_args> m)        \
    {                                                                          \
        const gpu_attention_args &a = begin(m);                                \
        attention_dkv<D, E>(a);                                                \
    }
BACKWARD(64, 64)
BACKWARD(128, 128)
BACKWARD(192, 128)
