/*
 * gemm.h - matrix products as kernels call them: one thread, one block.
 *
 * Matrices are (pointer, row stride, column stride) in elements. Large blocks
 * copy operands into the order in which they are read; blocks that sit in L1 or
 * L2 with B's rows contiguous (attention's) and a handful of rows (decoding's)
 * do not.
 */
#ifndef CPU_GEMM_H
#define CPU_GEMM_H

#include "cpu.h"
#include "vec.h"

typedef struct gemm_matrix {
    const float *at;
    int64_t row, column; /* strides */
} gemm_matrix;

typedef struct gemm_any {
    const char *at;
    tn_dtype dtype;
    int64_t row, column; /* strides, in elements */
    const float *by;     /* gemm()'s own: a factor of each line of memory */
} gemm_any;

static inline gemm_any gemm_of(const void *at, tn_dtype dtype, int64_t row,
                               int64_t column)
{
    return (gemm_any){.at = at, .dtype = dtype, .row = row, .column = column};
}

/* The last two axes of an operand, from its first element on. */
static inline gemm_any gemm_of_operand(const cpu_compiler *c,
                                       const tn_operand *x)
{
    return gemm_of(cpu_at(c, x), x->dtype, x->stride[x->rank - 2],
                   x->stride[x->rank - 1]);
}

/* Contiguous across rows and not along them. */
static inline int gemm_is_across(gemm_any x)
{
    return x.row == 1 && x.column != 1;
}

/* The same from row i and column j on. */
static inline gemm_any gemm_from(gemm_any x, int64_t i, int64_t j)
{
    x.at += cpu_bytes(x.dtype) * (i * x.row + j * x.column);
    if (x.by)
        x.by += gemm_is_across(x) ? j : i;
    return x;
}

static inline gemm_any gemm_transposed(gemm_any x)
{
    return (gemm_any){x.at, x.dtype, x.column, x.row, x.by};
}

static inline gemm_matrix gemm_f32(gemm_any x)
{
    return (gemm_matrix){(const float *)(const void *)x.at, x.row, x.column};
}

static inline const float *gemm_floats(gemm_any x)
{
    return (const float *)(const void *)x.at;
}

static inline const uint16_t *gemm_halves(gemm_any x)
{
    return (const uint16_t *)(const void *)x.at;
}

static inline float gemm_element(gemm_any x, int64_t i, int64_t j)
{
    const int64_t at = i * x.row + j * x.column;
    const float by = x.by ? x.by[gemm_is_across(x) ? j : i] : 1.0f;
    return x.dtype == TN_BF16 ? f_of_bf16(gemm_halves(x)[at]) * by
                              : gemm_floats(x)[at] * by;
}

/* Columns of b that are packed at once, and whose powers have one sum. */
enum {
#if defined(__AVX512F__)
    GEMM_PART = 12 * 48,
#else
    GEMM_PART = 32 * 16,
#endif
};

/* What is packed after this: `left` lines of memory, `pitch` bytes apart. Tiles
 * leave memory idle and call for a part of it each. */
typedef struct gemm_next {
    const char *at;
    int64_t pitch, left;
    int64_t mask; /* lines of the cache in each, a power of two, less one */
} gemm_next;

/* What is stored of a softmax instead of its logits, from row 0 and `column` of
 * the block on: of a sum s, with z = s or, under a cap, cap tanh(s / cap),
 *
 *     p = e^(z - center) and, where it is stored, p dz/ds
 *
 * p is at most 2^POWERS_MOST (powers.h). total (rows, parts) are sums of p over
 * GEMM_PART columns each; a block begins with one of these. */
typedef struct gemm_powers {
    float cap; /* 0: none */
    int64_t column, parts;
    const float *center;   /* of each row */
    const int32_t *target; /* a column of each */
    float *at_target;      /* z there */
    float *total;
} gemm_powers;

/* Where a block goes; `add` only where it is f32. */
typedef struct gemm_into {
    char *at;
    tn_dtype dtype;
    int64_t pitch; /* from row to row, in elements */
    uint32_t add;
} gemm_into;

/* ---- large blocks ---- */

/* As what a and b are multiplied. */
static inline cpu_products gemm_products(const cpu_compiler *c, gemm_any a,
                                         gemm_any b)
{
    return a.dtype == TN_BF16 && b.dtype == TN_BF16 ? cpu_bf16_products(c)
                                                    : CPU_FLOATS;
}

/* c (M, N) = a (M, K) b (K, N), a and b with stride 1 in one axis; sums are
 * f32. An element of c is the same bits whatever the block around it. */
typedef struct gemm_block {
    cpu_products how;
    int64_t M, N, K;
    gemm_any a, b;
    const float *by; /* NULL, or for each k a factor of a's numbers, where a is
                        contiguous along M and b along N */
    gemm_into c;
    const gemm_powers *powers; /* NULL: c are sums. Where c is NULL and BF16
                                  powers are not kept. */
    const gemm_next *after;    /* what this thread packs next, or NULL */
} gemm_block;

/* `scratch`: gemm_scratch bytes, 64-byte aligned. */
void ISA(gemm)(const gemm_block *p, float *scratch);
int64_t ISA(gemm_scratch)(cpu_products how, int64_t M, int64_t N, int64_t K,
                          tn_dtype c);

/* What `gemm` packs first, of b. */
gemm_next ISA(gemm_first)(int64_t M, int64_t N, int64_t K, gemm_any a,
                          gemm_any b);

/* How `gemm` goes about a product, for who cuts it into blocks: which operands
 * it copies, so that few are copied twice, and the multiples of rows and
 * columns of c that leave no register empty. */
typedef struct gemm_order {
    int copies_a, copies_b;
    int64_t rows, columns;
} gemm_order;
gemm_order ISA(gemm_order_of)(cpu_products how, int64_t M, int64_t N,
                              gemm_any a, gemm_any b, int powers);

/* ---- small blocks: nothing is copied ---- */

/* c (M, N), rows ldc apart, = a (M, K) b (K, N), added to c if `add`, without
 * packing; b.column is 1. */
void ISA(gemm_direct)(int64_t M, int64_t N, int64_t K, gemm_matrix a,
                      gemm_matrix b, float *c, int64_t ldc, uint32_t add);

#endif
