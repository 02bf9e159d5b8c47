/*
 * place.cuh - which part of a product a block has.
 *
 * Blocks are numbered tile first, then batch, then part of k: a result that is
 * small for its inner size is summed in parts, each by blocks of its own, which
 * a reduction joins in order.
 */
#ifndef CUDA_KERNELS_PLACE_CUH
#define CUDA_KERNELS_PLACE_CUH

#include "common.cuh"

enum { SHARE = 32 }; /* a part of k is a multiple of it */

/* Where a block's operands begin. */
struct place {
    int tile_row, tile_column;
    int64 a, b, y; /* offsets in elements */
    int k_begin, k_end;
};

static __device__ __forceinline__ place find_place(const gpu_product_args &p,
                                                   int bm, int bn)
{
    const int tiles_m = (p.rows + bm - 1) / bm;
    const int tiles_n = (p.columns + bn - 1) / bn;
    unsigned w = blockIdx.x;
    place at;
    at.tile_row = w % tiles_m;
    w /= tiles_m;
    at.tile_column = w % tiles_n;
    w /= tiles_n;
    const int batches = p.batch[0] * p.batch[1] * p.batch[2] * p.batch[3];
    const int part = w / batches;
    at.y = (int64)w * p.rows * p.columns; /* the part's copy, the batch's y */
    at.a = at.b = 0;
    w %= batches;
    for (int i = 3; i >= 0; i--) {
        const int c = w % p.batch[i];
        w /= p.batch[i];
        at.a += c * p.a_batch[i];
        at.b += c * p.b_batch[i];
    }
    const int share =
        ((p.inner + (int)p.parts - 1) / (int)p.parts + SHARE - 1) / SHARE *
        SHARE;
    at.k_begin = part * share;
    at.k_end = at.k_begin + share < p.inner ? at.k_begin + share : p.inner;
    return at;
}

#endif
