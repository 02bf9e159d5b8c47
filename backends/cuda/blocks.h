/*
 * blocks.h - weights in 8 and 4 bits, as op files meet them.
 */
#ifndef CUDA_BLOCKS_H
#define CUDA_BLOCKS_H

#include "emit_launch.h"

uint32_t gpu_is_blocks(tn_dtype dtype);

/* COPY and GATHER_ROWS of blocks. */
tn_status gpu_unblock_copy(gpu_compiler *c, const tn_plan_node *node,
                           tn_error *err);
tn_status gpu_unblock_rows(gpu_compiler *c, const tn_plan_node *node,
                           tn_error *err);

/* Where the second operand of a product lies, its strides, and what it is. */
typedef struct gpu_numbers {
    uint64_t at;
    int64_t stride[TN_MAX_RANK];
    tn_dtype dtype;
} gpu_numbers;

/* Of a MATMUL or GROUPED_MATMUL: where it is blocks and rows are many, its
 * numbers in scratch, in the dtype of the first operand. */
tn_status gpu_unblock_weights(gpu_compiler *c, const tn_plan_node *node,
                              gpu_numbers *b, tn_error *err);

/* Whether the rows are so few that blocks are multiplied as they lie: */
uint32_t gpu_are_few_blocks(const tn_plan_node *node);
tn_status gpu_multiply_blocks(gpu_compiler *c, const tn_plan_node *node,
                              const gpu_product_args *p, tn_error *err);
tn_status gpu_multiply_block_rows(gpu_compiler *c, const tn_plan_node *node,
                                  const gpu_grouped_args *g, tn_error *err);

#endif
