/*
 * memory.c - few large blocks, cut into buffers.
 *
 * Drivers allow some thousand allocations and take their time for each, so a
 * buffer is a span of a block: first fit, free spans sorted and joined. A
 * request larger than an ordinary block, or for which there is no ordinary one
 * left, gets a block of its own; a block that is wholly free goes back to the
 * driver.
 *
 * An arena is one range of addresses, so it is one allocation. Vulkan lets
 * allocations above maxMemoryAllocationSize be tried, and many drivers have
 * them; buffers above maxBufferSize it does not.
 *
 * Where the CPU and the device share memory (integrated GPUs, lavapipe) blocks
 * are mapped for good and transfers are memcpy; elsewhere, and with `staging:
 * true`, they go through transfer.c's staging buffers.
 */
#include "gpu.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory types ---- */

static VkBufferCreateInfo buffer_of(int64_t bytes)
{
    return (VkBufferCreateInfo){
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = (VkDeviceSize)bytes,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                 VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                 VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT,
    };
}

/* Some drivers have types that only images may use: which ones buffers may is
 * asked of a small one. */
static tn_status allowed_types(tn_device *d, uint32_t *types, tn_error *err)
{
    const gpu_api *api = &d->instance.api;
    const VkBufferCreateInfo info = buffer_of(TN_ALIGNMENT);
    VkMemoryRequirements needs;
    VkBuffer buffer;
    TN_TRY(gpu_check(api->CreateBuffer(d->handle, &info, NULL, &buffer),
                     "asking for memory", err));
    api->GetBufferMemoryRequirements(d->handle, buffer, &needs);
    api->DestroyBuffer(d->handle, buffer, NULL);
    *types = needs.memoryTypeBits;
    return TN_OK;
}

typedef struct types {
    VkPhysicalDeviceMemoryProperties2 all;
    uint32_t allowed; /* as bits */
} types;

static int find_type(const types *t, VkMemoryPropertyFlags wanted,
                     uint32_t *type)
{
    for (uint32_t i = 0; i < t->all.memoryProperties.memoryTypeCount; i++)
        if (t->allowed >> i & 1u &&
            (t->all.memoryProperties.memoryTypes[i].propertyFlags & wanted) ==
                wanted) {
            *type = i;
            return 1;
        }
    return 0;
}

static void choose_types(tn_device *d, const types *t, int staging)
{
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    const VkMemoryPropertyFlags seen = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                       VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkMemoryPropertyFlags cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    const int shared = gpu_is_software(&d->card) ||
                       d->card.type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    gpu_memory *m = &d->memory;
    if (!find_type(t, seen | cached, &m->host_type))
        find_type(t, seen, &m->host_type); /* every driver has this one */
    if (shared && !staging &&
        (find_type(t, local | seen | cached, &m->tensor_type) ||
         find_type(t, local | seen, &m->tensor_type)))
        m->tensor_is_mapped = 1;
    else if (!find_type(t, local, &m->tensor_type))
        m->tensor_type = m->host_type;
}

tn_status gpu_memory_open(tn_device *d, int staging, tn_error *err)
{
    const int64_t most = (int64_t)256 << 20, least = (int64_t)16 << 20;
    const int64_t part = d->card.memory_bytes / 32;
    types t = {.all.sType =
                   VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    TN_TRY(allowed_types(d, &t.allowed, err));
    d->instance.api.GetPhysicalDeviceMemoryProperties2(d->card.handle, &t.all);
    d->memory.block_bytes = part > most ? most : part < least ? least : part;
    if (d->memory.block_bytes > d->card.most_at_once)
        d->memory.block_bytes = d->card.most_at_once;
    choose_types(d, &t, staging);
    return TN_OK;
}

/* ---- blocks ---- */

static void block_empty(tn_device *d, gpu_block *b)
{
    const gpu_api *api = &d->instance.api;
    if (b->handle)
        api->DestroyBuffer(d->handle, b->handle, NULL);
    if (b->memory) {
        api->FreeMemory(d->handle, b->memory, NULL);
        d->memory.taken_bytes -= b->bytes;
    }
    b->handle = VK_NULL_HANDLE;
    b->memory = VK_NULL_HANDLE;
}

static void block_destroy(tn_device *d, gpu_block *b)
{
    block_empty(d, b);
    free(b->free);
    free(b);
}

static double mib(int64_t bytes)
{
    return (double)bytes / 0x1p20;
}

static tn_status allocate(tn_device *d, const VkMemoryAllocateInfo *info,
                          gpu_block *b, tn_error *err)
{
    const gpu_card *card = &d->card;
    const VkResult result =
        d->instance.api.AllocateMemory(d->handle, info, NULL, &b->memory);
    if (result != VK_ERROR_OUT_OF_DEVICE_MEMORY) {
        d->memory.taken_bytes += result == VK_SUCCESS ? b->bytes : 0;
        return gpu_check(result, "allocating memory", err);
    }
    if (b->bytes > card->most_at_once)
        return tn_fail(err, TN_ENOMEM,
                       "backend vulkan: %s has no %.1f MiB in one piece; its "
                       "maxMemoryAllocationSize is %.1f MiB. Set a smaller "
                       "train.batch_size or train.recompute: layer",
                       card->name, mib(b->bytes), mib(card->most_at_once));
    return tn_fail(err, TN_ENOMEM,
                   "backend vulkan: out of the device's memory: %s has no "
                   "%.1f MiB beside the %.1f MiB that this run has taken; set "
                   "a smaller train.batch_size or train.recompute: layer",
                   card->name, mib(b->bytes), mib(d->memory.taken_bytes));
}

static tn_status block_fill(tn_device *d, int use, gpu_block *b, tn_error *err)
{
    const gpu_api *api = &d->instance.api;
    const int host = use == GPU_FOR_HOST;
    const VkBufferCreateInfo buffer = buffer_of(b->bytes);
    TN_TRY(gpu_check(api->CreateBuffer(d->handle, &buffer, NULL, &b->handle),
                     "allocating memory", err));
    VkMemoryRequirements needs;
    api->GetBufferMemoryRequirements(d->handle, b->handle, &needs);
    const VkMemoryAllocateFlagsInfo flags = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
    };
    const VkMemoryAllocateInfo memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = &flags,
        .allocationSize = needs.size,
        .memoryTypeIndex = host ? d->memory.host_type : d->memory.tensor_type,
    };
    TN_TRY(allocate(d, &memory, b, err));
    TN_TRY(gpu_check(api->BindBufferMemory(d->handle, b->handle, b->memory, 0),
                     "allocating memory", err));
    const VkBufferDeviceAddressInfo address = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
        .buffer = b->handle,
    };
    b->address = api->GetBufferDeviceAddress(d->handle, &address);
    if (!host && !d->memory.tensor_is_mapped)
        return TN_OK;
    void *mapped;
    TN_TRY(gpu_check(
        api->MapMemory(d->handle, b->memory, 0, VK_WHOLE_SIZE, 0, &mapped),
        "mapping memory", err));
    b->mapped = mapped;
    return TN_OK;
}

static gpu_block **list_of(gpu_memory *m, int use)
{
    return use == GPU_FOR_HOST ? &m->host_blocks : &m->blocks;
}

static tn_status block_create(tn_device *d, int use, int64_t bytes,
                              gpu_block **block, tn_error *err)
{
    const int64_t ordinary =
        use == GPU_FOR_HOST ? (int64_t)4 << 20 : d->memory.block_bytes;
    gpu_block *b = calloc(1, sizeof *b);
    gpu_span *spans = malloc(8 * sizeof *spans);
    if (!b || !spans) {
        free(b);
        free(spans);
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory");
    }
    tn_status status = TN_ENOMEM;
    b->free = spans;
    b->bytes = ordinary;
    if (bytes < ordinary)
        status = block_fill(d, use, b, NULL);
    if (status != TN_OK) {
        block_empty(d, b);
        b->bytes = bytes;
        status = block_fill(d, use, b, err);
    }
    b->free[0] = (gpu_span){0, b->bytes};
    b->free_count = 1;
    b->free_capacity = 8;
    if (status != TN_OK) {
        block_destroy(d, b);
        return status;
    }
    gpu_block **list = list_of(&d->memory, use);
    b->next = *list;
    *list = *block = b;
    return TN_OK;
}

/* Cut `bytes` from the first span that has them; -1 where none has. */
static int64_t block_take(gpu_block *b, int64_t bytes)
{
    for (uint32_t i = 0; i < b->free_count; i++) {
        gpu_span *s = &b->free[i];
        if (s->bytes < bytes)
            continue;
        const int64_t at = s->offset;
        s->offset += bytes;
        s->bytes -= bytes;
        if (!s->bytes) {
            b->free_count--;
            memmove(s, s + 1, (b->free_count - i) * sizeof *s);
        }
        return at;
    }
    return -1;
}

/* Room for the spans of one more buffer, made before it is cut so that giving
 * it back cannot fail: a block of n buffers has at most n + 1 free spans. */
static tn_status block_reserve(gpu_block *b, tn_error *err)
{
    if (b->buffers + 2 < b->free_capacity)
        return TN_OK;
    gpu_span *more = realloc(b->free, 2u * b->free_capacity * sizeof *more);
    if (!more)
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory");
    b->free = more;
    b->free_capacity *= 2;
    return TN_OK;
}

static void block_give(gpu_block *b, gpu_span span)
{
    uint32_t i = 0;
    while (i < b->free_count && b->free[i].offset < span.offset)
        i++;
    gpu_span *s = &b->free[i];
    if (i < b->free_count && span.offset + span.bytes == s->offset) {
        s->offset = span.offset;
        s->bytes += span.bytes;
    } else {
        memmove(s + 1, s, (b->free_count - i) * sizeof *s);
        *s = span;
        b->free_count++;
    }
    if (i > 0 && s[-1].offset + s[-1].bytes == s->offset) {
        s[-1].bytes += s->bytes;
        b->free_count--;
        memmove(s, s + 1, (b->free_count - i) * sizeof *s);
    }
}

/* ---- buffers ---- */

static int64_t rounded(int64_t bytes)
{
    return (bytes + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
}

static tn_status place(tn_device *d, int use, tn_buffer *buffer, tn_error *err)
{
    const int64_t bytes = rounded(buffer->bytes);
    gpu_block *b = *list_of(&d->memory, use);
    int64_t at = -1;
    for (; b; b = b->next) {
        at = block_take(b, bytes);
        if (at >= 0)
            break;
    }
    if (!b) {
        TN_TRY(block_create(d, use, bytes, &b, err));
        at = block_take(b, bytes);
    }
    if (block_reserve(b, err) != TN_OK) {
        block_give(b, (gpu_span){at, bytes});
        return TN_ENOMEM;
    }
    b->buffers++;
    buffer->block = b;
    buffer->offset = at;
    return TN_OK;
}

tn_status gpu_buffer_create(tn_device *d, int use, int64_t bytes,
                            tn_buffer **out, tn_error *err)
{
    if (bytes < 0 || bytes > d->card.memory_bytes)
        return tn_fail(err, TN_ENOMEM,
                       "backend vulkan: %s has %lld bytes of memory, %lld are "
                       "asked for at once",
                       d->card.name, (long long)d->card.memory_bytes,
                       (long long)bytes);
    if (bytes > d->card.most_of_buffer)
        return tn_fail(err, TN_ENOMEM,
                       "backend vulkan: the plan needs %.1f MiB in one piece, "
                       "and %s allows %.1f MiB (maxBufferSize); set a smaller "
                       "train.batch_size or train.recompute: layer",
                       mib(bytes), d->card.name, mib(d->card.most_of_buffer));
    tn_buffer *b = calloc(1, sizeof *b);
    if (!b)
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory");
    b->bytes = bytes;
    const tn_status status = bytes ? place(d, use, b, err) : TN_OK;
    if (status != TN_OK) {
        free(b);
        return status;
    }
    *out = b;
    return TN_OK;
}

static void release_block(tn_device *d, gpu_block *b)
{
    gpu_block **link = &d->memory.blocks;
    while (*link && *link != b)
        link = &(*link)->next;
    if (!*link) {
        link = &d->memory.host_blocks;
        while (*link != b)
            link = &(*link)->next;
    }
    *link = b->next;
    block_destroy(d, b);
}

void gpu_buffer_free(tn_device *d, tn_buffer *buffer)
{
    if (!buffer)
        return;
    gpu_block *b = buffer->block;
    if (b) {
        block_give(b, (gpu_span){buffer->offset, rounded(buffer->bytes)});
        if (--b->buffers == 0)
            release_block(d, b);
    }
    free(buffer);
}

void gpu_memory_close(tn_device *d)
{
    while (d->memory.blocks)
        release_block(d, d->memory.blocks);
    while (d->memory.host_blocks)
        release_block(d, d->memory.host_blocks);
}
