/*
 * grouped.cuh - which rows, and which tile, a block of a grouped product has.
 */
#ifndef CUDA_KERNELS_GROUPED_CUH
#define CUDA_KERNELS_GROUPED_CUH

#include "common.cuh"

static __device__ __forceinline__ int clamp(int x, int low, int high)
{
    return x < low ? low : x > high ? high : x;
}

/* Rows of group e; what is out of range has been told by check_index. */
static __device__ __forceinline__ void group_rows(const gpu_grouped_args &g,
                                                  int e, int *first, int *last)
{
    *first = clamp(((const int *)g.offsets)[e], 0, g.rows);
    *last = clamp(((const int *)g.offsets)[e + 1], *first, g.rows);
}

/* Tile number `tile` of all groups' rows, `size` rows each. */
struct group_tile {
    int expert; /* g.experts: there is no such tile */
    int row, last;
};

static __device__ __forceinline__ group_tile
find_group_tile(const gpu_grouped_args &g, int tile, int size)
{
    for (int e = 0; e < g.experts; e++) {
        int first, last;
        group_rows(g, e, &first, &last);
        const int tiles = (last - first + size - 1) / size;
        if (tile < tiles)
            return {e, first + tile * size, last};
        tile -= tiles;
    }
    return {g.experts, 0, 0};
}

#endif
