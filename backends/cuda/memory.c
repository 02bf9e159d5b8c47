/*
 * memory.c - buffers: few and large, so each is an allocation of the driver's,
 * which aligns it to 256 bytes.
 */
#include "gpu.h"

#include <stdlib.h>

int64_t gpu_free_bytes(const tn_device *d)
{
    size_t unused = 0, total = 0;
    if (gpu_enter(d, NULL) != TN_OK || d->driver.MemGetInfo(&unused, &total))
        return 0;
    return (int64_t)unused;
}

tn_status gpu_buffer_create(tn_device *d, int64_t bytes, tn_buffer **out,
                            tn_error *err)
{
    tn_buffer *b = calloc(1, sizeof *b);
    if (!b)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    b->bytes = bytes;
    const CUresult result =
        bytes ? d->driver.MemAlloc(&b->address, (size_t)bytes) : CUDA_SUCCESS;
    if (result == CUDA_SUCCESS) {
        *out = b;
        return TN_OK;
    }
    free(b);
    if (result != CUDA_ERROR_OUT_OF_MEMORY)
        return gpu_check(&d->driver, result, "allocating memory", err);
    return tn_fail(err, TN_ENOMEM,
                   "backend cuda: %s has %lld of its %lld bytes of memory "
                   "free, and %lld are asked for at once; set a smaller "
                   "train.batch_size or train.recompute: layer (`tenon plan` "
                   "shows what is needed)",
                   d->card.name, (long long)gpu_free_bytes(d),
                   (long long)d->card.memory_bytes, (long long)bytes);
}

void gpu_buffer_free(tn_device *d, tn_buffer *buffer)
{
    if (buffer && buffer->address)
        d->driver.MemFree(buffer->address);
    free(buffer);
}
