/*
 * record.c - dispatches to command buffers, once; they are submitted every
 * step.
 *
 * Inside a group, phase by phase: all first dispatches of its nodes, a barrier,
 * all second ones. A barrier is one for all memory: kernels work on addresses,
 * of which Vulkan knows nothing.
 */
#include "exec.h"

#include <stdlib.h>

/* A chunk ends behind so many dispatches, or floating point operations. */
enum { CHUNK_STEPS = 1024 };
static const double chunk_flops = 2e11;

typedef struct recorder {
    tn_exec *exec;
    gpu_segment *into;
    VkCommandBuffer commands;
    uint32_t steps; /* in this chunk */
    double flops;
    int timed;
} recorder;

static void barrier(const recorder *r, VkPipelineStageFlags to)
{
    const VkMemoryBarrier all = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
    };
    r->exec->device->instance.api.CmdPipelineBarrier(
        r->commands,
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
        to, 0, 1, &all, 0, NULL, 0, NULL);
}

static tn_status begin_chunk(recorder *r, tn_error *err)
{
    gpu_segment *s = r->into;
    tn_device *d = r->exec->device;
    const VkCommandBufferBeginInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT,
    };
    if (s->chunk_count == s->chunk_capacity) {
        const uint32_t capacity = 2 * s->chunk_capacity + 4;
        VkCommandBuffer *more =
            realloc(s->chunks, capacity * sizeof(VkCommandBuffer));
        if (!more)
            return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory");
        s->chunks = more;
        s->chunk_capacity = capacity;
    }
    TN_TRY(gpu_commands_create(d, &r->commands, err));
    s->chunks[s->chunk_count++] = r->commands;
    r->steps = 0;
    r->flops = 0.0;
    TN_TRY(gpu_check(d->instance.api.BeginCommandBuffer(r->commands, &info),
                     "recording a plan", err));
    barrier(r, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT);
    return TN_OK;
}

static tn_status end_chunk(recorder *r, tn_error *err)
{
    barrier(r, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT |
                   VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_HOST_BIT);
    return gpu_check(
        r->exec->device->instance.api.EndCommandBuffer(r->commands),
        "recording a plan", err);
}

static void record_step(recorder *r, const gpu_step *s)
{
    const tn_exec *x = r->exec;
    const gpu_api *api = &x->device->instance.api;
    const gpu_push push = {
        .arguments = gpu_buffer_address(x->arguments) + s->arguments,
        .fault = gpu_buffer_address(x->device->fault),
        .node = s->node,
    };
    api->CmdBindPipeline(r->commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                         s->pipeline->handle);
    api->CmdPushConstants(r->commands, x->device->layout,
                          VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof push, &push);
    api->CmdDispatch(r->commands, s->groups[0], s->groups[1], s->groups[2]);
    r->steps++;
    r->flops += s->flops;
}

static void timestamp(const recorder *r, uint32_t query)
{
    const tn_exec *x = r->exec;
    if (!r->timed)
        return;
    x->device->instance.api.CmdResetQueryPool(r->commands, x->queries, query,
                                              1);
    x->device->instance.api.CmdWriteTimestamp(
        r->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, x->queries, query);
}

/* What comes next reads what was recorded: behind a barrier, or in the next
 * chunk where this one would become too long. */
static tn_status go_on(recorder *r, uint32_t steps, double flops, tn_error *err)
{
    if (!r->steps)
        return TN_OK;
    if (r->steps + steps <= CHUNK_STEPS && r->flops + flops <= chunk_flops) {
        barrier(r, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT);
        return TN_OK;
    }
    TN_TRY(end_chunk(r, err));
    return begin_chunk(r, err);
}

/* Chunks may end before each phase: a node can be minutes of work by itself, as
 * the loss of a large vocabulary is. */
static tn_status begin_phase(recorder *r, const gpu_step *first,
                             const gpu_step *last, uint32_t phase,
                             tn_error *err)
{
    uint32_t steps = 0;
    double flops = 0.0;
    for (const gpu_step *s = first; s < last; s++)
        if (s->phase == phase) {
            steps++;
            flops += s->flops;
        }
    return go_on(r, steps, flops, err);
}

/* Dispatches first .. last - 1 share a group. */
static tn_status record_group(recorder *r, const gpu_step *first,
                              const gpu_step *last, tn_error *err)
{
    uint32_t phases = 0;
    for (const gpu_step *s = first; s < last; s++)
        phases = s->phase >= phases ? s->phase + 1 : phases;
    for (uint32_t phase = 0; phase < phases; phase++) {
        TN_TRY(begin_phase(r, first, last, phase, err));
        if (phase == 0)
            timestamp(r, 2 * first->node);
        for (const gpu_step *s = first; s < last; s++)
            if (s->phase == phase)
                record_step(r, s);
    }
    if (r->timed)
        barrier(r, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT);
    timestamp(r, 2 * first->node + 1);
    return TN_OK;
}

/* The end of the group that begins at `first`; timed, of its first node. */
static const gpu_step *group_end(const recorder *r, const gpu_step *first,
                                 const gpu_step *end)
{
    const tn_plan *plan = r->exec->plan;
    const uint32_t group = gpu_node(plan, first->node)->group;
    const gpu_step *s = first;
    while (s < end && (r->timed ? s->node == first->node
                                : gpu_node(plan, s->node)->group == group))
        s++;
    return s;
}

tn_status gpu_record(tn_exec *x, uint32_t segment, int timed, gpu_segment *into,
                     tn_error *err)
{
    const gpu_segment *s = &x->segments[segment];
    const gpu_step *step = x->steps + s->first_step;
    const gpu_step *end = step + s->step_count;
    recorder r = {.exec = x, .into = into, .timed = timed};
    if (!s->step_count)
        return TN_OK;
    TN_TRY(begin_chunk(&r, err));
    while (step < end) {
        const gpu_step *next = group_end(&r, step, end);
        TN_TRY(record_group(&r, step, next, err));
        step = next;
    }
    return end_chunk(&r, err);
}

void gpu_segment_free(tn_device *d, gpu_segment *segments, uint32_t count)
{
    for (uint32_t i = 0; segments && i < count; i++) {
        if (segments[i].chunk_count)
            d->instance.api.FreeCommandBuffers(d->handle, d->commands,
                                               segments[i].chunk_count,
                                               segments[i].chunks);
        free(segments[i].chunks);
    }
    free(segments);
}
