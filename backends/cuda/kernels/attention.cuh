/*
 * attention.cuh - what the attention kernels share: who sees whom, and which
 * tile a block has.
 */
#ifndef CUDA_KERNELS_ATTENTION_CUH
#define CUDA_KERNELS_ATTENTION_CUH

#include "common.cuh"

enum { TILE = GPU_ATTENTION_TILE };

/* What is known of TILE queries: where they stand and where their document
 * begins. A row that sees nothing has position -1. */
struct queries {
    int position[TILE], first[TILE];
};

static __device__ __forceinline__ void
load_queries(queries *rows, const gpu_attention_args &a, int batch, int begin)
{
    for (int i = threadIdx.x; i < TILE; i += blockDim.x) {
        const int row = begin + i;
        const int64 at = (int64)batch * a.rows + row;
        const bool real = row < a.rows;
        rows->position[i] = !real         ? -1
                            : a.positions ? ((const int *)a.positions)[at]
                                          : row;
        rows->first[i] = real && a.first ? ((const int *)a.first)[at] : 0;
    }
}

static __device__ __forceinline__ bool sees(const gpu_attention_args &a,
                                            int position, int first, int key)
{
    if (position < 0 || key < first || key >= a.keys)
        return false;
    if (!a.causal)
        return true;
    return key <= position && (!a.window || position - key < a.window);
}

/* Keys that any of the queries sees lie in [*begin, *end). */
static __device__ __forceinline__ void seen_keys(const gpu_attention_args &a,
                                                 const queries *rows,
                                                 int *begin, int *end)
{
    int low = a.keys, high = 0;
    for (int i = 0; i < TILE; i++) {
        const int p = rows->position[i];
        int from = rows->first[i] > 0 ? rows->first[i] : 0, to = a.keys;
        if (p < 0)
            continue;
        if (a.causal) {
            to = p + 1 < to ? p + 1 : to;
            if (a.window && p - a.window + 1 > from)
                from = p - a.window + 1;
        }
        low = from < low ? from : low;
        high = to > high ? to : high;
    }
    *begin = low / TILE * TILE;
    *end = high;
}

/* The score of a product, and what the score's gradient is multiplied by. */
static __device__ __forceinline__ float score_of(const gpu_attention_args &a,
                                                 float product)
{
    const float u = a.scale * product;
    return a.cap > 0.0f ? a.cap * tanhf(u / a.cap) : u;
}

static __device__ __forceinline__ float slope_of(const gpu_attention_args &a,
                                                 float score)
{
    const float t = a.cap > 0.0f ? score / a.cap : 0.0f;
    return a.scale * (1.0f - t * t);
}

/* ---- places ---- */

/* Which tile, head and batch row a block has. */
struct attention_place {
    int begin, head, group, batch;
};

static __device__ __forceinline__ attention_place
place_of(const gpu_attention_args &a, int lines, int heads)
{
    const int tiles = (lines + TILE - 1) / TILE;
    unsigned w = blockIdx.x;
    attention_place at;
    at.begin = (tiles - 1 - (int)(w % tiles)) * TILE; /* long rows first */
    w /= tiles;
    at.head = w % heads;
    at.batch = w / heads;
    at.group = at.head / (heads / a.groups);
    return at;
}

template <typename T>
static __device__ __forceinline__ const T *
vectors(uint64_t x, const int64_t *stride, int batch, int row, int head)
{
    return (const T *)x + batch * stride[0] + row * stride[1] +
           head * stride[2];
}

/* Element 0 of (b, t, h) in a dense (B, T, H, size). */
static __device__ __forceinline__ int64 dense_at(const gpu_attention_args &a,
                                                 int batch, int row, int head,
                                                 int size)
{
    return (((int64)batch * a.rows + row) * a.heads + head) * size;
}

#endif
