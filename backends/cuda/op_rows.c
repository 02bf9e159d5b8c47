/*
 * op_rows.c - tables addressed by rows.
 *
 * Indices are data and may be wrong: a kernel of its own checks them all, and
 * those that move rows leave the bad ones out.
 */
#include "blocks.h"

#include <string.h>

/* ---- gather ---- */

/* Four words at a time where rows of the table lie in whole, aligned ones. */
static int by_four_words(const gpu_map_spec *s, const gpu_addresses *a)
{
    if (tn_dtype_bytes(s->in[0].dtype) != 4 || a->at[0] % 16 || a->at[2] % 16 ||
        s->rank != 2 || s->shape[1] % 4 || s->in[0].stride[1] != 1 ||
        s->in[0].stride[0] % 4)
        return 0;
    return 1;
}

tn_status gpu_compile_gather_rows(gpu_compiler *c, const tn_plan_node *n,
                                  tn_error *err)
{
    const tn_operand *table = &n->in[0], *index = &n->in[1];
    if (gpu_is_blocks(table->dtype))
        return gpu_unblock_rows(c, n, err);
    const gpu_addresses a = {
        {gpu_at(c, table), gpu_at(c, index), gpu_at(c, &n->out[0])}, 3};
    gpu_map_spec s = {.rank = table->rank, .in_count = 1};
    uint32_t unit = (uint32_t)tn_dtype_bytes(table->dtype);
    if (table->dtype != n->out[0].dtype)
        return gpu_refuse(n, err, "the table is %s and the output %s",
                          tn_dtype_name(table->dtype),
                          tn_dtype_name(n->out[0].dtype));
    memcpy(s.shape, table->shape, sizeof s.shape);
    memcpy(s.in[0].stride, table->stride, sizeof table->stride);
    s.in[0].dtype = table->dtype;
    s.shape[0] = gpu_elements(index);
    if (by_four_words(&s, &a)) {
        unit = 16;
        s.shape[1] /= 4;
        s.in[0].stride[0] /= 4;
    }
    const int64_t elements = gpu_size(s.shape, 0, s.rank);
    TN_TRY(gpu_launch_check(c, index, -1, table->shape[0], err));
    return gpu_launch_text(
        c, gpu_emit_gather(&s, table->shape[0], unit), &a, sizeof a.at,
        (gpu_grid){gpu_ceil(elements, GPU_BLOCK), 1, 1, GPU_BLOCK, 0}, err);
}

/* ---- scatter ---- */

enum { RUN_THREADS = 128 };

/* Sort (index, place) by index: as many passes of 8 bits as `rows` has. The
 * result's addresses replace those in `a`. */
static tn_status sort(gpu_compiler *c, gpu_sort_args *a, tn_error *err)
{
    const uint64_t key[2] = {gpu_scratch(c, 4 * a->count),
                             gpu_scratch(c, 4 * a->count)};
    const uint64_t place[2] = {gpu_scratch(c, 4 * a->count),
                               gpu_scratch(c, 4 * a->count)};
    a->tiles = (uint32_t)gpu_ceil(a->count, GPU_SORT_TILE);
    a->counts = gpu_scratch(c, 4 * GPU_SORT_DIGITS * (int64_t)a->tiles);
    a->first = 1;
    const gpu_grid tiles = {a->tiles, 1, 1, 256, 0}, one = {1, 1, 1, 256, 0};
    for (a->shift = 0; a->shift < 32 && (uint32_t)a->rows >> a->shift;
         a->shift += 8) {
        const uint32_t to = a->shift / 8 % 2;
        a->key_out = key[to];
        a->place_out = place[to];
        TN_TRY(gpu_launch(c, GPU_FAMILY_rows, "sort_count", a, sizeof *a, tiles,
                          err));
        TN_TRY(gpu_launch(c, GPU_FAMILY_rows, "sort_scan", a, sizeof *a, one,
                          err));
        TN_TRY(gpu_launch(c, GPU_FAMILY_rows, "sort_place", a, sizeof *a, tiles,
                          err));
        a->key = key[to];
        a->place = place[to];
        a->first = 0;
    }
    return TN_OK;
}

static const char *sum_runs_of(tn_dtype x, tn_dtype y)
{
    if (x == TN_F32)
        return y == TN_F32 ? "sum_runs_ff" : "sum_runs_fb";
    return y == TN_F32 ? "sum_runs_bf" : "sum_runs_bb";
}

tn_status gpu_compile_scatter_add_rows(gpu_compiler *c, const tn_plan_node *n,
                                       tn_error *err)
{
    const tn_operand *index = &n->in[0], *x = &n->in[1], *y = &n->out[0];
    gpu_sort_args s = {.key = gpu_at(c, index),
                       .count = gpu_elements(index),
                       .rows = (int32_t)y->shape[0]};
    gpu_runs_args a = {.x = gpu_at(c, x),
                       .y = gpu_at(c, y),
                       .count = s.count,
                       .width = gpu_size(y->shape, 1, y->rank),
                       .rows = s.rows,
                       .accumulate = n->accumulate & 1u};
    const int64_t chunks = gpu_ceil(a.count, GPU_RUN_ROWS);
    const gpu_grid grid = {chunks, gpu_ceil(a.width, RUN_THREADS), 1,
                           RUN_THREADS, 0};
    TN_TRY(gpu_launch_check(c, index, -1, y->shape[0], err));
    if (!a.accumulate)
        TN_TRY(gpu_launch_zero(
            c, a.y, gpu_elements(y) * tn_dtype_bytes(y->dtype), err));
    if (!a.count || !a.width)
        return TN_OK;
    TN_TRY(sort(c, &s, err));
    a.key = s.key;
    a.place = s.place;
    a.ends = gpu_scratch(c, 4 * 2 * chunks * a.width);
    TN_TRY(gpu_launch(c, GPU_FAMILY_rows, sum_runs_of(x->dtype, y->dtype), &a,
                      sizeof a, grid, err));
    return gpu_launch(c, GPU_FAMILY_rows,
                      y->dtype == TN_F32 ? "join_runs_f" : "join_runs_b", &a,
                      sizeof a, grid, err);
}

/* ---- set ---- */

/* The output lies on the state, input 0. */
tn_status gpu_compile_set_rows(gpu_compiler *c, const tn_plan_node *n,
                               tn_error *err)
{
    const tn_operand *index = &n->in[1], *x = &n->in[2], *y = &n->out[0];
    gpu_set_rows_args a = {.index = gpu_at(c, index),
                           .x = gpu_at(c, x),
                           .state = gpu_at(c, y),
                           .count = gpu_elements(index),
                           .steps = (int32_t)index->shape[1],
                           .rows = (int32_t)y->shape[1]};
    const int64_t bytes =
        gpu_size(y->shape, 2, y->rank) * tn_dtype_bytes(y->dtype);
    if (x->dtype != y->dtype)
        return gpu_refuse(n, err, "the rows are %s and the state %s",
                          tn_dtype_name(x->dtype), tn_dtype_name(y->dtype));
    const int aligned = bytes % 16 == 0 && a.x % 16 == 0 && a.state % 16 == 0;
    a.unit = aligned ? 16 : (uint32_t)tn_dtype_bytes(y->dtype);
    a.width = bytes / a.unit;
    a.keep = gpu_scratch(c, 4 * a.count);
    TN_TRY(gpu_launch_check(c, index, -1, y->shape[1], err));
    TN_TRY(gpu_launch(c, GPU_FAMILY_rows, "set_rows_last", &a, sizeof a,
                      (gpu_grid){gpu_ceil(a.count, 256), 1, 1, 256, 0}, err));
    return gpu_launch(c, GPU_FAMILY_rows,
                      a.unit == 16  ? "set_rows_16"
                      : a.unit == 4 ? "set_rows_4"
                                    : "set_rows_2",
                      &a, sizeof a,
                      (gpu_grid){a.count, gpu_ceil(a.width, 128), 1, 128, 0},
                      err);
}
