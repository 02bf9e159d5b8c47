/*
 * driver.h - libcuda.so.1 for tests: the driver functions that the backend
 * calls, over fibers (block.h) and the host's memory.
 *
 *     driver.c   the device, its context, errors
 *     memory.c   device memory between pages that fault; pinned memory
 *     module.c   kernels by name, and launches of them
 *     stream.c   streams, events: work in queues
 *     graph.c    work as a graph: capture and launch
 *
 * It is never installed; tests set LD_LIBRARY_PATH. The device says what it is:
 * "SIMT emulator (CPU)", compute capability 0.0.
 *
 * Where the real driver is free to choose, SIMT_ORDER in the environment
 * chooses: 0 (the default), each piece of work is done when it is handed in, in
 * order; 1, nothing is done before somebody waits for it, and then the latest
 * first as far as streams, events and edges allow; any other number is the seed
 * of an order drawn at random. Threads and blocks of a kernel follow the same
 * number. Correct code gives the same bits for all.
 *
 * SIMT_FAULT in the environment, "WHAT COUNT RESULT", is a device that fails:
 * from the COUNT-th call on, the driver function WHAT answers RESULT ("MemAlloc
 * 3 2"), or the COUNT-th kernel that is carried out fails with it ("kernel 200
 * 214"). But for a lack of memory, which passes, the context is lost then.
 *
 * SIMT_DRIVER in the environment is the version that it says it has: 12040 is
 * a driver of CUDA 12.4.
 *
 * SIMT_SHARED is how many bytes of shared memory a block can have: 227 KB
 * where it is not set, as on an H200, or less.
 *
 * Each function has the name of its row in the loader's list and that row's
 * symbol, so that the compiler holds the two together.
 */
#ifndef SIMT_DRIVER_H
#define SIMT_DRIVER_H

#include "block.h"

#include "loader.h"

enum { /* CUresult, besides those that the backend names */
       INVALID_VALUE = 1,
       NOT_INITIALIZED = 3,
       INVALID_CONTEXT = 201,
       INVALID_PTX = 218,
       INVALID_HANDLE = 400,
       NOT_FOUND = 500,
       NOT_READY = 600,
       ILLEGAL_ADDRESS = 700,
       LAUNCH_FAILED = 719,
       CAPTURE_UNSUPPORTED = 900,
       CAPTURE_UNMATCHED = 903,
       CAPTURE_UNJOINED = 904,
};

#define XX(name, symbol, arguments)                                            \
    TN_EXPORT CUresult cu_##name arguments __asm__(symbol);
GPU_DRIVER_MAP(XX)
#undef XX

/* ---- driver.c ---- */

/* CUDA_SUCCESS if the calling thread has a context, no kernel has failed in it
 * (after that every call fails alike), and this call is not to fail. */
#define simt_ready() simt_ready_in(__func__)
CUresult simt_ready_in(const char *function);
/* What SIMT_FAULT says of this call of `what`. */
CUresult simt_fault(const char *what);
int simt_is_broken(void);
/* Remember a failure that came while nobody was looking. */
void simt_break(CUresult why);
/* A sentence on stderr, and `why`. */
TN_PRINTF(2, 3)
CUresult simt_complain(CUresult why, const char *format, ...);

/* A function of the host between kernels, which the backend has no use for and
 * the cuDNN of the tests has (cudnn.c). */
SIMT_EXPORT CUresult cuLaunchHostFunc(CUstream stream, void (*call)(void *data),
                                      void *data);

/* Of shared memory that a block can have. */
unsigned simt_shared_bytes(void);

/* For tests that count: how often a stream was waited for; kernels that were
 * carried out; copies that were, while another stream had a graph
 * still to run. */
SIMT_EXPORT unsigned long simt_wait_count(void);
SIMT_EXPORT unsigned long simt_kernel_count(void);
SIMT_EXPORT unsigned long simt_beside_count(void);

/* ---- memory.c ---- */

typedef enum { SIMT_DEVICE, SIMT_PINNED } simt_place;

/* Whether all of these bytes lie in one allocation of this kind. */
int simt_owns(simt_place place, const void *address, size_t bytes);
/* 0, or the bytes beside an allocation were written. */
int simt_check_guards(void);
void simt_free_all(void);

/* ---- module.c ---- */

struct CUfunc_st {
    const char *name;
    void (*call)(const void *argument);
    size_t argument_bytes;
    unsigned most_threads; /* of a block; 0: not bounded */
    unsigned most_dynamic; /* bytes of dynamic shared memory */
    CUmodule module;
    CUfunction next;
};

typedef struct simt_kernel_call {
    CUfunction function;
    simt_uint3 grid, block;
    unsigned dynamic_bytes;
    void *argument;
} simt_kernel_call;

CUresult simt_call(const simt_kernel_call *call);

/* ---- stream.c ---- */

typedef enum {
    SIMT_KERNEL,
    SIMT_COPY,
    SIMT_FILL,
    SIMT_RECORD,
    SIMT_WAIT,
    SIMT_GRAPH,
    SIMT_HOST
} simt_kind;

/* What a stream or a node of a graph does. */
typedef struct simt_work {
    simt_kind kind;
    struct simt_work *next;
    simt_kernel_call kernel;
    struct {
        void *to;
        const void *from;
        void *kept; /* where `from` is the work's own */
        size_t bytes;
        unsigned char value; /* of a fill */
    } copy;
    CUevent event;
    uint64_t ticket; /* of the event */
    CUgraphExec graph;
    struct {
        void (*call)(void *data);
        void *data;
    } host;
} simt_work;

struct CUstream_st {
    simt_work *first, *last;
    CUgraph capture; /* NULL: none */
    uint32_t *tips;  /* nodes that the next captured one follows */
    uint32_t tip_count;
    uint32_t is_origin; /* the capture was begun here */
    CUstream next;
};

struct CUevent_st {
    uint64_t asked, done; /* records: handed in, carried out */
    double seconds;       /* of the last one carried out */
    CUgraph capture;      /* recorded in a capture: its tips */
    uint32_t *tips;
    uint32_t tip_count;
};

/* Do it now. Frees what it holds, unless it stays in a graph. */
CUresult simt_do(const simt_work *work);
void simt_drop(simt_work *work);
/* Hand it in: to the capture, or to the stream. */
CUresult simt_hand_in(CUstream stream, const simt_work *work);
/* Carry out all that was handed in. */
void simt_drain_all(void);
/* End the capture for all of its streams. */
void simt_forget_capture(CUgraph graph);
/* Whether the tips of every stream of this capture lead to the origin's. */
int simt_is_joined(CUgraph graph, const unsigned char *reached);

/* ---- graph.c ---- */

/* Add a node after the stream's tips; it becomes the only tip. */
CUresult simt_capture(CUstream stream, const simt_work *work);
/* tips = tips + more, each once. */
CUresult simt_join_tips(uint32_t **tips, uint32_t *count, const uint32_t *more,
                        uint32_t more_count);
CUresult simt_run_graph(CUgraphExec exec);

#endif
