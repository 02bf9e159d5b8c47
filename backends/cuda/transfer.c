/*
 * transfer.c - bytes to and from the device, in program order with runs.
 *
 * An upload is copied into one of a few pinned slots and leaves from there on
 * the stream while the CPU goes on: the next step's tokens travel behind the
 * step that runs. A download has to wait.
 */
#include "gpu.h"

#include <string.h>

enum { SLOT_BYTES = 4 << 20 };

static tn_status check(const tn_device *d, CUresult result, tn_error *err)
{
    return gpu_check(&d->driver, result, "copying", err);
}

tn_status gpu_zero(tn_device *d, tn_buffer *buffer, tn_error *err)
{
    if (!buffer->bytes)
        return TN_OK;
    return check(d,
                 d->driver.MemsetD8Async(buffer->address, 0,
                                         (size_t)buffer->bytes, d->stream),
                 err);
}

tn_status gpu_check_range(const tn_buffer *b, int64_t offset, int64_t bytes,
                          const char *what, tn_error *err)
{
    if (offset >= 0 && bytes >= 0 && offset <= b->bytes &&
        bytes <= b->bytes - offset)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "backend cuda: %s of %lld bytes at %lld is outside a "
                   "buffer of %lld",
                   what, (long long)bytes, (long long)offset,
                   (long long)b->bytes);
}

tn_status gpu_staging_open(tn_device *d, tn_error *err)
{
    const char *doing = "making room for copies";
    for (uint32_t i = 0; i < GPU_STAGING_SLOTS; i++) {
        void *pinned = NULL;
        TN_TRY(gpu_check(&d->driver,
                         d->driver.MemAllocHost(&pinned, SLOT_BYTES), doing,
                         err));
        d->staging.bytes[i] = pinned;
        TN_TRY(gpu_check(
            &d->driver,
            d->driver.EventCreate(&d->staging.done[i], CU_EVENT_DISABLE_TIMING),
            doing, err));
    }
    return TN_OK;
}

/* A slot whose last copy is over. */
static tn_status take_slot(tn_device *d, uint32_t *slot, tn_error *err)
{
    gpu_staging *s = &d->staging;
    const uint32_t i = s->next;
    s->next = (i + 1) % GPU_STAGING_SLOTS;
    *slot = i;
    return check(d, d->driver.EventSynchronize(s->done[i]), err);
}

static int64_t piece_of(int64_t bytes)
{
    return bytes < SLOT_BYTES ? bytes : SLOT_BYTES;
}

tn_status gpu_upload(tn_device *d, tn_buffer *to, int64_t offset,
                     const void *from, int64_t bytes, tn_error *err)
{
    TN_TRY(gpu_check_range(to, offset, bytes, "an upload", err));
    TN_TRY(gpu_enter(d, err));
    for (int64_t done = 0; done < bytes;) {
        const int64_t piece = piece_of(bytes - done);
        uint32_t slot;
        TN_TRY(take_slot(d, &slot, err));
        char *staged = d->staging.bytes[slot];
        memcpy(staged, (const char *)from + done, (size_t)piece);
        TN_TRY(check(d,
                     d->driver.MemcpyHtoDAsync(
                         to->address + (CUdeviceptr)(offset + done), staged,
                         (size_t)piece, d->stream),
                     err));
        TN_TRY(check(d, d->driver.EventRecord(d->staging.done[slot], d->stream),
                     err));
        done += piece;
    }
    return TN_OK;
}

tn_status gpu_download(tn_device *d, void *to, const tn_buffer *from,
                       int64_t offset, int64_t bytes, tn_error *err)
{
    TN_TRY(gpu_check_range(from, offset, bytes, "a download", err));
    TN_TRY(gpu_enter(d, err));
    for (int64_t done = 0; done < bytes;) {
        const int64_t piece = piece_of(bytes - done);
        uint32_t slot;
        TN_TRY(take_slot(d, &slot, err));
        char *staged = d->staging.bytes[slot];
        TN_TRY(check(d,
                     d->driver.MemcpyDtoHAsync(
                         staged, from->address + (CUdeviceptr)(offset + done),
                         (size_t)piece, d->stream),
                     err));
        TN_TRY(gpu_finish(d, err));
        memcpy((char *)to + done, staged, (size_t)piece);
        done += piece;
    }
    return TN_OK;
}

void gpu_staging_close(tn_device *d)
{
    for (uint32_t i = 0; i < GPU_STAGING_SLOTS; i++) {
        if (d->staging.bytes[i])
            d->driver.MemFreeHost(d->staging.bytes[i]);
        if (d->staging.done[i])
            d->driver.EventDestroy(d->staging.done[i]);
    }
}
