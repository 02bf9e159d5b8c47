/*
 * map.h - the little language of `map` and of `reduce`'s prologue.
 *
 * A program is SSA: instruction i defines register i and may read registers
 * below i. Inputs are strided views that broadcast against the output's shape
 * (stride 0); loads convert to the register type, stores round to nearest
 * even. A derivative is again a program (core/graph/program.c), so a chain of
 * element-wise work needs no hand-written backward and saves only its inputs.
 */
#ifndef TENON_MAP_H
#define TENON_MAP_H

#include <tenon/base.h>

TN_BEGIN_DECLS

enum {
    TN_MAP_MAX_INSTRUCTIONS = 64,
    TN_MAP_MAX_INPUTS = 12,
    TN_MAP_MAX_OUTPUTS = 4,
    TN_MAP_MAX_CONSTANTS = 16,
};

typedef uint8_t tn_map_op;
enum {
#define XX(name, number, arity, text, meaning) TN_MAP_##name = number,
#include <tenon/map.def>
#undef XX
};

typedef struct tn_instruction {
    tn_map_op op;
    uint8_t a, b, c; /* registers, or what map.def says for leaves */
} tn_instruction;

/* Constants are double and rounded by the backend to its register type. */
typedef struct tn_program {
    uint8_t input_count;
    uint8_t output_count;
    uint8_t instruction_count;
    uint8_t constant_count;
    uint8_t output[TN_MAP_MAX_OUTPUTS]; /* registers */
    tn_instruction instruction[TN_MAP_MAX_INSTRUCTIONS];
    double constant[TN_MAP_MAX_CONSTANTS];
} tn_program;

TN_END_DECLS
#endif
