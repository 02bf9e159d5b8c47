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
#include "gemm.h"
#include "kernels.h"

#include <string.h>

enum { ROWS = 256, SLICE_ROUND = 64, ENOUGH_TASKS = 16, SLICES = 4 };

typedef struct grouped {
    int64_t R, K, N, E;
    gemm_matrix a, b;
    int64_t expert; /* stride of b from one expert to the next */
    const int32_t *offsets;
    float *c;
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

static void run_grouped(const void *argument, cpu_worker *w, int64_t task)
{
    const grouped *g = argument;
    const int64_t n = task % g->parts * g->slice;
    const int64_t columns = cpu_min(g->slice, g->N - n);
    int64_t expert = 0, first = 0;
    const int64_t rows = find_block(g, w, task / g->parts, &expert, &first);
    if (rows == 0)
        return;
    gemm_matrix a = g->a, b = g->b;
    a.at += first * a.row;
    b.at += expert * g->expert + n * b.column;
    float *c = g->c + first * g->N + n;
    if (rows <= GEMM_DOT_ROWS && b.row == 1)
        ISA(gemm_dot)(rows, columns, g->K, a, b, c, g->N, g->add);
    else if (rows <= GEMM_DOT_ROWS && b.column == 1)
        ISA(gemm_direct)(rows, columns, g->K, a, b, c, g->N, g->add);
    else
        ISA(gemm_blas)(w, rows, columns, g->K, a, b, c, g->N, g->add);
}

static void compile_rows(cpu_compiler *c, grouped *g)
{
    const int64_t blocks = g->R / ROWS + g->E;
    const int64_t parts = cpu_parts(ENOUGH_TASKS, blocks);
    g->slice = cpu_parts(cpu_parts(g->N, parts), SLICE_ROUND) * SLICE_ROUND;
    g->parts = cpu_parts(g->N, g->slice);
    if (g->R * g->K * g->N > 0)
        cpu_step(c, run_grouped, g, blocks * g->parts);
}

/* ---- a group's a^T b ---- */

static void run_transposed(const void *argument, cpu_worker *w, int64_t task)
{
    const grouped *g = argument;
    const int64_t expert = task / g->parts, k = task % g->parts * g->slice;
    const int64_t kept = cpu_min(g->slice, g->K - k);
    float *c = g->c + (expert * g->K + k) * g->N;
    int64_t first;
    const int64_t rows = rows_of(g, w, expert, &first);
    if (rows == 0) {
        if (!g->add)
            memset(c, 0, (size_t)(kept * g->N) * sizeof *c);
        return;
    }
    const gemm_matrix a = {g->a.at + first * g->a.row + k * g->a.column,
                           g->a.column, g->a.row};
    gemm_matrix b = g->b;
    b.at += first * b.row;
    ISA(gemm_blas)(w, kept, g->N, rows, a, b, c, g->N, g->add);
}

static void compile_transposed(cpu_compiler *c, grouped *g)
{
    const int64_t parts = cpu_max(SLICES, cpu_parts(ENOUGH_TASKS, g->E));
    g->slice = cpu_parts(cpu_parts(g->K, parts), SLICE_ROUND) * SLICE_ROUND;
    g->parts = cpu_parts(g->K, g->slice);
    cpu_step(c, run_transposed, g, g->E * g->parts);
}

/* ---- compiling ---- */

static gemm_matrix matrix_of(const cpu_compiler *c, const tn_operand *x)
{
    return (gemm_matrix){cpu_at(c, x), x->stride[x->rank - 2],
                         x->stride[x->rank - 1]};
}

tn_status ISA(compile_grouped_matmul)(cpu_compiler *c, const tn_plan_node *node,
                                      tn_error *err)
{
    const tn_grouped_matmul_attr *attr = node->attr;
    const tn_operand *a = &node->in[0], *b = &node->in[1], *out = &node->out[0];
    grouped *g = CPU_ARGUMENT(c, grouped);
    g->R = a->shape[0];
    g->K = a->shape[1];
    g->N = out->shape[out->rank - 1];
    g->E = node->in[2].shape[0] - 1;
    g->a = matrix_of(c, a);
    g->b = matrix_of(c, b);
    g->expert = b->rank == 3 ? b->stride[0] : 0;
    g->offsets = cpu_at(c, &node->in[2]);
    g->c = cpu_at(c, out);
    g->add = node->accumulate & 1u;
    g->node = cpu_node(c);
    if (cpu_max(g->R, cpu_max(g->K, g->N)) > INT32_MAX)
        return cpu_refuse(node, err,
                          "sizes %lld, %lld, %lld are past what the library "
                          "takes (2147483647)",
                          (long long)g->R, (long long)g->N, (long long)g->K);
    if (attr->transpose_a)
        compile_transposed(c, g);
    else
        compile_rows(c, g);
    return TN_OK;
}
