/*
 * run.c - submit what was recorded, wait for it, and say what went wrong.
 *
 * Kernels that read indices go on without the bad ones and leave the first in
 * the device's fault record, which the next wait reads.
 */
#include "exec.h"

#include <string.h>

tn_status gpu_run(tn_device *d, tn_exec *x, uint32_t segment, tn_error *err)
{
    if (segment >= x->plan->segment_count)
        return tn_fail(err, TN_EINVALID,
                       "plan %s has %u segments; there is no number %u",
                       x->plan->name, x->plan->segment_count, segment);
    const gpu_segment *s = &x->segments[segment];
    if (d->running && d->running != x)
        TN_TRY(gpu_wait(d, err)); /* its node numbers mean another plan */
    d->running = x;
    if (d->profiling)
        return gpu_run_timed(d, x, segment, err);
    for (uint32_t i = 0; i < s->chunk_count; i++)
        TN_TRY(gpu_submit(d, &s->chunks[i], 1, NULL, err));
    return TN_OK;
}

static tn_status tell_fault(tn_device *d, tn_error *err)
{
    gpu_fault fault;
    memcpy(&fault, gpu_buffer_mapped(d->fault), sizeof fault);
    const tn_exec *x = d->running;
    if (!fault.node || !x || fault.node > x->plan->node_count)
        return TN_OK;
    const tn_plan_node *node = gpu_node(x->plan, fault.node - 1);
    memset(gpu_buffer_mapped(d->fault), 0, sizeof fault);
    return tn_fail(err, TN_EINVALID,
                   "%s:%d: %s: the index %d is outside [%d, %d]",
                   node->file ? node->file : "(graph)", (int)node->line,
                   node->name, fault.value, fault.lowest, fault.limit - 1);
}

tn_status gpu_wait(tn_device *d, tn_error *err)
{
    TN_TRY(gpu_wait_for(d, d->submitted, err));
    return tell_fault(d, err);
}
