/*
 * gpu.h - the device, its memory, its stream and its kernels, as the files of
 * this backend share them.
 *
 *     loader.c     the driver and NVRTC, opened at run time
 *     card.c       which devices there are, what they lack, which one is meant
 *     device.c     a context with one stream
 *     memory.c     buffers
 *     transfer.c   bytes to and from the device, through pinned staging
 *     ask.c        results, read while the device goes on
 *     kernels.c    kernels by name: those of kernels/, and emitted text
 *     cache.c      machine code of emitted text, kept on disk
 *     blas.c       cuBLASLt, where it is installed
 *     dnn*.c       cuDNN's attention, likewise
 *
 * All work goes to one stream in the order of the calls; what is uploaded
 * while it works comes to the device by a second one.
 */
#ifndef CUDA_GPU_H
#define CUDA_GPU_H

#include "kernels/args.h"
#include "loader.h"

#include <tenon/backend.h>

/* ---- card.c ---- */

enum { GPU_MAX_CARDS = 32 };

typedef struct gpu_card {
    CUdevice handle;
    int major, minor; /* compute capability; 0.0: the emulator of the tests */
    int shared_bytes; /* that a block can have */
    int64_t memory_bytes;
    char name[112];
} gpu_card;

enum { GPU_LEAST_MAJOR = 8 };

static inline int gpu_is_emulator(const gpu_card *card)
{
    return card->major == 0;
}

/* Cards as the driver numbers them, fastest first. */
tn_status gpu_cards(const gpu_driver *driver, gpu_card *cards, uint32_t *count,
                    tn_error *err);

/* The card that `device:` means: auto, a number, or a part of a name. Of auto's
 * cards the processes of a run take one each (local_rank). */
tn_status gpu_card_choose(const gpu_driver *driver, const char *wanted,
                          uint32_t local_rank, gpu_card *card, tn_error *err);

/* ---- memory.c ---- */

struct tn_buffer {
    CUdeviceptr address; /* 0 where bytes is 0 */
    int64_t bytes;
};

/* Not zeroed. */
tn_status gpu_buffer_create(tn_device *d, int64_t bytes, tn_buffer **buffer,
                            tn_error *err);
void gpu_buffer_free(tn_device *d, tn_buffer *buffer);
int64_t gpu_free_bytes(const tn_device *d);

/* ---- transfer.c ---- */

enum { GPU_STAGING_SLOTS = 4 };

/* Slots of pinned memory, and as many on the device, where bytes wait for what
 * was started before them. */
typedef struct gpu_staging {
    char *bytes[GPU_STAGING_SLOTS];
    tn_buffer *landed;                  /* the device's slots */
    CUevent arrived[GPU_STAGING_SLOTS]; /* on the device */
    CUevent done[GPU_STAGING_SLOTS];    /* free again */
    CUstream stream;                    /* by which they arrive */
    uint32_t next;
} gpu_staging;

tn_status gpu_staging_open(tn_device *d, tn_error *err);
tn_status gpu_zero(tn_device *d, tn_buffer *buffer, tn_error *err);
tn_status gpu_upload(tn_device *d, tn_buffer *to, int64_t offset,
                     const void *from, int64_t bytes, tn_error *err);
tn_status gpu_download(tn_device *d, void *to, const tn_buffer *from,
                       int64_t offset, int64_t bytes, tn_error *err);
void gpu_staging_close(tn_device *d);
tn_status gpu_check_range(const tn_buffer *buffer, int64_t offset,
                          int64_t bytes, const char *what, tn_error *err);

/* ---- ask.c ---- */

enum { GPU_QUESTIONS = 2, GPU_QUESTION_BYTES = 4096 };

typedef struct gpu_question {
    char *bytes; /* pinned, and a gpu_fault behind them */
    CUevent answered;
    uint64_t runs; /* that had been started before it */
} gpu_question;

tn_status gpu_questions_open(tn_device *d, tn_error *err);
void gpu_questions_close(tn_device *d);

/* ---- kernels.c ---- */

/* A kernel; each exists once. `text` is of emitted ones. */
typedef struct gpu_kernel {
    CUfunction function; /* NULL until gpu_kernels_build */
    CUmodule module;     /* its own, of an emitted one */
    uint32_t shared;     /* bytes that it may be launched with */
    char name[48];
    char *text;
    uint64_t hash;
    struct gpu_kernel *next;
} gpu_kernel;

enum { GPU_KERNEL_BUCKETS = 256, GPU_MOST_FAMILIES = 24 };

typedef struct gpu_kernels {
    CUmodule family[GPU_MOST_FAMILIES]; /* loaded when first asked for */
    gpu_kernel *list[GPU_KERNEL_BUCKETS];
} gpu_kernels;

/* TN_EUNSUPPORTED where the driver is older than the toolkit that made
 * kernels/.
 */
tn_status gpu_kernels_check(const gpu_driver *driver, tn_error *err);
/* The kernel `name` of kernels/`family`.cu, a number of GPU_FAMILY_MAP. */
tn_status gpu_kernel_get(tn_device *d, uint32_t family, const char *name,
                         gpu_kernel **kernel, tn_error *err);
/* The kernel "kernel" of this text, which is taken over. It has no function
 * before the next gpu_kernels_build. */
tn_status gpu_kernel_emit(tn_device *d, char *text, gpu_kernel **kernel,
                          tn_error *err);
/* Compile what has been emitted since the last call, on all threads. */
tn_status gpu_kernels_build(tn_device *d, tn_error *err);
void gpu_kernels_close(tn_device *d);

/* nvrtc.c: text to machine code for this device; malloc'ed. */
tn_status gpu_translate(const tn_device *d, const char *text, void **code,
                        size_t *bytes, tn_error *err);

/* ---- blas.h: cuBLASLt ---- */

typedef struct gpu_blas gpu_blas;
typedef struct gpu_blas_call gpu_blas_call;

/* ---- dnn.h: cuDNN ---- */

typedef struct gpu_dnn gpu_dnn;
typedef struct gpu_dnn_call gpu_dnn_call;

/* ---- cache.c ---- */

/* What was made of a text. */
typedef struct gpu_cached {
    uint64_t hash;
    char *text;
    void *code;
    size_t bytes;
    struct gpu_cached *next;
} gpu_cached;

typedef struct gpu_cache {
    char path[512]; /* "": not kept */
    gpu_cached *list;
    uint32_t added;
} gpu_cache;

/* The file is named by the compute capability and by `maker`, of which the
 * version is a part. Damaged or foreign files are not read; failing to write is
 * no failure. */
void gpu_cache_open(gpu_cache *cache, const gpu_card *card, const char *maker);
const gpu_cached *gpu_cache_find(const gpu_cache *cache, const char *text,
                                 uint64_t hash);
/* Takes `code` over; it is written down when the cache is closed. */
void gpu_cache_add(gpu_cache *cache, const char *text, uint64_t hash,
                   void *code, size_t bytes);
/* For what bits depend on: written down at once. What is to be used is what
 * this returns: another process may have been first. NULL where nothing can be
 * kept, and then nothing is. */
const gpu_cached *gpu_cache_keep(gpu_cache *cache, const char *text,
                                 uint64_t hash, const void *code, size_t bytes);
void gpu_cache_close(gpu_cache *cache);

uint64_t gpu_hash(const void *bytes, size_t count);

/* ---- device.c ---- */

struct tn_device {
    const tn_host *host;
    gpu_driver driver;
    gpu_nvrtc nvrtc;
    gpu_card card;
    CUcontext context;
    CUstream stream;
    gpu_staging staging;
    gpu_question questions[GPU_QUESTIONS];
    gpu_kernels kernels;
    gpu_cache cache;       /* kernels, by their text */
    gpu_blas *blas;        /* NULL: our own kernels multiply */
    gpu_dnn *dnn;          /* NULL before an attention that it could take */
    tn_buffer *fault;      /* a gpu_fault */
    gpu_fault *fault_copy; /* pinned */
    uint64_t *begun;     /* pinned: the gpu_mark of the last kernel that began;
                            NULL:     kernels leave none */
    tn_exec *execs;      /* all there are */
    tn_buffer **scratch; /* theirs together: one runs at a time */
    uint32_t scratch_count, scratch_capacity;
    int64_t scratch_wanted; /* of the largest plan that was asked about */
    uint32_t next_plan;     /* id of the next exec */
    uint64_t runs, over;    /* segments started, and known to have ended */
    uint32_t profiling;
    uint32_t graph, native, join;
    uint32_t cudnn; /* 0: not wanted, or not there */
};

typedef struct gpu_options {
    const char *device;
    int32_t graph;
    int32_t native;
    int32_t cache;
    int32_t cublas;
    int32_t cudnn;
    int32_t tf32;
    int32_t join;
    int32_t mark;
} gpu_options;

tn_status gpu_device_open(const tn_host *host, const gpu_options *options,
                          tn_device **device, tn_error *err);
void gpu_device_close(tn_device *d);

/* The calling thread works on this device from now on. */
tn_status gpu_enter(const tn_device *d, tn_error *err);

/* TN_OK, or a sentence on what a call that failed means for the user. */
tn_status gpu_check(const gpu_driver *driver, CUresult result,
                    const char *doing, tn_error *err);

/* The same for what a kernel may have broken: then with its op. */
tn_status gpu_check_run(const tn_device *d, CUresult result, const char *doing,
                        tn_error *err);

/* Wait for all that was started. */
tn_status gpu_finish(tn_device *d, tn_error *err);

#endif
