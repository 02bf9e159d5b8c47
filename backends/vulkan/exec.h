/*
 * exec.h - a compiled plan: dispatches, and the commands recorded from them.
 */
#ifndef VULKAN_EXEC_H
#define VULKAN_EXEC_H

#include "compiler.h"

typedef struct gpu_step {
    gpu_pipeline *pipeline;
    uint64_t arguments; /* offset in the argument buffer */
    uint32_t groups[3];
    uint32_t node;
    uint32_t phase;
    double flops; /* an even share of its node's */
} gpu_step;

/* Commands of one segment: chunks that are submitted one by one, so that a
 * driver's watchdog never sees minutes of work as one. */
typedef struct gpu_segment {
    uint32_t first_step, step_count;
    VkCommandBuffer *chunks;
    uint32_t chunk_count, chunk_capacity;
} gpu_segment;

struct tn_exec {
    tn_device *device;
    const tn_plan *plan;
    gpu_step *steps;
    uint32_t step_count, step_capacity;
    gpu_segment *segments;
    tn_buffer *arguments;
    tn_buffer **scratch;
    uint32_t scratch_count, scratch_capacity;
    /* profile/1: while it is on, other commands with a timestamp around each
     * node */
    gpu_segment *timed;  /* NULL: never been on */
    VkQueryPool queries; /* two for each node */
    double *seconds;     /* of each node */
};

static inline const tn_plan_node *gpu_node(const tn_plan *plan, uint32_t i)
{
    const char *base = (const char *)plan->nodes;
    return (const tn_plan_node *)(const void *)(base +
                                                (size_t)i * plan->node_stride);
}

/* compile.c */
tn_status gpu_compile(tn_device *d, const tn_plan *plan,
                      tn_buffer *const arenas[TN_ARENA_COUNT], tn_exec **exec,
                      tn_error *err);
void gpu_exec_free(tn_device *d, tn_exec *exec);

/* record.c */
tn_status gpu_record(tn_exec *x, uint32_t segment, int timed, gpu_segment *into,
                     tn_error *err);
void gpu_segment_free(tn_device *d, gpu_segment *segments, uint32_t count);

/* profile.c */
tn_status gpu_run_timed(tn_device *d, tn_exec *exec, uint32_t segment,
                        tn_error *err);
/* NULL where the device has no clock. */
const tn_profile_extension *gpu_profile(const tn_device *d);

/* run.c */
tn_status gpu_run(tn_device *d, tn_exec *exec, uint32_t segment, tn_error *err);
tn_status gpu_wait(tn_device *d, tn_error *err);

#endif
