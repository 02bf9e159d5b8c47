/*
 * newton_schulz.c - NEWTON_SCHULZ: half of two symmetric products, and a third.
 *
 *     X = x / max(|x|, eps)
 *     G = X X'      U = a I + b G + c G G      X = U X        `steps` times
 *
 * Nothing is transposed: of a matrix with more rows than columns G = X'X, and
 * X = X U. G and U are symmetric, so only blocks on and above the diagonal are
 * multiplied, and mirrored.
 *
 * A matrix that is too small to share, or one of many, is one task's from
 * beginning to end, in that thread's scratch. Else its products are cut into
 * the blocks that tasks take, one matrix after the other, in shared memory.
 */
#include "gemm.h"
#include "kernels.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK_ROUND = 64,
    MOST_BLOCKS = 6,    /* rows and columns of blocks of G and U */
    MOST_SLICES = 16,   /* of X */
    MANY_MATRICES = 16, /* as tasks of their own */
    NORM_ELEMENTS = 16 * 1024,
};

/* Products below this are not worth another thread. */
static const double block_flops = 10e6;

typedef struct schulz {
    const float *x;
    float *out;
    int64_t R, C, S, L;    /* S = min(R, C), L = max(R, C) */
    int64_t matrix;        /* the first of the task's or the step's */
    int64_t block, blocks; /* of S */
    int64_t slice, slices; /* of L */
    int64_t squares, work; /* offsets in shared memory */
    int64_t room;          /* floats of scratch that a product wants */
    int64_t steps;
    uint32_t from_out; /* this step's X lies in `out`, its next in `work` */
    float a, b, c;
    double eps;
} schulz;

/* One matrix: where its two X, G and U lie. */
typedef struct matrices {
    const float *x;
    float *out, *other, *G, *U;
} matrices;

static int64_t work_floats(const schulz *n)
{
    return n->S * n->L + 2 * n->S * n->S;
}

static matrices matrices_of(const schulz *n, int64_t matrix, float *work)
{
    const int64_t at = matrix * n->R * n->C;
    return (matrices){.x = n->x + at,
                      .out = n->out + at,
                      .other = work,
                      .G = work + n->S * n->L,
                      .U = work + n->S * n->L + n->S * n->S};
}

/* ---- x over its norm ---- */

static int64_t norm_parts(const schulz *n)
{
    return cpu_parts(n->R * n->C, NORM_ELEMENTS);
}

static double squares_of(const schulz *n, const float *x, int64_t part)
{
    const int64_t at = part * NORM_ELEMENTS;
    const int64_t end = cpu_min(at + NORM_ELEMENTS, n->R * n->C);
    vf sum = v_zero();
    for (int64_t i = at; i < end; i += VW) {
        const vf value = v_load_n(x + i, end - i);
        sum = v_fma(value, value, sum);
    }
    return (double)v_sum(sum);
}

static void scale(const schulz *n, const float *x, float *to, int64_t part,
                  double squares)
{
    const int64_t at = part * NORM_ELEMENTS;
    const int64_t end = cpu_min(at + NORM_ELEMENTS, n->R * n->C);
    const vf inverse = v_set((float)(1.0 / fmax(sqrt(squares), n->eps)));
    for (int64_t i = at; i < end; i += VW)
        v_store_n(to + i, inverse * v_load_n(x + i, end - i), end - i);
}

/* ---- blocks of the products ---- */

/* Block number `task` of those with row <= column. */
static void find_block(int64_t blocks, int64_t task, int64_t *row,
                       int64_t *column)
{
    *row = 0;
    while (task >= blocks - *row) {
        task -= blocks - *row;
        ++*row;
    }
    *column = *row + task;
}

static void mirror(const schulz *n, float *x, int64_t i, int64_t rows,
                   int64_t j, int64_t columns)
{
    for (int64_t r = i; r < i + rows; r++)
        for (int64_t c = j; c < j + columns; c++)
            x[c * n->S + r] = x[r * n->S + c];
}

static gemm_any matrix(const float *at, int64_t row, int64_t column)
{
    return gemm_of(at, TN_F32, row, column);
}

/* to (M, N), rows `pitch` apart, = a (M, K) b (K, N) */
static void multiply(const cpu_worker *w, int64_t M, int64_t N, int64_t K,
                     gemm_any a, gemm_any b, float *to, int64_t pitch)
{
    const gemm_block block = {
        .how = CPU_FLOATS,
        .M = M,
        .N = N,
        .K = K,
        .a = a,
        .b = b,
        .c = {(char *)to, TN_F32, pitch, 0},
    };
    ISA(gemm)(&block, w->scratch);
}

/* A block of G = X X', or X'X of a tall one */
static void gram(const schulz *n, const cpu_worker *w, const float *X, float *G,
                 int64_t task)
{
    int64_t i, j;
    find_block(n->blocks, task, &i, &j);
    i *= n->block;
    j *= n->block;
    const int64_t rows = cpu_min(n->block, n->S - i);
    const int64_t columns = cpu_min(n->block, n->S - j);
    const int64_t across = n->R > n->C ? 1 : n->C;
    const int64_t along = n->R > n->C ? n->C : 1;
    multiply(w, rows, columns, n->L, matrix(X + i * across, across, along),
             matrix(X + j * across, along, across), G + i * n->S + j, n->S);
    if (i < j)
        mirror(n, G, i, rows, j, columns);
}

/* A block of U = a I + b G + c G G */
static void polynomial(const schulz *n, const cpu_worker *w, const float *G,
                       float *U, int64_t task)
{
    int64_t i, j;
    find_block(n->blocks, task, &i, &j);
    i *= n->block;
    j *= n->block;
    const int64_t rows = cpu_min(n->block, n->S - i);
    const int64_t columns = cpu_min(n->block, n->S - j);
    multiply(w, rows, columns, n->S, matrix(G + i * n->S, n->S, 1),
             matrix(G + j, n->S, 1), U + i * n->S + j, n->S);
    for (int64_t r = i; r < i + rows; r++) {
        float *to = U + r * n->S + j;
        const float *from = G + r * n->S + j;
        for (int64_t c = 0; c < columns; c++)
            to[c] = n->b * from[c] + n->c * to[c];
        if (i == j)
            to[r - i] += n->a;
    }
    if (i < j)
        mirror(n, U, i, rows, j, columns);
}

/* A slice of next = U X, or X U of a tall one */
static void apply(const schulz *n, const cpu_worker *w, const float *X,
                  const float *U, float *next, int64_t task)
{
    const int64_t at = task * n->slice;
    const int64_t count = cpu_min(n->slice, n->L - at);
    const gemm_any by = matrix(U, n->S, 1);
    if (n->R > n->C)
        multiply(w, count, n->S, n->S, matrix(X + at * n->C, n->C, 1), by,
                 next + at * n->C, n->C);
    else
        multiply(w, n->S, count, n->S, by, matrix(X + at, n->C, 1), next + at,
                 n->C);
}

static int64_t pairs(const schulz *n)
{
    return n->blocks * (n->blocks + 1) / 2;
}

/* ---- a matrix in one task ---- */

static void run_whole(const void *argument, cpu_worker *w, int64_t matrix)
{
    const schulz *n = argument;
    const matrices m = matrices_of(n, matrix, w->scratch + n->room);
    /* the last of the steps writes `out` */
    float *X = n->steps % 2 ? m.other : m.out;
    double squares = 0.0;
    for (int64_t i = 0; i < norm_parts(n); i++)
        squares += squares_of(n, m.x, i);
    for (int64_t i = 0; i < norm_parts(n); i++)
        scale(n, m.x, X, i, squares);
    for (int64_t s = 0; s < n->steps; s++) {
        float *next = X == m.out ? m.other : m.out;
        for (int64_t i = 0; i < pairs(n); i++)
            gram(n, w, X, m.G, i);
        for (int64_t i = 0; i < pairs(n); i++)
            polynomial(n, w, m.G, m.U, i);
        for (int64_t i = 0; i < n->slices; i++)
            apply(n, w, X, m.U, next, i);
        X = next;
    }
}

/* ---- a matrix in steps of many tasks ---- */

static matrices shared_matrices(const schulz *n, const cpu_worker *w)
{
    return matrices_of(n, n->matrix, cpu_floats(w, n->work));
}

static double *squares_in(const schulz *n, const cpu_worker *w)
{
    return (double *)(void *)(w->shared + n->squares);
}

static void run_squares(const void *argument, cpu_worker *w, int64_t task)
{
    const schulz *n = argument;
    squares_in(n, w)[task] = squares_of(n, shared_matrices(n, w).x, task);
}

static void run_scale(const void *argument, cpu_worker *w, int64_t task)
{
    const schulz *n = argument;
    const matrices m = shared_matrices(n, w);
    double squares = 0.0;
    for (int64_t i = 0; i < norm_parts(n); i++)
        squares += squares_in(n, w)[i];
    scale(n, m.x, n->from_out ? m.out : m.other, task, squares);
}

static void run_gram(const void *argument, cpu_worker *w, int64_t task)
{
    const schulz *n = argument;
    const matrices m = shared_matrices(n, w);
    gram(n, w, n->from_out ? m.out : m.other, m.G, task);
}

static void run_polynomial(const void *argument, cpu_worker *w, int64_t task)
{
    const schulz *n = argument;
    const matrices m = shared_matrices(n, w);
    polynomial(n, w, m.G, m.U, task);
}

static void run_apply(const void *argument, cpu_worker *w, int64_t task)
{
    const schulz *n = argument;
    const matrices m = shared_matrices(n, w);
    if (n->from_out)
        apply(n, w, m.out, m.U, m.other, task);
    else
        apply(n, w, m.other, m.U, m.out, task);
}

/* ---- compiling ---- */

static void choose_blocks(schulz *n)
{
    const double S = (double)n->S, L = (double)n->L;
    int64_t blocks = MOST_BLOCKS, slices = MOST_SLICES;
    while (blocks > 1 && 2.0 * S * S * S < block_flops * (double)blocks)
        blocks--;
    while (slices > 1 && 2.0 * S * S * L < block_flops * (double)slices)
        slices /= 2;
    n->block = cpu_parts(cpu_parts(n->S, blocks), BLOCK_ROUND) * BLOCK_ROUND;
    n->slice = cpu_parts(cpu_parts(n->L, slices), BLOCK_ROUND) * BLOCK_ROUND;
    n->blocks = cpu_parts(n->S, n->block);
    n->slices = cpu_parts(n->L, n->slice);
}

/* What the largest of the products wants. */
static int64_t product_floats(const schulz *n)
{
    const int64_t most = cpu_max(n->S, n->slice);
    return ISA(gemm_scratch)(CPU_FLOATS, most, most, n->L, TN_F32) /
           (int64_t)sizeof(float);
}

static void compile_matrix(cpu_compiler *c, const schulz *all, int64_t matrix)
{
    schulz *first = NULL;
    for (int64_t s = 0; s < all->steps; s++) {
        schulz *n = CPU_ARGUMENT(c, schulz);
        *n = *all;
        n->matrix = matrix;
        n->from_out = (all->steps - s) % 2 == 0;
        if (!first) {
            first = n;
            cpu_step(c, run_squares, n, norm_parts(n));
            cpu_barrier(c);
            cpu_step(c, run_scale, n, norm_parts(n));
        }
        cpu_barrier(c);
        cpu_step(c, run_gram, n, pairs(n));
        cpu_barrier(c);
        cpu_step(c, run_polynomial, n, pairs(n));
        cpu_barrier(c);
        cpu_step(c, run_apply, n, n->slices);
    }
    cpu_barrier(c);
}

tn_status ISA(compile_newton_schulz)(cpu_compiler *c, const tn_plan_node *node,
                                     tn_error *err)
{
    (void)err;
    const tn_newton_schulz_attr *attr = node->attr;
    const int64_t *shape = node->in[0].shape;
    schulz *n = CPU_ARGUMENT(c, schulz);
    n->x = cpu_at(c, &node->in[0]);
    n->out = cpu_at(c, &node->out[0]);
    n->R = shape[1];
    n->C = shape[2];
    n->S = cpu_min(n->R, n->C);
    n->L = cpu_max(n->R, n->C);
    n->steps = attr->steps;
    n->a = (float)attr->a;
    n->b = (float)attr->b;
    n->c = (float)attr->c;
    n->eps = attr->eps;
    if (n->S == 0)
        return TN_OK;
    choose_blocks(n);
    const int64_t bytes = work_floats(n) * (int64_t)sizeof(float);
    n->room = product_floats(n);
    cpu_scratch(c, n->room * (int64_t)sizeof(float));
    if (n->slices == 1 || shape[0] >= MANY_MATRICES) {
        cpu_scratch(c, n->room * (int64_t)sizeof(float) + bytes);
        cpu_step(c, run_whole, n, shape[0]);
        return TN_OK;
    }
    n->squares = cpu_shared(c, norm_parts(n) * (int64_t)sizeof(double));
    n->work = cpu_shared(c, bytes);
    for (int64_t matrix = 0; matrix < shape[0]; matrix++)
        compile_matrix(c, n, matrix);
    return TN_OK;
}
