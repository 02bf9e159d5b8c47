/*
 * profile.c - extension "profile/1": seconds of each node, by events that the
 * device notes between nodes. While it is on, runs launch node by node and are
 * waited for. The seconds of two nodes that are one kernel are the second's.
 */
#include "exec.h"

#include <stdlib.h>

static tn_status prepare(tn_exec *x, tn_error *err)
{
    const uint32_t nodes = x->plan->node_count;
    x->events = calloc(nodes + 1u, sizeof *x->events);
    x->seconds = calloc(nodes + 1u, sizeof *x->seconds);
    if (!x->events || !x->seconds)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    for (uint32_t i = 0; i <= nodes; i++)
        TN_TRY(gpu_check(
            &x->device->driver,
            x->device->driver.EventCreate(&x->events[i], CU_EVENT_DEFAULT),
            "preparing a profile", err));
    return TN_OK;
}

static tn_status note(const tn_exec *x, uint32_t node, tn_error *err)
{
    const tn_device *d = x->device;
    return gpu_check(&d->driver,
                     d->driver.EventRecord(x->events[node], d->stream),
                     "taking a profile", err);
}

static tn_status add_seconds(tn_exec *x, uint32_t node, tn_error *err)
{
    const gpu_driver *driver = &x->device->driver;
    float milliseconds = 0.0f;
    TN_TRY(gpu_check(driver,
                     driver->EventElapsedTime(&milliseconds, x->events[node],
                                              x->events[node + 1]),
                     "reading a profile", err));
    x->seconds[node] += (double)milliseconds * 1e-3;
    return TN_OK;
}

tn_status gpu_run_timed(tn_device *d, tn_exec *x, uint32_t segment,
                        tn_error *err)
{
    const tn_plan_segment *nodes = &x->plan->segments[segment];
    const gpu_segment *s = &x->segments[segment];
    const uint32_t end = nodes->first + nodes->count;
    uint32_t step = s->first_step;
    if (!x->events)
        TN_TRY(prepare(x, err));
    TN_TRY(note(x, nodes->first, err));
    for (uint32_t i = nodes->first; i < end; i++) {
        for (; step < s->first_step + s->step_count && x->steps[step].node == i;
             step++)
            TN_TRY(gpu_start_step(x, &x->steps[step], err));
        TN_TRY(note(x, i + 1, err));
    }
    TN_TRY(gpu_finish(d, err));
    for (uint32_t i = nodes->first; i < end; i++)
        TN_TRY(add_seconds(x, i, err));
    return TN_OK;
}

static void enable(tn_device *d, uint32_t on)
{
    d->profiling = on;
}

static void read_seconds(tn_device *d, const tn_exec *x, double *seconds,
                         uint32_t count)
{
    (void)d;
    for (uint32_t i = 0; x->seconds && i < count && i < x->plan->node_count;
         i++) {
        seconds[i] += x->seconds[i];
        x->seconds[i] = 0.0;
    }
}

const tn_profile_extension gpu_profile = {
    .struct_size = sizeof gpu_profile,
    .enable = enable,
    .read = read_seconds,
};
