/*
 * matmul.c - MATMUL, cut into slices that any thread takes.
 *
 * An element of a product is the same sum in any slice (gemm.h), so slices may
 * follow from the number of threads and the bits do not: as many as there are
 * threads, cut so that they are even and little is copied twice. Even counts
 * for more than whole tiles: of 1,024 columns each of two threads takes 512 and
 * not 11 and 10.3 tiles of 48.
 *
 * A few rows of A (decoding) are one pass over B (gemv.h). Where its columns
 * are contiguous each thread reads one stretch of them, so that its streams are
 * long.
 */
#include "gemv.h"
#include "kernels.h"
#include "product.h"
#include "quant.h"

#include <math.h>
#include <string.h>

enum {
    COPIED = 24,
    READ = 6,  /* a number, in products of two: measured */
    EMPTY = 8, /* so much of a tile, as one row or column */
    FEW_ROUND = 64,
    FEW_ELEMENTS = 32 * 1024, /* of B in a task of few rows */
};

/* Less than this is not worth another thread: 0.1 ms. */
static const double slice_flops = 10e6;

typedef struct product product;
struct product {
    int64_t M, N, K;
    gemm_any a, b;
    char *c;
    int64_t c_pitch; /* from a row to the next */
    tn_dtype c_dtype;
    cpu_products how;
    int64_t a_shared, c_shared; /* offsets in shared memory; -1: a, c */
    int64_t by_shared;          /* of factors along K; -1: none */
    const shared_powers *powers;
    uint32_t add;
    uint32_t batch_rank;
    int64_t batch_shape[TN_MAX_RANK];
    int64_t batch_a[TN_MAX_RANK], batch_b[TN_MAX_RANK]; /* strides */
    int64_t m_slice, n_slice, m_parts, n_parts;
    int64_t batches, batches_per_task;
    int few;              /* rows */
    const product *after; /* what is packed behind this one, or NULL */
};

/* ---- running ---- */

/* From row m and column n on. */
static gemm_powers powers_from(const shared_powers *s, const cpu_worker *w,
                               int64_t m, int64_t n)
{
    return (gemm_powers){
        .cap = s->cap,
        .column = n,
        .parts = s->parts,
        .center = cpu_floats(w, s->center) + m,
        .target = s->target + m,
        .at_target = cpu_floats(w, s->at_target) + m,
        .total = cpu_floats(w, s->total) + m * s->parts,
    };
}

static void run_slice(const product *p, const cpu_worker *w, gemm_any a,
                      gemm_any b, char *c_at, int64_t m, int64_t n,
                      const gemm_next *after)
{
    const int64_t rows = cpu_min(p->m_slice, p->M - m);
    const int64_t columns = cpu_min(p->n_slice, p->N - n);
    const int64_t at = cpu_bytes(p->c_dtype) * (m * p->c_pitch + n);
    gemm_powers powers;
    gemm_block block = {
        .how = p->how,
        .M = rows,
        .N = columns,
        .K = p->K,
        .a = gemm_from(a, m, 0),
        .b = gemm_from(b, 0, n),
        .c = {c_at ? c_at + at : NULL, p->c_dtype, p->c_pitch, p->add},
        .after = after,
    };
    if (p->by_shared >= 0)
        block.by = cpu_floats(w, p->by_shared);
    if (p->powers) {
        powers = powers_from(p->powers, w, m, n);
        block.powers = &powers;
    }
    if (p->few)
        ISA(gemm_few)(&block, 0, w->scratch);
    else
        ISA(gemm)(&block, w->scratch);
}

/* What a thread packs first of a product, where it has this task of it. */
static gemm_next first_of(const product *p, int64_t task)
{
    if (!p)
        return (gemm_next){0};
    const int64_t n = task % p->n_parts * p->n_slice;
    return ISA(gemm_first)(cpu_min(p->m_slice, p->M),
                           cpu_min(p->n_slice, p->N - n), p->K, p->a,
                           gemm_from(p->b, 0, n));
}

static void run_product(const void *argument, cpu_worker *w, int64_t task)
{
    const product *p = argument;
    const char *base = p->a_shared < 0 ? p->a.at : w->shared + p->a_shared;
    char *to = p->c_shared < 0 ? p->c : w->shared + p->c_shared;
    const int64_t a_bytes = cpu_bytes(p->a.dtype);
    const int64_t b_bytes = cpu_bytes(p->b.dtype);
    const int64_t c_bytes = cpu_bytes(p->c_dtype) * p->M * p->c_pitch;
    const int64_t n = task % p->n_parts * p->n_slice;
    const int64_t m = task / p->n_parts % p->m_parts * p->m_slice;
    const int64_t first = task / p->n_parts / p->m_parts * p->batches_per_task;
    const int64_t end = cpu_min(first + p->batches_per_task, p->batches);
    const gemm_next after = first_of(p->after, task);
    for (int64_t batch = first; batch < end; batch++) {
        gemm_any a = p->a, b = p->b;
        a.at = base;
        int64_t rest = batch;
        for (uint32_t i = p->batch_rank; i-- > 0;) {
            const int64_t at = rest % p->batch_shape[i];
            rest /= p->batch_shape[i];
            a.at += a_bytes * at * p->batch_a[i];
            b.at += b_bytes * at * p->batch_b[i];
        }
        run_slice(p, w, a, b, to ? to + batch * c_bytes : NULL, m, n, &after);
    }
}

/* ---- compiling ---- */

/* Stride of x along axis `axis` of the output, whose rank may be larger. */
static int64_t batch_stride(const tn_operand *x, const tn_operand *out,
                            uint32_t axis)
{
    const uint32_t missing = out->rank - x->rank;
    if (axis < missing || x->shape[axis - missing] == 1)
        return 0;
    return x->stride[axis - missing];
}

static void set_batches(const tn_operand *a, const tn_operand *b,
                        const tn_operand *out, product *p)
{
    p->batches = 1;
    for (uint32_t i = 0; i + 2 < out->rank; i++) {
        if (out->shape[i] == 1)
            continue;
        p->batch_shape[p->batch_rank] = out->shape[i];
        p->batch_a[p->batch_rank] = batch_stride(a, out, i);
        p->batch_b[p->batch_rank++] = batch_stride(b, out, i);
        p->batches *= out->shape[i];
    }
}

/* Batches that share B and lie behind each other in A are rows of one product.
 */
static void fold_batches(product *p)
{
    while (p->batch_rank) {
        const uint32_t last = p->batch_rank - 1;
        if (p->batch_b[last] != 0 || p->batch_a[last] != p->M * p->a.row)
            return;
        p->M *= p->batch_shape[last];
        p->batches /= p->batch_shape[last];
        p->batch_rank--;
    }
}

/* A product with one column is one with one row: c^T = b^T a^T. */
static void transpose_thin(product *p)
{
    if (p->N != 1 || p->M == 1)
        return;
    const gemm_any a = p->a;
    p->a = gemm_transposed(p->b);
    p->b = gemm_transposed(a);
    p->N = p->M;
    p->M = 1;
    for (uint32_t i = 0; i < p->batch_rank; i++) {
        const int64_t stride = p->batch_a[i];
        p->batch_a[i] = p->batch_b[i];
        p->batch_b[i] = stride;
    }
}

/* Rows or columns that slices are multiples of. */
static int64_t step_of(int64_t tile)
{
    return cpu_min(tile, VW);
}

/* How many in full tiles take as long as n rows or columns. */
static int64_t in_tiles(int64_t n, int64_t tile)
{
    const int64_t left = n % tile;
    return n + (left ? (tile - left) / EMPTY : 0);
}

/* What a slice takes of each k, in products of two numbers. */
static double price(const product *p, const gemm_order *order, int64_t m,
                    int64_t n)
{
    const int64_t a = cpu_min(m, p->M), b = cpu_min(n, p->N);
    return (double)(in_tiles(a, order->rows) * in_tiles(b, order->columns) +
                    a * (order->copies_a ? COPIED : READ) +
                    b * (order->copies_b ? COPIED : READ));
}

/* m by n slices, as many as `slices` holds, so that the largest is the
 * cheapest; 0 where c is too small. Powers are summed over whole parts. */
static int split(product *p, int64_t slices)
{
    const gemm_order order =
        ISA(gemm_order_of)(p->how, p->M, p->N, p->a, p->b, p->powers != NULL);
    const int64_t m_step = step_of(order.rows);
    const int64_t n_step = p->powers ? GEMM_PART : step_of(order.columns);
    const int64_t most_m = cpu_parts(p->M, m_step);
    const int64_t most_n = cpu_parts(p->N, n_step);
    double least = (double)INFINITY;
    for (int64_t m = 1; m <= slices; m++) {
        const int64_t n = slices / m;
        const int64_t rows = cpu_parts(most_m, m) * m_step;
        const int64_t columns = cpu_parts(most_n, n) * n_step;
        const double cost = price(p, &order, rows, columns);
        if (m > most_m || n > most_n || cost >= least)
            continue;
        least = cost;
        p->m_slice = rows;
        p->n_slice = columns;
    }
    return least < (double)INFINITY;
}

static void choose_slices(product *p, uint32_t threads)
{
    const double flops = 2.0 * (double)p->M * (double)p->N * (double)p->K;
    int64_t slices =
        cpu_max(1, (int64_t)fmin((double)threads, flops / slice_flops));
    while (!split(p, slices))
        slices--;
}

static int64_t few_columns(const product *p, uint32_t threads)
{
    const int64_t least = cpu_parts(FEW_ELEMENTS / cpu_max(1, p->K), 16) * 16;
    return p->b.row == 1 ? cpu_max(least, cpu_parts(p->N, 16 * threads) * 16)
                         : cpu_max(least, FEW_ROUND);
}

static void choose_tasks(product *p, uint32_t threads)
{
    if (!p->few) {
        choose_slices(p, threads);
    } else {
        p->m_slice = p->M;
        p->n_slice = few_columns(p, threads);
    }
    p->m_parts = cpu_parts(p->M, p->m_slice);
    p->n_parts = cpu_parts(p->N, p->n_slice);
    p->batches_per_task = 1;
    if (p->m_parts * p->n_parts == 1) {
        const double flops =
            2.0 * (double)p->M * (double)p->N * (double)p->K + 1.0;
        const double share = slice_flops / 10.0 / flops;
        p->batches_per_task = share > (double)p->batches
                                  ? p->batches
                                  : cpu_max(1, (int64_t)share);
    }
}

static tn_status check_sizes(const tn_plan_node *node, int64_t M, int64_t N,
                             int64_t K, tn_error *err)
{
    if (M <= INT32_MAX && N <= INT32_MAX && K <= INT32_MAX)
        return TN_OK;
    return cpu_refuse(node, err, "sizes %lld, %lld, %lld are past 2147483647",
                      (long long)M, (long long)N, (long long)K);
}

static void prepare(cpu_compiler *c, product *p, uint32_t threads)
{
    choose_tasks(p, threads);
    const int64_t rows = cpu_min(p->M, p->m_slice);
    const int64_t columns = cpu_min(p->N, p->n_slice);
    cpu_scratch(
        c, p->few ? ISA(gemm_few_scratch)(rows, columns, p->K)
                  : ISA(gemm_scratch)(p->how, rows, columns, p->K, p->c_dtype));
}

static int64_t tasks_of(const product *p)
{
    return p->m_parts * p->n_parts * cpu_parts(p->batches, p->batches_per_task);
}

static void emit(cpu_compiler *c, product *p)
{
    prepare(c, p, cpu_threads(c));
    cpu_step(c, run_product, p, tasks_of(p));
}

/* Weights, which no step writes, are called for by the product before. */
static void follow(cpu_compiler *c, product *p, tn_arena arena)
{
    product *before = cpu_follow(c, p);
    if (before && !p->few &&
        (arena == TN_ARENA_PARAM || arena == TN_ARENA_COPY))
        before->after = p;
}

/* K = 0: sums of nothing. */
static void run_zero(const void *argument, cpu_worker *w, int64_t task)
{
    const product *p = argument;
    (void)w, (void)task;
    if (!p->add)
        memset(p->c, 0,
               (size_t)(cpu_bytes(p->c_dtype) * p->batches * p->M * p->N));
}

tn_status ISA(compile_matmul)(cpu_compiler *c, const tn_plan_node *node,
                              tn_error *err)
{
    const tn_operand *a = &node->in[0], *b = &node->in[1], *out = &node->out[0];
    if (is_quant(b))
        return ISA(compile_quant_matmul)(c, node, err);
    product *p = CPU_ARGUMENT(c, product);
    p->M = out->shape[out->rank - 2];
    p->N = out->shape[out->rank - 1];
    p->K = a->shape[a->rank - 1];
    p->a = gemm_of_operand(c, a);
    p->b = gemm_of_operand(c, b);
    p->c = cpu_at(c, out);
    p->c_dtype = out->dtype;
    p->a_shared = p->c_shared = p->by_shared = -1;
    p->how = gemm_products(c, p->a, p->b);
    p->add = node->accumulate & 1u;
    set_batches(a, b, out, p);
    fold_batches(p);
    transpose_thin(p);
    p->c_pitch = p->N;
    TN_TRY(check_sizes(node, p->M, p->N, p->K, err));
    if (p->batches * p->M * p->N == 0)
        return TN_OK;
    if (p->K == 0) {
        cpu_step(c, run_zero, p, 1);
        return TN_OK;
    }
    p->few = gemm_is_few(p->M, p->b);
    emit(c, p);
    follow(c, p, b->arena);
    return TN_OK;
}

static void take_shared(product *p, const shared_product *s)
{
    p->M = s->M;
    p->N = s->N;
    p->K = s->K;
    p->a = s->a;
    p->b = s->b;
    p->c = s->c;
    p->c_pitch = s->c_pitch;
    p->c_dtype = s->c_dtype;
    p->how = s->how;
    p->a_shared = s->a_shared;
    p->c_shared = s->c_shared;
    p->by_shared = s->by_shared;
    p->powers = s->powers;
    p->add = s->add;
    p->batches = 1;
}

void ISA(emit_product)(cpu_compiler *c, const shared_product *s)
{
    product *p = CPU_ARGUMENT(c, product);
    take_shared(p, s);
    emit(c, p);
}

typedef struct product_pair {
    product of[2];
    int64_t tasks[2];
} product_pair;

static void run_pair(const void *argument, cpu_worker *w, int64_t task)
{
    const product_pair *k = argument;
    const int second = task >= k->tasks[0];
    run_product(&k->of[second], w, second ? task - k->tasks[0] : task);
}

void ISA(emit_product_pair)(cpu_compiler *c, const shared_product *first,
                            const shared_product *second)
{
    product_pair *k = CPU_ARGUMENT(c, product_pair);
    take_shared(&k->of[0], first);
    take_shared(&k->of[1], second);
    for (int i = 0; i < 2; i++) {
        prepare(c, &k->of[i], (cpu_threads(c) + 1) / 2);
        k->tasks[i] = tasks_of(&k->of[i]);
    }
    cpu_step(c, run_pair, k, k->tasks[0] + k->tasks[1]);
}
