/*
 * rows.cu - tables addressed by rows.
 *
 * Sums of rows (the gradient of an embedding) have no atomics, whose order
 * would change from run to run: the indices are sorted, stably and 8 bits at a
 * time, and each run of equal ones has its rows summed in order.
 */
#include "common.cuh"

/* ---- indices ---- */

extern "C" __global__ void __launch_bounds__(256)
    check_index(const marked<gpu_check_args> m)
{
    const gpu_check_args &a = begin(m);
    const int64 i = (int64)blockIdx.x * 256 + threadIdx.x;
    if (i >= a.count)
        return;
    const int value = ((const int *)a.index)[i];
    gpu_fault *fault = (gpu_fault *)a.fault;
    if (value >= a.lowest && value < a.limit)
        return;
    if (atomicCAS(&fault->node, 0u, a.node + 1))
        return;
    fault->plan = a.plan;
    fault->value = value;
    fault->lowest = a.lowest;
    fault->limit = a.limit;
}

/* ---- sorting ---- */

static __device__ __forceinline__ int sort_key(const gpu_sort_args &a, int64 i)
{
    const int key = ((const int *)a.key)[i];
    return key >= 0 && key < a.rows ? key : a.rows;
}

/* counts[digit][tile]: how often each digit stands in a tile */
extern "C" __global__ void __launch_bounds__(256)
    sort_count(const marked<gpu_sort_args> m)
{
    const gpu_sort_args &a = begin(m);
    __shared__ int count[GPU_SORT_DIGITS];
    count[threadIdx.x] = 0;
    __syncthreads();
    const int64 begin = (int64)blockIdx.x * GPU_SORT_TILE;
    for (int k = threadIdx.x; k < GPU_SORT_TILE; k += 256)
        if (begin + k < a.count)
            atomicAdd(&count[sort_key(a, begin + k) >> a.shift & 255], 1);
    __syncthreads();
    ((int *)a.counts)[(int64)threadIdx.x * a.tiles + blockIdx.x] =
        count[threadIdx.x];
}

/* Each count becomes the sum of those before it. One block: a thread sums its
 * digit's row, the rows' sums are scanned, then each row is. */
extern "C" __global__ void __launch_bounds__(256)
    sort_scan(const marked<gpu_sort_args> m)
{
    const gpu_sort_args &a = begin(m);
    __shared__ int before[GPU_SORT_DIGITS];
    int *row = (int *)a.counts + (int64)threadIdx.x * a.tiles;
    int sum = 0;
    for (unsigned i = 0; i < a.tiles; i++)
        sum += row[i];
    before[threadIdx.x] = sum;
    __syncthreads();
    for (int reach = 1; reach < 256; reach *= 2) {
        const int add =
            (int)threadIdx.x >= reach ? before[threadIdx.x - reach] : 0;
        __syncthreads();
        before[threadIdx.x] += add;
        __syncthreads();
    }
    int at = before[threadIdx.x] - sum;
    for (unsigned i = 0; i < a.tiles; i++) {
        const int count = row[i];
        row[i] = at;
        at += count;
    }
}

/* The lanes of the warp that have this lane's digit. */
static __device__ __forceinline__ unsigned same_digit(int digit, int live)
{
    unsigned same = __ballot_sync(0xffffffffu, live);
    for (int bit = 0; bit < 8; bit++) {
        const unsigned ones = __ballot_sync(0xffffffffu, digit >> bit & 1);
        same &= digit >> bit & 1 ? ones : ~ones;
    }
    return same;
}

/* Move each key of a tile behind those of its digit that come before it. */
extern "C" __global__ void __launch_bounds__(256)
    sort_place(const marked<gpu_sort_args> m)
{
    const gpu_sort_args &a = begin(m);
    __shared__ int next[GPU_SORT_DIGITS]; /* where the digit's next key goes */
    __shared__ int many[8][GPU_SORT_DIGITS]; /* of a digit, by warp */
    const int me = threadIdx.x, lane = me % 32, warp = me / 32;
    next[me] = ((const int *)a.counts)[(int64)me * a.tiles + blockIdx.x];
    for (int k = 0; k < GPU_SORT_TILE; k += 256) {
        const int64 i = (int64)blockIdx.x * GPU_SORT_TILE + k + me;
        const int live = i < a.count;
        const int key = live ? sort_key(a, i) : 0;
        const int digit = key >> a.shift & 255;
        for (int w = 0; w < 8; w++)
            many[w][me] = 0;
        __syncthreads();
        const unsigned same = same_digit(digit, live);
        const int rank = __popc(same & ((1u << lane) - 1u));
        if (live && rank == 0)
            many[warp][digit] = __popc(same);
        __syncthreads();
        if (live) {
            int to = next[digit] + rank;
            for (int w = 0; w < warp; w++)
                to += many[w][digit];
            ((int *)a.key_out)[to] = key;
            ((int *)a.place_out)[to] =
                a.first ? (int)i : ((const int *)a.place)[i];
        }
        __syncthreads();
        for (int w = 0; w < 8; w++)
            next[me] += many[w][me];
    }
}

/* ---- sums of runs ---- */

/* A block sums one chunk of sorted keys, a thread one column. A run that ends
 * in the chunk it begins in is done; of others the part that began before goes
 * to ends[chunk][0], the part that goes on to ends[chunk][1]. */
template <typename X, typename Y>
static __device__ __forceinline__ void sum_runs(const gpu_runs_args &a)
{
    const int64 c = (int64)blockIdx.y * 128 + threadIdx.x;
    const int64 begin = (int64)blockIdx.x * GPU_RUN_ROWS;
    const int64 left = a.count - begin;
    const int rows = left < GPU_RUN_ROWS ? (int)left : GPU_RUN_ROWS;
    const int *key = (const int *)a.key + begin;
    const int *place = (const int *)a.place + begin;
    if (c >= a.width)
        return;
    float *ends = (float *)a.ends + (int64)blockIdx.x * 2 * a.width + c;
    float sum = 0.0f;
    int open = begin > 0 && key[-1] == key[0]; /* it began before */
    for (int i = 0; i < rows && key[i] < a.rows; i++) {
        sum += load((const X *)a.x + (int64)place[i] * a.width + c);
        const int last = i + 1 == rows;
        const int goes_on =
            last ? left > rows && key[rows] == key[i] : key[i + 1] == key[i];
        if (goes_on && !last)
            continue;
        Y *y = (Y *)a.y + (int64)key[i] * a.width + c;
        if (open)
            ends[0] = sum;
        else if (goes_on)
            ends[a.width] = sum;
        else
            store(y, a.accumulate ? load(y) + sum : sum);
        open = 0;
        sum = 0.0f;
    }
}

/* The chunk in which a long run begins joins its parts. */
template <typename Y>
static __device__ __forceinline__ void join_runs(const gpu_runs_args &a)
{
    const int64 c = (int64)blockIdx.y * 128 + threadIdx.x;
    const int64 last = ((int64)blockIdx.x + 1) * GPU_RUN_ROWS - 1;
    const int64 first = (int64)blockIdx.x * GPU_RUN_ROWS;
    const int *key = (const int *)a.key;
    if (c >= a.width || last + 1 >= a.count || key[last] >= a.rows ||
        key[last + 1] != key[last])
        return;
    if (first > 0 && key[first] == key[last] && key[first - 1] == key[last])
        return; /* it began before this chunk */
    const float *ends = (const float *)a.ends + c;
    int64 chunk = blockIdx.x;
    float sum = ends[(chunk * 2 + 1) * a.width];
    do {
        chunk++;
        sum += ends[chunk * 2 * a.width];
    } while ((chunk + 1) * GPU_RUN_ROWS < a.count &&
             key[(chunk + 1) * GPU_RUN_ROWS] == key[last]);
    Y *y = (Y *)a.y + (int64)key[last] * a.width + c;
    store(y, a.accumulate ? load(y) + sum : sum);
}

#define RUNS(name, X, Y)                                                       \
    extern "C" __global__ void __launch_bounds__(128)                          \
        sum_runs_##name(const marked<gpu_runs_args> m)                         \
    {                                                                          \
        const gpu_runs_args &a = begin(m);                                     \
        sum_runs<X, Y>(a);                                                     \
    }
RUNS(ff, float, float)
RUNS(bf, bf16, float)
RUNS(fb, float, bf16)
RUNS(bb, bf16, bf16)

extern "C" __global__ void __launch_bounds__(128)
    join_runs_f(const marked<gpu_runs_args> m)
{
    const gpu_runs_args &a = begin(m);
    join_runs<float>(a);
}

extern "C" __global__ void __launch_bounds__(128)
    join_runs_b(const marked<gpu_runs_args> m)
{
    const gpu_runs_args &a = begin(m);
    join_runs<bf16>(a);
}

/* ---- writing rows ---- */

/* keep[b, t] = 1 where no later row of the same b goes to the same place: of
 * two rows with one index the later one stays. */
extern "C" __global__ void __launch_bounds__(256)
    set_rows_last(const marked<gpu_set_rows_args> m)
{
    const gpu_set_rows_args &a = begin(m);
    const int64 i = (int64)blockIdx.x * 256 + threadIdx.x;
    if (i >= a.count)
        return;
    const int *index = (const int *)a.index;
    const int64 end = i / a.steps * a.steps + a.steps;
    int64 j = i + 1;
    while (j < end && index[j] != index[i])
        j++;
    ((int *)a.keep)[i] = index[i] >= 0 && index[i] < a.rows && j == end;
}

/* state[b, index[b, t]] = x[b, t] for the rows that are kept: bits are moved,
 * whatever they mean. */
template <typename T>
static __device__ __forceinline__ void set_rows(const gpu_set_rows_args &a)
{
    const int64 c = (int64)blockIdx.y * 128 + threadIdx.x;
    const int64 i = blockIdx.x;
    if (c >= a.width || !((const int *)a.keep)[i])
        return;
    const int64 row = i / a.steps * a.rows + ((const int *)a.index)[i];
    ((T *)a.state)[row * a.width + c] = ((const T *)a.x)[i * a.width + c];
}

struct __align__(16) words4
{
    unsigned at[4];
};

#define SET_ROWS(name, T)                                                      \
    extern "C" __global__ void __launch_bounds__(128)                          \
        set_rows_##name(const marked<gpu_set_rows_args> m)                     \
    {                                                                          \
        const gpu_set_rows_args &a = begin(m);                                 \
        set_rows<T>(a);                                                        \
    }
SET_ROWS(1, unsigned char)
SET_ROWS(2, unsigned short)
SET_ROWS(4, unsigned)
SET_ROWS(16, words4)
