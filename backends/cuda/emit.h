/*
 * emit.h - kernels made while a plan is compiled, as CUDA C text.
 *
 * Shapes and strides of a plan never change, so they are written into the
 * kernel as numbers: an index that would be a chain of divisions by values from
 * memory becomes shifts and multiplications, and broadcasting costs nothing.
 * Only addresses travel in the argument block, behind a gpu_mark; nodes of the
 * same program and shapes (layers of a model) share a kernel.
 *
 *     emit.c         text, the frame, elements of every storage type
 *     emit_program.c a map program's instructions
 *     emit_map.c     a thread for each element, or for four in a row
 *     emit_norm.c    a map and the norm of its rows, at once
 *     emit_reduce.c  a block's lanes share the elements of an output
 */
#ifndef CUDA_EMIT_H
#define CUDA_EMIT_H

#include <tenon/op.h>

/* ---- what to emit ---- */

typedef struct gpu_view {
    tn_dtype dtype; /* F32, BF16 or I32 */
    int64_t stride[TN_MAX_RANK];
} gpu_view;

/* Elements of a shape, computed by a program from views of that shape. The
 * argument block holds the addresses of the inputs, then of the outputs. */
typedef struct gpu_map_spec {
    uint32_t rank;
    uint32_t in_count, out_count;
    uint32_t vector; /* elements in a row for a thread: 1 or 4; see gpu_fold */
    int64_t shape[TN_MAX_RANK];
    gpu_view in[TN_MAP_MAX_INPUTS];
    gpu_view out[TN_MAP_MAX_OUTPUTS];
    tn_program program;
} gpu_map_spec;

/*
 * The same shape reduced over `axes` to out[0], which is dense over the kept
 * axes. A block makes `columns` outputs with `lanes` threads each; they share
 * the reduced elements of one of `splits` parts, and part s of output o goes to
 * element s * outputs + o.
 */
typedef struct gpu_reduce_spec {
    gpu_map_spec map;
    uint32_t axes, kind;
    uint32_t accumulate;
    uint32_t columns, lanes, splits;
    uint32_t by_rows; /* neighbouring threads are lanes, not columns */
} gpu_reduce_spec;

/*
 * A map whose output `link` has rows of `columns` elements, which are normed;
 * or, backward, one whose input `link` is the gradient that a norm passes on.
 * `lanes` threads of a block share a row, at least a warp; the map's elements
 * are `vector` in a row of it.
 */
typedef struct gpu_norm_spec {
    gpu_map_spec map;
    int64_t rows, columns;
    uint32_t lanes, link;
    uint32_t keep;  /* what else is written: outputs as bits; 1: the gradient */
    tn_dtype dtype; /* of what the norm reads and makes */
    double eps;
} gpu_norm_spec;

enum { GPU_BLOCK = 256 }; /* threads of an emitted kernel's block */

/* Text in memory of the caller's; NULL where memory ran out. */
char *gpu_emit_map(const gpu_map_spec *spec);
/* in[0] is a table of `rows` rows and shape[0] the number of indices, whose
 * address is argument 1; the output's is argument 2. `unit` is the bytes of an
 * element, whose bits are moved; an index outside the table gives 0. */
char *gpu_emit_gather(const gpu_map_spec *spec, int64_t rows, uint32_t unit);
char *gpu_emit_reduce(const gpu_reduce_spec *spec);
/* Behind the map's addresses: weight, y, rstd. */
char *gpu_emit_map_norm(const gpu_norm_spec *spec);
/* Behind the map's addresses: dy, x, weight, rstd. */
char *gpu_emit_norm_bwd_map(const gpu_norm_spec *spec);

/* Join axes that every view walks through as one. Row-major numbers of elements
 * stay. Not where the program asks for coordinates. */
void gpu_fold(gpu_map_spec *spec);

/* ---- text ---- */

typedef struct gpu_text {
    char *at;
    size_t count, capacity;
    int failed;
} gpu_text;

TN_PRINTF(2, 3)
void gpu_say(gpu_text *t, const char *format, ...);
/* The text, or NULL where memory ran out on the way. */
char *gpu_take_text(gpu_text *t);

/* ---- the frame ---- */

/* Axes that one counter runs over, in row-major order. */
typedef struct gpu_walk {
    const char *counter; /* a variable of the text */
    uint32_t count;
    uint32_t axis[TN_MAX_RANK];
} gpu_walk;

/* From nothing to inside of the kernel; `reach` elements must be addressable
 * besides those of the views. */
void gpu_emit_begin(gpu_text *t, const gpu_map_spec *spec, int64_t reach);

/* c0, c1 ...: coordinates along a walk's axes, from its counter. */
void gpu_emit_coordinates(gpu_text *t, const gpu_map_spec *spec,
                          const gpu_walk *walk);
/* An expression: the sum of coordinate times stride over the walk's axes. */
void gpu_emit_offset(gpu_text *t, const gpu_map_spec *spec,
                     const gpu_walk *walk, const int64_t *stride);

/* "float", "int" or "bf16": the pointer's type for a dtype */
const char *gpu_type_name(tn_dtype dtype);

/* ---- emit_map.c: V elements in a row, from number `e` on ---- */

/* Input i as xi, but for input `but`. */
void gpu_emit_loads(gpu_text *t, const gpu_map_spec *spec, uint32_t but);
/* Output i as yi, a vec. */
void gpu_emit_compute(gpu_text *t, const gpu_map_spec *spec);
/* Of the outputs, those whose bits are set. */
void gpu_emit_stores(gpu_text *t, const gpu_map_spec *spec, uint32_t which);
/* Whether xi is one float and not a vec. */
int gpu_is_single(const gpu_map_spec *spec, uint32_t input);

/* ---- emit_program.c ---- */

/* What a program reads, as expressions of the text. */
typedef struct gpu_element {
    const gpu_map_spec *spec;
    const char *number;                   /* row-major number of the element */
    const char *input[TN_MAP_MAX_INPUTS]; /* a float */
    const char *coordinate[TN_MAX_RANK];
} gpu_element;

/* r0, r1, ...: the registers at this element. */
void gpu_emit_program(gpu_text *t, const gpu_element *at);

/* Whether `random` reads input i, which then has a shape of its own. */
int gpu_is_rng(const tn_program *p, uint32_t i);
int gpu_program_has(const tn_program *p, tn_map_op op);

#endif
