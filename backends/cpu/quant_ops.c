/*
 * quant_ops.c - the ops that read weights in blocks: MATMUL, GROUPED_MATMUL,
 * GATHER_ROWS and COPY.
 *
 * A task of a product is a stretch of the result's columns, that is of rows of
 * blocks, for all rows of x. Up to FEW of those become integers, which the task
 * makes itself: that is a few percent of what it reads. More meet blocks that
 * were decoded into floats, a slice at a time.
 */
#include "gemv.h"
#include "kernels.h"
#include "quant.h"

#include <string.h>

#include <tenon/blocks.h>

enum {
    FEW = 2 * GEMV_ROWS, /* rows of x */
    PAIRS = GEMV_ROWS / QUANT_ROWS,
    STRETCH = 256,             /* columns that all pairs meet before the next */
    TASK_ELEMENTS = 64 * 1024, /* of the weights, at least */
    MOST_COLUMNS = 4096,       /* of the result */
    DECODED_ELEMENTS = 64 * 1024, /* of a slice in floats */
    COPY_ELEMENTS = 16 * 1024,
};

typedef struct product {
    int64_t M, N, K;
    gemm_any a;
    const char *b;
    tn_dtype dtype;  /* of the weights */
    int64_t b_pitch; /* bytes from row to row of blocks */
    char *c;
    tn_dtype c_dtype;
    int64_t c_pitch;
    int64_t slice; /* columns of a task */
    uint32_t add;
    /* of GROUPED_MATMUL */
    int64_t parts,
        b_expert; /* tasks of an expert; bytes from one to the next */
    const int32_t *offsets;
    uint32_t node;
} product;

/* ---- rows of x and of the result ---- */

/* Row i of a as floats: where it lies, or in `room`. */
static const float *row_of(const product *p, int64_t i, float *room)
{
    const gemm_any a = gemm_from(p->a, i, 0);
    const float *x = (const float *)(const void *)a.at;
    const uint16_t *half = (const uint16_t *)(const void *)a.at;
    if (a.column == 1 && a.dtype == TN_F32)
        return x;
    if (a.column == 1)
        v_widen(room, half, p->K);
    else
        for (int64_t k = 0; k < p->K; k++)
            room[k] = a.dtype == TN_F32 ? x[k * a.column]
                                        : f_of_bf16(half[k * a.column]);
    return room;
}

/* Columns [n, n + count) of row i of c from floats. */
static void put(const product *p, int64_t i, int64_t n, int64_t count,
                const float *from)
{
    const int64_t at = i * p->c_pitch + n;
    float *to = (float *)(void *)p->c + at;
    if (p->c_dtype == TN_BF16) {
        v_narrow((uint16_t *)(void *)p->c + at, from, count);
        return;
    }
    for (int64_t j = 0; j < count; j++)
        to[j] = p->add ? to[j] + from[j] : from[j];
}

/* ---- few rows ---- */

static int64_t up(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Of a pair of rows of x. */
static int64_t pair_bytes(const product *p)
{
    return up(ISA(quant_rows_bytes)(p->dtype, QUANT_ROWS, p->K));
}

static int64_t few_scratch(const product *p)
{
    return up(4 * GEMV_ROWS * p->slice) + up(4 * p->K) + PAIRS * pair_bytes(p);
}

/* Rows [first, first + rows) of x, at most GEMV_ROWS, by columns
 * [n, n + columns): results, then a row of x, then all of them in integers. */
typedef struct part {
    const char *b;
    int64_t first, rows, n, columns;
    float *y, *x, *rest;
} part;

/* Columns [n, n + columns) of t by rows [i, i + 2) of its x. */
static void multiply_pair(const product *p, const part *t, const quant_rows *x,
                          int64_t i, int64_t n, int64_t columns)
{
    const quant_product dots = {.x = x,
                                .rows = cpu_min(QUANT_ROWS, t->rows - i),
                                .w = t->b + (t->n + n) * p->b_pitch,
                                .w_pitch = p->b_pitch,
                                .N = columns,
                                .c = t->y + i * t->columns + n,
                                .c_pitch = t->columns};
    ISA(quant_dots)(&dots);
}

/* Where there are several pairs, all meet a stretch of blocks while it is in
 * the cache. */
static void multiply(const product *p, const part *t)
{
    quant_rows x[PAIRS];
    for (int64_t i = 0; i < t->rows; i++) {
        const int64_t pair = i / QUANT_ROWS, in = i % QUANT_ROWS;
        if (in == 0)
            x[pair] = ISA(quant_rows_in)(
                p->dtype, cpu_min(QUANT_ROWS, t->rows - i), p->K,
                (char *)t->rest + pair * pair_bytes(p));
        ISA(quant_row_put)(&x[pair], in, row_of(p, t->first + i, t->x));
    }
    const int64_t stretch = t->rows > QUANT_ROWS ? STRETCH : t->columns;
    for (int64_t n = 0; n < t->columns; n += stretch)
        for (int64_t i = 0; i < t->rows; i += QUANT_ROWS)
            multiply_pair(p, t, &x[i / QUANT_ROWS], i, n,
                          cpu_min(stretch, t->columns - n));
}

static void multiply_few(const product *p, cpu_worker *w, const char *b,
                         int64_t first, int64_t rows, int64_t task)
{
    part t = {.b = b, .first = first, .rows = rows, .n = task * p->slice};
    t.columns = cpu_min(p->slice, p->N - t.n);
    t.y = w->scratch;
    t.x = t.y + up(4 * GEMV_ROWS * p->slice) / 4;
    t.rest = t.x + up(4 * p->K) / 4;
    multiply(p, &t);
    for (int64_t i = 0; i < rows; i++)
        put(p, first + i, t.n, t.columns, t.y + i * t.columns);
}

static void run_few(const void *argument, cpu_worker *w, int64_t task)
{
    const product *p = argument;
    for (int64_t i = 0; i < p->M; i += GEMV_ROWS)
        multiply_few(p, w, p->b, i, cpu_min(GEMV_ROWS, p->M - i), task);
}

/* As many for each thread, of columns that lie together. */
static void compile_few(cpu_compiler *c, product *p)
{
    const int64_t threads = cpu_threads(c);
    const int64_t parts = threads * cpu_parts(p->N, threads * MOST_COLUMNS);
    p->slice = cpu_max(cpu_parts(p->N, parts),
                       cpu_parts(TASK_ELEMENTS, cpu_max(1, p->K)));
    p->slice = cpu_min(p->slice, p->N);
    cpu_scratch(c, few_scratch(p));
    cpu_step(c, run_few, p, cpu_parts(p->N, p->slice));
}

/* ---- many rows ---- */

/* Of a slice, in whole lines of the cache. */
static int64_t decoded_floats(const product *p)
{
    return (p->slice * p->K + 15) / 16 * 16;
}

static void run_many(const void *argument, cpu_worker *w, int64_t task)
{
    const product *p = argument;
    const int64_t n = task * p->slice;
    const int64_t columns = cpu_min(p->slice, p->N - n);
    float *decoded = w->scratch;
    const gemm_block block = {
        .how = CPU_FLOATS,
        .M = p->M,
        .N = columns,
        .K = p->K,
        .a = p->a,
        .b = gemm_of(decoded, TN_F32, 1, p->K),
        .c = {p->c + cpu_bytes(p->c_dtype) * n, p->c_dtype, p->c_pitch, p->add},
    };
    for (int64_t j = 0; j < columns; j++)
        ISA(quant_decode)
    (p->dtype, p->b + (n + j) * p->b_pitch, p->K, decoded + j * p->K);
    ISA(gemm)(&block, decoded + decoded_floats(p));
}

static void compile_many(cpu_compiler *c, product *p)
{
    p->slice = cpu_max(32, DECODED_ELEMENTS / p->K / 32 * 32);
    p->slice = cpu_min(p->slice, p->N);
    cpu_scratch(
        c, decoded_floats(p) * (int64_t)sizeof(float) +
               ISA(gemm_scratch)(CPU_FLOATS, p->M, p->slice, p->K, p->c_dtype));
    cpu_step(c, run_many, p, cpu_parts(p->N, p->slice));
}

/* ---- MATMUL ---- */

static tn_status check(const tn_plan_node *node, const tn_operand *b,
                       tn_error *err)
{
    const int64_t block = tn_dtype_block(b->dtype);
    const int64_t K = b->shape[b->rank - 2];
    if (b->stride[b->rank - 2] == 1 && K % block == 0 &&
        (b->shape[b->rank - 1] == 1 || b->stride[b->rank - 1] % block == 0) &&
        cpu_max(K, b->shape[b->rank - 1]) <= INT32_MAX)
        return TN_OK;
    return cpu_refuse(node, err,
                      "weights in %s must lie in whole blocks of %lld along "
                      "the axis that is summed over",
                      tn_dtype_name(b->dtype), (long long)block);
}

static product product_of(const cpu_compiler *c, const tn_plan_node *node)
{
    const tn_operand *a = &node->in[0], *b = &node->in[1], *out = &node->out[0];
    return (product){
        .M = a->shape[a->rank - 2],
        .N = out->shape[out->rank - 1],
        .K = a->shape[a->rank - 1],
        .a = {cpu_at(c, a), a->dtype, a->stride[a->rank - 2],
              a->stride[a->rank - 1], NULL},
        .b = cpu_at(c, b),
        .dtype = b->dtype,
        .b_pitch = tn_dtype_span(b->dtype, b->stride[b->rank - 1]),
        .c = cpu_at(c, out),
        .c_dtype = out->dtype,
        .c_pitch = out->shape[out->rank - 1],
        .add = node->accumulate & 1u,
        .node = cpu_node(c),
    };
}

/* The stride of batch axis i; 0 where it is repeated. */
static int64_t stride_of(const tn_operand *x, uint32_t i)
{
    return x->shape[i] == 1 ? 0 : x->stride[i];
}

/* Rows of all batches as rows of one product, where they lie behind each other
 * and meet the same weights. */
static int is_one_product(const tn_operand *a, const tn_operand *b)
{
    int64_t expected = a->shape[a->rank - 2] * a->stride[a->rank - 2];
    for (uint32_t i = a->rank - 2; i-- > 0;) {
        if (stride_of(b, i) || (a->shape[i] > 1 && a->stride[i] != expected))
            return 0;
        expected *= a->shape[i];
    }
    return 1;
}

static void compile_one(cpu_compiler *c, const product *p)
{
    product *kept = CPU_ARGUMENT(c, product);
    *kept = *p;
    if (p->M <= FEW)
        compile_few(c, kept);
    else
        compile_many(c, kept);
}

/* Batch axes have the same rank everywhere (plan.h). */
static void compile_batches(cpu_compiler *c, const tn_plan_node *node,
                            const product *p)
{
    const tn_operand *a = &node->in[0], *b = &node->in[1];
    const uint32_t axes = node->out[0].rank - 2;
    const int64_t count = cpu_product(&node->out[0], 0, axes);
    for (int64_t batch = 0; batch < count; batch++) {
        product one = *p;
        int64_t rest = batch, a_at = 0, b_at = 0;
        for (uint32_t i = axes; i-- > 0;) {
            const int64_t at = rest % node->out[0].shape[i];
            rest /= node->out[0].shape[i];
            a_at += at * stride_of(a, i);
            b_at += at * stride_of(b, i);
        }
        one.a.at += cpu_bytes(one.a.dtype) * a_at;
        one.b += tn_dtype_span(one.dtype, b_at);
        one.c += cpu_bytes(one.c_dtype) * batch * p->M * p->N;
        compile_one(c, &one);
    }
}

tn_status ISA(compile_quant_matmul)(cpu_compiler *c, const tn_plan_node *node,
                                    tn_error *err)
{
    product p = product_of(c, node);
    TN_TRY(check(node, &node->in[1], err));
    if (!is_one_product(&node->in[0], &node->in[1])) {
        compile_batches(c, node, &p);
        return TN_OK;
    }
    p.M = cpu_elements(&node->in[0]) / p.K;
    compile_one(c, &p);
    return TN_OK;
}

/* ---- GROUPED_MATMUL: the rows of an expert by the expert's matrix ---- */

static void run_grouped(const void *argument, cpu_worker *w, int64_t task)
{
    const product *p = argument;
    const int64_t expert = task / p->parts;
    const int64_t from = p->offsets[expert], to = p->offsets[expert + 1];
    if (from < 0 || from > to || to > p->M) {
        cpu_fault(w, p->node, from >= 0 && from <= to ? to : from, 0, p->M + 1);
        return;
    }
    for (int64_t i = from; i < to; i += GEMV_ROWS)
        multiply_few(p, w, p->b + expert * p->b_expert, i,
                     cpu_min(GEMV_ROWS, to - i), task % p->parts);
}

tn_status ISA(compile_quant_grouped)(cpu_compiler *c, const tn_plan_node *node,
                                     tn_error *err)
{
    const tn_grouped_matmul_attr *attr = node->attr;
    const tn_operand *b = &node->in[1];
    product *p = CPU_ARGUMENT(c, product);
    *p = product_of(c, node);
    TN_TRY(check(node, b, err));
    if (attr->transpose_a)
        return cpu_refuse(node, err, "weights in %s have no gradient",
                          tn_dtype_name(b->dtype));
    p->offsets = cpu_at(c, &node->in[2]);
    p->b_expert = tn_dtype_span(b->dtype, b->stride[0]);
    p->parts = cpu_max(1, p->N * p->K / TASK_ELEMENTS);
    p->slice = cpu_parts(p->N, p->parts);
    p->parts = cpu_parts(p->N, p->slice);
    cpu_scratch(c, few_scratch(p));
    cpu_step(c, run_grouped, p, b->shape[0] * p->parts);
    return TN_OK;
}

/* ---- GATHER_ROWS ---- */

typedef struct lookup {
    const char *table;
    tn_dtype dtype;
    const int32_t *index;
    float *out;
    int64_t limit, width, pitch; /* rows, elements of one, bytes between them */
    uint32_t node;
} lookup;

static void run_lookup(const void *argument, cpu_worker *w, int64_t i)
{
    const lookup *l = argument;
    const int64_t row = l->index[i];
    float *to = l->out + i * l->width;
    if (row < -1 || row >= l->limit)
        cpu_fault(w, l->node, row, -1, l->limit);
    if (row >= 0 && row < l->limit)
        ISA(quant_decode)(l->dtype, l->table + row * l->pitch, l->width, to);
    else
        for (int64_t k = 0; k < l->width; k++)
            to[k] = 0.0f;
}

tn_status ISA(compile_quant_gather)(cpu_compiler *c, const tn_plan_node *node,
                                    tn_error *err)
{
    const tn_operand *table = &node->in[0];
    const int64_t block = tn_dtype_block(table->dtype);
    lookup *l = CPU_ARGUMENT(c, lookup);
    l->width = cpu_product(table, 1, table->rank);
    if (node->out[0].dtype != TN_F32 || l->width % block ||
        table->stride[0] % block)
        return cpu_refuse(node, err,
                          "rows of %s are whole blocks of %lld and become F32",
                          tn_dtype_name(table->dtype), (long long)block);
    l->table = cpu_at(c, table);
    l->dtype = table->dtype;
    l->index = cpu_at(c, &node->in[1]);
    l->out = cpu_at(c, &node->out[0]);
    l->limit = table->shape[0];
    l->pitch = tn_dtype_span(table->dtype, table->stride[0]);
    l->node = cpu_node(c);
    cpu_step(c, run_lookup, l, cpu_elements(&node->in[1]));
    return TN_OK;
}

/* ---- COPY: all of it as floats ---- */

typedef struct decoding {
    const char *from;
    tn_dtype dtype;
    float *to;
    tn_operand x;
    int64_t lines, per_task;
} decoding;

/* Elements before element 0 of line `line`, counting all axes but the last. */
static int64_t line_at(const tn_operand *x, int64_t line)
{
    int64_t offset = 0;
    for (uint32_t i = x->rank - 1; i-- > 0;) {
        offset += line % x->shape[i] * x->stride[i];
        line /= x->shape[i];
    }
    return offset;
}

static float element(const decoding *d, int64_t at)
{
    const tn_q8_0 *q8 = (const tn_q8_0 *)(const void *)d->from;
    const tn_q4_k *q4 = (const tn_q4_k *)(const void *)d->from;
    return d->dtype == TN_Q8_0 ? tn_q8_0_at(q8 + at / 32, (int)(at % 32))
                               : tn_q4_k_at(q4 + at / 256, (int)(at % 256));
}

static void run_decoding(const void *argument, cpu_worker *w, int64_t task)
{
    const decoding *d = argument;
    const uint32_t last = d->x.rank - 1;
    const int64_t n = d->x.shape[last], stride = d->x.stride[last];
    const int64_t end = cpu_min((task + 1) * d->per_task, d->lines);
    const int64_t block = tn_dtype_block(d->dtype);
    (void)w;
    for (int64_t line = task * d->per_task; line < end; line++) {
        const int64_t at = line_at(&d->x, line);
        float *to = d->to + line * n;
        if (stride == 1 && at % block == 0 && n % block == 0)
            ISA(quant_decode)
        (d->dtype, d->from + tn_dtype_span(d->dtype, at), n, to);
        else for (int64_t i = 0; i < n; i++) to[i] =
            element(d, at + i * stride);
    }
}

tn_status ISA(compile_quant_copy)(cpu_compiler *c, const tn_plan_node *node,
                                  tn_error *err)
{
    const tn_operand *x = &node->in[0];
    if (node->out[0].dtype != TN_F32 || x->rank < 1)
        return cpu_refuse(node, err, "%s is copied to F32 only",
                          tn_dtype_name(x->dtype));
    decoding *d = CPU_ARGUMENT(c, decoding);
    d->from = cpu_at(c, x);
    d->dtype = x->dtype;
    d->to = cpu_at(c, &node->out[0]);
    d->x = *x;
    d->lines = cpu_product(x, 0, x->rank - 1);
    d->per_task = cpu_max(1, COPY_ELEMENTS / x->shape[x->rank - 1]);
    cpu_step(c, run_decoding, d, cpu_parts(d->lines, d->per_task));
    return TN_OK;
}
