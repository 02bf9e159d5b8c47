/*
 * blocks.cu - weights in 8 and 4 bits: products with a few rows, look-ups, and
 * what the blocks stand for (tenon/blocks.h has the formats).
 *
 *     Q8_0   32 numbers, 34 bytes    x = d q
 *     Q4_K  256 numbers, 144 bytes   x = d s_j q - dmin m_j
 *
 * A thread takes a piece of a block at a time, whose bytes lie together: 8
 * numbers of Q8_0, 32 of Q4_K, so that a scale is made for many. The products
 * that make a number are exact in F32, whatever a compiler joins.
 */
#include "place.cuh"

/* An f16's value. */
static __device__ __forceinline__ float half_value(unsigned bits)
{
#ifdef __CUDA_ARCH__
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"((unsigned short)bits));
    return value;
#else
    const unsigned sign = (bits & 0x8000u) << 16;
    const unsigned kept = (bits & 0x7fffu) << 13; /* f16's places in f32 */
    if (kept >= 0x0f800000u)                      /* infinity and NaN */
        return __uint_as_float(sign | (kept + 0x70000000u));
    if (kept < 0x00800000u) { /* no leading 1 */
        const float value = (float)(bits & 0x3ffu) / 16777216.0f;
        return sign ? -value : value;
    }
    return __uint_as_float(sign | (kept + 0x38000000u));
#endif
}

/* ---- the formats ---- */

/* EACH numbers of a block, PIECES pieces of it, FOURS times four numbers of a
 * piece: where in the block these begin, and what they are. */
struct q8_0 {
    enum { EACH = 32, BYTES = 34, PIECES = 4, FOURS = 2 };

    static __device__ __forceinline__ int begin(int piece, int f)
    {
        return 8 * piece + 4 * f;
    }

    static __device__ __forceinline__ void
    decode(const unsigned char *block, int piece, float (&w)[4 * FOURS])
    {
        const unsigned short *words = (const unsigned short *)block;
        const float d = half_value(words[0]);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const unsigned two = words[1 + 4 * piece + i];
            w[2 * i] = d * (float)(signed char)(two & 0xffu);
            w[2 * i + 1] = d * (float)(signed char)(two >> 8);
        }
    }
};

/* A piece has 16 of the 32 bytes that two stretches share: its first four fours
 * are of the even stretch, the others of the odd one. */
struct q4_k {
    enum { EACH = 256, BYTES = 144, PIECES = 8, FOURS = 8 };

    static __device__ __forceinline__ int begin(int piece, int f)
    {
        return piece / 2 * 64 + f / 4 * 32 + piece % 2 * 16 + f % 4 * 4;
    }

    /* Bytes 4 .. 15 of the block, as three words. */
    static __device__ __forceinline__ unsigned byte_of(const unsigned *s, int i)
    {
        return s[i / 4] >> i % 4 * 8 & 0xffu;
    }

    static __device__ __forceinline__ void scale_of(const unsigned *s, int j,
                                                    float *scale, float *min)
    {
        unsigned a, m;
        if (j < 4) {
            a = byte_of(s, j) & 63u;
            m = byte_of(s, j + 4) & 63u;
        } else {
            const unsigned both = byte_of(s, j + 4);
            a = (both & 15u) | byte_of(s, j - 4) >> 6 << 4;
            m = both >> 4 | byte_of(s, j) >> 6 << 4;
        }
        *scale = (float)a;
        *min = (float)m;
    }

    static __device__ __forceinline__ void
    decode(const unsigned char *block, int piece, float (&w)[4 * FOURS])
    {
        const unsigned *words = (const unsigned *)block;
        const float d = half_value(words[0] & 0xffffu);
        const float dmin = half_value(words[0] >> 16);
        float scale[2], min[2];
#pragma unroll
        for (int odd = 0; odd < 2; odd++) {
            scale_of(words + 1, piece / 2 * 2 + odd, &scale[odd], &min[odd]);
            scale[odd] *= d;
            min[odd] *= dmin;
        }
#pragma unroll
        for (int i = 0; i < 16; i++) {
            const unsigned both =
                words[4 + 4 * piece + i / 4] >> i % 4 * 8 & 0xffu;
            w[i] = scale[0] * (float)(both & 15u) - min[0];
            w[16 + i] = scale[1] * (float)(both >> 4) - min[1];
        }
    }
};

/* Where the block of this element lies. */
template <class F>
static __device__ __forceinline__ const unsigned char *block_at(uint64_t blocks,
                                                                int64 element)
{
    return (const unsigned char *)blocks + element / F::EACH * F::BYTES;
}

/* ---- numbers ---- */

/* The element of x that is element `number` of the first `axes` axes. */
static __device__ __forceinline__ int64 offset_of(const gpu_unblock_args &a,
                                                  int axes, int64 number)
{
    int64 at = 0;
    for (int i = axes - 1; i >= 0; i--) {
        at += number % a.shape[i] * a.stride[i];
        number /= a.shape[i];
    }
    return at;
}

/* Lines along which blocks lie: a piece for each thread. */
template <class F, typename T>
static __device__ __forceinline__ void unblock(const gpu_unblock_args &a)
{
    const int64 columns = a.shape[a.rank - 1];
    const int64 pieces = columns / F::EACH * F::PIECES;
    const int64 n = (int64)blockIdx.x * 256 + threadIdx.x;
    const int64 line = n / pieces, in_line = n % pieces;
    if (line >= a.lines)
        return;
    const int64 first = in_line / F::PIECES * F::EACH;
    const int piece = (int)(in_line % F::PIECES);
    int64 row = line;
    float w[4 * F::FOURS] = {};
    if (a.index)
        row = ((const int *)a.index)[line];
    if (row >= 0 && row < a.rows)
        F::decode(block_at<F>(a.x, offset_of(a, a.rank - 1, row) + first),
                  piece, w);
    T *y = (T *)a.y + line * columns + first;
#pragma unroll
    for (int i = 0; i < 4 * F::FOURS; i++)
        store(y + F::begin(piece, i / 4) + i % 4, w[i]);
}

/* Of any strides, number by number. */
template <class F>
static __device__ __forceinline__ void unblock_any(const gpu_unblock_args &a)
{
    const int64 n = (int64)blockIdx.x * 256 + threadIdx.x;
    if (n >= a.lines * a.shape[a.rank - 1])
        return;
    const int64 at = offset_of(a, a.rank, n);
    const int i = (int)(at % F::EACH);
    float w[4 * F::FOURS];
    for (int piece = 0; piece < F::PIECES; piece++)
        for (int f = 0; f < F::FOURS; f++) {
            const int begin = F::begin(piece, f);
            if (i < begin || i >= begin + 4)
                continue;
            F::decode(block_at<F>(a.x, at), piece, w);
            ((float *)a.y)[n] = w[4 * f + i - begin];
        }
}

/* ---- products with a few rows ---- */

enum { FEW = 8, WARPS = 8, COLUMNS = 2 }; /* columns of a warp */

struct __align__(8) four_halves
{
    bf16 at[4];
};

static __device__ __forceinline__ void read_four(const float *x, float (&to)[4])
{
    const four f = *(const four *)x;
    for (int i = 0; i < 4; i++)
        to[i] = f.at[i];
}

static __device__ __forceinline__ void read_four(const bf16 *x, float (&to)[4])
{
    const four_halves f = *(const four_halves *)x;
    for (int i = 0; i < 4; i++)
        to[i] = load(f.at + i);
}

/* Rows of a: row m, step k at a[m line + k step]. */
template <typename T> struct rows_of {
    const T *a;
    int64 line, step;
    int count;

    /* Whether fours of every row are aligned. */
    __device__ __forceinline__ bool are_whole(void) const
    {
        return step == 1 && line % 4 == 0 && (uint64_t)a % (4 * sizeof(T)) == 0;
    }

    __device__ __forceinline__ void read(int m, int64 k, bool whole,
                                         float (&to)[4]) const
    {
        const T *x = a + m * line + k * step;
        if (whole)
            read_four(x, to);
        else
            for (int i = 0; i < 4; i++)
                to[i] = load(x + i * step);
    }
};

/* total[c][m] = the lane's share of row m times column c. */
template <class F, int M, typename T>
static __device__ __forceinline__ void
multiply(float (&total)[COLUMNS][M], const rows_of<T> &a,
         const unsigned char *const (&column)[COLUMNS], int inner)
{
    const bool whole = a.are_whole();
    const int pieces = inner / F::EACH * F::PIECES;
    for (int n = threadIdx.x % 32; n < pieces; n += 32) {
        const int block = n / F::PIECES, piece = n % F::PIECES;
        float w[COLUMNS][4 * F::FOURS];
#pragma unroll
        for (int c = 0; c < COLUMNS; c++)
            F::decode(column[c] + (int64)block * F::BYTES, piece, w[c]);
#pragma unroll
        for (int m = 0; m < M; m++) {
            if (m >= a.count)
                break;
#pragma unroll
            for (int f = 0; f < F::FOURS; f++) {
                float x[4];
                a.read(m, (int64)block * F::EACH + F::begin(piece, f), whole,
                       x);
#pragma unroll
                for (int i = 0; i < 4 * COLUMNS; i++)
                    total[i / 4][m] = fmaf(x[i % 4], w[i / 4][4 * f + i % 4],
                                           total[i / 4][m]);
            }
        }
    }
}

template <int M, typename T>
static __device__ __forceinline__ void
store_sums(const float (&total)[COLUMNS][M], T *y, int rows, int first,
           int columns, bool accumulate)
{
#pragma unroll
    for (int c = 0; c < COLUMNS; c++)
#pragma unroll
        for (int m = 0; m < M; m++) {
            if (m >= rows)
                break;
            const float sum = warp_sum(total[c][m]);
            T *to = y + (int64)m * columns + first + c;
            if (threadIdx.x % 32 == 0 && first + c < columns)
                store(to, accumulate ? load(to) + sum : sum);
        }
}

/* Columns first and on, the last one again where there are no more. */
template <class F>
static __device__ __forceinline__ void
find_columns(const unsigned char *(&column)[COLUMNS], uint64_t b, int64 at,
             int64 pitch, int first, int columns)
{
#pragma unroll
    for (int c = 0; c < COLUMNS; c++)
        column[c] = block_at<F>(b, at + min(first + c, columns - 1) * pitch);
}

template <class F, typename TA, typename TY>
static __device__ __forceinline__ void blocks_few(const gpu_product_args &p)
{
    const place at = find_place(p, FEW, WARPS * COLUMNS);
    const int first =
        (at.tile_column * WARPS + (int)threadIdx.x / 32) * COLUMNS;
    const unsigned char *column[COLUMNS];
    float total[COLUMNS][FEW] = {};
    if (first >= p.columns)
        return;
    find_columns<F>(column, p.b, at.b, p.b_stride[1], first, p.columns);
    multiply<F>(total,
                rows_of<TA>{(const TA *)p.a + at.a, p.a_stride[0],
                            p.a_stride[1], p.rows},
                column, p.inner);
    store_sums(total, (TY *)p.y + at.y, p.rows, first, p.columns,
               p.accumulate != 0);
}

/* A block has a row, which is its expert's. */
template <class F, typename TA, typename TY>
static __device__ __forceinline__ void blocks_rows(const gpu_grouped_args &g)
{
    const int row = blockIdx.y;
    const int first =
        ((int)blockIdx.x * WARPS + (int)threadIdx.x / 32) * COLUMNS;
    const int *ends = (const int *)g.offsets + 1;
    const unsigned char *column[COLUMNS];
    float total[COLUMNS][1] = {};
    int expert = 0;
    if (first >= g.columns)
        return;
    while (expert + 1 < g.experts && row >= ends[expert])
        expert++;
    find_columns<F>(column, g.b, expert * g.b_stride[0], g.b_stride[2], first,
                    g.columns);
    multiply<F>(
        total,
        rows_of<TA>{(const TA *)g.a + (int64)row * g.inner, g.inner, 1, 1},
        column, g.inner);
    store_sums(total, (TY *)g.y + (int64)row * g.columns, 1, first, g.columns,
               g.accumulate != 0);
}

#define KERNEL(name, args, ...)                                                \
    extern "C" __global__ void __launch_bounds__(256)                          \
        name(const marked<args> m)                                             \
    {                                                                          \
        const args &a = begin(m);                                              \
        __VA_ARGS__(a);                                                        \
    }

#define FORMAT(F)                                                              \
    KERNEL(unblock_##F##_f, gpu_unblock_args, unblock<F, float>)               \
    KERNEL(unblock_##F##_b, gpu_unblock_args, unblock<F, bf16>)                \
    KERNEL(unblock_any_##F, gpu_unblock_args, unblock_any<F>)                  \
    KERNEL(few_##F##_ff, gpu_product_args, blocks_few<F, float, float>)        \
    KERNEL(few_##F##_fb, gpu_product_args, blocks_few<F, float, bf16>)         \
    KERNEL(few_##F##_bf, gpu_product_args, blocks_few<F, bf16, float>)         \
    KERNEL(few_##F##_bb, gpu_product_args, blocks_few<F, bf16, bf16>)          \
    KERNEL(rows_##F##_ff, gpu_grouped_args, blocks_rows<F, float, float>)      \
    KERNEL(rows_##F##_fb, gpu_grouped_args, blocks_rows<F, float, bf16>)       \
    KERNEL(rows_##F##_bf, gpu_grouped_args, blocks_rows<F, bf16, float>)       \
    KERNEL(rows_##F##_bb, gpu_grouped_args, blocks_rows<F, bf16, bf16>)
FORMAT(q8_0)
FORMAT(q4_k)
