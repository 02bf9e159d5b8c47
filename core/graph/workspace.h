/*
 * workspace.h - a map program while it is being worked on.
 *
 * Simplifying, differentiating and joining are the same thing three times:
 * write instructions one after another into a workspace that is larger than any
 * program and never holds an instruction twice, then pack what the outputs read
 * into a tn_program. tni_work_emit() folds constants and finds equal
 * instructions as they come, so nothing needs cleaning afterwards.
 */
#ifndef TENON_GRAPH_WORKSPACE_H
#define TENON_GRAPH_WORKSPACE_H

#include "graph/program.h"

/* The derivative of the longest program, before dead instructions go. */
enum { TNI_WORK_MAX = 1024, TNI_WORK_OUTPUTS = 2 * TN_MAP_MAX_INPUTS };

typedef uint16_t tni_register;

/* Leaves: a is the input or the axis, value the constant or the stream. */
typedef struct tni_work_instruction {
    tn_map_op op;
    uint8_t arity;
    tni_register a, b, c;
    double value;
} tni_work_instruction;

typedef struct tni_work {
    uint32_t count;
    uint32_t output_count;
    uint32_t input_count;
    uint32_t full; /* 1: it ran over; packing then fails */
    tni_register output[TNI_WORK_OUTPUTS];
    tni_work_instruction at[TNI_WORK_MAX];
} tni_work;

/* Append (or find) an instruction; the result is its register. */
tni_register tni_work_emit(tni_work *w, tni_work_instruction instruction);

static inline tni_register tni_work_constant(tni_work *w, double value)
{
    return tni_work_emit(
        w, (tni_work_instruction){.op = TN_MAP_CONST, .value = value});
}

static inline tni_register tni_work_input(tni_work *w, uint32_t input)
{
    return tni_work_emit(w, (tni_work_instruction){.op = TN_MAP_INPUT,
                                                   .a = (tni_register)input});
}

static inline tni_register tni_work_op(tni_work *w, tn_map_op op,
                                       tni_register a, tni_register b,
                                       tni_register c)
{
    const int arity = tni_instruction_arity(op, NULL);
    return tni_work_emit(
        w, (tni_work_instruction){op, (uint8_t)arity, a,
                                  arity > 1 ? b : (tni_register)0,
                                  arity > 2 ? c : (tni_register)0, 0.0});
}

/*
 * Emit all of p. Inputs stand in registers input[] (NULL: emit INPUT i); the
 * registers of p's own instructions come back in at[].
 */
void tni_work_append(tni_work *w, const tn_program *p,
                     const tni_register *input,
                     tni_register at[TN_MAP_MAX_INSTRUCTIONS]);

/* What the outputs read, as a program. TN_EUNSUPPORTED where it does not fit;
 * `p` is then untouched. The number of inputs is not checked. */
tn_status tni_work_pack(const tni_work *w, tn_program *p);

#endif
