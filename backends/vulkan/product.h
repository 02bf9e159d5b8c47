/*
 * product.h - matrix products as op files ask for them.
 */
#ifndef VULKAN_PRODUCT_H
#define VULKAN_PRODUCT_H

#include "compiler.h"

/* y[.., m, n] = sum over k of a[.., m, k] b[.., k, n], y dense: the argument
 * block of matmul.comp and matvec.comp. Strides are in elements, of row and
 * column. */
typedef struct gpu_product {
    uint64_t a, b, y;
    uint64_t a_stride[2], b_stride[2];
    uint64_t a_batch[4], b_batch[4];
    uint32_t batch[4]; /* sizes of up to four batch axes, unused ones 1 */
    uint32_t rows, columns, inner;
    uint32_t parts; /* set by gpu_dispatch_product */
    /* dtypes, which kernels have as specialization constants */
    tn_dtype a_type, b_type, y_type;
    uint32_t cooperates; /* the device has cooperative matrices for both */
} gpu_product;

/* One matrix each, of F32: y (rows, columns) from a (rows, inner) and b. */
gpu_product gpu_plain_product(uint64_t a, uint64_t b, uint64_t y, int64_t rows,
                              int64_t columns, int64_t inner);

/* Once its dtypes are set: whether it is one for cooperative matrices. */
void gpu_let_cooperate(const gpu_compiler *c, gpu_product *p);

/* matmul_coop.comp. */
gpu_code gpu_coop_code(const gpu_coop *coop, const gpu_coop_module *module,
                       uint32_t a_along_k, uint32_t b_along_k,
                       uint32_t accumulate, tn_dtype y_type);

/* Bytes of scratch that it needs, which may be 0. */
int64_t gpu_product_scratch(const gpu_product *p);

/* It may take two phases; what reads y must stand in a later one. */
tn_status gpu_dispatch_product(gpu_compiler *c, gpu_product *p,
                               uint64_t scratch, uint32_t accumulate,
                               tn_error *err);

#endif
