/*
 * run.c - capture launches once, start them every step, and say what went
 * wrong.
 *
 * A segment is one graph: starting it costs the CPU one call. With `graph:
 * false` launches go to the stream one by one and each node is waited for, so
 * that a failure has a name; that is what debuggers and compute-sanitizer want.
 *
 * Kernels that read indices go on without the bad ones and leave the first in
 * the device's fault record, which the next wait reads.
 */
#include "exec.h"

#include <string.h>

tn_status gpu_start_step(const tn_exec *x, const gpu_step *s, tn_error *err)
{
    const tn_device *d = x->device;
    size_t bytes = s->argument_bytes;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER,
                     s->kernel ? x->arguments + s->arguments : NULL,
                     CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes, CU_LAUNCH_PARAM_END};
    if (s->call)
        return gpu_blas_start(d, s->call, err);
    const CUresult result =
        s->kernel
            ? d->driver.LaunchKernel(s->kernel->function, s->grid[0],
                                     s->grid[1], s->grid[2], s->threads, 1, 1,
                                     s->shared, d->stream, NULL, extra)
            : d->driver.MemsetD8Async(s->zero, 0, s->zero_bytes, d->stream);
    return gpu_check(&d->driver, result,
                     s->kernel ? s->kernel->name : "clearing memory", err);
}

/* ---- graphs ---- */

static tn_status start_all(const tn_exec *x, const gpu_segment *s,
                           tn_error *err)
{
    for (uint32_t i = 0; i < s->step_count; i++)
        TN_TRY(gpu_start_step(x, &x->steps[s->first_step + i], err));
    return TN_OK;
}

tn_status gpu_capture(tn_exec *x, gpu_segment *s, tn_error *err)
{
    const gpu_driver *driver = &x->device->driver;
    const char *doing = "recording a plan";
    CUgraph graph = NULL;
    if (!s->step_count)
        return TN_OK;
    TN_TRY(gpu_check(driver,
                     driver->StreamBeginCapture(x->device->stream,
                                                CU_STREAM_CAPTURE_MODE_RELAXED),
                     doing, err));
    tn_status status = start_all(x, s, err);
    const CUresult ended = driver->StreamEndCapture(x->device->stream, &graph);
    if (status == TN_OK)
        status = gpu_check(driver, ended, doing, err);
    if (status == TN_OK)
        status = gpu_check(
            driver, driver->GraphInstantiateWithFlags(&s->graph, graph, 0),
            doing, err);
    if (graph)
        driver->GraphDestroy(graph);
    return status;
}

/* ---- running ---- */

/* "FILE:LINE: OP", of two where they are one kernel. */
static void name_step(const tn_exec *x, const gpu_step *s, char *to,
                      size_t size)
{
    int at = 0;
    for (uint32_t i = s->node - s->joined; i <= s->node; i++) {
        const tn_plan_node *n = gpu_node(x->plan, i);
        if ((size_t)at < size)
            at += snprintf(to + at, size - (size_t)at, "%s%s:%d: %s",
                           at ? " with " : "", n->file ? n->file : "(graph)",
                           (int)n->line, n->name);
    }
}

/* Node by node, each waited for. */
static tn_status run_slowly(tn_exec *x, const gpu_segment *s, tn_error *err)
{
    const gpu_step *step = x->steps + s->first_step;
    const gpu_step *end = step + s->step_count;
    while (step < end) {
        const gpu_step *first = step;
        const uint32_t number = step->node;
        tn_error why = {0};
        tn_status status = TN_OK;
        for (; step < end && step->node == number && status == TN_OK; step++)
            status = gpu_start_step(x, step, &why);
        if (status == TN_OK)
            status = gpu_finish(x->device, &why);
        if (status != TN_OK) {
            char name[256];
            name_step(x, first, name, sizeof name);
            return tn_fail(err, status, "%s: %s", name, why.message);
        }
    }
    return TN_OK;
}

tn_status gpu_run(tn_device *d, tn_exec *x, uint32_t segment, tn_error *err)
{
    if (segment >= x->plan->segment_count)
        return tn_fail(err, TN_EINVALID,
                       "plan %s has %u segments; there is no number %u",
                       x->plan->name, x->plan->segment_count, segment);
    const gpu_segment *s = &x->segments[segment];
    TN_TRY(gpu_enter(d, err));
    if (d->profiling)
        return gpu_run_timed(d, x, segment, err);
    if (!d->graph)
        return run_slowly(x, s, err);
    if (!s->graph)
        return TN_OK;
    return gpu_check(&d->driver, d->driver.GraphLaunch(s->graph, d->stream),
                     "starting a plan", err);
}

/* ---- waiting ---- */

static const tn_exec *find_exec(const tn_device *d, uint32_t id)
{
    const tn_exec *x = d->execs;
    while (x && x->id != id)
        x = x->next;
    return x;
}

tn_status gpu_tell_fault(tn_device *d, const gpu_fault *fault, tn_error *err)
{
    if (!fault->node)
        return TN_OK;
    TN_TRY(gpu_zero(d, d->fault, err));
    const tn_exec *x = find_exec(d, fault->plan);
    if (!x)
        return TN_OK; /* of a plan that was freed: nobody asks */
    const tn_plan_node *node = gpu_node(x->plan, fault->node - 1);
    return tn_fail(err, TN_EINVALID,
                   "%s:%d: %s: the index %d is outside [%d, %d]",
                   node->file ? node->file : "(graph)", (int)node->line,
                   node->name, fault->value, fault->lowest, fault->limit - 1);
}

tn_status gpu_wait(tn_device *d, tn_error *err)
{
    TN_TRY(gpu_enter(d, err));
    TN_TRY(
        gpu_check(&d->driver,
                  d->driver.MemcpyDtoHAsync(d->fault_copy, d->fault->address,
                                            sizeof *d->fault_copy, d->stream),
                  "waiting for the device", err));
    TN_TRY(gpu_finish(d, err));
    return gpu_tell_fault(d, d->fault_copy, err);
}
