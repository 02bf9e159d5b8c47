/*
 * program.h - working on map programs: evaluate, differentiate, join.
 */
#ifndef TENON_PROGRAM_H
#define TENON_PROGRAM_H

#include <tenon/map.h>

/* Arity of an instruction, -1 for an unknown one; its text in `*name`. */
int tni_instruction_arity(tn_map_op op, const char **name);

/* TN_EINVALID and a sentence where a program breaks map.h's rules. */
tn_status tni_program_check(const tn_program *p, tn_error *err);

/* Remove what no output reads, merge equal instructions and constants, fold
 * constants. The result computes the same. */
void tni_program_simplify(tn_program *p);

/*
 * gradient: inputs are the inputs of `p` in order, then one gradient for each
 * output of `p`; outputs are the gradients of the inputs named by the bits of
 * `wanted`, lowest first. Forward values are recomputed inside.
 * TN_EUNSUPPORTED where it does not fit one program (64 instructions, 12
 * inputs, 4 outputs): the caller then splits `wanted`.
 */
tn_status tni_program_gradient(const tn_program *p, uint32_t wanted,
                               tn_program *gradient);

/*
 * The program of `consumer` with its input `slot` computed by output `output`
 * of `producer`. Inputs of the result: the consumer's without `slot`, then the
 * producer's; `input_of` maps each to (0: consumer, 1: producer, index) as
 * who * 16 + index, with duplicates kept: fuse.c merges them by operand.
 * Outputs: the consumer's, then those producer outputs in `keep` (bits).
 * TN_EUNSUPPORTED where it does not fit.
 */
tn_status tni_program_join(const tn_program *consumer, uint32_t slot,
                           const tn_program *producer, uint32_t output,
                           uint32_t keep, tn_program *joined,
                           uint8_t input_of[2 * TN_MAP_MAX_INPUTS]);

/* Make input `drop` an alias of input `keep` and close the gap. */
void tni_program_merge_inputs(tn_program *p, uint32_t keep, uint32_t drop);

#endif
