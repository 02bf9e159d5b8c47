/*
 * ask.c - extension "ask/1": bytes that are copied to pinned memory behind what
 * was started, and read while the device goes on.
 *
 * The device's fault record travels with them, so that an index out of range is
 * told with the step it belongs to.
 */
#include "exec.h"

#include <string.h>

tn_status gpu_questions_open(tn_device *d, tn_error *err)
{
    const char *doing = "making room for results";
    for (uint32_t i = 0; i < GPU_QUESTIONS; i++) {
        gpu_question *q = &d->questions[i];
        void *pinned = NULL;
        TN_TRY(gpu_check(&d->driver,
                         d->driver.MemAllocHost(&pinned, GPU_QUESTION_BYTES +
                                                             sizeof(gpu_fault)),
                         doing, err));
        q->bytes = pinned;
        TN_TRY(gpu_check(
            &d->driver,
            d->driver.EventCreate(&q->answered, CU_EVENT_DISABLE_TIMING), doing,
            err));
    }
    return TN_OK;
}

void gpu_questions_close(tn_device *d)
{
    for (uint32_t i = 0; i < GPU_QUESTIONS; i++) {
        if (d->questions[i].bytes)
            d->driver.MemFreeHost(d->questions[i].bytes);
        if (d->questions[i].answered)
            d->driver.EventDestroy(d->questions[i].answered);
    }
}

static tn_status check_size(uint32_t slot, int64_t bytes, tn_error *err)
{
    if (slot < GPU_QUESTIONS && bytes >= 0 && bytes <= GPU_QUESTION_BYTES)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "backend cuda: %lld bytes of slot %u are asked for; there "
                   "are %d slots of %d bytes",
                   (long long)bytes, slot, GPU_QUESTIONS, GPU_QUESTION_BYTES);
}

static tn_status copy(const tn_device *d, char *to, uint64_t from,
                      int64_t bytes, tn_error *err)
{
    return gpu_check_run(
        d, d->driver.MemcpyDtoHAsync(to, from, (size_t)bytes, d->stream),
        "copying a result", err);
}

static tn_status ask(tn_device *d, uint32_t slot, const tn_buffer *from,
                     int64_t offset, int64_t bytes, tn_error *err)
{
    TN_TRY(check_size(slot, bytes, err));
    TN_TRY(gpu_check_range(from, offset, bytes, "a result", err));
    TN_TRY(gpu_enter(d, err));
    gpu_question *q = &d->questions[slot];
    q->runs = d->runs;
    TN_TRY(copy(d, q->bytes + GPU_QUESTION_BYTES, d->fault->address,
                sizeof(gpu_fault), err));
    if (bytes)
        TN_TRY(copy(d, q->bytes, from->address + (uint64_t)offset, bytes, err));
    return gpu_check_run(d, d->driver.EventRecord(q->answered, d->stream),
                         "copying a result", err);
}

static tn_status take(tn_device *d, uint32_t slot, void *to, int64_t bytes,
                      tn_error *err)
{
    gpu_fault fault;
    TN_TRY(check_size(slot, bytes, err));
    TN_TRY(gpu_enter(d, err));
    const gpu_question *q = &d->questions[slot];
    TN_TRY(gpu_check_run(d, d->driver.EventSynchronize(q->answered),
                         "waiting for a result", err));
    d->over = q->runs > d->over ? q->runs : d->over;
    memcpy(&fault, q->bytes + GPU_QUESTION_BYTES, sizeof fault);
    memcpy(to, q->bytes, (size_t)bytes);
    return gpu_tell_fault(d, &fault, err);
}

const tn_ask_extension gpu_ask = {
    .struct_size = sizeof gpu_ask,
    .slots = GPU_QUESTIONS,
    .bytes = GPU_QUESTION_BYTES,
    .ask = ask,
    .take = take,
};
