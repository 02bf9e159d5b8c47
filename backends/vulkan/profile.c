/*
 * profile.c - extension "profile/1": seconds of each node, by timestamps that
 * the device writes before and after it.
 *
 * While it is on, runs use commands of their own in which nodes stand one
 * behind the other, and are waited for. They are recorded at the first run.
 */
#include "exec.h"

#include <stdlib.h>

static tn_status prepare(tn_exec *x, tn_error *err)
{
    tn_device *d = x->device;
    const uint32_t nodes = x->plan->node_count;
    const VkQueryPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .queryType = VK_QUERY_TYPE_TIMESTAMP,
        .queryCount = 2 * nodes + 2,
    };
    x->timed = calloc(x->plan->segment_count + 1u, sizeof *x->timed);
    x->seconds = calloc(nodes + 1u, sizeof *x->seconds);
    if (!x->timed || !x->seconds)
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory");
    TN_TRY(gpu_check(
        d->instance.api.CreateQueryPool(d->handle, &info, NULL, &x->queries),
        "preparing a profile", err));
    for (uint32_t i = 0; i < x->plan->segment_count; i++)
        TN_TRY(gpu_record(x, i, 1, &x->timed[i], err));
    return TN_OK;
}

static double ticks_to_seconds(const gpu_card *card, uint64_t ticks)
{
    const uint64_t mask = card->timestamp_bits >= 64
                              ? ~(uint64_t)0
                              : ((uint64_t)1 << card->timestamp_bits) - 1;
    return (double)(ticks & mask) * card->timestamp_seconds;
}

static tn_status add_seconds(tn_exec *x, uint32_t segment, tn_error *err)
{
    const tn_device *d = x->device;
    const gpu_segment *s = &x->segments[segment];
    for (uint32_t i = 0; i < s->step_count; i++) {
        const gpu_step *step = &x->steps[s->first_step + i];
        uint64_t ticks[2];
        if (i && step[-1].node == step->node)
            continue;
        TN_TRY(gpu_check(d->instance.api.GetQueryPoolResults(
                             d->handle, x->queries, 2 * step->node, 2,
                             sizeof ticks, ticks, sizeof ticks[0],
                             VK_QUERY_RESULT_64_BIT),
                         "reading a profile", err));
        x->seconds[step->node] +=
            ticks_to_seconds(&d->card, ticks[1] - ticks[0]);
    }
    return TN_OK;
}

tn_status gpu_run_timed(tn_device *d, tn_exec *x, uint32_t segment,
                        tn_error *err)
{
    if (!x->timed)
        TN_TRY(prepare(x, err));
    const gpu_segment *s = &x->timed[segment];
    for (uint32_t i = 0; i < s->chunk_count; i++)
        TN_TRY(gpu_submit(d, &s->chunks[i], 1, NULL, err));
    TN_TRY(gpu_wait_for(d, d->submitted, err));
    return add_seconds(x, segment, err);
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

static const tn_profile_extension profile = {
    .struct_size = sizeof profile,
    .enable = enable,
    .read = read_seconds,
};

const tn_profile_extension *gpu_profile(const tn_device *d)
{
    return d->card.timestamp_bits ? &profile : NULL;
}
