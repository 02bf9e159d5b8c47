/*
 * backend.h - what a device must do: hold memory and run plans.
 *
 * A backend knows ops, never models. It computes every primitive; of the
 * composites it claims those it is faster at, through `supports`, and the core
 * expands the rest. It is called from one thread. Nothing may be allocated,
 * compiled or looked up inside run().
 */
#ifndef TENON_BACKEND_H
#define TENON_BACKEND_H

#include <tenon/plan.h>
#include <tenon/plugin.h>

TN_BEGIN_DECLS

enum {
    TN_PRECISION_F32 = 1u << 0,
    TN_PRECISION_BF16 = 1u << 1, /* bf16 compute, f32 master weights */
    TN_PRECISION_F64 = 1u << 2,  /* the oracle */
    /* Since ABI 1.3: MATMUL, GROUPED_MATMUL, GATHER_ROWS and COPY read weights
     * of these dtypes (plan.h). */
    TN_WEIGHTS_Q8_0 = 1u << 8,
    TN_WEIGHTS_Q4_K = 1u << 9,
};

enum {
    TN_UNIFIED_MEMORY = 1u << 0, /* alloc returns memory the CPU may touch */
    TN_READS_FIRST = 1u << 1,    /* since ABI 1.2: supports() looks at how many
                                    inputs a node has; ops with the input `first`
                                    (ops.def) are asked about, too */
};

/* One device as `tenon devices` lists it. */
typedef struct tn_device_info {
    uint32_t struct_size;
    /* 0: cannot run here, `note` says why; else the higher the better
     * (`backend: auto` takes the highest): oracle 1, CPU 100, GPU 1000. */
    uint32_t score;
    char name[128]; /* "AMD EPYC 9654, AVX-512" */
    char note[384]; /* one sentence: why not, or what matters */
    int64_t memory_bytes;
    uint32_t threads;
    uint32_t reserved;
} tn_device_info;

typedef struct tn_backend_caps {
    uint32_t struct_size;
    uint32_t precisions; /* TN_PRECISION_ bits */
    uint32_t flags;
    uint32_t map_inputs;       /* most inputs of a fused map, at most 12 */
    uint32_t map_instructions; /* at most 64 */
    uint32_t reserved;
    int64_t memory_bytes; /* free now; 0: unknown */
} tn_backend_caps;

typedef struct tn_device tn_device; /* the backend's own */
typedef struct tn_buffer tn_buffer; /* device memory */
typedef struct tn_exec tn_exec;     /* a compiled plan */

typedef struct tn_backend {
    TN_COMPONENT_HEAD;

    /* Describe device number `index` of this machine; TN_EEND past the last.
     * Must not fail where the hardware or driver is absent: it answers with
     * score 0 and the reason. Opens nothing that stays open. */
    tn_status (*probe)(const tn_host *host, uint32_t index,
                       tn_device_info *info, tn_error *err);

    tn_status (*open)(const tn_host *host, const void *options,
                      tn_device **device, tn_error *err);
    void (*close)(tn_device *device);

    void (*caps)(const tn_device *device, tn_backend_caps *caps);

    /* 1 if this composite, with these shapes, dtypes and attributes, has a
     * kernel here. Arenas and offsets are not placed yet; strides are dense.
     * Never asked for primitives. */
    uint32_t (*supports)(const tn_device *device, const tn_plan_node *node);

    /* Device memory, zeroed, aligned to TN_ALIGNMENT. bytes may be 0. */
    tn_status (*alloc)(tn_device *device, int64_t bytes, tn_buffer **buffer,
                       tn_error *err);
    void (*free)(tn_device *device, tn_buffer *buffer);
    /* The CPU's pointer to it, or NULL where memory is not unified. */
    void *(*map)(tn_device *device, tn_buffer *buffer);

    /* Copies in program order with runs; done when they return. */
    tn_status (*upload)(tn_device *device, tn_buffer *to, int64_t offset,
                        const void *from, int64_t bytes, tn_error *err);
    tn_status (*download)(tn_device *device, void *to, const tn_buffer *from,
                          int64_t offset, int64_t bytes, tn_error *err);

    /* Compile for these arenas, which stay where they are until the exec is
     * freed. arenas[a] is NULL where the plan needs no bytes of it. The plan
     * stays valid until exec_free. */
    tn_status (*compile)(tn_device *device, const tn_plan *plan,
                         tn_buffer *const arenas[TN_ARENA_COUNT],
                         tn_exec **exec, tn_error *err);
    void (*exec_free)(tn_device *device, tn_exec *exec);

    /* Start one segment; wait for all that was started. */
    tn_status (*run)(tn_device *device, tn_exec *exec, uint32_t segment,
                     tn_error *err);
    tn_status (*wait)(tn_device *device, tn_error *err);

    /* Extensions by name, "profile/1"; NULL or returns NULL where absent. */
    const void *(*extension)(tn_device *device, const char *name);
} tn_backend;

#define TN_BACKEND(id) TN_SINGLE_(BACKEND, tn_backend, id)

/*
 * Extension "profile/1": seconds spent in each node of an exec since the last
 * reset. Switching it on may slow runs down.
 */
typedef struct tn_profile_extension {
    uint32_t struct_size;
    uint32_t reserved;
    void (*enable)(tn_device *device, uint32_t on);
    /* seconds[node_count] of the exec's plan are added to what is there */
    void (*read)(tn_device *device, const tn_exec *exec, double *seconds,
                 uint32_t count);
} tn_profile_extension;

/*
 * Extension "workspace/1", since ABI 1.3: memory besides the arenas that runs
 * of this plan need: what kernels share and what each thread has. Plans run one
 * after the other, so a device needs what its largest needs. Asked before there
 * are arenas; nothing is allocated.
 */
typedef struct tn_workspace_extension {
    uint32_t struct_size;
    uint32_t reserved;
    tn_status (*bytes)(tn_device *device, const tn_plan *plan, int64_t *bytes,
                       tn_error *err);
} tn_workspace_extension;

/*
 * Extension "ask/1", since ABI 1.3: downloads that are asked for now and taken
 * later, so that the device goes on meanwhile. A step's loss is read so while
 * the next step runs.
 */
typedef struct tn_ask_extension {
    uint32_t struct_size;
    uint32_t slots; /* that may be asked for and not yet taken, at least 2 */
    int64_t bytes;  /* most of one, at least 4096 */
    /* The bytes as they are behind all that was started so far. */
    tn_status (*ask)(tn_device *device, uint32_t slot, const tn_buffer *from,
                     int64_t offset, int64_t bytes, tn_error *err);
    /* Waits for them alone. What went wrong before them is told as by wait. */
    tn_status (*take)(tn_device *device, uint32_t slot, void *to, int64_t bytes,
                      tn_error *err);
} tn_ask_extension;

/*
 * Extension "stream/1", since ABI 1.4: what a communicator needs to sum in the
 * device's memory (communicator.h).
 */
typedef struct tn_stream_extension {
    uint32_t struct_size;
    uint32_t reserved;
    const char *memory; /* whose addresses and streams: "cuda" */
    /* The device's address of a buffer. */
    void *(*address)(tn_device *device, const tn_buffer *buffer);
    /* Where runs and copies are done in order. From here on, and until the
     * backend is closed, the calling thread works on this device. */
    tn_status (*stream)(tn_device *device, void **stream, tn_error *err);
} tn_stream_extension;

TN_END_DECLS
#endif
