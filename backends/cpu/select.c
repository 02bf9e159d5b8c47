/*
 * select.c - which elements are largest, and rows sorted by expert.
 *
 * TOPK keeps a heap of the k best seen, its root the worst of them; of equal
 * values the one with the lower index is the better. A row costs N comparisons
 * and few moves, since most elements do not beat the root. NaN beats nothing.
 */
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { TASK_ELEMENTS = 16 * 1024 };

typedef struct selection {
    const float *x;
    float *values; /* TOPK */
    int32_t *index;
    int64_t rows, N, k;
    int64_t rows_per_task;
} selection;

/* ---- topk ---- */

typedef struct entry {
    float value;
    int32_t index;
} entry;

static int worse(entry a, entry b)
{
    if (a.value != b.value)
        return a.value < b.value || (a.value != a.value && b.value == b.value);
    return a.index > b.index;
}

/* heap[at] may be better than its children: move it down. */
static void sink(entry *heap, int64_t n, int64_t at)
{
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= n)
            return;
        if (child + 1 < n && worse(heap[child + 1], heap[child]))
            child++;
        if (!worse(heap[child], heap[at]))
            return;
        const entry moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
        at = child;
    }
}

static void best_of_row(const float *x, int64_t n, int64_t k, entry *heap)
{
    for (int64_t i = 0; i < k; i++)
        heap[i] = (entry){x[i], (int32_t)i};
    for (int64_t i = k / 2; i-- > 0;)
        sink(heap, k, i);
    for (int64_t i = k; i < n; i++) {
        const entry e = {x[i], (int32_t)i};
        if (worse(heap[0], e)) {
            heap[0] = e;
            sink(heap, k, 0);
        }
    }
    for (int64_t last = k - 1; last > 0; last--) {
        const entry worst = heap[0];
        heap[0] = heap[last];
        heap[last] = worst;
        sink(heap, last, 0);
    }
}

static void run_topk(const void *argument, cpu_worker *w, int64_t task)
{
    const selection *s = argument;
    const int64_t end = cpu_min((task + 1) * s->rows_per_task, s->rows);
    entry *heap = (entry *)(void *)w->scratch;
    for (int64_t row = task * s->rows_per_task; row < end; row++) {
        best_of_row(s->x + row * s->N, s->N, s->k, heap);
        for (int64_t i = 0; i < s->k; i++) {
            s->values[row * s->k + i] = heap[i].value;
            s->index[row * s->k + i] = heap[i].index;
        }
    }
}

static selection *new_selection(cpu_compiler *c, const tn_operand *x)
{
    selection *s = CPU_ARGUMENT(c, selection);
    s->x = cpu_at(c, x);
    s->N = x->shape[x->rank - 1];
    s->rows = cpu_product(x, 0, x->rank - 1);
    s->rows_per_task = cpu_max(1, TASK_ELEMENTS / cpu_max(1, s->N));
    return s;
}

tn_status ISA(compile_topk)(cpu_compiler *c, const tn_plan_node *node,
                            tn_error *err)
{
    selection *s = new_selection(c, &node->in[0]);
    s->k = ((const tn_topk_attr *)node->attr)->k;
    if (s->k < 0 || s->k > s->N || s->N > INT32_MAX)
        return cpu_refuse(node, err, "k is %lld of %lld elements",
                          (long long)s->k, (long long)s->N);
    s->values = cpu_at(c, &node->out[0]);
    s->index = cpu_at(c, &node->out[1]);
    cpu_scratch(c, s->k * (int64_t)sizeof(entry));
    if (s->k > 0)
        cpu_step(c, run_topk, s, cpu_parts(s->rows, s->rows_per_task));
    return TN_OK;
}

/* ---- argmax: the largest value first, then where it is ---- */

static float largest_of_row(const float *x, int64_t n)
{
    vf most = v_set(-INFINITY);
    int64_t i = 0;
    for (; i + VW <= n; i += VW)
        most = v_max(v_load(x + i), most);
    float largest = v_largest(most);
    for (; i < n; i++)
        largest = x[i] > largest ? x[i] : largest;
    return largest;
}

static int32_t first_equal(const float *x, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] == value)
            return (int32_t)i;
    return 0;
}

static void run_argmax(const void *argument, cpu_worker *w, int64_t task)
{
    const selection *s = argument;
    const int64_t end = cpu_min((task + 1) * s->rows_per_task, s->rows);
    (void)w;
    for (int64_t row = task * s->rows_per_task; row < end; row++) {
        const float *x = s->x + row * s->N;
        s->index[row] = first_equal(x, s->N, largest_of_row(x, s->N));
    }
}

tn_status ISA(compile_argmax)(cpu_compiler *c, const tn_plan_node *node,
                              tn_error *err)
{
    selection *s = new_selection(c, &node->in[0]);
    if (s->N < 1 || s->N > INT32_MAX)
        return cpu_refuse(node, err, "rows of %lld elements", (long long)s->N);
    s->index = cpu_at(c, &node->out[0]);
    cpu_step(c, run_argmax, s, cpu_parts(s->rows, s->rows_per_task));
    return TN_OK;
}

/* ---- expert_plan: a stable counting sort ---- */

typedef struct expert_plan {
    const int32_t *choice;
    int32_t *order, *inverse, *offsets;
    int64_t count, experts;
    uint32_t node;
} expert_plan;

/* The expert of flat position i; one out of range counts as 0. */
static int32_t expert_of(const expert_plan *p, cpu_worker *w, int64_t i)
{
    const int32_t e = p->choice[i];
    if (e >= 0 && e < p->experts)
        return e;
    cpu_fault(w, p->node, e, 0, p->experts);
    return 0;
}

static void run_expert_plan(const void *argument, cpu_worker *w, int64_t task)
{
    const expert_plan *p = argument;
    int32_t *next = (int32_t *)(void *)w->scratch;
    (void)task;
    memset(p->offsets, 0, (size_t)(p->experts + 1) * sizeof *p->offsets);
    for (int64_t i = 0; i < p->count; i++)
        p->offsets[expert_of(p, w, i) + 1]++;
    for (int64_t e = 0; e < p->experts; e++) {
        next[e] = p->offsets[e];
        p->offsets[e + 1] += p->offsets[e];
    }
    for (int64_t i = 0; i < p->count; i++) {
        const int32_t at = next[expert_of(p, w, i)]++;
        p->order[at] = (int32_t)i;
        p->inverse[i] = at;
    }
}

tn_status ISA(compile_expert_plan)(cpu_compiler *c, const tn_plan_node *node,
                                   tn_error *err)
{
    expert_plan *p = CPU_ARGUMENT(c, expert_plan);
    p->choice = cpu_at(c, &node->in[0]);
    p->order = cpu_at(c, &node->out[0]);
    p->inverse = cpu_at(c, &node->out[1]);
    p->offsets = cpu_at(c, &node->out[2]);
    p->count = cpu_elements(&node->in[0]);
    p->experts = ((const tn_expert_plan_attr *)node->attr)->experts;
    p->node = cpu_node(c);
    if (p->count > INT32_MAX || p->experts < 1)
        return cpu_refuse(node, err, "%lld choices among %lld experts",
                          (long long)p->count, (long long)p->experts);
    cpu_scratch(c, p->experts * (int64_t)sizeof *p->offsets);
    cpu_step(c, run_expert_plan, p, 1);
    return TN_OK;
}
