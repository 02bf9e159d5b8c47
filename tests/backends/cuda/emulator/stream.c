/*
 * stream.c - streams and events: queues, and marks in them.
 *
 * Work that is handed in waits in its stream's queue until somebody asks for
 * its end, and is then carried out in one of the orders that streams and events
 * allow (simt_set_order); with the first order it is carried out at once.
 * Copies from memory that is not pinned take their bytes when they are handed
 * in, as the driver does, and copies to it are waited for.
 */
#include "driver.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static CUstream streams; /* newest first */

/* Of the processor's time: what else the machine does takes none of it, so that
 * what is compared by events compares the same on a busy day. */
static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- work ---- */

CUresult simt_do(const simt_work *w)
{
    switch (w->kind) {
    case SIMT_KERNEL:
        return simt_call(&w->kernel);
    case SIMT_COPY:
        memmove(w->copy.to, w->copy.from, w->copy.bytes);
        return CUDA_SUCCESS;
    case SIMT_FILL:
        memset(w->copy.to, w->copy.value, w->copy.bytes);
        return CUDA_SUCCESS;
    case SIMT_RECORD:
        w->event->done = w->ticket;
        w->event->seconds = seconds_now();
        return CUDA_SUCCESS;
    case SIMT_WAIT:
        return CUDA_SUCCESS;
    case SIMT_GRAPH:
        return simt_run_graph(w->graph);
    case SIMT_HOST:
        w->host.call(w->host.data);
        return CUDA_SUCCESS;
    }
    return INVALID_VALUE;
}

void simt_drop(simt_work *w)
{
    free(w->kernel.argument);
    free(w->copy.kept);
}

/* ---- carrying out ---- */

static int can_go(CUstream s)
{
    const simt_work *w = s->first;
    return w && (w->kind != SIMT_WAIT || w->event->done >= w->ticket);
}

static unsigned long beside;

unsigned long simt_beside_count(void)
{
    return beside;
}

static int others_work(CUstream s)
{
    for (CUstream other = streams; other; other = other->next)
        if (other != s && other->first && other->first->kind == SIMT_GRAPH)
            return 1;
    return 0;
}

static void do_first(CUstream s)
{
    simt_work *w = s->first;
    beside += w->kind == SIMT_COPY && others_work(s);
    s->first = w->next;
    if (!s->first)
        s->last = NULL;
    if (!simt_is_broken())
        simt_break(simt_do(w));
    else if (w->kind == SIMT_RECORD)
        w->event->done = w->ticket;
    simt_drop(w);
    free(w);
}

/* One piece of work of any stream; 0 if there is none. */
static int do_some(void)
{
    CUstream ready[64];
    uint32_t count = 0;
    for (CUstream s = streams; s && count < 64; s = s->next)
        if (can_go(s))
            ready[count++] = s;
    if (!count)
        return 0;
    /* newest last, so that the reverse order begins with it */
    do_first(ready[count - 1 - simt_pick(count)]);
    return 1;
}

void simt_drain_all(void)
{
    while (do_some())
        ;
}

static void drain(CUstream s)
{
    while (s->first && do_some())
        ;
}

/* ---- handing in ---- */

CUresult simt_hand_in(CUstream stream, const simt_work *work)
{
    if (!stream)
        return simt_complain(INVALID_HANDLE,
                             "the default stream is not emulated");
    if (stream->capture)
        return simt_capture(stream, work);
    simt_work *w = malloc(sizeof *w);
    if (!w)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *w = *work;
    w->next = NULL;
    if (stream->last)
        stream->last->next = w;
    else
        stream->first = w;
    stream->last = w;
    if (simt_order() == SIMT_FORWARD)
        drain(stream);
    return CUDA_SUCCESS;
}

static CUresult hand_in_copy(CUstream stream, void *to, const void *from,
                             size_t bytes, void *kept)
{
    simt_work w = {.kind = SIMT_COPY};
    w.copy.to = to;
    w.copy.from = from;
    w.copy.kept = kept;
    w.copy.bytes = bytes;
    return simt_hand_in(stream, &w);
}

static CUresult check_device(const void *address, size_t bytes)
{
    const CUresult ready = simt_ready();
    if (ready || simt_owns(SIMT_DEVICE, address, bytes))
        return ready;
    return simt_complain(INVALID_VALUE,
                         "%zu bytes at %p are not one allocation's", bytes,
                         address);
}

CUresult cu_MemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes,
                            CUstream stream)
{
    void *target = (void *)(uintptr_t)to, *kept = NULL;
    const CUresult ready = check_device(target, bytes);
    if (ready)
        return ready;
    if (!stream->capture && !simt_owns(SIMT_PINNED, from, bytes)) {
        kept = malloc(bytes + 1);
        if (!kept)
            return CUDA_ERROR_OUT_OF_MEMORY;
        from = memcpy(kept, from, bytes);
    }
    return hand_in_copy(stream, target, from, bytes, kept);
}

CUresult cu_MemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes,
                            CUstream stream)
{
    const void *source = (const void *)(uintptr_t)from;
    CUresult result = check_device(source, bytes);
    if (!result)
        result = hand_in_copy(stream, to, source, bytes, NULL);
    if (!result && !stream->capture && !simt_owns(SIMT_PINNED, to, bytes))
        drain(stream);
    return result;
}

CUresult cu_MemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes,
                            CUstream stream)
{
    void *target = (void *)(uintptr_t)to;
    const void *source = (const void *)(uintptr_t)from;
    CUresult result = check_device(source, bytes);
    if (!result)
        result = check_device(target, bytes);
    return result ? result : hand_in_copy(stream, target, source, bytes, NULL);
}

CUresult cu_MemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes,
                          CUstream stream)
{
    simt_work w = {.kind = SIMT_FILL};
    const CUresult ready = check_device((void *)(uintptr_t)to, bytes);
    if (ready)
        return ready;
    w.copy.to = (void *)(uintptr_t)to;
    w.copy.bytes = bytes;
    w.copy.value = value;
    return simt_hand_in(stream, &w);
}

CUresult cuLaunchHostFunc(CUstream stream, void (*call)(void *data), void *data)
{
    const CUresult ready = simt_ready();
    const simt_work w = {.kind = SIMT_HOST, .host = {call, data}};
    return ready ? ready : simt_hand_in(stream, &w);
}

/* ---- streams ---- */

CUresult cu_StreamCreate(CUstream *stream, unsigned flags)
{
    const CUresult ready = simt_ready();
    if (ready)
        return ready;
    if (flags != CU_STREAM_NON_BLOCKING)
        return simt_complain(INVALID_VALUE,
                             "only streams that do not wait for the default "
                             "stream are emulated");
    CUstream s = calloc(1, sizeof *s);
    if (!s)
        return CUDA_ERROR_OUT_OF_MEMORY;
    s->next = streams;
    streams = s;
    *stream = s;
    return CUDA_SUCCESS;
}

CUresult cu_StreamDestroy(CUstream stream)
{
    CUstream *at = &streams;
    drain(stream);
    while (*at && *at != stream)
        at = &(*at)->next;
    if (!*at)
        return INVALID_HANDLE;
    *at = stream->next;
    free(stream->tips);
    free(stream);
    return CUDA_SUCCESS;
}

static unsigned long waits;

unsigned long simt_wait_count(void)
{
    return waits;
}

CUresult cu_StreamSynchronize(CUstream stream)
{
    const CUresult ready = simt_ready();
    waits++;
    if (ready)
        return ready;
    if (stream->capture)
        return CAPTURE_UNSUPPORTED;
    drain(stream);
    return simt_ready();
}

void simt_forget_capture(CUgraph graph)
{
    for (CUstream s = streams; s; s = s->next)
        if (s->capture == graph) {
            s->capture = NULL;
            s->is_origin = 0;
            s->tip_count = 0;
        }
}

int simt_is_joined(CUgraph graph, const unsigned char *reached)
{
    for (CUstream s = streams; s; s = s->next)
        for (uint32_t i = 0; s->capture == graph && i < s->tip_count; i++)
            if (!reached[s->tips[i]])
                return 0;
    return 1;
}

/* ---- events ---- */

CUresult cu_EventCreate(CUevent *event, unsigned flags)
{
    const CUresult ready = simt_ready();
    (void)flags;
    if (ready)
        return ready;
    *event = calloc(1, sizeof **event);
    return *event ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cu_EventDestroy(CUevent event)
{
    simt_drain_all();
    free(event->tips);
    free(event);
    return CUDA_SUCCESS;
}

/* In a capture an event stands for the nodes before it. */
static CUresult record_tips(CUevent event, CUstream stream)
{
    event->capture = stream->capture;
    event->tip_count = 0;
    return simt_join_tips(&event->tips, &event->tip_count, stream->tips,
                          stream->tip_count);
}

CUresult cu_EventRecord(CUevent event, CUstream stream)
{
    const CUresult ready = simt_ready();
    if (ready)
        return ready;
    if (stream->capture)
        return record_tips(event, stream);
    event->capture = NULL;
    const simt_work w = {
        .kind = SIMT_RECORD, .event = event, .ticket = ++event->asked};
    return simt_hand_in(stream, &w);
}

static int is_captured(CUgraph graph)
{
    for (CUstream s = streams; s; s = s->next)
        if (s->capture == graph)
            return 1;
    return 0;
}

CUresult cu_StreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    const CUresult ready = simt_ready();
    if (ready || flags)
        return ready ? ready : INVALID_VALUE;
    if (event->capture) {
        if (!is_captured(event->capture) ||
            (stream->capture && stream->capture != event->capture))
            return simt_complain(INVALID_VALUE,
                                 "the event belongs to another capture");
        stream->capture = event->capture;
        return simt_join_tips(&stream->tips, &stream->tip_count, event->tips,
                              event->tip_count);
    }
    if (stream->capture)
        return simt_complain(CAPTURE_UNSUPPORTED,
                             "a stream that is captured waits for an event "
                             "from outside the capture");
    const simt_work w = {
        .kind = SIMT_WAIT, .event = event, .ticket = event->asked};
    return simt_hand_in(stream, &w);
}

CUresult cu_EventSynchronize(CUevent event)
{
    const CUresult ready = simt_ready();
    if (ready)
        return ready;
    while (event->done < event->asked && do_some())
        ;
    return simt_ready();
}

CUresult cu_EventElapsedTime(float *milliseconds, CUevent start, CUevent end)
{
    const CUresult ready = simt_ready();
    if (ready)
        return ready;
    if (start->done < start->asked || end->done < end->asked)
        return NOT_READY;
    *milliseconds = (float)((end->seconds - start->seconds) * 1e3);
    return CUDA_SUCCESS;
}
