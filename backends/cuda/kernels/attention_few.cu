/*
 * attention_few.cu - attention of a few rows to a cache, as decoding has it.
 *
 * There is nothing to share but the keys and values, which are read once for
 * all heads of a group and all rows. They are split into stretches of 64 keys,
 * a block each, so that a single sequence keeps the device busy: a block leaves
 * its largest score, its sum of exponentials and its output, and a second
 * kernel joins them, in the order of the keys. Stretches that nobody sees cost
 * a look at the positions.
 *
 * After Dao et al. 2023, "Flash-Decoding for long-context inference".
 */
#include "attention.cuh"

enum {
    KEYS = GPU_FEW_KEYS,
    QUERIES = GPU_FEW_QUERIES, /* of a block: rows times heads of a group */
    THREADS = 128,
    SHARE = 4, /* lanes that share a key */
    WIDTH = 128,
};

template <typename T> struct __align__(16) piece
{
    enum { COUNT = 16 / sizeof(T) };
    T at[COUNT];
};

/* Elements d .. of a row of D, 0 beyond. */
template <typename T>
static __device__ __forceinline__ void
load_piece(float (&to)[piece<T>::COUNT], const T *row, int d, int D, bool whole)
{
    const int count = piece<T>::COUNT;
    if (whole) {
        const piece<T> p = *(const piece<T> *)(row + d);
#pragma unroll
        for (int i = 0; i < count; i++)
            to[i] = load(p.at + i);
    } else {
#pragma unroll
        for (int i = 0; i < count; i++)
            to[i] = d + i < D ? load(row + d + i) : 0.0f;
    }
}

/* What a block has: queries `first` .. of the rows and heads of a group. */
struct few_place {
    int split, batch, group, first, count;
    int repeat; /* heads of a group */
};

static __device__ __forceinline__ few_place few_of(const gpu_attention_args &a)
{
    few_place at;
    at.repeat = a.heads / a.groups;
    const int all = a.rows * at.repeat;
    const int tiles = (all + QUERIES - 1) / QUERIES;
    at.split = blockIdx.x;
    unsigned w = blockIdx.y;
    at.first = (int)(w % tiles) * QUERIES;
    w /= tiles;
    at.group = (int)(w % a.groups);
    at.batch = (int)(w / a.groups);
    at.count = min(QUERIES, all - at.first);
    return at;
}

static __device__ __forceinline__ int row_of(const few_place &at, int m)
{
    return (at.first + m) / at.repeat;
}

static __device__ __forceinline__ int head_of(const few_place &at, int m)
{
    return at.group * at.repeat + (at.first + m) % at.repeat;
}

/* Number of a query's part in the partial results. */
static __device__ __forceinline__ int64 part_of(const gpu_attention_args &a,
                                                int batch, int row, int head,
                                                int split)
{
    const int64 query = ((int64)batch * a.rows + row) * a.heads + head;
    return query * a.splits + split;
}

/* ---- scores ---- */

struct few_room {
    float q[QUERIES * GPU_FEW_SIZE];
    float p[QUERIES][KEYS];
    float half[QUERIES][WIDTH];
    int position[QUERIES], first[QUERIES];
};

template <typename T>
static __device__ __forceinline__ void
load_queries(few_room *room, const gpu_attention_args &a, const few_place &at)
{
    const int width = (a.key_size + 7) / 8 * 8; /* whole pieces */
    for (int i = threadIdx.x; i < QUERIES * width; i += THREADS) {
        const int m = i / width, d = i % width;
        const bool there = m < at.count && d < a.key_size;
        room->q[m * GPU_FEW_SIZE + d] =
            there ? load(vectors<T>(a.q, a.q_stride, at.batch, row_of(at, m),
                                    head_of(at, m)) +
                         d)
                  : 0.0f;
    }
    if ((int)threadIdx.x < at.count) {
        const int row = row_of(at, threadIdx.x);
        const int64 i = (int64)at.batch * a.rows + row;
        room->position[threadIdx.x] =
            a.positions ? ((const int *)a.positions)[i] : row;
        room->first[threadIdx.x] = a.first ? ((const int *)a.first)[i] : 0;
    }
}

/* p[m][key] = score: four lanes for each key */
template <typename T>
static __device__ __forceinline__ void
take_scores(few_room *room, const gpu_attention_args &a, const few_place &at,
            int begin, bool whole)
{
    const int part = threadIdx.x % SHARE;
    for (int i = threadIdx.x / SHARE; i < KEYS; i += THREADS / SHARE) {
        const int key = min(begin + i, a.keys - 1);
        const T *k = vectors<T>(a.k, a.k_stride, at.batch, key, at.group);
        float sum[QUERIES] = {};
        for (int d = part * piece<T>::COUNT; d < a.key_size;
             d += SHARE * piece<T>::COUNT) {
            float x[piece<T>::COUNT];
            load_piece(x, k, d, a.key_size, whole);
#pragma unroll
            for (int m = 0; m < QUERIES; m++)
#pragma unroll
                for (int j = 0; j < piece<T>::COUNT; j++)
                    sum[m] =
                        fmaf(x[j], room->q[m * GPU_FEW_SIZE + d + j], sum[m]);
        }
#pragma unroll
        for (int m = 0; m < QUERIES; m++) {
            float s = sum[m];
            s += __shfl_xor_sync(0xffffffffu, s, 1);
            s += __shfl_xor_sync(0xffffffffu, s, 2);
            if (part == 0 && m < at.count)
                room->p[m][i] =
                    sees(a, room->position[m], room->first[m], begin + i)
                        ? score_of(a, s)
                        : __uint_as_float(0xff800000u);
        }
    }
}

/* Scores to exponentials; a warp for each query in turn. */
static __device__ __forceinline__ void
take_exponentials(few_room *room, const gpu_attention_args &a,
                  const few_place &at)
{
    const float none = __uint_as_float(0xff800000u);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int m = warp; m < at.count; m += THREADS / 32) {
        float most = none, sum = 0.0f;
        for (int i = lane; i < KEYS; i += 32)
            most = fmaxf(most, room->p[m][i]);
        most = warp_max(most);
        const float base = most == none ? 0.0f : most;
        for (int i = lane; i < KEYS; i += 32) {
            const float e = expf(room->p[m][i] - base);
            room->p[m][i] = e;
            sum += e;
        }
        sum = warp_sum(sum);
        if (lane == 0) {
            float *stats =
                (float *)a.stats + 2 * part_of(a, at.batch, row_of(at, m),
                                               head_of(at, m), at.split);
            stats[0] = most;
            stats[1] = sum;
        }
    }
}

/* ---- values ---- */

/* Two columns of the output for every query; half of the keys each. */
template <typename T>
static __device__ __forceinline__ void
add_values(few_room *room, const gpu_attention_args &a, const few_place &at,
           int begin, int column)
{
    const int half = threadIdx.x / 64, e = column + threadIdx.x % 64 * 2;
    const bool one = e < a.value_size, two = e + 1 < a.value_size;
    float sum[QUERIES][2] = {};
#pragma unroll 4
    for (int i = half * (KEYS / 2); i < (half + 1) * (KEYS / 2); i++) {
        const int key = min(begin + i, a.keys - 1);
        const T *v = vectors<T>(a.v, a.v_stride, at.batch, key, at.group);
        const float x = one ? load(v + e) : 0.0f;
        const float y = two ? load(v + e + 1) : 0.0f;
#pragma unroll
        for (int m = 0; m < QUERIES; m++) {
            const float p = m < at.count ? room->p[m][i] : 0.0f;
            sum[m][0] = fmaf(p, x, sum[m][0]);
            sum[m][1] = fmaf(p, y, sum[m][1]);
        }
    }
    __syncthreads();
    for (int m = 0; m < QUERIES && half; m++)
        for (int j = 0; j < 2; j++)
            room->half[m][threadIdx.x % 64 * 2 + j] = sum[m][j];
    __syncthreads();
#pragma unroll
    for (int m = 0; m < QUERIES; m++) {
        if (half || m >= at.count)
            break;
        float *o = (float *)a.parts + part_of(a, at.batch, row_of(at, m),
                                              head_of(at, m), at.split) *
                                          a.value_size;
        const float *other = &room->half[m][threadIdx.x * 2];
        if (one)
            o[e] = sum[m][0] + other[0];
        if (two)
            o[e + 1] = sum[m][1] + other[1];
    }
}

/* Whether any query sees any of the keys. */
static __device__ __forceinline__ bool is_seen(const few_room *room,
                                               const gpu_attention_args &a,
                                               const few_place &at, int begin)
{
    for (int m = 0; m < at.count; m++) {
        const int p = room->position[m], first = max(room->first[m], begin);
        const int last = min(begin + KEYS, a.keys) - 1;
        if (p < 0)
            continue;
        const int to = a.causal ? min(p, last) : last;
        const int from =
            a.causal && a.window ? max(first, p - a.window + 1) : first;
        if (from <= to)
            return true;
    }
    return false;
}

template <typename T>
static __device__ __forceinline__ void few(const gpu_attention_args &a)
{
    __shared__ few_room room;
    const few_place at = few_of(a);
    const int begin = at.split * KEYS, count = piece<T>::COUNT;
    const bool whole = a.k % 16 == 0 && a.key_size % count == 0 &&
                       a.k_stride[0] % count == 0 &&
                       a.k_stride[1] % count == 0 && a.k_stride[2] % count == 0;
    load_queries<T>(&room, a, at);
    __syncthreads();
    if (!is_seen(&room, a, at, begin)) {
        if ((int)threadIdx.x < at.count)
            ((float *)a.stats)[2 * part_of(a, at.batch, row_of(at, threadIdx.x),
                                           head_of(at, threadIdx.x), at.split) +
                               1] = 0.0f;
        return;
    }
    take_scores<T>(&room, a, at, begin, whole);
    __syncthreads();
    take_exponentials(&room, a, at);
    __syncthreads();
    for (int e = 0; e < a.value_size; e += WIDTH)
        add_values<T>(&room, a, at, begin, e);
}

/* ---- joining ---- */

/* A block for each row and head. */
template <typename T>
static __device__ __forceinline__ void few_join(const gpu_attention_args &a)
{
    const int64 query = blockIdx.x; /* (batch, row, head) */
    const float *stats = (const float *)a.stats + 2 * query * a.splits;
    const float *parts =
        (const float *)a.parts + query * a.splits * a.value_size;
    float most = __uint_as_float(0xff800000u), sum = 0.0f;
    for (int s = 0; s < a.splits; s++)
        if (stats[2 * s + 1] > 0.0f)
            most = fmaxf(most, stats[2 * s]);
    for (int s = 0; s < a.splits; s++)
        if (stats[2 * s + 1] > 0.0f)
            sum = fmaf(stats[2 * s + 1], expf(stats[2 * s] - most), sum);
    for (int e = threadIdx.x; e < a.value_size; e += blockDim.x) {
        float o = 0.0f;
        for (int s = 0; s < a.splits; s++)
            if (stats[2 * s + 1] > 0.0f)
                o = fmaf(parts[(int64)s * a.value_size + e],
                         expf(stats[2 * s] - most), o);
        store((T *)a.o + query * a.value_size + e, sum > 0.0f ? o / sum : 0.0f);
    }
    if (threadIdx.x == 0) {
        const int head = (int)(query % a.heads);
        const int64 row = query / a.heads; /* of the batch's rows */
        const int64 at =
            (row / a.rows * a.heads + head) * a.rows + row % a.rows;
        ((float *)a.lse)[at] = sum > 0.0f ? most + logf(sum) : 0.0f;
    }
}

#define FEW(letter, T)                                                         \
    extern "C" __global__ void __launch_bounds__(128)                          \
        attention_few_##letter(const marked<gpu_attention_args> m)             \
    {                                                                          \
        const gpu_attention_args &a = begin(m);                                \
        few<T>(a);                                                             \
    }                                                                          \
    extern "C" __global__ void __launch_bounds__(128)                          \
        attention_few_join_##letter(const marked<gpu_attention_args> m)        \
    {                                                                          \
        const gpu_attention_args &a = begin(m);                                \
        few_join<T>(a);                                                        \
    }
FEW(f, float)
FEW(b, bf16)
