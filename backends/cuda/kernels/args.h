/*
 * args.h - what each kernel is given, in one struct that the C side fills and
 * the kernel reads. Included by both: plain C, fixed-width types, no pointers.
 *
 * An address is of element 0. Sizes are in elements.
 */
#ifndef CUDA_KERNELS_ARGS_H
#define CUDA_KERNELS_ARGS_H

#include <stdint.h>

/* What leads the arguments of every kernel: `value` is written to `word`, which
 * the CPU sees, as the kernel begins; word 0: nowhere. */
typedef struct gpu_mark {
    uint64_t word, value;
} gpu_mark;

/* Where kernels leave word of an index out of range: the first one wins. */
typedef struct gpu_fault {
    uint32_t node; /* 1 + its number in the plan; 0: none */
    uint32_t plan; /* of the exec: its id */
    int32_t value;
    int32_t lowest, limit; /* what is allowed: lowest .. limit - 1 */
} gpu_fault;

/* ---- rows.cu ---- */

typedef struct gpu_check_args {
    uint64_t index, fault;
    int64_t count;
    int32_t lowest, limit;
    uint32_t node, plan;
} gpu_check_args;

enum { GPU_SORT_TILE = 1024, GPU_SORT_DIGITS = 256, GPU_RUN_ROWS = 32 };

/* One pass of a stable sort of (key, place) by 8 bits of the key. `key` is 0 in
 * the first pass's place_in: place i is then i. */
typedef struct gpu_sort_args {
    uint64_t key, place;         /* int32 (count), in */
    uint64_t key_out, place_out; /* int32 (count) */
    uint64_t counts;             /* int32 (digits, tiles) */
    int64_t count;
    int32_t rows; /* keys outside 0 .. rows - 1 count as `rows` */
    uint32_t shift;
    uint32_t tiles; /* of GPU_SORT_TILE keys */
    uint32_t first; /* place is not read: place i is i */
} gpu_sort_args;

/* y[key] = sum of x[place] over the run of equal keys. `ends` holds the partial
 * sums of runs that leave a chunk of GPU_RUN_ROWS keys: (chunks, width). */
typedef struct gpu_runs_args {
    uint64_t key, place, x, y, ends;
    int64_t count, width;
    int32_t rows;
    uint32_t accumulate;
} gpu_runs_args;

typedef struct gpu_set_rows_args {
    uint64_t index, keep, x, state;
    int64_t count; /* rows of x in all */
    int64_t width; /* of a row, in `unit`s */
    int32_t steps; /* rows of x in a batch */
    int32_t rows;  /* of state in a batch */
    uint32_t unit; /* bytes that are moved at a time: 1, 2, 4 or 16 */
    uint32_t reserved;
} gpu_set_rows_args;

/* ---- select.cu ---- */

/* The k first elements of each row, larger values first. */
typedef struct gpu_select_args {
    uint64_t x, values, index; /* values 0: not wanted */
    int64_t columns;
    int32_t k;
    uint32_t reserved;
} gpu_select_args;

typedef struct gpu_expert_args {
    uint64_t choice, count; /* count: int32 (experts) */
    uint64_t order, inverse, offsets;
    int32_t choices, experts;
} gpu_expert_args;

typedef struct gpu_cumsum_args {
    uint64_t x, y;
    int64_t lines, count, inner; /* count elements of a line, `inner` apart */
    uint32_t reverse, exclusive;
} gpu_cumsum_args;

/* ---- matmul.cu ---- */

/* y[.., m, n] = sum over k of a[.., m, k] b[.., k, n], y dense. Strides are of
 * row and column. Of several parts, part p sums its share of k to the p-th
 * copy of the result at y. */
typedef struct gpu_product_args {
    uint64_t a, b, y;
    int64_t a_stride[2], b_stride[2];
    int64_t a_batch[4], b_batch[4];
    int32_t batch[4]; /* sizes of up to four batch axes, unused ones 1 */
    int32_t rows, columns, inner;
    uint32_t parts, accumulate;
    uint32_t reserved;
} gpu_product_args;

/* Rows of a, sorted by expert, times the expert's matrix; or, transposed, a
 * group's a^T b. */
typedef struct gpu_grouped_args {
    uint64_t a, b, offsets, y;
    int64_t b_stride[3];
    int32_t rows, inner, columns, experts;
    uint32_t transposed, accumulate;
} gpu_grouped_args;

/* ---- blocks.cu ---- */

/* Blocks x to numbers y, dense, of this shape; strides are of x, in elements.
 * index 0: none; else line l of y is row index[l] of x, 0 where that is not in
 * 0 .. rows - 1. `lines` is the product of all axes but the last. */
typedef struct gpu_unblock_args {
    uint64_t x, y, index;
    int64_t shape[6], stride[6];
    int64_t lines, rows;
    int32_t rank, reserved;
} gpu_unblock_args;

/* ---- newton.cu ---- */

/* y = alpha p p' + beta q of stacked matrices: p (rows, inner) with element
 * (i, k) at i line + k step, q and y (rows, rows) dense; q 0: none. */
typedef struct gpu_gram_args {
    uint64_t p, q, y;
    int64_t line, step, p_batch;
    int32_t rows, inner;
    float alpha, beta;
} gpu_gram_args;

/* ---- norm.cu ---- */

/* y = x r w, r = 1 / sqrt(mean(x^2) + eps); backward: y is dx, rstd is read. */
typedef struct gpu_norm_args {
    uint64_t x, weight, y, rstd, dy;
    int64_t rows, columns;
    float eps;
    uint32_t reserved;
} gpu_norm_args;

/* dy is of softmax's backward only. */
typedef struct gpu_softmax_args {
    uint64_t x, y, dy;
    int64_t rows, columns;
} gpu_softmax_args;

/* ---- rope.cu ---- */

enum { GPU_ROPE_PAIRS = 256 };

typedef struct gpu_rope_args {
    uint64_t x, y, positions; /* positions 0: row t has position t */
    int64_t rows;             /* B T */
    int32_t steps, heads, size, pairs;
    uint32_t interleaved, inverse;
    float frequency[GPU_ROPE_PAIRS]; /* theta^(-2 pair / dims) */
} gpu_rope_args;

/* ---- norm_rope.cu ---- */

enum { GPU_HEAD_WARPS = 8 }; /* of a block, which share the heads of a row */

/* Forward: rope.x is normed, then turned to rope.y. Backward: rope.x is the
 * gradient of rope.y and turned back, `x` what was normed, rope.y its gradient,
 * and block b leaves its share of the weight's at partial + b size. */
typedef struct gpu_norm_rope_args {
    gpu_rope_args rope;
    uint64_t weight, rstd;
    uint64_t normed; /* forward: 0, or where what is not yet turned goes */
    uint64_t x, partial;
    float eps;
    uint32_t reserved;
} gpu_norm_rope_args;

/* ---- loss.cu ---- */

/* Rows of logits to their loss and, backward, to the gradient of the logits:
 * in place where they are F32. */
typedef struct gpu_loss_args {
    uint64_t logits, target, dnll, nll, dlogits;
    int64_t classes;
    float cap;
    uint32_t backward;
} gpu_loss_args;

/* ---- sample.cu ---- */

/* A token of each row: how (rows, 3), limits (rows, 2). */
typedef struct gpu_sample_args {
    uint64_t logits, how, limits, token;
    int32_t classes;
    uint32_t reserved;
} gpu_sample_args;

/* ---- attention.cu ---- */

enum { GPU_ATTENTION_TILE = 64, GPU_ATTENTION_PITCH = 68 };
/* Of a few rows: keys and queries of a block, and the widest key. */
enum { GPU_FEW_KEYS = 64, GPU_FEW_QUERIES = 8, GPU_FEW_SIZE = 640 };

/* Strides are of batch, row and head. 0 where an optional input is absent. */
typedef struct gpu_attention_args {
    uint64_t q, k, v, positions, first;
    uint64_t o, lse;
    uint64_t d_out, delta; /* delta (B, T, H): sum of do o */
    uint64_t dq, dk, dv;
    /* of a few rows, a part for each of `splits` stretches of keys: stats (B,
     * T, H, splits, 2: largest score and sum), parts (B, T, H, splits, E) */
    uint64_t stats, parts;
    int64_t q_stride[3], k_stride[3], v_stride[3];
    int32_t batch, rows, keys, heads, groups;
    int32_t key_size, value_size; /* D, E */
    int32_t window;               /* 0: none */
    float scale, cap;             /* cap 0: none */
    uint32_t causal;
    int32_t splits;
} gpu_attention_args;

#endif
