/*
 * transfer.c - bytes to and from the device, in program order with runs.
 *
 * Mapped memory is copied to once the queue is idle. Other memory is reached
 * through a few staging buffers in turn: an upload leaves when its bytes are in
 * staging, so up to that many copies are under way while the CPU goes on; a
 * download has to wait.
 */
#include "gpu.h"

#include <string.h>

enum { SLOT_BYTES = 4 << 20 };

/* ---- recording ---- */

static void order(const tn_device *d, VkCommandBuffer commands,
                  VkPipelineStageFlags to)
{
    const VkMemoryBarrier all = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
    };
    d->instance.api.CmdPipelineBarrier(commands,
                                       VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT |
                                           VK_PIPELINE_STAGE_TRANSFER_BIT,
                                       to, 0, 1, &all, 0, NULL, 0, NULL);
}

/* A free slot, with its command buffer begun behind all that came before. */
static tn_status begin(tn_device *d, uint32_t *slot, tn_error *err)
{
    gpu_staging *s = &d->staging;
    const VkCommandBufferBeginInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
    };
    const uint32_t i = s->next;
    s->next = (i + 1) % GPU_STAGING_SLOTS;
    if (!s->commands[i])
        TN_TRY(gpu_commands_create(d, &s->commands[i], err));
    if (!s->buffer[i])
        TN_TRY(
            gpu_buffer_create(d, GPU_FOR_HOST, SLOT_BYTES, &s->buffer[i], err));
    TN_TRY(gpu_wait_for(d, s->busy_until[i], err));
    TN_TRY(gpu_check(d->instance.api.BeginCommandBuffer(s->commands[i], &info),
                     "recording a copy", err));
    order(d, s->commands[i], VK_PIPELINE_STAGE_TRANSFER_BIT);
    *slot = i;
    return TN_OK;
}

static tn_status end(tn_device *d, uint32_t slot, tn_error *err)
{
    gpu_staging *s = &d->staging;
    order(d, s->commands[slot],
          VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT |
              VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_HOST_BIT);
    TN_TRY(gpu_check(d->instance.api.EndCommandBuffer(s->commands[slot]),
                     "recording a copy", err));
    return gpu_submit(d, &s->commands[slot], 1, &s->busy_until[slot], err);
}

static void copy(const tn_device *d, VkCommandBuffer commands,
                 const tn_buffer *to, int64_t to_offset, const tn_buffer *from,
                 int64_t from_offset, int64_t bytes)
{
    const VkBufferCopy region = {
        .srcOffset = (VkDeviceSize)(from->offset + from_offset),
        .dstOffset = (VkDeviceSize)(to->offset + to_offset),
        .size = (VkDeviceSize)bytes,
    };
    d->instance.api.CmdCopyBuffer(commands, from->block->handle,
                                  to->block->handle, 1, &region);
}

/* ---- the three transfers ---- */

tn_status gpu_zero(tn_device *d, tn_buffer *buffer, tn_error *err)
{
    char *mapped = gpu_buffer_mapped(buffer);
    uint32_t slot;
    if (!buffer->bytes)
        return TN_OK;
    if (mapped) { /* new memory: no run knows it */
        memset(mapped, 0, (size_t)buffer->bytes);
        return TN_OK;
    }
    TN_TRY(begin(d, &slot, err));
    d->instance.api.CmdFillBuffer(
        d->staging.commands[slot], buffer->block->handle,
        (VkDeviceSize)buffer->offset,
        (VkDeviceSize)((buffer->bytes + 3) / 4 * 4), 0);
    return end(d, slot, err);
}

static tn_status check_range(const tn_buffer *b, int64_t offset, int64_t bytes,
                             const char *what, tn_error *err)
{
    if (offset >= 0 && bytes >= 0 && offset <= b->bytes &&
        bytes <= b->bytes - offset)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "backend vulkan: %s of %lld bytes at %lld is outside a "
                   "buffer of %lld",
                   what, (long long)bytes, (long long)offset,
                   (long long)b->bytes);
}

static int64_t piece_of(int64_t bytes)
{
    return bytes < SLOT_BYTES ? bytes : SLOT_BYTES;
}

tn_status gpu_upload(tn_device *d, tn_buffer *to, int64_t offset,
                     const void *from, int64_t bytes, tn_error *err)
{
    TN_TRY(check_range(to, offset, bytes, "an upload", err));
    char *mapped = gpu_buffer_mapped(to);
    if (mapped && bytes) {
        TN_TRY(gpu_wait_for(d, d->submitted, err));
        memcpy(mapped + offset, from, (size_t)bytes);
        return TN_OK;
    }
    for (int64_t done = 0; done < bytes;) {
        const int64_t piece = piece_of(bytes - done);
        uint32_t slot;
        TN_TRY(begin(d, &slot, err));
        const tn_buffer *staged = d->staging.buffer[slot];
        memcpy(gpu_buffer_mapped(staged), (const char *)from + done,
               (size_t)piece);
        copy(d, d->staging.commands[slot], to, offset + done, staged, 0, piece);
        TN_TRY(end(d, slot, err));
        done += piece;
    }
    return TN_OK;
}

tn_status gpu_download(tn_device *d, void *to, const tn_buffer *from,
                       int64_t offset, int64_t bytes, tn_error *err)
{
    TN_TRY(check_range(from, offset, bytes, "a download", err));
    const char *mapped = gpu_buffer_mapped(from);
    if (mapped && bytes) {
        TN_TRY(gpu_wait_for(d, d->submitted, err));
        memcpy(to, mapped + offset, (size_t)bytes);
        return TN_OK;
    }
    for (int64_t done = 0; done < bytes;) {
        const int64_t piece = piece_of(bytes - done);
        uint32_t slot;
        TN_TRY(begin(d, &slot, err));
        const tn_buffer *staged = d->staging.buffer[slot];
        copy(d, d->staging.commands[slot], staged, 0, from, offset + done,
             piece);
        TN_TRY(end(d, slot, err));
        TN_TRY(gpu_wait_for(d, d->staging.busy_until[slot], err));
        memcpy((char *)to + done, gpu_buffer_mapped(staged), (size_t)piece);
        done += piece;
    }
    return TN_OK;
}

void gpu_staging_close(tn_device *d)
{
    for (uint32_t i = 0; i < GPU_STAGING_SLOTS; i++)
        gpu_buffer_free(d, d->staging.buffer[i]);
}
