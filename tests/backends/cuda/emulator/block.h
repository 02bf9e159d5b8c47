/*
 * block.h - run a grid of blocks on this host thread.
 */
#ifndef SIMT_BLOCK_H
#define SIMT_BLOCK_H

#include <stddef.h>
#include <stdint.h>

typedef struct simt_uint3 {
    unsigned x, y, z;
} simt_uint3;

/* ---- what kernels see (simt.h) ---- */

#define SIMT_EXPORT __attribute__((visibility("default")))

SIMT_EXPORT extern simt_uint3 threadIdx, blockIdx, blockDim, gridDim;

SIMT_EXPORT unsigned simt_barrier(unsigned value, const char *file, int line);
SIMT_EXPORT unsigned long long simt_exchange(unsigned mask,
                                             unsigned long long value,
                                             int source, const char *file,
                                             int line);
SIMT_EXPORT unsigned simt_vote(unsigned mask, int value, const char *file,
                               int line);
SIMT_EXPORT int simt_lane(void);
SIMT_EXPORT void simt_trap(const char *file, int line);

/* ---- what the driver sees ---- */

typedef struct simt_launch {
    const char *name;
    void (*call)(const void *argument); /* SIMT_ENTRY of simt.h */
    const void *argument;
    simt_uint3 grid, block;
    /* Shared memory of this thread: all that the kernels of a module declare.
     * It is poisoned before the launch. */
    void *shared;
    size_t shared_bytes;
} simt_launch;

/* 0, or a CUresult: and then the reason stands on stderr, with the kernel's
 * name, block and thread. */
int simt_run_grid(const simt_launch *launch);

/* In which order runnable threads, blocks, graph nodes and streams go: a kernel
 * whose result depends on it lacks a barrier, a plan an edge. */
enum { SIMT_FORWARD = 0, SIMT_REVERSE = 1 }; /* else: the seed of a shuffle */

void simt_set_order(uint32_t order);
uint32_t simt_order(void);
/* A number below n, by the order: 0, n - 1, or drawn. */
uint32_t simt_pick(uint32_t n);

#endif
