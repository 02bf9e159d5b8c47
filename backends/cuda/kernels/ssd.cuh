/*
 * ssd.cuh - the scan of a state space, chunk by chunk.
 *
 * T rows are cut into Z chunks of L. With s the running sum of dt A in a chunk,
 * s_L its last, h the state before it, and C B' of the chunk's rows:
 *
 *     W_tj = C_t'B_j e^(s_t - s_j) dt_j, j <= t      y = W x + e^s (C h')
 *     h'   = e^(s_L) h + (dt e^(s_L - s) x)' B       before the next chunk
 *
 * Backward, with E the gradient of the state behind a chunk:
 *
 *     U   = W' dy / dt + e^(s_L - s) (B E')          dx = dt U
 *     V_tj = e^(s_t - s_j) dt_j (dy_t'x_j), summed over the heads of a group
 *     dB  = V' C + dt e^(s_L - s) (x E)              dC = V B + e^s (dy h)
 *
 * No exponent is above 0. Where a document begins, nothing carries over: e^ of
 * what passes over its first row is 0. C B' is made once for all heads of a
 * group. States lie (N, P).
 *
 * All products are made of one: a block's 64 x 64 tile, of operands that are
 * computed while they are loaded.
 *
 * After Dao and Gu 2024, "Transformers are SSMs", section 6, arXiv:2405.21060.
 */
#ifndef CUDA_KERNELS_SSD_CUH
#define CUDA_KERNELS_SSD_CUH

#include "common.cuh"
#include "sequence.h"

enum { TILE = GPU_SSD_TILE, SLICE = 32, PITCH = TILE + 4 };

/* A row of a head: the running sum of dt A in two floats, since differences of
 * two large sums are needed to the last bit; where in the chunk its document
 * began, -1 if before; and dt. */
struct __align__(16) ssd_step
{
    float high, low;
    int begin;
    float dt;
};

/* e^(s_later - s_earlier), 0 across a document's first row; rows are numbered
 * in the chunk */
static __device__ __forceinline__ float
between(const ssd_step &later, const ssd_step &earlier, int row_of_earlier)
{
    const float high = later.high - earlier.high;
    const float low = later.low - earlier.low;
    return later.begin <= row_of_earlier ? expf(fminf(high + low, 0.0f)) : 0.0f;
}

/* from the chunk's start to a row of it */
static __device__ __forceinline__ float from_start(const ssd_step &row)
{
    return row.begin < 0 ? expf(fminf(row.high + row.low, 0.0f)) : 0.0f;
}

/* Element i of a tensor that is F32, or BF16 where `narrow`. */
static __device__ __forceinline__ float fetch(uint64_t tensor, int64 i,
                                              uint32_t narrow)
{
    return narrow ? load((const bf16 *)tensor + i)
                  : load((const float *)tensor + i);
}

static __device__ __forceinline__ void put(uint64_t tensor, int64 i,
                                           uint32_t narrow, float x)
{
    if (narrow)
        store((bf16 *)tensor + i, x);
    else
        store((float *)tensor + i, x);
}

/* ---- a chunk of a head ---- */

struct ssd_chunk {
    int b, z, h, g;
    int begin, count; /* its rows in the batch row */
};

/* Number w of (B, Z, heads or groups), the last fastest. */
static __device__ __forceinline__ ssd_chunk chunk_of(const gpu_ssd_args &a,
                                                     unsigned w, int lines)
{
    ssd_chunk c;
    c.h = (int)(w % lines);
    c.g = lines == a.heads ? c.h / (a.heads / a.groups) : c.h;
    w /= lines;
    c.z = (int)(w % a.chunks);
    c.b = (int)(w / a.chunks);
    c.begin = c.z * a.chunk;
    c.count = min(a.rows - c.begin, a.chunk);
    return c;
}

/* Rows of a chunk, of `columns` elements; beyond either 0. */
template <typename T> struct ssd_rows {
    T *at;
    int64 pitch;
    int count, columns;

    __device__ __forceinline__ float operator()(int row, int column) const
    {
        return row < count && column < columns ? load(at + row * pitch + column)
                                               : 0.0f;
    }
};

template <typename T>
static __device__ __forceinline__ ssd_rows<const T>
strided_rows(uint64_t tensor, const int64_t *stride, const ssd_chunk &c,
             int line, int columns)
{
    const T *at = (const T *)tensor + c.b * stride[0] + c.begin * stride[1] +
                  line * stride[2];
    return {at, stride[1], c.count, columns};
}

template <typename T>
static __device__ __forceinline__ ssd_rows<const T>
x_rows(const gpu_ssd_args &a, const ssd_chunk &c)
{
    return strided_rows<T>(a.x, a.x_stride, c, c.h, a.width);
}

template <typename T>
static __device__ __forceinline__ ssd_rows<const T>
b_rows(const gpu_ssd_args &a, const ssd_chunk &c)
{
    return strided_rows<T>(a.Bm, a.b_stride, c, c.g, a.states);
}

template <typename T>
static __device__ __forceinline__ ssd_rows<const T>
c_rows(const gpu_ssd_args &a, const ssd_chunk &c)
{
    return strided_rows<T>(a.Cm, a.c_stride, c, c.g, a.states);
}

/* Of a dense tensor shaped as x: y, dy, dx. */
template <typename T>
static __device__ __forceinline__ ssd_rows<T>
dense_rows(const gpu_ssd_args &a, uint64_t tensor, const ssd_chunk &c)
{
    const int64 pitch = (int64)a.heads * a.width;
    const int64 row = (int64)c.b * a.rows + c.begin;
    return {(T *)tensor + row * pitch + (int64)c.h * a.width, pitch, c.count,
            a.width};
}

/* Number of a chunk of a head in tensors (B, H, Z, ..). */
static __device__ __forceinline__ int64 number_of(const gpu_ssd_args &a,
                                                  const ssd_chunk &c)
{
    return ((int64)c.b * a.heads + c.h) * a.chunks + c.z;
}

/* A state of h or E: rows n, columns p. */
static __device__ __forceinline__ ssd_rows<float>
state_rows(const gpu_ssd_args &a, uint64_t states, const ssd_chunk &c)
{
    const int64 size = (int64)a.states * a.width;
    return {(float *)states + number_of(a, c) * size, a.width, a.states,
            a.width};
}

/* C B' of a chunk of a group, (L, L), whole. */
static __device__ __forceinline__ float *products_of(const gpu_ssd_args &a,
                                                     const ssd_chunk &c)
{
    const int64 number = ((int64)c.b * a.chunks + c.z) * a.groups + c.g;
    return (float *)a.products + number * a.chunk * a.chunk;
}

static __device__ __forceinline__ ssd_step *steps_of(const gpu_ssd_args &a,
                                                     const ssd_chunk &c)
{
    return (ssd_step *)a.steps + ((int64)c.b * a.heads + c.h) * a.rows +
           c.begin;
}

/* Number `kind` of the sums of the chunk's rows. */
static __device__ __forceinline__ float *sums_of(const gpu_ssd_args &a,
                                                 const ssd_chunk &c, int kind)
{
    const int64 head = (int64)c.b * a.heads + c.h;
    return (float *)a.sums + ((int64)kind * a.batch * a.heads + head) * a.rows +
           c.begin;
}

/* The chunk's steps, in shared memory; dt is 0 in rows past the last. */
static __device__ __forceinline__ void
load_steps(const gpu_ssd_args &a, const ssd_chunk &c, ssd_step *to)
{
    const ssd_step *from = steps_of(a, c);
    __syncthreads();
    for (int t = threadIdx.x; t < GPU_SSD_MOST_ROWS; t += 256) {
        ssd_step s = from[min(t, c.count - 1)];
        if (t >= c.count)
            s.dt = 0.0f;
        to[t] = s;
    }
    __syncthreads();
}

/* ---- the product ---- */

/* Thread (x, y) of 16 x 16 has rows 4 y .. and columns 4 x .. of a tile. */
static __device__ __forceinline__ int my_row(void)
{
    return (int)threadIdx.x / 16 * 4;
}

static __device__ __forceinline__ int my_column(void)
{
    return (int)threadIdx.x % 16 * 4;
}

struct ssd_room {
    four a[SLICE * PITCH / 4], b[SLICE * PITCH / 4];
};

/* line and step of a slice to `to`, so that neighbouring threads read
 * neighbours in memory */
template <bool ALONG_K, class F>
static __device__ __forceinline__ void fill_slice(float *to, int k, const F &f)
{
#pragma unroll
    for (int i = 0; i < TILE * SLICE / 256; i++) {
        const int n = i * 256 + (int)threadIdx.x;
        const int line = ALONG_K ? n / SLICE : n % TILE;
        const int step = ALONG_K ? n % SLICE : n / TILE;
        to[step * PITCH + line] = f(line, k + step);
    }
}

/* s[i][j] += sum over k < inner of a(row, k) b(column, k). Operands give 0
 * where k is past their end. */
template <bool A_ALONG_K, bool B_ALONG_K, class A, class B>
static __device__ __forceinline__ void
add_product(float (&s)[4][4], const A &a, const B &b, int inner, ssd_room *room)
{
    for (int k = 0; k < inner; k += SLICE) {
        __syncthreads();
        fill_slice<A_ALONG_K>(room->a[0].at, k, a);
        fill_slice<B_ALONG_K>(room->b[0].at, k, b);
        __syncthreads();
#pragma unroll 8
        for (int step = 0; step < SLICE; step++) {
            const four left = room->a[(step * PITCH + my_row()) / 4];
            const four right = room->b[(step * PITCH + my_column()) / 4];
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    s[i][j] = fmaf(left.at[i], right.at[j], s[i][j]);
        }
    }
}

static __device__ __forceinline__ void clear(float (&s)[4][4])
{
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            s[i][j] = 0.0f;
}

static __device__ __forceinline__ void scale_row(float (&s)[4][4], int i,
                                                 float by)
{
#pragma unroll
    for (int j = 0; j < 4; j++)
        s[i][j] *= by;
}

/* The tile to rows from `row` and columns from `column` on. */
template <typename T>
static __device__ __forceinline__ void
store_rows(const float (&s)[4][4], const ssd_rows<T> &to, int row, int column)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int r = row + my_row() + i, c = column + my_column() + j;
            if (r < to.count && c < to.columns)
                store(to.at + r * to.pitch + c, s[i][j]);
        }
}

/* The sum over the 16 threads that share a row. */
static __device__ __forceinline__ float row_sum(float x)
{
    for (int away = 8; away; away /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, away);
    return x;
}

#endif
