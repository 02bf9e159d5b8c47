/*
 * exec.h - a compiled plan: launches, and the graphs captured from them.
 */
#ifndef CUDA_EXEC_H
#define CUDA_EXEC_H

#include "blas.h"
#include "compiler.h"
#include "dnn.h"

typedef struct gpu_step {
    gpu_kernel *kernel;  /* or */
    gpu_blas_call *call; /* or */
    gpu_dnn_call *dnn;   /* or clear `zero_bytes` at `zero` */
    size_t arguments;    /* offset in the exec's argument bytes */
    size_t argument_bytes;
    uint64_t zero, zero_bytes;
    uint32_t grid[3], threads, shared;
    uint32_t node;
    uint32_t joined; /* 1: the node before it is in it */
} gpu_step;

typedef struct gpu_segment {
    uint32_t first_step, step_count;
    CUgraphExec graph; /* NULL where there is none, or no step */
} gpu_segment;

struct tn_exec {
    tn_device *device;
    const tn_plan *plan;
    uint32_t id; /* faults carry it */
    gpu_step *steps;
    uint32_t step_count, step_capacity;
    char *arguments;
    size_t argument_bytes, argument_capacity;
    gpu_segment *segments;
    /* profile/1 */
    CUevent *events; /* NULL: never been on; one more than nodes */
    double *seconds; /* of each node */
    tn_exec *next;   /* of the device */
};

static inline const tn_plan_node *gpu_node(const tn_plan *plan, uint32_t i)
{
    const char *base = (const char *)plan->nodes;
    return (const tn_plan_node *)(const void *)(base +
                                                (size_t)i * plan->node_stride);
}

static inline gpu_pair gpu_pair_at(const tn_plan *plan, uint32_t i)
{
    return (gpu_pair){gpu_node(plan, i), gpu_node(plan, i + 1), i + 1};
}

/* join.c */
/* Whether nodes i and i + 1 have a kernel together. */
uint32_t gpu_joins_next(const gpu_compiler *c, uint32_t i);
tn_status gpu_compile_pair(gpu_compiler *c, uint32_t i, tn_error *err);

/* compile.c */
tn_status gpu_compile(tn_device *d, const tn_plan *plan,
                      tn_buffer *const arenas[TN_ARENA_COUNT], tn_exec **exec,
                      tn_error *err);
void gpu_exec_free(tn_device *d, tn_exec *exec);
extern const tn_workspace_extension gpu_workspace;

/* run.c */
tn_status gpu_start_step(const tn_exec *x, const gpu_step *step, tn_error *err);
/* The segment's launches as one graph. */
tn_status gpu_capture(tn_exec *x, gpu_segment *segment, tn_error *err);
tn_status gpu_run(tn_device *d, tn_exec *exec, uint32_t segment, tn_error *err);
tn_status gpu_wait(tn_device *d, tn_error *err);
/* TN_OK where it tells of none. */
tn_status gpu_tell_fault(tn_device *d, const gpu_fault *fault, tn_error *err);

/* ask.c */
extern const tn_ask_extension gpu_ask;

/* profile.c */
tn_status gpu_run_timed(tn_device *d, tn_exec *exec, uint32_t segment,
                        tn_error *err);
extern const tn_profile_extension gpu_profile;

#endif
