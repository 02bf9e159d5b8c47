/*
 * tile_code.h - between the two halves of the generator: tile_code.c knows in
 * which registers values are, tile_operate.c what instructions do to them.
 */
#ifndef CPU_TILE_CODE_H
#define CPU_TILE_CODE_H

#include "tile.h"
#include "x86.h"

enum {
    TILE_REGISTERS = VW == 16 ? 32 : 16,
    TILE_MASK = TILE_REGISTERS - 1, /* AVX2's outcome of a comparison */
    TILE_NUMBERS = 22,
};

/* What an instruction needs besides its operands and its result: numbers, each
 * in every lane of a register, and registers to compute in. */
typedef struct tile_needs {
    uint32_t numbers; /* a bit each */
    int temporaries;
} tile_needs;

/* Where that is while code is written. */
typedef struct tile_tools {
    x86_code *x;
    int number[TILE_NUMBERS]; /* registers, or in memory */
    int temporary;            /* the first of them */
} tile_tools;

tile_needs ISA(tile_needs_of)(tn_map_op op);
tile_needs ISA(tile_needs_of_bf16)(void); /* tile_store_bf16 */
/* Where it is: in register r or, with AVX2, most of them in memory. */
int ISA(tile_place_number)(x86_code *x, int number, int r);

/* Register d = op of registers r, none of which is d. */
void ISA(tile_operate)(const tile_tools *t, tn_map_op op, int d,
                       const int r[3]);

/* A register to the row of bf16 that rax points at. */
void ISA(tile_store_bf16)(const tile_tools *t, int from);

#endif
