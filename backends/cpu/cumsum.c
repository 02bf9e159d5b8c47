/*
 * cumsum.c - running sums along an axis, in double.
 *
 * x is (O, N, C) with N the axis. A task owns up to LANES columns of one outer
 * position and walks N once; columns are independent of each other.
 */
#include "kernels.h"

enum { LANES = 64, TASK_ELEMENTS = 16 * 1024 };

typedef struct scan {
    const float *x;
    float *y;
    int64_t O, N, C;
    int64_t slices; /* of C */
    int64_t units, units_per_task;
    uint32_t reverse, exclusive;
} scan;

static void run_columns(const scan *s, const float *x, float *y, int64_t lanes)
{
    double sum[LANES] = {0};
    for (int64_t i = 0; i < s->N; i++) {
        const int64_t at = (s->reverse ? s->N - 1 - i : i) * s->C;
        for (int64_t j = 0; j < lanes; j++) {
            const double before = sum[j];
            sum[j] += (double)x[at + j];
            y[at + j] = (float)(s->exclusive ? before : sum[j]);
        }
    }
}

static void run_scan(const void *argument, cpu_worker *w, int64_t task)
{
    const scan *s = argument;
    const int64_t end = cpu_min((task + 1) * s->units_per_task, s->units);
    (void)w;
    for (int64_t u = task * s->units_per_task; u < end; u++) {
        const int64_t c = u % s->slices * LANES;
        const int64_t at = u / s->slices * s->N * s->C + c;
        run_columns(s, s->x + at, s->y + at, cpu_min(LANES, s->C - c));
    }
}

tn_status ISA(compile_cumsum)(cpu_compiler *c, const tn_plan_node *node,
                              tn_error *err)
{
    (void)err;
    const tn_cumsum_attr *attr = node->attr;
    const tn_operand *x = &node->in[0];
    scan *s = CPU_ARGUMENT(c, scan);
    s->x = cpu_at(c, x);
    s->y = cpu_at(c, &node->out[0]);
    s->O = cpu_product(x, 0, attr->axis);
    s->N = x->shape[attr->axis];
    s->C = cpu_product(x, attr->axis + 1, x->rank);
    s->reverse = attr->reverse;
    s->exclusive = attr->exclusive;
    s->slices = cpu_parts(s->C, LANES);
    s->units = s->O * s->slices;
    s->units_per_task =
        cpu_max(1, TASK_ELEMENTS / cpu_max(1, s->N * cpu_min(s->C, LANES)));
    cpu_step(c, run_scan, s, cpu_parts(s->units, s->units_per_task));
    return TN_OK;
}
