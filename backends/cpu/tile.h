/*
 * tile.h - runs a map program over 512 elements at a time, all of them in L1.
 *
 * A program's registers become rows of TILE floats in the thread's scratch;
 * each instruction is one vector loop over its operands' rows. Where the system
 * lets us run code that we write, runs of simple instructions become one loop
 * that keeps registers in registers (tile_code.c); it gives the same bits. What
 * else keeps it near the speed of memory:
 *
 *  - a dense input is read, and where possible an output written, in place:
 *    its "row" is a pointer into the tensor that moves from tile to tile;
 *  - a register that depends on one-element inputs and constants only is
 *    computed once per task, as one vector; operands carry a mask that turns
 *    the index off, so every instruction takes it where a row could stand;
 *  - bf16 is widened as it is read and rounded as it is written: in L1, or in
 *    registers by the code, where the tensor is dense;
 *  - rows of dead registers are reused, so that AdamW's 25 instructions live in
 *    a dozen rows of 2 KiB.
 *
 * Elements are numbered row-major over the iteration shape, whose adjoining
 * axes are merged where all inputs allow. A tile is any range of numbers.
 */
#ifndef CPU_TILE_H
#define CPU_TILE_H

#include "cpu.h"
#include "vec.h"

enum {
    TILE = 512,
    TILE_INPUTS = TN_MAP_MAX_INPUTS,
    TILE_OUTPUTS = TN_MAP_MAX_OUTPUTS,
    /* a slot per register, constant, dense input and output */
    TILE_SLOTS = TN_MAP_MAX_INSTRUCTIONS + TILE_INPUTS + TILE_OUTPUTS,
};

/* d[i] = f(a[i & am], b[i & bm], c[i & cm]) for i in steps of VW below n. */
typedef void (*tile_function)(float *d, const float *a, size_t am,
                              const float *b, size_t bm, const float *c,
                              size_t cm, int64_t n);

/* A run of instructions over the slots' memory, `count` elements of each row;
 * moving rows of bf16 are some of the slots. */
typedef void tile_code(float *const *at, size_t count);

typedef struct tile_instruction {
    tile_code *code;        /* or NULL: */
    tile_function function; /* or NULL: a load, index or random (tile.c) */
    tn_map_op op;
    uint8_t to, a, b, c; /* slots; for leaves `a` is input, axis or input */
} tile_instruction;

/* An input as the program reads it. */
typedef struct tile_input {
    const char *base;
    int64_t shared; /* offset in shared memory instead of base; -1: base */
    tn_dtype dtype;
    uint32_t dense;
    int64_t stride[TN_MAX_RANK]; /* of the merged axes, in elements */
    uint8_t slot;                /* dense: the moving row, of f32 or bf16 */
    uint8_t some_rows, uses;     /* dense: rows are 0 where that input is */
    uint8_t kept; /* dense: read from a copy, for outputs are stored there */
} tile_input;

typedef struct tile_output {
    char *base;
    tn_dtype dtype;
    uint8_t slot;   /* where the result is */
    uint8_t moving; /* where it belongs: `slot` if it is f32 and direct */
    uint8_t early;  /* bf16 that code may write as soon as it is computed */
    uint8_t direct; /* the result is computed where it belongs */
} tile_output;

typedef struct tile_program {
    int64_t elements;
    uint32_t far;  /* its dense inputs are larger than caches: prefetch them */
    uint32_t rank; /* of the merged shape, at least 1 */
    int64_t shape[TN_MAX_RANK];
    int64_t index_inner[TN_MAX_RANK]; /* of the shape before merging */
    int64_t index_size[TN_MAX_RANK];
    uint32_t input_count, output_count;
    uint32_t prelude_count, body_count, uniform_count, row_count;
    tile_input in[TILE_INPUTS];
    const tile_input *only_rows; /* one of `in`, or NULL (tile_find_only) */
    tile_output out[TILE_OUTPUTS];
    tile_instruction prelude[TN_MAP_MAX_INSTRUCTIONS];
    tile_instruction body[TN_MAP_MAX_INSTRUCTIONS];
    double constant[TN_MAP_MAX_CONSTANTS];
    /* slot -> the number of its uniform vector or of its row in scratch; a
     * moving row uses that row where a tile ends within a vector */
    uint8_t slot_count;
    uint8_t slot_uniform[TILE_SLOTS];
    uint8_t slot_place[TILE_SLOTS];
    uint8_t spread_row; /* where tile_run spreads a uniform result */
} tile_program;

/* What a task keeps while it runs tiles. */
typedef struct tile_state {
    const tile_program *program;
    float *rows;
    float *at[TILE_SLOTS];
    size_t mask[TILE_SLOTS];
    const char *base[TILE_INPUTS];
} tile_state;

/*
 * Prepare `program` over the node's inputs and the iteration shape `space`
 * (rank and shape are read). outputs may be NULL (reduce): the one result is
 * then read from the row that tile_run returns.
 */
tn_status ISA(tile_compile)(cpu_compiler *c, const tn_plan_node *node,
                            const tn_program *program, const tn_operand *space,
                            const tn_operand *outputs, tile_program *p,
                            tn_error *err);

/* The program that reads `elements` floats at an offset of shared memory. */
void ISA(tile_compile_shared)(tile_program *p, int64_t shared,
                              int64_t elements);

int64_t ISA(tile_scratch_bytes)(const tile_program *p);

/* Before a task's first tile. scratch: tile_scratch_bytes, 64-byte aligned. */
void ISA(tile_begin)(tile_state *s, const tile_program *p, float *scratch,
                     const cpu_worker *w);

/* Elements [from, from + n), n <= TILE: outputs are stored; the row of output 0
 * is returned, good for reading up to n rounded up to VW. */
const float *ISA(tile_run)(tile_state *s, int64_t from, int64_t n);

/* The function of an instruction, NULL for leaves (tile_ops.c). */
tile_function ISA(tile_function_of)(tn_map_op op);

/* How many registers it reads: 0 for leaves, negative if there is no such. */
static inline int tile_operands(tn_map_op op)
{
    switch (op) {
#define XX(name, number, arity, text, meaning)                                 \
    case number:                                                               \
        return arity;
#include <tenon/map.def>
#undef XX
    default:
        return -1;
    }
}

/* The same program, instructions that code can be written for side by side
 * (tile_order.c). */
void ISA(tile_order)(const tile_program *p, const tn_program *from,
                     tn_program *to);

/* Inputs that only count in some rows, and: n of such an input's elements,
 * where it lies at `all`; there is room for them (tile_rows.c). */
void ISA(tile_find_rows)(tile_program *p, tn_program *program);
float *ISA(tile_some_rows)(const tile_state *s, const tile_input *x, float *all,
                           float *room, int64_t from, int64_t n);

/* Where elements differ by such an input and nothing else; and whether a tile
 * of n elements is zeros there: the results of all that are so are the same. */
void ISA(tile_find_only)(tile_program *p);
int ISA(tile_is_zeros)(const tile_state *s, int64_t from, int64_t n);

/* Whether code is written for an op, a leaf's with that `a` (tile_operate.c),
 * and: replace runs of them by their code, if the device generates any
 * (tile_code.c). */
int ISA(tile_is_simple)(const tile_program *p, tn_map_op op, uint8_t a);
void ISA(tile_generate)(cpu_compiler *c, tile_program *p);

#endif
