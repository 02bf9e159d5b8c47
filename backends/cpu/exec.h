/*
 * exec.h - a compiled plan, shared by compile.c and run.c.
 */
#ifndef CPU_EXEC_H
#define CPU_EXEC_H

#include "code.h"
#include "cpu.h"

#include <stdatomic.h>

typedef struct cpu_run_step {
    cpu_task task;
    const void *argument;
    int64_t tasks;
    uint32_t node;
    uint32_t barrier;      /* meet before this step */
    uint32_t first_thread; /* who runs task 0 */
    uint32_t along;        /* a thread's tasks are neighbours */
} cpu_run_step;

typedef struct cpu_segment {
    uint32_t first, count; /* of steps */
    uint32_t parallel;     /* some step has more than one task */
} cpu_segment;

/* The first index out of range that a run met. */
typedef struct cpu_fault_record {
    atomic_flag taken;
    uint32_t found;
    uint32_t node;
    int64_t value, lowest, limit;
} cpu_fault_record;

struct tn_exec {
    tn_device *device;
    const tn_plan *plan;
    cpu_run_step *steps;
    cpu_segment *segments;
    uint32_t step_count;
    int64_t scratch_bytes; /* of each thread */
    int64_t shared_bytes;
    cpu_worker *workers;
    double *seconds; /* of each node; see profile/1 */
    cpu_fault_record fault;
    struct chunk *chunks; /* arguments of steps */
    cpu_code *code;       /* that they call */
};

/* Before a run: the device's memory is this exec's now (compile.c). */
void cpu_give_room(tn_exec *exec);

#endif
