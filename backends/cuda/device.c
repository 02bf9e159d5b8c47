/*
 * device.c - one device: its context, its stream, and what the driver's errors
 * mean.
 */
#include "blas.h"
#include "dnn.h"

#include <stdlib.h>
#include <string.h>

/* ---- errors ---- */

static const char *text_of(const gpu_driver *driver, CUresult result)
{
    const char *text = NULL;
    driver->GetErrorString(result, &text);
    return text ? text : "an unknown error";
}

tn_status gpu_check(const gpu_driver *driver, CUresult result,
                    const char *doing, tn_error *err)
{
    switch (result) {
    case CUDA_SUCCESS:
        return TN_OK;
    case CUDA_ERROR_OUT_OF_MEMORY:
        return tn_fail(err, TN_ENOMEM,
                       "backend cuda: out of the device's memory while %s; "
                       "set a smaller train.batch_size or train.recompute: "
                       "layer (`tenon plan` shows what is needed)",
                       doing);
    case CUDA_ERROR_NO_DEVICE:
        return tn_fail(err, TN_EUNSUPPORTED,
                       "the NVIDIA driver finds no device; in a container, "
                       "start it with --gpus all");
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
        return tn_fail(err, TN_EUNSUPPORTED,
                       "libcuda.so.1 and the NVIDIA driver in the kernel are "
                       "of two versions; restart the machine");
    case CUDA_ERROR_ECC_UNCORRECTABLE:
        return tn_fail(err, TN_EDEVICE,
                       "backend cuda: the device's memory failed (an ECC error "
                       "that cannot be corrected) while %s. Checkpoints are "
                       "intact; reset the device and start again with "
                       "--resume auto",
                       doing);
    default:
        return tn_fail(err, TN_EDEVICE,
                       "backend cuda: the driver says '%s' (%d) while %s. "
                       "Checkpoints are intact; start again with --resume "
                       "auto. With backend: {plugin: cuda, graph: false} a "
                       "failure is told with its op",
                       text_of(driver, result), result, doing);
    }
}

/* ---- the stream ---- */

tn_status gpu_enter(const tn_device *d, tn_error *err)
{
    return gpu_check(&d->driver, d->driver.CtxSetCurrent(d->context),
                     "turning to the device", err);
}

tn_status gpu_finish(tn_device *d, tn_error *err)
{
    TN_TRY(gpu_check_run(d, d->driver.StreamSynchronize(d->stream),
                         "waiting for the device", err));
    d->over = d->runs;
    return TN_OK;
}

/* ---- opening ---- */

static tn_status create_mark(tn_device *d, tn_error *err)
{
    void *pinned = NULL;
    TN_TRY(gpu_check(&d->driver,
                     d->driver.MemAllocHost(&pinned, sizeof *d->begun),
                     "opening the device", err));
    d->begun = pinned;
    *d->begun = 0;
    return TN_OK;
}

static tn_status create_fault(tn_device *d, tn_error *err)
{
    void *pinned = NULL;
    TN_TRY(gpu_buffer_create(d, sizeof(gpu_fault), &d->fault, err));
    TN_TRY(gpu_zero(d, d->fault, err));
    TN_TRY(gpu_check(&d->driver,
                     d->driver.MemAllocHost(&pinned, sizeof(gpu_fault)),
                     "opening the device", err));
    d->fault_copy = pinned;
    return TN_OK;
}

static void open_cache(tn_device *d)
{
    char maker[32];
    snprintf(maker, sizeof maker, "nvrtc%d.%d", d->nvrtc.major, d->nvrtc.minor);
    gpu_cache_open(&d->cache, &d->card, maker);
}

static tn_status open_all(tn_device *d, const gpu_options *o, tn_error *err)
{
    TN_TRY(gpu_load_driver(&d->driver, err));
    TN_TRY(gpu_kernels_check(&d->driver, err));
    TN_TRY(gpu_load_nvrtc(&d->nvrtc, d->driver.major, err));
    const tn_host *host = d->host;
    TN_TRY(gpu_card_choose(&d->driver, o->device ? o->device : "auto",
                           TN_HAS(host, local_rank) ? host->local_rank : 0,
                           &d->card, err));
    TN_TRY(
        gpu_check(&d->driver,
                  d->driver.DevicePrimaryCtxRetain(&d->context, d->card.handle),
                  "opening the device", err));
    TN_TRY(gpu_enter(d, err));
    TN_TRY(gpu_check(&d->driver,
                     d->driver.StreamCreate(&d->stream, CU_STREAM_NON_BLOCKING),
                     "opening the device", err));
    TN_TRY(gpu_staging_open(d, err));
    TN_TRY(gpu_questions_open(d, err));
    if (o->cache)
        open_cache(d);
    if (o->cublas)
        TN_TRY(gpu_blas_open(d, (uint32_t)o->tf32, o->cache, &d->blas, err));
    if (o->tf32 && !d->blas)
        d->host->log(d->host, TN_LOG_WARNING,
                     "backend cuda: tf32: true changes nothing without "
                     "cuBLASLt; our own products of f32 are f32");
    if (o->mark)
        TN_TRY(create_mark(d, err));
    return create_fault(d, err);
}

tn_status gpu_device_open(const tn_host *host, const gpu_options *options,
                          tn_device **device, tn_error *err)
{
    tn_device *d = calloc(1, sizeof *d);
    if (!d)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    d->host = host;
    d->graph = (uint32_t)options->graph;
    d->native = (uint32_t)options->native;
    d->join = (uint32_t)options->join;
    d->cudnn = options->cudnn && options->cache;
    const tn_status status = open_all(d, options, err);
    if (status != TN_OK)
        gpu_device_close(d);
    else
        *device = d;
    return status;
}

void gpu_device_close(tn_device *d)
{
    if (!d)
        return;
    if (d->context && gpu_enter(d, NULL) == TN_OK) {
        if (d->stream)
            gpu_finish(d, NULL);
        gpu_kernels_close(d);
        gpu_blas_close(d, d->blas);
        gpu_dnn_close(d);
        gpu_staging_close(d);
        gpu_questions_close(d);
        gpu_buffer_free(d, d->fault);
        if (d->fault_copy)
            d->driver.MemFreeHost(d->fault_copy);
        if (d->begun)
            d->driver.MemFreeHost(d->begun);
        if (d->stream)
            d->driver.StreamDestroy(d->stream);
    }
    if (d->context)
        d->driver.DevicePrimaryCtxRelease(d->card.handle);
    gpu_cache_close(&d->cache);
    free(d);
}
