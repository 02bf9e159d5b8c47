/*
 * quant.h - products with weights in blocks of 8 or 4 bits (tenon/blocks.h).
 *
 * At few rows (decoding) the time is that of reading the weights, if a core can
 * multiply them as fast as memory hands them over. So the numbers of x become
 * integers of 16 bits, one scale for as many as a block has, and a product is
 * of integers: exact, and half the instructions that floats would take. What is
 * lost is 2^-16 of the largest number of a block of x, two hundred times less
 * than 8 bits would lose; the test's bound is made of that. Several sequences'
 * rows go in pairs. For a prompt's blocks become floats, a slice at a time.
 */
#ifndef CPU_QUANT_H
#define CPU_QUANT_H

#include "cpu.h"
#include "vec.h"

enum { QUANT_ROWS = 2 }; /* at most, as integers */

/* Rows of x in integers: q (rows, K), then by block its scale, and in Q4_K by
 * 32 numbers their sum. In scratch. */
typedef struct quant_rows {
    int16_t *q;
    float *scale; /* (rows, K / block) */
    float *sum;   /* (rows, K / 32) */
    int64_t K;
    tn_dtype dtype; /* of the weights */
} quant_rows;

int64_t ISA(quant_rows_bytes)(tn_dtype dtype, int64_t rows, int64_t K);
/* Laid out in `room`, 64-byte aligned. */
quant_rows ISA(quant_rows_in)(tn_dtype dtype, int64_t rows, int64_t K,
                              void *room);
/* Row i becomes x, K floats. */
void ISA(quant_row_put)(const quant_rows *to, int64_t i, const float *x);

/* c[i * c_pitch + j] = x_i . w_j for `rows` <= QUANT_ROWS rows and N rows of
 * blocks, w_pitch bytes apart. */
typedef struct quant_product {
    const quant_rows *x;
    int64_t rows;
    const char *w;
    int64_t w_pitch, N;
    float *c;
    int64_t c_pitch;
} quant_product;
void ISA(quant_dots)(const quant_product *p);

/* n numbers, whole blocks, as floats. */
void ISA(quant_decode)(tn_dtype dtype, const void *blocks, int64_t n,
                       float *to);

/* compile_matmul and others hand on what has blocks (quant_ops.c). */
tn_status ISA(compile_quant_matmul)(cpu_compiler *c, const tn_plan_node *node,
                                    tn_error *err);
tn_status ISA(compile_quant_grouped)(cpu_compiler *c, const tn_plan_node *node,
                                     tn_error *err);
tn_status ISA(compile_quant_gather)(cpu_compiler *c, const tn_plan_node *node,
                                    tn_error *err);
tn_status ISA(compile_quant_copy)(cpu_compiler *c, const tn_plan_node *node,
                                  tn_error *err);

/* Whether an input has blocks. */
static inline int is_quant(const tn_operand *x)
{
    return tn_dtype_block(x->dtype) > 1;
}

#endif
