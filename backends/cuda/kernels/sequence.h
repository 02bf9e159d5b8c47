/*
 * sequence.h - what conv.cu and ssd.cu are given; see args.h.
 */
#ifndef CUDA_KERNELS_SEQUENCE_H
#define CUDA_KERNELS_SEQUENCE_H

#include <stdint.h>

/* ---- conv.cu ---- */

enum { GPU_CONV_CHANNELS = 128, GPU_CONV_ROWS = 8, GPU_CONV_PART = 64 };

/* Strides are of batch row and row; dy and y are dense. `y` is y, dx, or parts
 * of dw: (parts, C, K) in F32. */
typedef struct gpu_conv_args {
    uint64_t x, w, dy, y;
    uint64_t history; /* or 0 */
    uint64_t begins;  /* int32 (B, T): where row t's document begins, or 0 */
    int64_t x_stride[2], history_stride[2];
    int32_t rows, channels;
    int32_t blocks; /* of rows, of a batch row */
    uint32_t reserved;
} gpu_conv_args;

/* ---- ssd.cu ---- */

enum {
    GPU_SSD_TILE = 64,
    GPU_SSD_MOST_ROWS = 128, /* of a chunk */
    GPU_SSD_MOST_STATES = 256,
};

/* Sums over a row's pairs that ssd_ddt joins. */
enum {
    GPU_SSD_OF_U,      /* x_j'U_j: the rest of ddt */
    GPU_SSD_BY_ROW,    /* to row t from rows j < t of its chunk */
    GPU_SSD_BY_COLUMN, /* from row j to rows t > j */
    GPU_SSD_READ,      /* from h to row t */
    GPU_SSD_WRITTEN,   /* from row j to E */
    GPU_SSD_SUMS
};

/* Strides are of batch row, row and head or group; y, dy and dx are dense. */
typedef struct gpu_ssd_args {
    uint64_t x, dt, A, Bm, Cm, dy;
    uint64_t first, last; /* states (B, H, P, N), or 0 */
    uint64_t begins; /* int32 (B, T): where row t's document begins, or 0 */
    uint64_t y, dx, ddt, dB, dC;
    /* made on the way, in F32: */
    uint64_t steps;    /* ssd_step (B, H, T) */
    uint64_t decay;    /* (B, H, Z): e^ over a whole chunk */
    uint64_t h, E;     /* (B, H, Z, N, P): states before chunks, and their
                          gradients behind them */
    uint64_t products; /* C B' (B, Z, G, L, L) */
    uint64_t sums;     /* (GPU_SSD_SUMS, B, H, T) */
    uint64_t dA;       /* (B, Z, H): each chunk's part */
    int64_t x_stride[3], dt_stride[3], b_stride[3], c_stride[3];
    int32_t batch, rows, heads, groups; /* B, T, H, G */
    int32_t width, states;              /* P, N */
    int32_t chunk, chunks;              /* L, Z */
    uint32_t backward;                  /* of ssd_states and ssd_chain */
    uint32_t reserved;
} gpu_ssd_args;

#endif
