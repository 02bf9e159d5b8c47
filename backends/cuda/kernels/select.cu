/*
 * select.cu - choosing: the largest elements of a row, who goes to which
 * expert; and running sums.
 */
#include "common.cuh"

/* ---- the k first in the order "larger value first, then lower index" ---- */

static const int lowest_key = -2147483647 - 1, no_column = 2147483647;

/* Orders as the float does; the zeros are equal, NaN is minus infinity. */
static __device__ __forceinline__ int key_of(float x)
{
    const int bits = (int)__float_as_uint(x);
    const int size = bits & 0x7fffffff;
    if (size > 0x7f800000)
        return -0x7f800000;
    return bits < 0 ? -size : size;
}

/* Whether (key, column) comes before (other, other_column). */
static __device__ __forceinline__ bool before(int key, int column, int other,
                                              int other_column)
{
    return key > other || (key == other && column < other_column);
}

/* A block for each row; the k-th is looked for behind the one before it. */
template <typename T>
static __device__ __forceinline__ void select(const gpu_select_args &a)
{
    __shared__ int best_key[256], best_column[256];
    const T *x = (const T *)a.x + (int64)blockIdx.x * a.columns;
    const int me = threadIdx.x;
    int last_key = 0x7fffffff, last_column = -1;
    for (int n = 0; n < a.k; n++) {
        int key = lowest_key, column = no_column;
        for (int c = me; c < a.columns; c += blockDim.x) {
            const int here = key_of(load(x + c));
            if (before(last_key, last_column, here, c) &&
                before(here, c, key, column)) {
                key = here;
                column = c;
            }
        }
        best_key[me] = key;
        best_column[me] = column;
        __syncthreads();
        for (int reach = blockDim.x / 2; reach > 0; reach /= 2) {
            if (me < reach &&
                before(best_key[me + reach], best_column[me + reach],
                       best_key[me], best_column[me])) {
                best_key[me] = best_key[me + reach];
                best_column[me] = best_column[me + reach];
            }
            __syncthreads();
        }
        last_key = best_key[0];
        last_column = best_column[0];
        __syncthreads();
        if (me == 0) {
            const int64 to = (int64)blockIdx.x * a.k + n;
            ((int *)a.index)[to] = last_column;
            if (a.values)
                ((T *)a.values)[to] = x[last_column];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    select_f(const marked<gpu_select_args> m)
{
    const gpu_select_args &a = begin(m);
    select<float>(a);
}

extern "C" __global__ void __launch_bounds__(256)
    select_b(const marked<gpu_select_args> m)
{
    const gpu_select_args &a = begin(m);
    select<bf16>(a);
}

/* ---- experts ---- */

/* running[i] becomes the sum of running[0 .. i], of a block of 256 */
template <typename T> static __device__ __forceinline__ void scan(T *running)
{
    const int me = threadIdx.x;
    for (int reach = 1; reach < 256; reach *= 2) {
        __syncthreads();
        const T add = me >= reach ? running[me - reach] : (T)0;
        __syncthreads();
        running[me] += add;
    }
    __syncthreads();
}

/* count[e] = how many choices are e: a block for each e */
extern "C" __global__ void __launch_bounds__(256)
    expert_count(const marked<gpu_expert_args> m)
{
    const gpu_expert_args &a = begin(m);
    __shared__ int running[256];
    int sum = 0;
    for (int i = threadIdx.x; i < a.choices; i += 256)
        sum += ((const int *)a.choice)[i] == (int)blockIdx.x;
    running[threadIdx.x] = sum;
    scan(running);
    if (threadIdx.x == 255)
        ((int *)a.count)[blockIdx.x] = running[255];
}

/* The flat positions of `choice` sorted by expert, stable: the block of expert
 * e begins where the experts before it end, and numbers its positions by a
 * running count over 256 at a time. */
extern "C" __global__ void __launch_bounds__(256)
    expert_place(const marked<gpu_expert_args> m)
{
    const gpu_expert_args &a = begin(m);
    __shared__ int running[256];
    const int e = blockIdx.x, me = threadIdx.x;
    int next = 0;
    for (int i = 0; i < e; i++)
        next += ((const int *)a.count)[i];
    if (me == 0) {
        ((int *)a.offsets)[e] = next;
        if (e == a.experts - 1)
            ((int *)a.offsets)[e + 1] = next + ((const int *)a.count)[e];
    }
    for (int begin = 0; begin < a.choices; begin += 256) {
        const int i = begin + me;
        const int mine = i < a.choices && ((const int *)a.choice)[i] == e;
        running[me] = mine;
        scan(running);
        if (mine) {
            const int to = next + running[me] - 1;
            ((int *)a.order)[to] = i;
            ((int *)a.inverse)[i] = to;
        }
        next += running[255];
        __syncthreads();
    }
}

/* ---- running sums ---- */

/* Number of element i of a line. */
static __device__ __forceinline__ int64 line_at(const gpu_cumsum_args &a,
                                                int64 line, int64 i)
{
    const int64 first = line / a.inner * a.count * a.inner + line % a.inner;
    return first + (a.reverse ? a.count - 1 - i : i) * a.inner;
}

/* Of many lines, a thread walks each. */
template <typename T>
static __device__ __forceinline__ void cumsum_walk(const gpu_cumsum_args &a)
{
    const int64 line = (int64)blockIdx.x * 256 + threadIdx.x;
    float total = 0.0f;
    if (line >= a.lines)
        return;
    for (int64 i = 0; i < a.count; i++) {
        const int64 at = line_at(a, line, i);
        const float value = load((const T *)a.x + at);
        store((T *)a.y + at, a.exclusive ? total : total + value);
        total += value;
    }
}

/* Of few long ones, a block scans each by tiles. */
template <typename T>
static __device__ __forceinline__ void cumsum_scan(const gpu_cumsum_args &a)
{
    __shared__ float running[256];
    const int me = threadIdx.x;
    float total = 0.0f;
    for (int64 begin = 0; begin < a.count; begin += 256) {
        const int64 i = begin + me;
        const int64 at = line_at(a, blockIdx.x, i < a.count ? i : 0);
        running[me] = i < a.count ? load((const T *)a.x + at) : 0.0f;
        scan(running);
        const float left = me > 0 ? running[me - 1] : 0.0f;
        if (i < a.count)
            store((T *)a.y + at, total + (a.exclusive ? left : running[me]));
        total += running[255];
        __syncthreads();
    }
}

#define CUMSUM(letter, T)                                                      \
    extern "C" __global__ void __launch_bounds__(256)                          \
        cumsum_walk_##letter(const marked<gpu_cumsum_args> m)                  \
    {                                                                          \
        const gpu_cumsum_args &a = begin(m);                                   \
        cumsum_walk<T>(a);                                                     \
    }                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                          \
        cumsum_scan_##letter(const marked<gpu_cumsum_args> m)                  \
    {                                                                          \
        const gpu_cumsum_args &a = begin(m);                                   \
        cumsum_scan<T>(a);                                                     \
    }
CUMSUM(f, float)
CUMSUM(b, bf16)
