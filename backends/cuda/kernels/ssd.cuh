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
 * computed while they are loaded; on tensor cores where they are stored as
 * BF16.
 *
 * After Dao and Gu 2024, "Transformers are SSMs", section 6, arXiv:2405.21060.
 */
#ifndef CUDA_KERNELS_SSD_CUH
#define CUDA_KERNELS_SSD_CUH

#include "mma.cuh"
#include "sequence.h"

enum { TILE = GPU_SSD_TILE, SLICE = 32 };

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
    for (int t = threadIdx.x; t < GPU_SSD_MOST_ROWS; t += blockDim.x) {
        ssd_step s = from[min(t, c.count - 1)];
        if (t >= c.count)
            s.dt = 0.0f;
        to[t] = s;
    }
    __syncthreads();
}

/* ---- a tile, as the threads of a block share it ---- */

/*
 * Of F32 operands, 256 threads: thread (x, y) of 16 x 16 has rows 4 y .. and
 * columns 4 x ... Of BF16 operands, 4 warps, each 16 rows, as mma.cuh's
 * fragments c lie: what is computed while it is loaded is rounded to BF16 for
 * the tensor cores.
 */
template <typename T> struct ssd_tile;

template <> struct ssd_tile<float> {
    enum { THREADS = 256, ROWS = 4, COLUMNS = 4, SHARE = 16 };
    float at[ROWS][COLUMNS];

    static __device__ __forceinline__ int row(int i)
    {
        return (int)threadIdx.x / 16 * 4 + i;
    }
    static __device__ __forceinline__ int column(int j)
    {
        return (int)threadIdx.x % 16 * 4 + j;
    }
};

template <> struct ssd_tile<bf16> {
    enum { THREADS = 128, ROWS = 2, COLUMNS = 16, SHARE = 4 };
    float at[ROWS][COLUMNS];

    static __device__ __forceinline__ int row(int i)
    {
        return (int)threadIdx.x / 32 * 16 + (int)threadIdx.x % 32 / 4 + 8 * i;
    }
    static __device__ __forceinline__ int column(int j)
    {
        return j / 2 * 8 + (int)threadIdx.x % 4 * 2 + j % 2;
    }
};

template <typename T>
static __device__ __forceinline__ void clear(ssd_tile<T> &s)
{
#pragma unroll
    for (int i = 0; i < s.ROWS; i++)
#pragma unroll
        for (int j = 0; j < s.COLUMNS; j++)
            s.at[i][j] = 0.0f;
}

template <typename T>
static __device__ __forceinline__ void scale_row(ssd_tile<T> &s, int i,
                                                 float by)
{
#pragma unroll
    for (int j = 0; j < s.COLUMNS; j++)
        s.at[i][j] *= by;
}

/* The tile to rows from `row` and columns from `column` on. */
template <typename T, typename Y>
static __device__ __forceinline__ void
store_rows(const ssd_tile<T> &s, const ssd_rows<Y> &to, int row, int column)
{
#pragma unroll
    for (int i = 0; i < s.ROWS; i++)
#pragma unroll
        for (int j = 0; j < s.COLUMNS; j++) {
            const int r = row + s.row(i), c = column + s.column(j);
            if (r < to.count && c < to.columns)
                store(to.at + r * to.pitch + c, s.at[i][j]);
        }
}

/* The sum over the threads that share a row; the first of them is to tell. */
template <typename T> static __device__ __forceinline__ float row_sum(float x)
{
    for (int away = ssd_tile<T>::SHARE / 2; away; away /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, away);
    return x;
}

template <typename T> static __device__ __forceinline__ bool tells(void)
{
    return threadIdx.x % ssd_tile<T>::SHARE == 0;
}

/* ---- the product of two slices ---- */

enum {
    PITCH = TILE + 4,       /* of steps, in F32 */
    LINE_PITCH = SLICE + 8, /* of lines, in BF16 */
    STEP_PITCH = TILE + 8,  /* of steps, in BF16 */
    HALF_ROOM = SLICE * STEP_PITCH / 2 > TILE *LINE_PITCH / 2
                    ? SLICE *STEP_PITCH / 2
                    : TILE *LINE_PITCH / 2,
};

template <typename T> struct ssd_room;

template <> struct ssd_room<float> {
    four a[SLICE * PITCH / 4], b[SLICE * PITCH / 4];
};

template <> struct ssd_room<bf16> {
    four a[HALF_ROOM / 4], b[HALF_ROOM / 4];
};

/* Line and step of a slice to shared memory, so that neighbouring threads read
 * neighbours in memory: F32 by steps. */
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

/* BF16 by lines where those are contiguous, else by steps. */
template <bool ALONG_K, class F>
static __device__ __forceinline__ void fill_slice(bf16 *to, int k, const F &f)
{
#pragma unroll 4
    for (int i = 0; i < TILE * SLICE / 256; i++) {
        const int n = i * 128 + (int)threadIdx.x;
        const int line = ALONG_K ? n / (SLICE / 2) : n % (TILE / 2) * 2;
        const int step = ALONG_K ? n % (SLICE / 2) * 2 : n / (TILE / 2);
        const float first = f(line, k + step);
        const float second =
            ALONG_K ? f(line, k + step + 1) : f(line + 1, k + step);
        *(pair *)(to + (ALONG_K ? line * LINE_PITCH + step
                                : step * STEP_PITCH + line)) =
            make_pair(first, second);
    }
}

template <bool A_ALONG_K, bool B_ALONG_K>
static __device__ __forceinline__ void
multiply_slices(ssd_tile<float> &s, const ssd_room<float> &room)
{
#pragma unroll 8
    for (int step = 0; step < SLICE; step++) {
        const four left = room.a[(step * PITCH + s.row(0)) / 4];
        const four right = room.b[(step * PITCH + s.column(0)) / 4];
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                s.at[i][j] = fmaf(left.at[i], right.at[j], s.at[i][j]);
    }
}

/* a: 16 rows from column m on of a slice that lies by steps */
static __device__ __forceinline__ void load_a_steps(pair (&a)[4], const bf16 *x,
                                                    int k, int m)
{
    const int lane = threadIdx.x % 32;
    const int step = k + lane % 8 + lane / 16 * 8;
    load_turned_matrices(a, x + step * STEP_PITCH + m + lane / 8 % 2 * 8);
}

template <bool A_ALONG_K, bool B_ALONG_K>
static __device__ __forceinline__ void
multiply_slices(ssd_tile<bf16> &s, const ssd_room<bf16> &room)
{
    const bf16 *left = (const bf16 *)room.a, *right = (const bf16 *)room.b;
    const int m = (int)threadIdx.x / 32 * 16;
#pragma unroll
    for (int k = 0; k < SLICE; k += 16) {
        pair a[4], b[4];
        if (A_ALONG_K)
            load_a(a, left + m * LINE_PITCH, LINE_PITCH, k);
        else
            load_a_steps(a, left, k, m);
#pragma unroll
        for (int n = 0; n < TILE; n += 16) {
            if (B_ALONG_K)
                load_b(b, right, LINE_PITCH, n, k);
            else
                load_b_rows(b, right, STEP_PITCH, k, n);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int j = n / 4 + 2 * half;
                float c[4] = {s.at[0][j], s.at[0][j + 1], s.at[1][j],
                              s.at[1][j + 1]};
                mma(c, a, b + 2 * half);
                s.at[0][j] = c[0];
                s.at[0][j + 1] = c[1];
                s.at[1][j] = c[2];
                s.at[1][j + 1] = c[3];
            }
        }
    }
}

/* s += sum over k < inner of a(row, k) b(column, k). Operands give 0 where k is
 * past their end. */
template <bool A_ALONG_K, bool B_ALONG_K, typename T, class A, class B>
static __device__ __forceinline__ void add_product(ssd_tile<T> &s, const A &a,
                                                   const B &b, int inner,
                                                   ssd_room<T> *room)
{
    for (int k = 0; k < inner; k += SLICE) {
        __syncthreads();
        fill_slice<A_ALONG_K>((T *)room->a, k, a);
        fill_slice<B_ALONG_K>((T *)room->b, k, b);
        __syncthreads();
        multiply_slices<A_ALONG_K, B_ALONG_K>(s, *room);
    }
}

#endif
