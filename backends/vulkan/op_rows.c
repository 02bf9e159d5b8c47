/*
 * op_rows.c - tables addressed by rows.
 *
 * Indices are data and may be wrong: a kernel of its own checks them all, and
 * those that move rows leave the bad ones out.
 *
 * scatter_add_rows has no atomics, whose order would change from run to run.
 * Rows with the same index are linked into a chain, and the last of a chain
 * sums it.
 */
#include "emit_dispatch.h"
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

enum { LOCAL = 64 }; /* of the kernels below */

tn_status gpu_dispatch_check(gpu_compiler *c, const tn_operand *index,
                             int64_t lowest, int64_t limit, tn_error *err)
{
    const struct {
        uint64_t index;
        uint32_t count;
        int32_t lowest, limit;
    } a = {gpu_at(c, index), (uint32_t)gpu_elements(index), (int32_t)lowest,
           (int32_t)limit};
    const gpu_code code = gpu_kernel(GPU_KERNEL_check_index);
    return gpu_dispatch(c, &code, &a, sizeof a, gpu_ceil(a.count, 256), err);
}

/* ---- gather ---- */

tn_status gpu_compile_gather_rows(gpu_compiler *c, const tn_plan_node *n,
                                  tn_error *err)
{
    const tn_operand *table = &n->in[0], *index = &n->in[1];
    const gpu_addresses a = {
        {gpu_at(c, table), gpu_at(c, index), gpu_at(c, &n->out[0])}, 3};
    gpu_map_spec s = {.rank = table->rank, .in_count = 1, .out_count = 1};
    memcpy(s.shape, table->shape, sizeof s.shape);
    memcpy(s.in[0].stride, table->stride, sizeof table->stride);
    s.in[0].dtype = s.out[0].dtype = table->dtype;
    s.shape[0] = gpu_elements(index);
    gpu_dense(s.rank, s.shape, s.out[0].stride);
    const int64_t elements = gpu_size(s.shape, 0, s.rank);
    uint32_t count = 0;
    TN_TRY(gpu_dispatch_check(c, index, -1, table->shape[0], err));
    uint32_t *words = gpu_emit_gather(&s, table->shape[0], &count);
    return gpu_dispatch_words(c, words, count, &a,
                              gpu_ceil(elements, GPU_LOCAL_SIZE), err);
}

/* ---- scatter ---- */

static tn_status link_rows(gpu_compiler *c, uint64_t index, uint64_t before,
                           uint64_t met, uint32_t count, tn_error *err)
{
    const struct {
        uint64_t index, before, met;
        uint32_t count;
    } a = {index, before, met, count};
    const gpu_code code = gpu_kernel(GPU_KERNEL_scatter_link);
    return gpu_dispatch(c, &code, &a, sizeof a, gpu_ceil(count, LOCAL), err);
}

tn_status gpu_compile_scatter_add_rows(gpu_compiler *c, const tn_plan_node *n,
                                       tn_error *err)
{
    const tn_operand *index = &n->in[0], *y = &n->out[0];
    const int64_t count = gpu_elements(index);
    const int64_t width = gpu_size(y->shape, 1, y->rank);
    const int64_t blocks = gpu_ceil(width, LOCAL);
    const uint32_t accumulate = n->accumulate & 1u;
    const uint64_t before = gpu_scratch(c, 4 * count);
    const uint64_t met = gpu_scratch(c, 4 * count);
    const struct {
        uint64_t index, before, met, x, y;
        uint32_t count, width, rows, blocks;
    } a = {gpu_at(c, index),
           before,
           met,
           gpu_at(c, &n->in[1]),
           gpu_at(c, y),
           (uint32_t)count,
           (uint32_t)width,
           (uint32_t)y->shape[0],
           (uint32_t)blocks};
    TN_TRY(gpu_dispatch_check(c, index, -1, y->shape[0], err));
    TN_TRY(gpu_dispatch_fill(c, met, count, TN_I32, 0.0, err));
    if (!accumulate)
        TN_TRY(gpu_dispatch_fill(c, a.y, gpu_elements(y), y->dtype, 0.0, err));
    gpu_next_phase(c);
    TN_TRY(link_rows(c, a.index, before, met, a.count, err));
    gpu_next_phase(c);
    const gpu_code code =
        GPU_KERNEL(scatter_sum, accumulate, n->in[1].dtype, y->dtype);
    return gpu_dispatch(c, &code, &a, sizeof a, count * blocks, err);
}

/* ---- set ---- */

static tn_status find_last(gpu_compiler *c, uint64_t index, uint64_t keep,
                           const uint32_t sizes[3], tn_error *err)
{
    const struct {
        uint64_t index, keep;
        uint32_t count, steps, rows;
    } a = {index, keep, sizes[0], sizes[1], sizes[2]};
    const gpu_code code = gpu_kernel(GPU_KERNEL_set_rows_last);
    return gpu_dispatch(c, &code, &a, sizeof a, gpu_ceil(sizes[0], LOCAL), err);
}

/* The output lies on the state, input 0. */
tn_status gpu_compile_set_rows(gpu_compiler *c, const tn_plan_node *n,
                               tn_error *err)
{
    const tn_operand *index = &n->in[1], *x = &n->in[2], *y = &n->out[0];
    const int64_t count = gpu_elements(index);
    const int64_t width = gpu_size(y->shape, 2, y->rank);
    const int64_t blocks = gpu_ceil(width, LOCAL);
    const uint64_t keep = gpu_scratch(c, 4 * count);
    const uint32_t sizes[3] = {(uint32_t)count, (uint32_t)index->shape[1],
                               (uint32_t)y->shape[1]};
    const struct {
        uint64_t index, keep, x, state;
        uint32_t count, steps, rows, width, blocks;
    } a = {gpu_at(c, index), keep,     gpu_at(c, x), gpu_at(c, y),
           sizes[0],         sizes[1], sizes[2],     (uint32_t)width,
           (uint32_t)blocks};
    if (x->dtype != y->dtype)
        return gpu_refuse(n, err, "the rows are %s and the state %s",
                          tn_dtype_name(x->dtype), tn_dtype_name(y->dtype));
    TN_TRY(gpu_dispatch_check(c, index, -1, y->shape[1], err));
    TN_TRY(find_last(c, a.index, keep, sizes, err));
    gpu_next_phase(c);
    const gpu_code code =
        GPU_KERNEL(set_rows, (uint32_t)tn_dtype_bytes(y->dtype));
    return gpu_dispatch(c, &code, &a, sizeof a, count * blocks, err);
}
