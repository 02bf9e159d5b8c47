/*
 * grouped.c - GROUPED_MATMUL: the rows of each expert by the expert's matrix.
 *
 * How many rows an expert has is data. So the forward product is cut by rows:
 * each group into blocks of ROWS, of which there are R / ROWS + E at most;
 * a task finds its block by walking the offsets, and those past the last do
 * nothing. However uneven the groups are, blocks are of one size, and what a
 * block is depends on the offsets and not on who runs it.
 *
 * With transpose_a an expert's matrix is the sum over its rows, and is cut
 * into slices instead, which threads take in turn.
 */
#include "gemv.h"
#include "kernels.h"
#include "quant.h"

#include <string.h>

enum { ROWS = 256, SLICE_ROUND = 64, ENOUGH_TASKS = 16, SLICES = 4 };

typedef struct grouped {
    int64_t R, K, N, E;
    gemm_any a, b;
    int64_t expert; /* stride of b from one expert to the next */
    const int32_t *offsets;
    char *c;
    tn_dtype c_dtype;
    cpu_products how;
    uint32_t add;
    uint32_t node;
    int64_t slice, parts; /* of N; with transpose_a of K */
} grouped;

/* The expert's rows, none where the offsets are not such. */
static int64_t rows_of(const grouped *g, cpu_worker *w, int64_t expert,
                       int64_t *first)
{
    const int64_t from = g->offsets[expert], to = g->offsets[expert + 1];
    *first = from;
    if (from >= 0 && from <= to && to <= g->R)
        return to - from;
    cpu_fault(w, g->node, from >= 0 && from <= to ? to : from, 0, g->R + 1);
    return 0;
}

/* ---- rows by the expert's matrix ---- */

/* Block number `block` of all groups': its expert, first row and rows; 0 where
 * there are fewer. */
static int64_t find_block(const grouped *g, cpu_worker *w, int64_t block,
                          int64_t *expert, int64_t *first)
{
    for (int64_t e = 0; e < g->E; e++) {
        const int64_t rows = rows_of(g, w, e, first);
        const int64_t blocks = cpu_parts(rows, ROWS);
        if (block < blocks) {
            *expert = e;
            *first += block * ROWS;
            return cpu_min(ROWS, rows - block * ROWS);
        }
        block -= blocks;
    }
    return 0;
}

/* c from element `at` on: (M, N) = a b */
static void multiply(const grouped *g, const cpu_worker *w, int64_t M,
                     int64_t N, int64_t K, gemm_any a, gemm_any b, int64_t at)
{
    const gemm_block block = {
        .how = g->how,
        .M = M,
        .N = N,
        .K = K,
        .a = a,
        .b = b,
        .c = {g->c + cpu_bytes(g->c_dtype) * at, g->c_dtype, g->N, g->add},
    };
    if (gemm_is_few(M, b))
        ISA(gemm_few)(&block, 0, w->scratch);
    else
        ISA(gemm)(&block, w->scratch);
}

static void run_grouped(const void *argument, cpu_worker *w, int64_t task)
{
    const grouped *g = argument;
    const int64_t n = task % g->parts * g->slice;
    const int64_t columns = cpu_min(g->slice, g->N - n);
    int64_t expert = 0, first = 0;
    const int64_t rows = find_block(g, w, task / g->parts, &expert, &first);
    if (rows == 0)
        return;
    gemm_any b = g->b;
    b.at += cpu_bytes(b.dtype) * expert * g->expert;
    multiply(g, w, rows, columns, g->K, gemm_from(g->a, first, 0),
             gemm_from(b, 0, n), first * g->N + n);
}

static void need_scratch(cpu_compiler *c, const grouped *g, int64_t M,
                         int64_t N, int64_t K)
{
    cpu_scratch(c, ISA(gemm_scratch)(g->how, M, N, K, g->c_dtype));
    cpu_scratch(c, ISA(gemm_few_scratch)(GEMV_ROWS, N, K));
}

static void compile_rows(cpu_compiler *c, grouped *g)
{
    const int64_t blocks = g->R / ROWS + g->E;
    const int64_t parts = cpu_parts(ENOUGH_TASKS, blocks);
    g->slice = cpu_parts(cpu_parts(g->N, parts), SLICE_ROUND) * SLICE_ROUND;
    g->parts = cpu_parts(g->N, g->slice);
    need_scratch(c, g, ROWS, g->slice, g->K);
    if (g->R * g->K * g->N > 0)
        cpu_step(c, run_grouped, g, blocks * g->parts);
}

/* ---- a group's a^T b ---- */

static void run_transposed(const void *argument, cpu_worker *w, int64_t task)
{
    const grouped *g = argument;
    const int64_t expert = task / g->parts, k = task % g->parts * g->slice;
    const int64_t kept = cpu_min(g->slice, g->K - k);
    const int64_t at = (expert * g->K + k) * g->N;
    const int64_t bytes = cpu_bytes(g->c_dtype);
    int64_t first;
    const int64_t rows = rows_of(g, w, expert, &first);
    if (rows == 0) {
        if (!g->add)
            memset(g->c + bytes * at, 0, (size_t)(bytes * kept * g->N));
        return;
    }
    gemm_any a = gemm_from(g->a, first, k);
    a.row = g->a.column;
    a.column = g->a.row;
    multiply(g, w, kept, g->N, rows, a, gemm_from(g->b, first, 0), at);
}

static void compile_transposed(cpu_compiler *c, grouped *g)
{
    const int64_t parts = cpu_max(SLICES, cpu_parts(ENOUGH_TASKS, g->E));
    g->slice = cpu_parts(cpu_parts(g->K, parts), SLICE_ROUND) * SLICE_ROUND;
    g->parts = cpu_parts(g->K, g->slice);
    need_scratch(c, g, g->slice, g->N, g->R);
    cpu_step(c, run_transposed, g, g->E * g->parts);
}

/* ---- compiling ---- */

tn_status ISA(compile_grouped_matmul)(cpu_compiler *c, const tn_plan_node *node,
                                      tn_error *err)
{
    const tn_grouped_matmul_attr *attr = node->attr;
    const tn_operand *a = &node->in[0], *b = &node->in[1], *out = &node->out[0];
    if (is_quant(b))
        return ISA(compile_quant_grouped)(c, node, err);
    grouped *g = CPU_ARGUMENT(c, grouped);
    g->R = a->shape[0];
    g->K = a->shape[1];
    g->N = out->shape[out->rank - 1];
    g->E = node->in[2].shape[0] - 1;
    g->a = gemm_of_operand(c, a);
    g->b = gemm_of_operand(c, b);
    g->expert = b->rank == 3 ? b->stride[0] : 0;
    g->offsets = cpu_at(c, &node->in[2]);
    g->c = cpu_at(c, out);
    g->c_dtype = out->dtype;
    g->how = gemm_products(c, g->a, g->b);
    g->add = node->accumulate & 1u;
    g->node = cpu_node(c);
    if (cpu_max(g->R, cpu_max(g->K, g->N)) > INT32_MAX)
        return cpu_refuse(node, err,
                          "sizes %lld, %lld, %lld are past 2147483647",
                          (long long)g->R, (long long)g->N, (long long)g->K);
    if (attr->transpose_a)
        compile_transposed(c, g);
    else
        compile_rows(c, g);
    return TN_OK;
}
