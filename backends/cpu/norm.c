/*
 * norm.c - RMS_NORM and SOFTMAX over rows, forward and backward.
 *
 *     y = x r w,  r = 1 / sqrt(mean(x^2) + eps)                        per row
 *     dx = r w dy - x r^3 mean(x w dy),  dw = sum over rows of x r dy
 *
 * dw is summed over fixed blocks of rows into shared memory by the tasks that
 * compute dx, and over blocks, in double, by a second step.
 */
#include "kernels.h"
#include "lines.h"
#include "vmath.h"

#include <string.h>

enum { TASK_ELEMENTS = 16 * 1024, LEAST_ROWS = 32, COLUMNS = 64 };

typedef struct norm {
    lines x, dy, y; /* y: dx, going back */
    const float *w, *rstd_in;
    float *rstd;
    float *dw;
    int64_t rows, C, rows_per_task;
    int64_t blocks, partial; /* of dw, in shared memory */
    double eps;
    uint32_t add;
} norm;

/* sum of f(i) over vectors i of a row: LOAD(p) loads vector i of p, zero past
 * the end */
#define LOAD(p) (i + VW <= n ? v_load((p) + i) : v_load_n((p) + i, n - i))
#define STORE(p, value)                                                        \
    do {                                                                       \
        if (i + VW <= n)                                                       \
            v_store((p) + i, (value));                                         \
        else                                                                   \
            v_store_n((p) + i, (value), n - i);                                \
    } while (0)

static float sum_of_squares(const norm *k, int64_t at)
{
    const int64_t n = k->C;
    vf even = v_zero(), odd = v_zero();
    for (int64_t i = 0; i < n; i += 2 * VW) {
        const vf a = vector_in(&k->x, at + i, n - i);
        even = v_fma(a, a, even);
        if (i + VW >= n)
            break;
        const vf b = vector_in(&k->x, at + i + VW, n - i - VW);
        odd = v_fma(b, b, odd);
    }
    return v_sum(even + odd);
}

static void run_norm(const void *argument, cpu_worker *worker, int64_t task)
{
    const norm *k = argument;
    const int64_t n = k->C;
    const int64_t end = cpu_min((task + 1) * k->rows_per_task, k->rows);
    (void)worker;
    for (int64_t row = task * k->rows_per_task; row < end; row++) {
        const int64_t at = row * n;
        const double mean = (double)sum_of_squares(k, at) / (double)n;
        const float r = (float)(1.0 / sqrt(mean + k->eps));
        k->rstd[row] = r;
        for (int64_t i = 0; i < n; i += VW) {
            const vf x = vector_in(&k->x, at + i, n - i);
            vector_out(&k->y, at + i, x * v_set(r) * LOAD(k->w), n - i);
        }
    }
}

static norm *new_norm(cpu_compiler *c, const tn_operand *x, double eps)
{
    norm *k = CPU_ARGUMENT(c, norm);
    k->x = lines_of(c, x);
    k->C = x->shape[x->rank - 1];
    cpu_scratch(c, 2 * v_round_up(k->C) * (int64_t)sizeof(float));
    k->rows = cpu_product(x, 0, x->rank - 1);
    k->rows_per_task = cpu_max(1, TASK_ELEMENTS / cpu_max(1, k->C));
    k->eps = eps;
    return k;
}

tn_status ISA(compile_rms_norm)(cpu_compiler *c, const tn_plan_node *node,
                                tn_error *err)
{
    (void)err;
    const tn_norm_attr *attr = node->attr;
    norm *k = new_norm(c, &node->in[0], attr->eps);
    k->w = cpu_at(c, &node->in[1]);
    k->y = lines_of(c, &node->out[0]);
    k->rstd = cpu_at(c, &node->out[1]);
    k->rows_per_task = cpu_share(k->rows, k->rows_per_task);
    cpu_step_along(c, run_norm, k, cpu_parts(k->rows, k->rows_per_task));
    return TN_OK;
}

/* ---- rms_norm backward ---- */

static void norm_row_bwd(const norm *k, int64_t row, float *dw, float *room)
{
    const int64_t n = k->C;
    const float *x = line_in(&k->x, row * n, n, room);
    const float *dy = line_in(&k->dy, row * n, n, room + v_round_up(n));
    float *dx = line_out(&k->y, row * n, room);
    const float r = k->rstd_in[row];
    vf dot = v_zero();
    for (int64_t i = 0; i < n; i += VW) {
        const vf xdy = LOAD(x) * LOAD(dy);
        dot = v_fma(xdy, LOAD(k->w), dot);
        v_store(dw + i, v_fma(xdy, v_set(r), v_load(dw + i)));
    }
    const double mean = (double)v_sum(dot) / (double)n;
    const float f = (float)((double)r * (double)r * (double)r * mean);
    for (int64_t i = 0; i < n; i += VW)
        STORE(dx, v_fnma(LOAD(x), v_set(f), LOAD(dy) * LOAD(k->w) * v_set(r)));
    line_done(&k->y, row * n, n, dx);
}

static void run_norm_bwd(const void *argument, cpu_worker *worker, int64_t task)
{
    const norm *k = argument;
    const int64_t pitch = v_round_up(k->C);
    const int64_t end = cpu_min((task + 1) * k->rows_per_task, k->rows);
    float *dw = (float *)(void *)(worker->shared + k->partial) + task * pitch;
    memset(dw, 0, (size_t)pitch * sizeof *dw);
    for (int64_t row = task * k->rows_per_task; row < end; row++)
        norm_row_bwd(k, row, dw, worker->scratch);
}

static void run_sum_blocks(const void *argument, cpu_worker *worker,
                           int64_t task)
{
    const norm *k = argument;
    const int64_t pitch = v_round_up(k->C), at = task * COLUMNS;
    const int64_t n = cpu_min(COLUMNS, k->C - at);
    const float *partial =
        (const float *)(const void *)(worker->shared + k->partial) + at;
    double sum[COLUMNS] = {0};
    for (int64_t block = 0; block < k->blocks; block++)
        for (int64_t i = 0; i < n; i++)
            sum[i] += (double)partial[block * pitch + i];
    for (int64_t i = 0; i < n; i++)
        k->dw[at + i] =
            (float)(k->add ? (double)k->dw[at + i] + sum[i] : sum[i]);
}

tn_status ISA(compile_rms_norm_bwd)(cpu_compiler *c, const tn_plan_node *node,
                                    tn_error *err)
{
    (void)err;
    norm *k = new_norm(c, &node->in[1], 0.0);
    k->dy = lines_of(c, &node->in[0]);
    k->w = cpu_at(c, &node->in[2]);
    k->rstd_in = cpu_at(c, &node->in[3]);
    k->y = lines_of(c, &node->out[0]);
    k->dw = cpu_at(c, &node->out[1]);
    k->add = node->accumulate >> 1 & 1u;
    k->rows_per_task = cpu_max(LEAST_ROWS, k->rows_per_task);
    k->blocks = cpu_parts(k->rows, k->rows_per_task);
    k->partial =
        cpu_shared(c, k->blocks * v_round_up(k->C) * (int64_t)sizeof(float));
    cpu_step_along(c, run_norm_bwd, k, k->blocks);
    cpu_barrier(c);
    cpu_step(c, run_sum_blocks, k, cpu_parts(k->C, COLUMNS));
    return TN_OK;
}

/* ---- softmax ---- */

static float largest(const float *x, int64_t n)
{
    vf most = v_set(-INFINITY);
    for (int64_t i = 0; i < n; i += VW) {
        const vf a = LOAD(x);
        most = v_max(most, i + VW <= n ? a : v_select(m_first(n - i), a, most));
    }
    return v_largest(most);
}

static void run_softmax(const void *argument, cpu_worker *worker, int64_t task)
{
    const norm *k = argument;
    const int64_t n = k->C;
    const int64_t end = cpu_min((task + 1) * k->rows_per_task, k->rows);
    float *room = worker->scratch;
    for (int64_t row = task * k->rows_per_task; row < end; row++) {
        const float *x = line_in(&k->x, row * n, n, room);
        float *y = line_out(&k->y, row * n, room);
        const vf most = v_set(largest(x, n));
        vf sum = v_zero();
        for (int64_t i = 0; i < n; i += VW) {
            const vf e = v_exp(LOAD(x) - most);
            STORE(y, e);
            sum = sum + v_select(m_first(n - i), e, v_zero());
        }
        const vf scale = v_set(1.0f / v_sum(sum));
        for (int64_t i = 0; i < n; i += VW)
            STORE(y, LOAD(y) * scale);
        line_done(&k->y, row * n, n, y);
    }
}

tn_status ISA(compile_softmax)(cpu_compiler *c, const tn_plan_node *node,
                               tn_error *err)
{
    (void)err;
    norm *k = new_norm(c, &node->in[0], 0.0);
    k->y = lines_of(c, &node->out[0]);
    cpu_step(c, run_softmax, k, cpu_parts(k->rows, k->rows_per_task));
    return TN_OK;
}

/* dx = y (dy - sum(y dy)); x is the forward's y here */
static void run_softmax_bwd(const void *argument, cpu_worker *worker,
                            int64_t task)
{
    const norm *k = argument;
    const int64_t n = k->C;
    const int64_t end = cpu_min((task + 1) * k->rows_per_task, k->rows);
    float *room = worker->scratch;
    for (int64_t row = task * k->rows_per_task; row < end; row++) {
        const float *y = line_in(&k->x, row * n, n, room);
        const float *dy = line_in(&k->dy, row * n, n, room + v_round_up(n));
        float *dx = line_out(&k->y, row * n, room);
        vf dot = v_zero();
        for (int64_t i = 0; i < n; i += VW)
            dot = v_fma(LOAD(y), LOAD(dy), dot);
        const vf mean = v_set(v_sum(dot));
        for (int64_t i = 0; i < n; i += VW)
            STORE(dx, LOAD(y) * (LOAD(dy) - mean));
        line_done(&k->y, row * n, n, dx);
    }
}

tn_status ISA(compile_softmax_bwd)(cpu_compiler *c, const tn_plan_node *node,
                                   tn_error *err)
{
    (void)err;
    norm *k = new_norm(c, &node->in[1], 0.0);
    k->dy = lines_of(c, &node->in[0]);
    k->y = lines_of(c, &node->out[0]);
    cpu_step(c, run_softmax_bwd, k, cpu_parts(k->rows, k->rows_per_task));
    return TN_OK;
}
