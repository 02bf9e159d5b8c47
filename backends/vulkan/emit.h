/*
 * emit.h - kernels made while a plan is compiled.
 *
 * Shapes and strides of a plan never change, so they are written into the
 * kernel as constants: an index that would be a chain of divisions by numbers
 * from memory becomes shifts and multiplications, and broadcasting costs
 * nothing. Only addresses travel in the argument block; nodes of the same
 * program and shapes (layers of a model) share a kernel.
 *
 *     emit.c         the frame: types, arguments, invocation, elements
 *     emit_exact.c   fma, division and roots that round once
 *     emit_math.c    exp, log, tanh ... to the accuracy map.def asks for
 *     emit_program.c a map program's instructions
 *     emit_map.c     one invocation for each element
 *     emit_reduce.c  a workgroup's lanes share the elements of an output
 */
#ifndef VULKAN_EMIT_H
#define VULKAN_EMIT_H

#include <tenon/op.h>

#include "spirv.h"

/* ---- what to emit ---- */

typedef struct gpu_view {
    tn_dtype dtype;
    int64_t stride[TN_MAX_RANK];
} gpu_view;

/* Elements of a shape, computed by a program from views of that shape. The
 * argument block holds the addresses of the inputs, then of the outputs. */
typedef struct gpu_map_spec {
    uint32_t rank;
    uint32_t in_count, out_count;
    uint32_t keeps_nan; /* the device can promise that */
    uint32_t fuses;     /* its fma rounds once */
    uint32_t divides;   /* its divisions and roots round once */
    int64_t shape[TN_MAX_RANK];
    gpu_view in[TN_MAP_MAX_INPUTS];
    gpu_view out[TN_MAP_MAX_OUTPUTS];
    tn_program program; /* instruction_count 0: move the bits of in[0] */
} gpu_map_spec;

/*
 * The same shape reduced over `axes` to out[0], which is dense over the kept
 * axes. A workgroup makes `columns` outputs with `lanes` invocations each; they
 * share the reduced elements of one of `splits` parts, and part s of output o
 * goes to element s * outputs + o.
 */
typedef struct gpu_reduce_spec {
    gpu_map_spec map;
    uint32_t axes, kind;
    uint32_t accumulate;
    uint32_t columns, lanes, splits;
    uint32_t by_rows; /* neighbouring invocations are lanes, not columns */
} gpu_reduce_spec;

enum { GPU_LOCAL_SIZE = 256 };

/* SPIR-V in memory of the caller's; NULL where memory ran out. */
uint32_t *gpu_emit_map(const gpu_map_spec *spec, uint32_t *word_count);
/* in[0] is a table of `rows` rows and shape[0] the number of indices, whose
 * address is argument 1; the output's is argument 2. Bits are moved; an index
 * outside the table gives 0. */
uint32_t *gpu_emit_gather(const gpu_map_spec *spec, int64_t rows,
                          uint32_t *word_count);
uint32_t *gpu_emit_reduce(const gpu_reduce_spec *spec, uint32_t *word_count);

/* ---- the frame ---- */

/* Axes that one counter runs over, in row-major order. */
typedef struct gpu_walk {
    spv_id counter;
    uint32_t count;
    uint32_t axis[TN_MAX_RANK];
} gpu_walk;

typedef struct gpu_coordinate {
    spv_id counter, id;
    int64_t inner, size;
} gpu_coordinate;

typedef struct gpu_emitter {
    spv_module m;
    const int64_t *shape;
    uint32_t wide;           /* indices need 64 bits */
    uint32_t fuses, divides; /* as the spec's */
    spv_id void_, bool_, u32, i32, f32, u64;
    spv_id index; /* u32 or u64 */
    spv_id glsl;
    spv_id push, group, local, groups; /* variables */
    spv_id arguments;                  /* address of the block */
    spv_id shared;                     /* f32[GPU_LOCAL_SIZE], or 0 */
    spv_id main, entry;
    gpu_coordinate known[4 * TN_MAX_RANK * TN_MAP_MAX_INPUTS];
    uint32_t known_count;
} gpu_emitter;

/* From nothing to inside of main. Whether 32 bits reach all elements is seen
 * from the views, or there are `reach` of them. */
void gpu_emit_begin(gpu_emitter *e, const gpu_map_spec *spec, int64_t reach,
                    int uses_shared);
uint32_t *gpu_emit_end(gpu_emitter *e, uint32_t *word_count);

spv_id gpu_u32(gpu_emitter *e, uint32_t value);
spv_id gpu_u64(gpu_emitter *e, uint64_t value);
spv_id gpu_f32(gpu_emitter *e, float value);
spv_id gpu_index(gpu_emitter *e, int64_t value);

/* Number of the workgroup, and of the invocation in it. */
spv_id gpu_workgroup(gpu_emitter *e);
spv_id gpu_invocation(gpu_emitter *e);

/* Address i of the argument block. */
spv_id gpu_argument(gpu_emitter *e, uint32_t i);

/* counter / inner % size; the outermost axis needs no %. */
spv_id gpu_coordinate_of(gpu_emitter *e, spv_id counter, int64_t inner,
                         int64_t size, int outermost);
/* Sum of coordinate times stride over the walk's axes. */
spv_id gpu_offset(gpu_emitter *e, const gpu_walk *walk, const int64_t *stride);

/* Element `offset` of what begins at `address`, as f32 or as its bits. Stored,
 * numbers are rounded to the nearest, ties to even. */
spv_id gpu_load(gpu_emitter *e, spv_id address, spv_id offset, tn_dtype dtype);
void gpu_store(gpu_emitter *e, spv_id address, spv_id offset, tn_dtype dtype,
               spv_id value);
/* The lower bits of the u32 are those of elements of two bytes. */
spv_id gpu_load_bits(gpu_emitter *e, spv_id address, spv_id offset,
                     tn_dtype dtype);
void gpu_store_bits(gpu_emitter *e, spv_id address, spv_id offset,
                    tn_dtype dtype, spv_id bits);

/* ---- emit_exact.c, emit_math.c: f32 in, f32 out, nothing contracted ---- */

spv_id gpu_add(gpu_emitter *e, spv_id a, spv_id b);
spv_id gpu_mul(gpu_emitter *e, spv_id a, spv_id b);
/* One of map.def's instructions with operands. */
spv_id gpu_compute(gpu_emitter *e, tn_map_op op, spv_id a, spv_id b, spv_id c);

/* ---- emit_program.c ---- */

/* Where inputs and coordinates of an element come from. */
typedef struct gpu_element {
    const gpu_map_spec *spec;
    const gpu_walk *walks;
    uint32_t walk_count;
    const spv_id *address;  /* of each input */
    const spv_id *fixed;    /* offsets that do not change in a loop, or NULL */
    uint32_t first_in_loop; /* walks from here on do */
} gpu_element;

/* The registers of the program, at this element. */
void gpu_emit_program(gpu_emitter *e, const gpu_element *at, spv_id *r);

#endif
