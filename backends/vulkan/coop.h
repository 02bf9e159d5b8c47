/*
 * coop.h - cooperative matrices: small products that a subgroup computes as one
 * instruction, where the device has them.
 *
 * Two extensions offer the same. VK_NV_cooperative_matrix came first and is
 * what the shader compilers of stable distributions know; its successor
 * VK_KHR_cooperative_matrix, all vendors'. matmul_coop.comp is written in the
 * words of the first and rewritten here into those of the second.
 *
 * Operands have two bytes, sums are F32. A device tells which sizes and types
 * it has; where none fits, products take the plain kernel.
 */
#ifndef VULKAN_COOP_H
#define VULKAN_COOP_H

#include <tenon/base.h>

enum { GPU_COOP_NONE, GPU_COOP_NV, GPU_COOP_KHR };

/* One row of what a device tells: y (m, n) = a (m, k) b (k, n) + c. */
typedef struct gpu_coop_row {
    uint32_t m, n, k;
    tn_dtype a, b, c, y;  /* 0: another type */
    uint32_t of_subgroup; /* its scope is the subgroup */
} gpu_coop_row;

/* What products in one dtype use; kind GPU_COOP_NONE: the plain kernel. */
typedef struct gpu_coop {
    uint32_t kind;
    uint32_t m, n, k;
    uint32_t subgroup; /* invocations */
} gpu_coop;

enum { GPU_COOP_SIDE = 64 }; /* results of a workgroup, both ways */

/* The row that matmul_coop.comp is to use for operands of this dtype: its
 * subgroups make 32 x 32 results over slices of 32. */
gpu_coop gpu_coop_choose(const gpu_coop_row *rows, uint32_t count,
                         tn_dtype dtype, uint32_t kind, uint32_t subgroup);

/* The module for this kind and dtype of operands, in memory of the caller's;
 * NULL where memory ran out. `words` is matmul_coop.comp's. */
uint32_t *gpu_coop_rewrite(const uint32_t *words, uint32_t count, uint32_t kind,
                           tn_dtype dtype, uint32_t *word_count);

#endif
