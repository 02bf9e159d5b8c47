/*
 * run.c - capture launches once, start them every step, and say what went
 * wrong.
 *
 * A segment is one graph: starting it costs the CPU one call. With `graph:
 * false` launches go to the stream one by one and each node is waited for: that
 * is what debuggers and compute-sanitizer want.
 *
 * A kernel that fails takes the context with it, and nothing can be asked of
 * the device any more. But the CPU's memory stays: each kernel begins with
 * writing its number there (gpu_mark), so that the last one that began has a
 * name. Products of cuBLASLt and attention of cuDNN leave no word; those behind
 * that kernel are named with it.
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
    if (s->dnn)
        return gpu_dnn_start(d, s->dnn, err);
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

/* ---- who it was ---- */

enum { NAME_BYTES = 400 };

/* "FILE:LINE: OP", of two where they are one kernel, behind what is there. */
static void add_name(const tn_exec *x, const gpu_step *s, const char *before,
                     char name[NAME_BYTES])
{
    for (uint32_t i = s->node - s->joined; i <= s->node; i++) {
        const tn_plan_node *n = gpu_node(x->plan, i);
        const size_t at = strlen(name);
        snprintf(name + at, NAME_BYTES - at, "%s%s:%d: %s",
                 i < s->node || !s->joined ? before : " with ",
                 n->file ? n->file : "(graph)", (int)n->line, n->name);
    }
}

static const tn_exec *find_exec(const tn_device *d, uint32_t id)
{
    const tn_exec *x = d->execs;
    while (x && x->id != id)
        x = x->next;
    return x;
}

/* What may have failed, by the word that was left last: that step, or one of
 * the libraries' behind it. */
static void name_the_last(const tn_device *d, char name[NAME_BYTES])
{
    const uint64_t mark = d->begun ? *(volatile uint64_t *)d->begun : 0;
    const uint32_t step = (uint32_t)mark;
    const tn_exec *x = step ? find_exec(d, (uint32_t)(mark >> 32)) : NULL;
    if (!x || step > x->step_count)
        return;
    add_name(x, &x->steps[step - 1], "", name);
    for (uint32_t i = step; i < x->step_count && !x->steps[i].kernel; i++)
        if (x->steps[i].call || x->steps[i].dnn)
            add_name(x, &x->steps[i], " or ", name);
}

/* Failures of kernels, as cuda.h numbers them: addresses, instructions, stacks,
 * assertions, time. */
static int is_of_a_kernel(CUresult result)
{
    return result == 700 || result == 702 || result == 710 ||
           (result >= 714 && result <= 719);
}

tn_status gpu_check_run(const tn_device *d, CUresult result, const char *doing,
                        tn_error *err)
{
    char name[NAME_BYTES] = "";
    tn_error why = {0};
    const tn_status status = gpu_check(&d->driver, result, doing, &why);
    if (status == TN_OK)
        return TN_OK;
    if (is_of_a_kernel(result))
        name_the_last(d, name);
    return tn_fail(err, status, "%s%s%s", name, name[0] ? ": " : "",
                   why.message);
}

/* ---- running ---- */

/* Node by node, each waited for. */
static tn_status run_slowly(tn_exec *x, const gpu_segment *s, tn_error *err)
{
    const tn_device *d = x->device;
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
            status =
                gpu_check(&d->driver, d->driver.StreamSynchronize(d->stream),
                          "waiting for the device", &why);
        if (status != TN_OK) {
            char name[NAME_BYTES] = "";
            add_name(x, first, "", name);
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
    d->runs++;
    return gpu_check_run(d, d->driver.GraphLaunch(s->graph, d->stream),
                         "starting a plan", err);
}

/* ---- waiting ---- */

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
    TN_TRY(gpu_check_run(
        d,
        d->driver.MemcpyDtoHAsync(d->fault_copy, d->fault->address,
                                  sizeof *d->fault_copy, d->stream),
        "waiting for the device", err));
    TN_TRY(gpu_finish(d, err));
    return gpu_tell_fault(d, d->fault_copy, err);
}
