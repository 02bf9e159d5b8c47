/*
 * product.h - matrix products as op files ask for them.
 */
#ifndef CUDA_PRODUCT_H
#define CUDA_PRODUCT_H

#include "compiler.h"

typedef struct gpu_product {
    gpu_product_args args; /* parts and accumulate are set on launch */
    tn_dtype operands, y;  /* F32 or BF16 */
    uint32_t steady;       /* every rank of a run computes it, to the same bits:
                              no clock and no file of this machine chooses how */
} gpu_product;

/* One matrix each, F32: y (rows, columns) from a (rows, inner) and b. */
gpu_product gpu_plain_product(uint64_t a, uint64_t b, uint64_t y, int64_t rows,
                              int64_t columns, int64_t inner);

/* Bytes of scratch that it needs, which may be 0. */
int64_t gpu_product_scratch(const gpu_product *p);

tn_status gpu_launch_product(gpu_compiler *c, const gpu_product *p,
                             uint64_t scratch, uint32_t accumulate,
                             tn_error *err);

#endif
