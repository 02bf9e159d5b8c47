/*
 * product.h - a matrix product as a step of a larger op (loss.c).
 */
#ifndef CPU_PRODUCT_H
#define CPU_PRODUCT_H

#include "gemm.h"

/* gemm_powers of a whole product, its floats in shared memory. */
typedef struct shared_powers {
    float cap;
    int64_t parts;
    const int32_t *target;
    int64_t center, at_target, total; /* offsets */
} shared_powers;

/* c (M, N), rows `c_pitch` apart, = a (M, K) b (K, N), added to c if `add`. a
 * and c may lie in shared memory, as factors along K do: then an offset is
 * given, else -1. */
typedef struct shared_product {
    int64_t M, N, K;
    gemm_any a, b;
    void *c;
    int64_t c_pitch;
    tn_dtype c_dtype;
    cpu_products how;
    int64_t a_shared, c_shared, by_shared;
    const shared_powers *powers; /* NULL: sums as they are */
    uint32_t add;
} shared_product;

/* Append it as one step, cut into the slices that MATMUL would use. */
void ISA(emit_product)(cpu_compiler *c, const shared_product *s);

/* The same for two products of one M and N that run side by side. */
void ISA(emit_product_pair)(cpu_compiler *c, const shared_product *first,
                            const shared_product *second);

#endif
