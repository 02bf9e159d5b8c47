/*
 * transfer.c - bytes to and from the device, in program order with runs.
 *
 * An upload is copied into one of a few pinned slots and leaves from there
 * while the CPU goes on. Where the device works meanwhile, a stream of copies
 * brings it to a slot on the device, beside the step that runs; what is left to
 * do behind that step is a copy within the device, at the rate of its memory:
 *
 *     copies      tokens n + 1 -> slot        tokens n + 2 -> slot
 *     work        step n              slot -> tokens, step n + 1        slot
 * ...
 *
 * Where nothing runs there is nothing to hide behind, as between the tokens of
 * a decoder, and the bytes go straight to their place. A download has to wait.
 */
#include "gpu.h"

#include <string.h>

enum { SLOT_BYTES = 4 << 20 };

static tn_status check(const tn_device *d, CUresult result, tn_error *err)
{
    return gpu_check_run(d, result, "copying", err);
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
    const gpu_driver *driver = &d->driver;
    gpu_staging *s = &d->staging;
    const char *doing = "making room for copies";
    TN_TRY(gpu_buffer_create(d, GPU_STAGING_SLOTS * (int64_t)SLOT_BYTES,
                             &s->landed, err));
    TN_TRY(gpu_check(driver,
                     driver->StreamCreate(&s->stream, CU_STREAM_NON_BLOCKING),
                     doing, err));
    for (uint32_t i = 0; i < GPU_STAGING_SLOTS; i++) {
        void *pinned = NULL;
        TN_TRY(gpu_check(driver, driver->MemAllocHost(&pinned, SLOT_BYTES),
                         doing, err));
        s->bytes[i] = pinned;
        TN_TRY(gpu_check(
            driver,
            driver->EventCreate(&s->arrived[i], CU_EVENT_DISABLE_TIMING), doing,
            err));
        TN_TRY(gpu_check(
            driver, driver->EventCreate(&s->done[i], CU_EVENT_DISABLE_TIMING),
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

/* Behind all that was started. */
static tn_status send_straight(const tn_device *d, uint64_t to, uint32_t slot,
                               size_t bytes, tn_error *err)
{
    return check(
        d,
        d->driver.MemcpyHtoDAsync(to, d->staging.bytes[slot], bytes, d->stream),
        err);
}

/* Beside what runs, and then to its place. */
static tn_status send_beside(const tn_device *d, uint64_t to, uint32_t slot,
                             size_t bytes, tn_error *err)
{
    const gpu_driver *driver = &d->driver;
    const gpu_staging *s = &d->staging;
    const CUdeviceptr landed = s->landed->address + (uint64_t)slot * SLOT_BYTES;
    TN_TRY(check(
        d, driver->MemcpyHtoDAsync(landed, s->bytes[slot], bytes, s->stream),
        err));
    TN_TRY(check(d, driver->EventRecord(s->arrived[slot], s->stream), err));
    TN_TRY(
        check(d, driver->StreamWaitEvent(d->stream, s->arrived[slot], 0), err));
    return check(d, driver->MemcpyDtoDAsync(to, landed, bytes, d->stream), err);
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
        const uint64_t at = to->address + (uint64_t)(offset + done);
        memcpy(d->staging.bytes[slot], (const char *)from + done,
               (size_t)piece);
        TN_TRY(d->over < d->runs
                   ? send_beside(d, at, slot, (size_t)piece, err)
                   : send_straight(d, at, slot, (size_t)piece, err));
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
    gpu_staging *s = &d->staging;
    for (uint32_t i = 0; i < GPU_STAGING_SLOTS; i++) {
        if (s->bytes[i])
            d->driver.MemFreeHost(s->bytes[i]);
        if (s->arrived[i])
            d->driver.EventDestroy(s->arrived[i]);
        if (s->done[i])
            d->driver.EventDestroy(s->done[i]);
    }
    if (s->stream)
        d->driver.StreamDestroy(s->stream);
    gpu_buffer_free(d, s->landed);
}
