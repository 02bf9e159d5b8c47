/*
 * run.c - all threads walk the list of steps, together, inside one region.
 *
 * Nothing is allocated, looked up or decided here. Task i of a step belongs to
 * thread (first + i) modulo their number, or, where neighbours are to stay
 * together, each thread has a part of them.
 */
#include "exec.h"

#include <string.h>
#include <time.h>

typedef struct walk {
    tn_exec *exec;
    const cpu_segment *segment;
} walk;

static inline void run_neighbours(const cpu_run_step *s, cpu_worker *w,
                                  uint32_t thread, uint32_t threads)
{
    const int64_t end = s->tasks * (thread + 1) / threads;
    for (int64_t task = s->tasks * thread / threads; task < end; task++)
        s->task(s->argument, w, task);
}

static inline void run_in_turn(const cpu_run_step *s, cpu_worker *w,
                               uint32_t thread, uint32_t threads)
{
    const uint32_t first = s->first_thread;
    int64_t task = thread >= first ? thread - first : thread + threads - first;
    for (; task < s->tasks; task += threads)
        s->task(s->argument, w, task);
}

static inline void run_step(const cpu_run_step *s, cpu_worker *w,
                            uint32_t thread, uint32_t threads)
{
    (s->along ? run_neighbours : run_in_turn)(s, w, thread, threads);
}

static void walk_steps(void *argument, uint32_t thread, uint32_t threads)
{
    const walk *k = argument;
    tn_exec *x = k->exec;
    tn_device *device = x->device;
    cpu_worker *w = &x->workers[thread];
    const cpu_run_step *step = x->steps + k->segment->first;
    const cpu_run_step *end = step + k->segment->count;
    for (; step < end; step++) {
        if (step->barrier && threads > 1)
            device->host->pool_barrier(device->pool);
        run_step(step, w, thread, threads);
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The same with a barrier after each step, timed by thread 0. */
static void walk_timed(void *argument, uint32_t thread, uint32_t threads)
{
    const walk *k = argument;
    tn_exec *x = k->exec;
    tn_device *device = x->device;
    const cpu_run_step *step = x->steps + k->segment->first;
    const cpu_run_step *end = step + k->segment->count;
    double before = now();
    for (; step < end; step++) {
        run_step(step, &x->workers[thread], thread, threads);
        device->host->pool_barrier(device->pool);
        if (thread == 0) {
            const double after = now();
            x->seconds[step->node] += after - before;
            before = after;
        }
    }
}

void cpu_fault(cpu_worker *w, uint32_t node, int64_t value, int64_t lowest,
               int64_t limit)
{
    cpu_fault_record *fault = &w->exec->fault;
    if (atomic_flag_test_and_set(&fault->taken))
        return;
    fault->node = node;
    fault->value = value;
    fault->lowest = lowest;
    fault->limit = limit;
    fault->found = 1;
}

static tn_status tell_fault(tn_exec *x, tn_error *err)
{
    cpu_fault_record *f = &x->fault;
    const tn_plan_node *node =
        (const tn_plan_node *)(const void *)((const char *)x->plan->nodes +
                                             (size_t)f->node *
                                                 x->plan->node_stride);
    f->found = 0;
    atomic_flag_clear(&f->taken);
    return tn_fail(
        err, TN_EINVALID, "%s:%d: %s: the index %lld is outside [%lld, %lld]",
        node->file ? node->file : "?", node->line, node->name,
        (long long)f->value, (long long)f->lowest, (long long)f->limit - 1);
}

tn_status cpu_run(tn_device *device, tn_exec *exec, uint32_t segment,
                  tn_error *err)
{
    if (segment >= exec->plan->segment_count)
        return tn_fail(err, TN_EINVALID,
                       "plan %s has %u segments; there is no number %u",
                       exec->plan->name, exec->plan->segment_count, segment);
    walk k = {.exec = exec, .segment = &exec->segments[segment]};
    cpu_give_room(exec);
    if (device->profiling)
        device->host->pool_run(device->pool, walk_timed, &k);
    else if (k.segment->parallel)
        device->host->pool_run(device->pool, walk_steps, &k);
    else
        walk_steps(&k, 0, 1);
    return exec->fault.found ? tell_fault(exec, err) : TN_OK;
}

void cpu_profile_read(tn_device *device, const tn_exec *exec, double *seconds,
                      uint32_t count)
{
    (void)device;
    for (uint32_t i = 0; i < count && i < exec->plan->node_count; i++) {
        seconds[i] += exec->seconds[i];
        exec->seconds[i] = 0.0;
    }
}
