/*
 * rows.c - reading and writing rows that an index tensor names.
 *
 * -1 means no row. Any other index outside the table is the caller's mistake:
 * it is treated as -1 and reported when the run is over (cpu_fault); nothing
 * outside a tensor is ever touched.
 *
 * Sums of scattered rows have a fixed order, that of the index. Threads share
 * the work by columns: each task reads the whole index and adds its columns of
 * every row, so no two tasks write one number and nobody sorts anything. Only
 * rows that are named are touched, when the sums are added to what is there (an
 * embedding's gradient); otherwise the table is zeroed first.
 */
#include "kernels.h"
#include "quant.h"

#include <string.h>

enum {
    TASK_ELEMENTS = 16 * 1024,
    STREAMED = 4 * 1024 * 1024, /* elements that no cache keeps until read */
    NARROWEST = 64,             /* columns of a task: 4 cache lines */
    MOST_SLICES = 16,
};

typedef struct rows {
    const char *table;
    int64_t bytes; /* of an element */
    const int32_t *index;
    char *out;
    int64_t limit;       /* rows of the table */
    int64_t count;       /* of indices */
    int64_t width;       /* elements of a row */
    int64_t table_pitch; /* elements from row to row of the table */
    int64_t per_task;    /* indices or columns */
    int64_t per_batch;   /* SET_ROWS: indices of one batch */
    uint32_t inner_rank; /* of a row, where the table is strided */
    int64_t inner_shape[TN_MAX_RANK], inner_stride[TN_MAX_RANK];
    uint32_t node;
} rows;

/* The row that index i names, or -1. */
static int64_t row_at(const rows *r, cpu_worker *w, int64_t i)
{
    const int64_t row = r->index[i];
    if (row >= -1 && row < r->limit)
        return row;
    cpu_fault(w, r->node, row, -1, r->limit);
    return -1;
}

/* ---- gather ---- */

static void copy_strided(const rows *r, char *to, const char *from)
{
    int64_t at[TN_MAX_RANK] = {0}, offset = 0;
    for (int64_t i = 0; i < r->width; i++) {
        memcpy(to + r->bytes * i, from + r->bytes * offset, (size_t)r->bytes);
        for (uint32_t k = r->inner_rank; k-- > 0;) {
            offset += r->inner_stride[k];
            if (++at[k] < r->inner_shape[k])
                break;
            offset -= at[k] * r->inner_stride[k];
            at[k] = 0;
        }
    }
}

static void run_gather(const void *argument, cpu_worker *w, int64_t task)
{
    const rows *r = argument;
    const int64_t end = cpu_min((task + 1) * r->per_task, r->count);
    for (int64_t i = task * r->per_task; i < end; i++) {
        const int64_t row = row_at(r, w, i);
        char *to = r->out + r->bytes * i * r->width;
        const char *from = r->table + r->bytes * row * r->table_pitch;
        if (row < 0)
            memset(to, 0, (size_t)(r->bytes * r->width));
        else if (r->inner_rank)
            copy_strided(r, to, from);
        else
            memcpy(to, from, (size_t)(r->bytes * r->width));
    }
}

/* Rows that are dense inside are copied whole. */
static void set_inner(const tn_operand *table, rows *r)
{
    int64_t expected = 1;
    int dense = 1;
    for (uint32_t i = table->rank; i-- > 1;) {
        dense = dense && (table->shape[i] == 1 || table->stride[i] == expected);
        expected *= table->shape[i];
        r->inner_shape[i - 1] = table->shape[i];
        r->inner_stride[i - 1] = table->stride[i];
    }
    r->inner_rank = dense ? 0 : table->rank - 1;
}

tn_status ISA(compile_gather_rows)(cpu_compiler *c, const tn_plan_node *node,
                                   tn_error *err)
{
    const tn_operand *table = &node->in[0], *index = &node->in[1];
    if (is_quant(table))
        return ISA(compile_quant_gather)(c, node, err);
    if (table->dtype != node->out[0].dtype)
        return cpu_refuse(node, err, "table and output differ in dtype");
    rows *r = CPU_ARGUMENT(c, rows);
    r->table = cpu_at(c, table);
    r->bytes = cpu_bytes(table->dtype);
    r->index = cpu_at(c, index);
    r->out = cpu_at(c, &node->out[0]);
    r->limit = table->shape[0];
    r->count = cpu_elements(index);
    r->width = cpu_product(table, 1, table->rank);
    r->table_pitch = table->stride[0];
    r->node = cpu_node(c);
    set_inner(table, r);
    r->per_task = cpu_max(1, TASK_ELEMENTS / cpu_max(1, r->width));
    cpu_step(c, run_gather, r, cpu_parts(r->count, r->per_task));
    return TN_OK;
}

/* ---- scatter ---- */

/* What is written past the caches is not read into them first. */
static void zero_memory(float *to, int64_t n)
{
    for (; n > 0 && (uintptr_t)to % 64; n--)
        *to++ = 0.0f;
    for (; n >= 16; n -= 16, to += 16) {
        _mm256_stream_ps(to, _mm256_setzero_ps());
        _mm256_stream_ps(to + 8, _mm256_setzero_ps());
    }
    for (; n > 0; n--)
        *to++ = 0.0f;
    _mm_sfence();
}

static void run_zero(const void *argument, cpu_worker *w, int64_t task)
{
    const rows *r = argument;
    (void)w;
    const int64_t all = r->limit * r->width;
    const int64_t from = task * TASK_ELEMENTS;
    const int64_t n = cpu_min(TASK_ELEMENTS, all - from);
    float *to = (float *)(void *)r->out + from;
    if (all >= STREAMED)
        zero_memory(to, n);
    else
        memset(to, 0, (size_t)n * sizeof *to);
}

static void add_row(float *to, const float *from, int64_t n)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(to + i, v_load(to + i) + v_load(from + i));
    if (i < n)
        v_store_n(to + i, v_load_n(to + i, n - i) + v_load_n(from + i, n - i),
                  n - i);
}

static void add_bf16_row(float *to, const uint16_t *from, int64_t n)
{
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        v_store(to + i, v_load(to + i) + v_load_bf16(from + i));
    if (i < n)
        v_store_n(to + i,
                  v_load_n(to + i, n - i) + v_load_bf16_n(from + i, n - i),
                  n - i);
}

static void run_scatter(const void *argument, cpu_worker *w, int64_t task)
{
    const rows *r = argument;
    const int64_t column = task * r->per_task;
    const int64_t n = cpu_min(r->per_task, r->width - column);
    const char *x = r->table + r->bytes * column;
    float *out = (float *)(void *)r->out + column;
    for (int64_t i = 0; i < r->count; i++) {
        const int64_t row = row_at(r, w, i);
        const void *from = x + r->bytes * i * r->width;
        if (row >= 0 && r->bytes == 2)
            add_bf16_row(out + row * r->width, from, n);
        else if (row >= 0)
            add_row(out + row * r->width, from, n);
    }
}

static int64_t columns_per_task(int64_t width)
{
    const int64_t slice = cpu_parts(cpu_parts(width, MOST_SLICES), 16) * 16;
    return cpu_max(NARROWEST, slice);
}

tn_status ISA(compile_scatter_add_rows)(cpu_compiler *c,
                                        const tn_plan_node *node, tn_error *err)
{
    (void)err;
    const tn_operand *out = &node->out[0];
    rows *r = CPU_ARGUMENT(c, rows);
    r->index = cpu_at(c, &node->in[0]);
    r->table = cpu_at(c, &node->in[1]);
    r->bytes = cpu_bytes(node->in[1].dtype);
    r->out = cpu_at(c, out);
    r->limit = out->shape[0];
    r->count = cpu_elements(&node->in[0]);
    r->width = cpu_product(out, 1, out->rank);
    r->node = cpu_node(c);
    r->per_task = columns_per_task(r->width);
    if (!(node->accumulate & 1u)) {
        cpu_step(c, run_zero, r, cpu_parts(r->limit * r->width, TASK_ELEMENTS));
        cpu_barrier(c);
    }
    cpu_step(c, run_scatter, r, cpu_parts(r->width, r->per_task));
    return TN_OK;
}

/* ---- set ---- */

/* Where an index repeats the last row stays, so rows are set in order and
 * tasks share columns here, too. */
static void run_set(const void *argument, cpu_worker *w, int64_t task)
{
    const rows *r = argument;
    const int64_t column = task * r->per_task;
    const int64_t n = cpu_min(r->per_task, r->width - column);
    for (int64_t i = 0; i < r->count; i++) {
        const int64_t row = row_at(r, w, i);
        const int64_t to = i / r->per_batch * r->limit + row;
        if (row >= 0)
            memcpy(r->out + r->bytes * (to * r->width + column),
                   r->table + r->bytes * (i * r->width + column),
                   (size_t)(r->bytes * n));
    }
}

tn_status ISA(compile_set_rows)(cpu_compiler *c, const tn_plan_node *node,
                                tn_error *err)
{
    const tn_operand *state = &node->in[0], *index = &node->in[1];
    if (state->dtype != node->in[2].dtype)
        return cpu_refuse(node, err, "state and rows differ in dtype");
    rows *r = CPU_ARGUMENT(c, rows);
    r->out = cpu_at(c, state);
    r->index = cpu_at(c, index);
    r->table = cpu_at(c, &node->in[2]);
    r->bytes = cpu_bytes(state->dtype);
    r->limit = state->shape[1];
    r->count = cpu_elements(index);
    r->width = cpu_product(state, 2, state->rank);
    r->per_batch = cpu_max(1, index->shape[1]);
    r->node = cpu_node(c);
    r->per_task = r->count * r->width > TASK_ELEMENTS
                      ? columns_per_task(r->width)
                      : r->width;
    cpu_step(c, run_set, r, cpu_parts(r->width, cpu_max(1, r->per_task)));
    return TN_OK;
}
