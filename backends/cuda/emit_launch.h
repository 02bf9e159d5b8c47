/*
 * emit_launch.h - emitted kernels as launches of the node being compiled.
 */
#ifndef CUDA_EMIT_LAUNCH_H
#define CUDA_EMIT_LAUNCH_H

#include "compiler.h"
#include "emit.h"

/* Addresses of the inputs, then of the outputs. */
typedef struct gpu_addresses {
    uint64_t at[TN_MAP_MAX_INPUTS + TN_MAP_MAX_OUTPUTS];
    uint32_t count;
} gpu_addresses;

/* Elements in a row that a thread can take of a folded map: 4 or 1. */
uint32_t gpu_vector_of(const gpu_map_spec *spec, const gpu_addresses *a);

/* What a map's node says, and its addresses. */
gpu_map_spec gpu_map_of(gpu_compiler *c, const tn_plan_node *map,
                        gpu_addresses *a);

/* `spec` is folded, and told how many elements in a row a thread can take. */
tn_status gpu_launch_map(gpu_compiler *c, gpu_map_spec *spec,
                         const gpu_addresses *a, tn_error *err);

/* Move elements of `shape` from view to view, in the dtype of each. */
tn_status gpu_launch_copy(gpu_compiler *c, uint32_t rank, const int64_t *shape,
                          uint64_t from, const gpu_view *from_view, uint64_t to,
                          const gpu_view *to_view, tn_error *err);

/* The same value in `count` elements. */
tn_status gpu_launch_fill(gpu_compiler *c, uint64_t to, int64_t count,
                          tn_dtype dtype, double value, tn_error *err);

/* Everything but columns, lanes, splits and by_rows is given. */
tn_status gpu_launch_reduce(gpu_compiler *c, gpu_reduce_spec *spec,
                            const gpu_addresses *a, tn_error *err);

/* A norm's gradient of its weight: dw = sum over rows of dy x r. */
tn_status gpu_sum_norm_weight(gpu_compiler *c, const tn_plan_node *norm_bwd,
                              tn_error *err);

/* `count` results of dtype from `parts` partial ones each, F32, which lie
 * parts x count. */
tn_status gpu_launch_join(gpu_compiler *c, uint32_t kind, int64_t parts,
                          uint64_t partial, uint64_t to, tn_dtype dtype,
                          int64_t count, uint32_t accumulate, tn_error *err);

/* Strides of a dense tensor. */
void gpu_dense(uint32_t rank, const int64_t *shape, int64_t *stride);

#endif
