/*
 * gpu.h - the device, its memory and its queue, as the files of this backend
 * share them.
 *
 *     instance.c   the library and its instance; the validation layer
 *     card.c       which devices there are, what they lack, which one is meant
 *     card_coop.c  and what cooperative matrices they have
 *     device.c     a logical device with one queue and one timeline
 *     memory.c     few large blocks, cut into buffers
 *     transfer.c   bytes to and from the device, through staging where needed
 *     pipeline.c   SPIR-V to pipelines, each once; the cache on disk
 *     trial.c      whether the device's fma rounds once
 *
 * All work goes to one queue in the order of the calls. Each submission raises
 * the timeline by one, so "wait for that" is "wait for that number".
 */
#ifndef VULKAN_GPU_H
#define VULKAN_GPU_H

#include "coop.h"
#include "loader.h"

#include <tenon/backend.h>

/* ---- instance.c ---- */

typedef struct gpu_instance {
    gpu_api api;
    VkInstance handle;
    VkDebugUtilsMessengerEXT messenger;
    const tn_host *host;
    char complaint[800]; /* the first the validation layer had; "" none */
} gpu_instance;

/* `validation`: with the Khronos layer, whose complaints fail the next wait. */
tn_status gpu_instance_open(gpu_instance *instance, const tn_host *host,
                            int validation, tn_error *err);
void gpu_instance_close(gpu_instance *instance);

/* TN_OK, or a sentence on what a call that failed means for the user. */
tn_status gpu_check(VkResult result, const char *doing, tn_error *err);

/* ---- card.c ---- */

enum { GPU_MAX_CARDS = 16 };

typedef struct gpu_card {
    VkPhysicalDevice handle;
    VkPhysicalDeviceType type;
    uint32_t score; /* as tn_device_info's; 0 where something is missing */
    uint32_t queue_family;
    uint32_t timestamp_bits;
    uint32_t keeps_nan; /* float controls: signed zeros, inf, NaN */
    uint32_t vendor, device, driver_version;
    int64_t memory_bytes;     /* of its own */
    int64_t free_bytes;       /* of these, when it was looked at */
    int64_t most_at_once;     /* of one allocation; more may fail */
    int64_t most_of_buffer;   /* more is not to be asked for */
    double timestamp_seconds; /* of one tick */
    gpu_coop coop_f16, coop_bf16;
    uint8_t uuid[VK_UUID_SIZE];
    char name[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE];
    char missing[256]; /* "bufferDeviceAddress, shaderInt64"; "" usable */
} gpu_card;

/* Best first, which is the order of `tenon devices` and of `device: 0`. */
tn_status gpu_cards(const gpu_instance *instance, gpu_card *cards,
                    uint32_t *count, tn_error *err);

/* The card that `device:` means: auto, an index, or a part of a name. With auto
 * the processes of a run take the best cards in turn (local_rank). */
tn_status gpu_card_choose(const gpu_instance *instance, const char *wanted,
                          gpu_card *card, tn_error *err);

int gpu_has_extension(const gpu_api *api, VkPhysicalDevice card,
                      const char *name);

/* ---- card_coop.c ---- */

void gpu_read_coop(const gpu_instance *instance, gpu_card *card);

/* Structures of extensions that are younger than the headers: flags behind the
 * usual head. */
typedef struct gpu_flags {
    uint32_t type;
    void *next;
    VkBool32 flag[3];
} gpu_flags;

/* What vkCreateDevice is told of them: a chain, NULL where there is nothing,
 * and names of extensions. It points into itself. */
typedef struct gpu_coop_features {
    gpu_flags khr, bf16;
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT whole;
    VkPhysicalDeviceCooperativeMatrixFeaturesNV nv;
    void *first;
    const char *names[3];
    uint32_t count;
} gpu_coop_features;

void gpu_coop_features_of(const gpu_card *card, gpu_coop_features *features);

static inline int gpu_is_software(const gpu_card *card)
{
    return card->type == VK_PHYSICAL_DEVICE_TYPE_CPU;
}

/* ---- memory.c ---- */

typedef struct gpu_span {
    int64_t offset, bytes;
} gpu_span;

/* One allocation of the driver's, as one VkBuffer. */
typedef struct gpu_block {
    VkDeviceMemory memory;
    VkBuffer handle;
    VkDeviceAddress address;
    char *mapped; /* NULL where the CPU cannot see it */
    int64_t bytes;
    gpu_span *free; /* sorted by offset, never touching */
    uint32_t free_count, free_capacity;
    uint32_t buffers; /* that are cut from it */
    struct gpu_block *next;
} gpu_block;

struct tn_buffer {
    gpu_block *block; /* NULL where bytes is 0 */
    int64_t offset;   /* in the block */
    int64_t bytes;
};

/* Two kinds: for tensors, and for what the CPU must see. */
typedef struct gpu_memory {
    uint32_t tensor_type, host_type;
    uint32_t tensor_is_mapped;
    gpu_block *blocks, *host_blocks;
    int64_t block_bytes; /* of an ordinary block */
    int64_t taken_bytes; /* of all blocks */
} gpu_memory;

enum { GPU_FOR_TENSORS, GPU_FOR_HOST };

tn_status gpu_memory_open(tn_device *d, int staging, tn_error *err);
void gpu_memory_close(tn_device *d);

/* Not zeroed. */
tn_status gpu_buffer_create(tn_device *d, int use, int64_t bytes,
                            tn_buffer **buffer, tn_error *err);
void gpu_buffer_free(tn_device *d, tn_buffer *buffer);

static inline VkDeviceAddress gpu_buffer_address(const tn_buffer *b)
{
    return b->block ? b->block->address + (VkDeviceAddress)b->offset : 0;
}

static inline char *gpu_buffer_mapped(const tn_buffer *b)
{
    return b->block && b->block->mapped ? b->block->mapped + b->offset : NULL;
}

/* ---- transfer.c ---- */

enum { GPU_STAGING_SLOTS = 4 };

typedef struct gpu_staging {
    tn_buffer *buffer[GPU_STAGING_SLOTS];
    VkCommandBuffer commands[GPU_STAGING_SLOTS];
    uint64_t busy_until[GPU_STAGING_SLOTS]; /* on the timeline */
    uint32_t next;
} gpu_staging;

tn_status gpu_zero(tn_device *d, tn_buffer *buffer, tn_error *err);
tn_status gpu_upload(tn_device *d, tn_buffer *to, int64_t offset,
                     const void *from, int64_t bytes, tn_error *err);
tn_status gpu_download(tn_device *d, void *to, const tn_buffer *from,
                       int64_t offset, int64_t bytes, tn_error *err);
void gpu_staging_close(tn_device *d);

/* ---- pipeline.c ---- */

enum { GPU_MOST_CONSTANTS = 16 };

/* A kernel: SPIR-V and the values of its specialization constants 0, 1, ... */
typedef struct gpu_code {
    const uint32_t *words;
    uint32_t word_count;
    uint32_t constant_count;
    uint32_t constant[GPU_MOST_CONSTANTS];
    uint32_t whole_subgroups; /* it relies on them */
} gpu_code;

typedef struct gpu_pipeline {
    VkPipeline handle;
    uint64_t hash;
    uint32_t users;
    gpu_code code; /* words are its own */
    struct gpu_pipeline *next;
} gpu_pipeline;

enum { GPU_PIPELINE_BUCKETS = 256 };

/* What every kernel is pushed. */
typedef struct gpu_push {
    VkDeviceAddress arguments;
    VkDeviceAddress fault;
    uint32_t node;
    uint32_t reserved;
} gpu_push;

/* Where this card's cache lies: $XDG_CACHE_HOME/tenon or ~/.cache/tenon; ""
 * where there is no such folder. */
void gpu_cache_path(const gpu_card *card, char *path, size_t size);
tn_status gpu_pipelines_open(tn_device *d, tn_error *err);
void gpu_pipelines_close(tn_device *d);
tn_status gpu_pipeline_get(tn_device *d, const gpu_code *code,
                           gpu_pipeline **pipeline, tn_error *err);
void gpu_pipeline_put(tn_device *d, gpu_pipeline *pipeline);

/* ---- device.c ---- */

/* Where kernels leave word of an index out of range: the first one wins. */
typedef struct gpu_fault {
    uint32_t node; /* 1 + its number in the plan; 0: none */
    int32_t value;
    int32_t lowest, limit; /* what is allowed: lowest .. limit - 1 */
} gpu_fault;

/* matmul_coop.comp for the operands of one dtype. */
typedef struct gpu_coop_module {
    uint32_t *words;
    uint32_t count;
} gpu_coop_module;

struct tn_device {
    const tn_host *host;
    gpu_instance instance;
    gpu_card card;
    VkDevice handle;
    VkQueue queue;
    VkCommandPool commands;
    VkSemaphore timeline;
    uint64_t submitted; /* the timeline's value when all is done */
    gpu_memory memory;
    gpu_staging staging;
    VkPipelineLayout layout;
    VkPipelineCache cache;
    char cache_path[512]; /* "": not kept */
    gpu_pipeline *pipelines[GPU_PIPELINE_BUCKETS];
    tn_buffer *fault; /* a gpu_fault, mapped */
    tn_exec *running; /* whose node numbers the fault has */
    uint32_t profiling;
    uint32_t fuses;                      /* its fma rounds once */
    uint32_t native;                     /* composites have kernels */
    gpu_coop_module coop_f16, coop_bf16; /* where the card has them */
};

typedef struct gpu_options {
    const char *device;
    int32_t staging;
    int32_t validation;
    int32_t native;
    int32_t cache;
    int32_t cooperative;
} gpu_options;

tn_status gpu_device_open(const tn_host *host, const gpu_options *options,
                          tn_device **device, tn_error *err);
void gpu_device_close(tn_device *d);

/* trial.c: what the driver does not tell of its arithmetic, by trying. */
tn_status gpu_try_arithmetic(tn_device *d, tn_error *err);
/* One workgroup, waited for; what it writes is seen by the CPU. */
tn_status gpu_run_alone(tn_device *d, VkPipeline pipeline,
                        VkDeviceAddress arguments, tn_error *err);
/* trial_coop.c: cooperative matrices that multiply wrongly are not used. */
tn_status gpu_try_coop(tn_device *d, tn_error *err);

tn_status gpu_commands_create(tn_device *d, VkCommandBuffer *commands,
                              tn_error *err);
/* Hand to the queue; *value (may be NULL): the timeline when it is done. */
tn_status gpu_submit(tn_device *d, const VkCommandBuffer *commands,
                     uint32_t count, uint64_t *value, tn_error *err);
tn_status gpu_wait_for(tn_device *d, uint64_t value, tn_error *err);

#endif
