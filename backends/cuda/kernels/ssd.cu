/*
 * ssd.cu - the scan of a state space, forward, and what its gradients share
 * (ssd.cuh).
 *
 *     steps, states, chain, products -> scan
 *
 * A few rows, as decoding has them, are the recurrence: ssd_few.
 */
#include "ssd.cuh"

/* ---- running sums: a thread for each chunk of a head ---- */

static __device__ __forceinline__ bool begins(const gpu_ssd_args &a, int b,
                                              int t)
{
    return a.begins && ((const int *)a.begins)[(int64)b * a.rows + t] == t;
}

static __device__ __forceinline__ float dt_at(const gpu_ssd_args &a,
                                              const ssd_chunk &c, int row)
{
    return ((const float *)
                a.dt)[c.b * a.dt_stride[0] + (c.begin + row) * a.dt_stride[1] +
                      c.h * a.dt_stride[2]];
}

extern "C" __global__ void __launch_bounds__(64)
    ssd_steps(const marked<gpu_ssd_args> m)
{
    const gpu_ssd_args &a = begin(m);
    const unsigned w = blockIdx.x * 64 + threadIdx.x;
    const ssd_chunk c = chunk_of(a, w, a.heads);
    if (c.b >= a.batch)
        return;
    const double A = ((const float *)a.A)[c.h];
    ssd_step *to = steps_of(a, c), step = {0.0f, 0.0f, -1, 0.0f};
    double sum = 0.0;
    for (int t = 0; t < c.count; t++) {
        if (begins(a, c.b, c.begin + t)) {
            sum = 0.0;
            step.begin = t;
        }
        step.dt = dt_at(a, c, t);
        sum += A * step.dt;
        step.high = (float)sum;
        step.low = (float)(sum - step.high);
        to[t] = step;
    }
    ((float *)a.decay)[number_of(a, c)] = from_start(step);
}

/* ---- states: what a chunk adds, and from there what it begins with ---- */

/*
 * A 64 x 64 part of (N, P):
 *
 *     S = B' (dt e^(s_L - s) x)     to the state behind the chunk
 *     Q = C' (e^s dy)               backward: to the gradient before it
 */
template <typename T>
static __device__ __forceinline__ void ssd_states(const gpu_ssd_args &a)
{
    __shared__ ssd_room<T> room;
    __shared__ ssd_step steps[GPU_SSD_MOST_ROWS];
    const ssd_chunk c = chunk_of(a, blockIdx.x, a.heads);
    const int n = blockIdx.y * TILE, p = blockIdx.z * TILE;
    ssd_tile<T> s;
    clear(s);
    load_steps(a, c, steps);
    if (a.backward) {
        const auto C = c_rows<T>(a, c);
        const auto dy = dense_rows<const T>(a, a.dy, c);
        add_product<false, false>(
            s, [&](int line, int t) { return C(t, n + line); },
            [&](int line, int t) {
                return t < c.count ? from_start(steps[t]) * dy(t, p + line)
                                   : 0.0f;
            },
            c.count, &room);
    } else {
        const auto B = b_rows<T>(a, c);
        const auto x = x_rows<T>(a, c);
        const ssd_step end = steps[c.count - 1];
        add_product<false, false>(
            s, [&](int line, int t) { return B(t, n + line); },
            [&](int line, int t) {
                return t < c.count ? between(end, steps[t], t) * steps[t].dt *
                                         x(t, p + line)
                                   : 0.0f;
            },
            c.count, &room);
    }
    store_rows(s, state_rows(a, a.backward ? a.E : a.h, c), n, p);
}

/* In place, a thread for each element of a head's state: h before each chunk,
 * from the first state to the last; backward E behind each, from zeros at the
 * end. */
extern "C" __global__ void __launch_bounds__(256)
    ssd_chain(const marked<gpu_ssd_args> m)
{
    const gpu_ssd_args &a = begin(m);
    const int64 size = (int64)a.states * a.width;
    const int64 i = (int64)blockIdx.x * 256 + threadIdx.x;
    const int64 head = i / size;
    if (head >= (int64)a.batch * a.heads)
        return;
    const int64 n = i % size / a.width, p = i % size % a.width;
    const int64 outside = head * size + p * a.states + n;
    float *states = (float *)(a.backward ? a.E : a.h);
    float carried = a.first ? ((const float *)a.first)[outside] : 0.0f;
    for (int k = 0; k < a.chunks; k++) {
        const int64 z = a.backward ? a.chunks - 1 - k : k;
        const int64 chunk = head * a.chunks + z;
        float *at = states + chunk * size + i % size;
        const float added = *at;
        *at = carried;
        carried = fmaf(((const float *)a.decay)[chunk], carried, added);
    }
    if (a.last)
        ((float *)a.last)[outside] = carried;
}

/* ---- C B' of the rows of a chunk; y is the tile, row by row ---- */

template <typename T>
static __device__ __forceinline__ void ssd_products(const gpu_ssd_args &a)
{
    __shared__ ssd_room<T> room;
    const ssd_chunk c = chunk_of(a, blockIdx.x, a.groups);
    const int tiles = a.chunk / TILE;
    const int t = (int)blockIdx.y / tiles * TILE;
    const int j = (int)blockIdx.y % tiles * TILE;
    ssd_tile<T> s;
    if (j > t)
        return;
    clear(s);
    const auto C = c_rows<T>(a, c);
    const auto B = b_rows<T>(a, c);
    add_product<true, true>(
        s, [&](int line, int n) { return C(t + line, n); },
        [&](int line, int n) { return B(j + line, n); }, a.states, &room);
    const ssd_rows<float> to = {products_of(a, c), a.chunk, a.chunk, a.chunk};
    store_rows(s, to, t, j);
}

/* ---- y, of 64 rows and 64 columns of a head ---- */

template <typename T>
static __device__ __forceinline__ void ssd_scan(const gpu_ssd_args &a)
{
    __shared__ ssd_room<T> room;
    __shared__ ssd_step steps[GPU_SSD_MOST_ROWS];
    const ssd_chunk c = chunk_of(a, blockIdx.x, a.heads);
    const int row = blockIdx.y * TILE, p = blockIdx.z * TILE;
    ssd_tile<T> s;
    if (row >= c.count)
        return;
    clear(s);
    load_steps(a, c, steps);
    if (c.z > 0 || a.first) {
        const auto C = c_rows<T>(a, c);
        const auto h = state_rows(a, a.h, c);
        add_product<true, false>(
            s, [&](int line, int n) { return C(row + line, n); },
            [&](int line, int n) { return h(n, p + line); }, a.states, &room);
#pragma unroll
        for (int i = 0; i < s.ROWS; i++)
            scale_row(s, i, from_start(steps[row + s.row(i)]));
    }
    const float *products = products_of(a, c);
    const auto x = x_rows<T>(a, c);
    add_product<true, false>(
        s,
        [&](int line, int j) {
            const int t = row + line;
            return j <= t && t < c.count
                       ? products[t * a.chunk + j] *
                             between(steps[t], steps[j], j) * steps[j].dt
                       : 0.0f;
        },
        [&](int line, int j) { return x(j, p + line); },
        min(row + TILE, c.count), &room);
    store_rows(s, dense_rows<T>(a, a.y, c), row, p);
}

/* ---- a few rows: a warp for each row p of a head's state ---- */

template <typename T>
static __device__ __forceinline__ void ssd_few(const gpu_ssd_args &a)
{
    const int lane = threadIdx.x % 32;
    const int64 w = (int64)blockIdx.x * 8 + threadIdx.x / 32;
    const int p = (int)(w % a.width);
    const ssd_chunk c = chunk_of(a, (unsigned)(w / a.width), a.heads);
    if (c.b >= a.batch)
        return;
    const auto x = x_rows<T>(a, c);
    const auto B = b_rows<T>(a, c);
    const auto C = c_rows<T>(a, c);
    const auto y = dense_rows<T>(a, a.y, c);
    const float A = ((const float *)a.A)[c.h];
    const int64 state = w * a.states;
    const float *from = (const float *)a.first;
    float *to = (float *)a.last;
    for (int t = 0; t < a.rows; t++) {
        const float dt = dt_at(a, c, t);
        const float decay =
            begins(a, c.b, t) ? 0.0f : expf(fminf(dt * A, 0.0f));
        const float dt_x = dt * x(t, p);
        float sum = 0.0f;
        for (int n = lane; n < a.states; n += 32) {
            const float before = from ? decay * from[state + n] : 0.0f;
            const float S = fmaf(dt_x, B(t, n), before);
            to[state + n] = S;
            sum = fmaf(S, C(t, n), sum);
        }
        from = to;
        sum = warp_sum(sum);
        if (lane == 0)
            store(y.at + t * y.pitch + p, sum);
    }
}

#define KERNEL_OF(name, letter, T, threads)                                    \
    extern "C" __global__ void __launch_bounds__(threads)                      \
        name##_##letter(const marked<gpu_ssd_args> m)                          \
    {                                                                          \
        const gpu_ssd_args &a = begin(m);                                      \
        name<T>(a);                                                            \
    }
#define KERNEL(name)                                                           \
    KERNEL_OF(name, f, float, ssd_tile<float>::THREADS)                        \
    KERNEL_OF(name, b, bf16, ssd_tile<bf16>::THREADS)
KERNEL(ssd_states)
KERNEL(ssd_products)
KERNEL(ssd_scan)
KERNEL_OF(ssd_few, f, float, 256)
KERNEL_OF(ssd_few, b, bf16, 256)
