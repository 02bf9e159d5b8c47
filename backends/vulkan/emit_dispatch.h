/*
 * emit_dispatch.h - emitted kernels as dispatches of the node being compiled.
 */
#ifndef VULKAN_EMIT_DISPATCH_H
#define VULKAN_EMIT_DISPATCH_H

#include "compiler.h"
#include "emit.h"

/* Addresses of the inputs, then of the outputs. */
typedef struct gpu_addresses {
    uint64_t at[TN_MAP_MAX_INPUTS + TN_MAP_MAX_OUTPUTS];
    uint32_t count;
} gpu_addresses;

/* Where results go, and how they are stored. */
typedef struct gpu_place {
    uint64_t at;
    tn_dtype dtype;
} gpu_place;

static inline gpu_place gpu_place_of(const gpu_compiler *c, const tn_operand *o)
{
    return (gpu_place){gpu_at(c, o), o->dtype};
}

/* What the device's arithmetic is like. */
static inline void gpu_set_traits(const tn_device *d, gpu_map_spec *spec)
{
    spec->keeps_nan = d->card.keeps_nan;
    spec->fuses = d->fuses;
    spec->divides = (uint32_t)gpu_is_software(&d->card);
}

/* A kernel that has just been emitted: `words` is freed. */
tn_status gpu_dispatch_words(gpu_compiler *c, uint32_t *words,
                             uint32_t word_count, const gpu_addresses *a,
                             int64_t groups, tn_error *err);

tn_status gpu_dispatch_map(gpu_compiler *c, gpu_map_spec *spec,
                           const gpu_addresses *a, tn_error *err);

/* Move the bits of elements of `shape`, of the dtype of `to`, from view to
 * view. */
tn_status gpu_dispatch_move(gpu_compiler *c, uint32_t rank,
                            const int64_t *shape, uint64_t from,
                            const int64_t *from_stride, gpu_place to,
                            const int64_t *to_stride, tn_error *err);

/* The same value in `count` elements. */
tn_status gpu_dispatch_fill(gpu_compiler *c, uint64_t to, int64_t count,
                            tn_dtype dtype, double value, tn_error *err);

/* Everything but columns, lanes, splits and by_rows is given. It may take two
 * phases. */
tn_status gpu_dispatch_reduce(gpu_compiler *c, gpu_reduce_spec *spec,
                              const gpu_addresses *a, tn_error *err);

/* `count` results from `parts` partial ones each, which lie parts x count in
 * F32. */
tn_status gpu_dispatch_join(gpu_compiler *c, uint32_t kind, int64_t parts,
                            uint64_t partial, gpu_place to, int64_t count,
                            uint32_t accumulate, tn_error *err);

/* Tell every element of `index` that is not in [lowest, limit). */
tn_status gpu_dispatch_check(gpu_compiler *c, const tn_operand *index,
                             int64_t lowest, int64_t limit, tn_error *err);

/* Strides of a dense tensor. */
void gpu_dense(uint32_t rank, const int64_t *shape, int64_t *stride);

#endif
