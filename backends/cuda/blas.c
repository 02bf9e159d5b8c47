/*
 * blas.c - products by cuBLASLt.
 *
 * The library thinks in columns: what it is asked for is y' = b' a', of the
 * same bytes. It recommends some algorithms for a product; which of them is the
 * fastest here is found out by trying, once, and kept on disk: what a run began
 * with it goes on with. Where nothing can be kept, and for a product that all
 * ranks of a run compute alike, the first recommendation is taken, so that bits
 * never depend on a clock.
 */
#include "blas.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { WORKSPACE_BYTES = 32 << 20, CANDIDATES = 8, TRIALS = 3 };

/* ---- opening ---- */

static int load(gpu_blas *blas, int most)
{
    void *library = gpu_open_toolkit("cublasLt", most);
    if (!library)
        return 0;
#define XX(result, name, symbol, arguments)                                    \
    *(void **)&blas->name = dlsym(library, symbol);                            \
    if (!blas->name)                                                           \
        return 0;
    GPU_BLAS_MAP(XX)
#undef XX
    return 1;
}

static void open_chosen(tn_device *d, gpu_blas *blas)
{
    char maker[48];
    snprintf(maker, sizeof maker, "cublaslt%zu", blas->GetVersion());
    gpu_cache_open(&blas->chosen, &d->card, maker);
}

/* The library talks to the driver behind our back, which an emulator of what we
 * use of it does not stand. */
tn_status gpu_blas_open(tn_device *d, uint32_t tf32, int keep, gpu_blas **out,
                        tn_error *err)
{
    if (gpu_is_emulator(&d->card))
        return TN_OK;
    gpu_blas *blas = calloc(1, sizeof *blas);
    if (!blas)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    if (!load(blas, d->driver.major) || blas->Create(&blas->handle)) {
        d->host->log(d->host, TN_LOG_INFO,
                     "backend cuda: without cuBLASLt (libcublasLt.so.13 or "
                     ".12) products are slower");
        free(blas);
        return TN_OK;
    }
    blas->tf32 = tf32;
    if (keep)
        open_chosen(d, blas);
    const tn_status status =
        gpu_buffer_create(d, WORKSPACE_BYTES, &blas->workspace, err);
    if (status == TN_OK)
        *out = blas;
    else
        gpu_blas_close(d, blas);
    return status;
}

void gpu_blas_close(tn_device *d, gpu_blas *blas)
{
    if (!blas)
        return;
    gpu_cache_close(&blas->chosen);
    gpu_buffer_free(d, blas->workspace);
    blas->Destroy(blas->handle);
    free(blas);
}

/* ---- which products ---- */

/* One operand as the library sees it: columns of `rows`, `pitch` apart. */
typedef struct side {
    int transposed;
    int64_t rows, columns, pitch;
} side;

/* A row-major (down, across) matrix read by columns is (across, down). Strides
 * of axes of size 1 mean nothing. */
static int side_of(int64_t down, int64_t across, const int64_t stride[2],
                   side *s)
{
    if (stride[1] == 1 || across == 1)
        *s = (side){0, across, down, stride[0]};
    else if (stride[0] == 1 || down == 1)
        *s = (side){1, down, across, stride[1]};
    else
        return 0;
    if (s->columns == 1)
        s->pitch = s->rows;
    return s->pitch >= s->rows;
}

/* Batch axes as one: 0 where they are not. */
static int one_batch(const gpu_product_args *p, int64_t *count, int64_t *a,
                     int64_t *b)
{
    *count = 1;
    *a = *b = 0;
    for (int i = 3; i >= 0; i--) {
        if (p->batch[i] == 1)
            continue;
        if (*count == 1) {
            *a = p->a_batch[i];
            *b = p->b_batch[i];
        } else if (p->a_batch[i] != *a * *count || p->b_batch[i] != *b * *count)
            return 0;
        *count *= p->batch[i];
    }
    return 1;
}

static int type_of(tn_dtype dtype)
{
    return dtype == TN_BF16 ? CUBLAS_R_16BF : CUBLAS_R_32F;
}

/* ---- describing ---- */

typedef struct request {
    const gpu_product_args *p;
    tn_dtype dtype, y_dtype; /* of operands and result */
    uint32_t steady;
    side a, b;
    int64_t batch, a_step, b_step;
} request;

static int ask(request *r)
{
    const gpu_product_args *p = r->p;
    return (r->dtype == TN_BF16 || r->y_dtype == TN_F32) && p->columns > 1 &&
           p->inner > 1 && side_of(p->rows, p->inner, p->a_stride, &r->a) &&
           side_of(p->inner, p->columns, p->b_stride, &r->b) &&
           one_batch(p, &r->batch, &r->a_step, &r->b_step);
}

static int make_layout(const gpu_blas *blas, void **layout, tn_dtype dtype,
                       int64_t rows, int64_t columns, int64_t pitch,
                       int64_t batch, int64_t step)
{
    const int32_t count = (int32_t)batch;
    if (blas->LayoutCreate(layout, type_of(dtype), (uint64_t)rows,
                           (uint64_t)columns, pitch))
        return 0;
    return batch == 1 ||
           (!blas->LayoutSet(*layout, CUBLASLT_LAYOUT_BATCH_COUNT, &count,
                             sizeof count) &&
            !blas->LayoutSet(*layout, CUBLASLT_LAYOUT_BATCH_STRIDE, &step,
                             sizeof step));
}

/* The library's first operand is our b. */
static int make_description(const gpu_blas *blas, const request *r,
                            gpu_blas_call *call)
{
    const int compute = r->dtype == TN_F32 && blas->tf32
                            ? CUBLAS_COMPUTE_32F_FAST_TF32
                            : CUBLAS_COMPUTE_32F;
    const int32_t first = r->b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int32_t second = r->a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int64_t m = r->p->columns, n = r->p->rows;
    return !blas->DescCreate(&call->desc, compute, CUBLAS_R_32F) &&
           !blas->DescSet(call->desc, CUBLASLT_DESC_TRANSA, &first,
                          sizeof first) &&
           !blas->DescSet(call->desc, CUBLASLT_DESC_TRANSB, &second,
                          sizeof second) &&
           make_layout(blas, &call->b_layout, r->dtype, r->b.rows, r->b.columns,
                       r->b.pitch, r->batch, r->b_step) &&
           make_layout(blas, &call->a_layout, r->dtype, r->a.rows, r->a.columns,
                       r->a.pitch, r->batch, r->a_step) &&
           make_layout(blas, &call->y_layout, r->y_dtype, m, n, m, r->batch,
                       m * n);
}

/* ---- choosing ---- */

static uint32_t alignment_of(uint64_t address)
{
    const uint64_t lowest = address & (~address + 1);
    return lowest == 0 || lowest > 256 ? 256 : (uint32_t)lowest;
}

static int recommend(const gpu_blas *blas, const gpu_blas_call *call,
                     cublasLtHeuristic *found)
{
    const uint64_t bytes = WORKSPACE_BYTES;
    const uint32_t align[4] = {alignment_of(call->b), alignment_of(call->a),
                               alignment_of(call->y), alignment_of(call->y)};
    void *preference;
    int count = 0, bad;
    if (blas->PreferenceCreate(&preference))
        return 0;
    bad = blas->PreferenceSet(preference, CUBLASLT_PREF_WORKSPACE, &bytes,
                              sizeof bytes);
    for (int i = 0; i < 4; i++)
        bad |= blas->PreferenceSet(preference, CUBLASLT_PREF_ALIGNMENT_A + i,
                                   &align[i], sizeof align[i]);
    if (bad || blas->Heuristic(blas->handle, call->desc, call->b_layout,
                               call->a_layout, call->y_layout, call->y_layout,
                               preference, CANDIDATES, found, &count))
        count = 0;
    blas->PreferenceDestroy(preference);
    return count;
}

static int start(const tn_device *d, const gpu_blas_call *call)
{
    const gpu_blas *blas = d->blas;
    const float one = 1.0f;
    return blas->Matmul(
        blas->handle, call->desc, &one, (const void *)(uintptr_t)call->b,
        call->b_layout, (const void *)(uintptr_t)call->a, call->a_layout,
        &call->beta, (const void *)(uintptr_t)call->y, call->y_layout,
        (void *)(uintptr_t)call->y, call->y_layout, &call->algo,
        (void *)(uintptr_t)blas->workspace->address, call->workspace,
        d->stream);
}

/* Seconds of a call, the least of some; a negative number where it fails. */
static double time_call(tn_device *d, const gpu_blas_call *call,
                        CUevent events[2])
{
    const gpu_driver *driver = &d->driver;
    double best = -1.0;
    if (start(d, call))
        return -1.0;
    for (int i = 0; i < TRIALS; i++) {
        float milliseconds;
        if (driver->EventRecord(events[0], d->stream) || start(d, call) ||
            driver->EventRecord(events[1], d->stream) ||
            driver->EventSynchronize(events[1]) ||
            driver->EventElapsedTime(&milliseconds, events[0], events[1]))
            return -1.0;
        if (best < 0.0 || (double)milliseconds < best)
            best = (double)milliseconds;
    }
    return best;
}

/* Which of `found` is the fastest. */
static int race(tn_device *d, gpu_blas_call *call,
                const cublasLtHeuristic *found, int count)
{
    CUevent events[2] = {NULL, NULL};
    double best = -1.0;
    int winner = 0;
    for (int i = 0; i < 2; i++)
        if (d->driver.EventCreate(&events[i], CU_EVENT_DEFAULT))
            count = 0;
    for (int i = 0; i < count; i++) {
        call->algo = found[i].algo;
        call->workspace = found[i].workspace;
        const double took = time_call(d, call, events);
        if (took >= 0.0 && (best < 0.0 || took < best)) {
            best = took;
            winner = i;
        }
    }
    for (int i = 0; i < 2; i++)
        if (events[i])
            d->driver.EventDestroy(events[i]);
    return winner;
}

/* Elements from an operand's first to its last. */
static int64_t reach(const side *s, int64_t batch, int64_t step)
{
    return s->rows + (s->columns - 1) * s->pitch + (batch - 1) * step;
}

/* Try on memory of our own: the plan's may hold parameters. Where there is none
 * the first wins. */
static int race_aside(tn_device *d, const request *r, const gpu_blas_call *call,
                      const cublasLtHeuristic *found, int count)
{
    const int64_t sizes[3] = {
        reach(&r->a, r->batch, r->a_step) * tn_dtype_bytes(r->dtype),
        reach(&r->b, r->batch, r->b_step) * tn_dtype_bytes(r->dtype),
        (int64_t)r->p->rows * r->p->columns * r->batch *
            tn_dtype_bytes(r->y_dtype)};
    tn_buffer *aside[3] = {NULL, NULL, NULL};
    gpu_blas_call trial = *call;
    int ready = 1, winner = 0;
    for (int i = 0; i < 3; i++)
        ready =
            ready && sizes[i] + 256 < gpu_free_bytes(d) / 2 &&
            gpu_buffer_create(d, sizes[i] + 256, &aside[i], NULL) == TN_OK &&
            gpu_zero(d, aside[i], NULL) == TN_OK;
    if (ready) { /* as far from a boundary as the plan's */
        trial.a = aside[0]->address + call->a % 256;
        trial.b = aside[1]->address + call->b % 256;
        trial.y = aside[2]->address + call->y % 256;
        winner = race(d, &trial, found, count);
    }
    gpu_finish(d, NULL);
    for (int i = 0; i < 3; i++)
        gpu_buffer_free(d, aside[i]);
    return winner;
}

/* What decides which algorithm is fastest. */
static void name_request(const tn_device *d, const request *r,
                         const gpu_blas_call *call, char *text, size_t size)
{
    snprintf(text, size,
             "%s: %d %d %d %s %s %d/%lld %d/%lld x%lld %lld %lld align %u "
             "%u %u beta %d tf32 %u",
             d->card.name, r->p->rows, r->p->columns, r->p->inner,
             tn_dtype_name(r->dtype), tn_dtype_name(r->y_dtype),
             r->a.transposed, (long long)r->a.pitch, r->b.transposed,
             (long long)r->b.pitch, (long long)r->batch, (long long)r->a_step,
             (long long)r->b_step, alignment_of(call->a), alignment_of(call->b),
             alignment_of(call->y), call->beta != 0.0f, d->blas->tf32);
}

static int take(const gpu_cached *c, cublasLtHeuristic *chosen)
{
    if (!c || c->bytes != sizeof *chosen)
        return 0;
    memcpy(chosen, c->code, sizeof *chosen);
    return 1;
}

/* found[0]: the winner, as it stays on disk, or else the first. */
static int choose_anew(tn_device *d, const request *r,
                       const gpu_blas_call *call, const char *text,
                       cublasLtHeuristic found[CANDIDATES])
{
    gpu_cache *chosen = &d->blas->chosen;
    const int count = recommend(d->blas, call, found);
    if (count && chosen->path[0]) {
        const int winner = race_aside(d, r, call, found, count);
        take(gpu_cache_keep(chosen, text, gpu_hash(text, strlen(text)),
                            &found[winner], sizeof found[0]),
             &found[0]);
    }
    return count;
}

static int choose_once(tn_device *d, const request *r,
                       const gpu_blas_call *call,
                       cublasLtHeuristic found[CANDIDATES])
{
    char text[320];
    name_request(d, r, call, text, sizeof text);
    const gpu_cached *known =
        gpu_cache_find(&d->blas->chosen, text, gpu_hash(text, strlen(text)));
    return take(known, &found[0]) || choose_anew(d, r, call, text, found);
}

static int choose(tn_device *d, const request *r, gpu_blas_call *call)
{
    cublasLtHeuristic found[CANDIDATES];
    if (!(r->steady ? recommend(d->blas, call, found)
                    : choose_once(d, r, call, found)))
        return 0;
    call->algo = found[0].algo;
    call->workspace = found[0].workspace;
    return call->workspace <= WORKSPACE_BYTES;
}

tn_status gpu_blas_describe(tn_device *d, const gpu_product *p,
                            gpu_blas_call **out, tn_error *err)
{
    const gpu_product_args *args = &p->args;
    request r = {
        .p = args, .dtype = p->operands, .y_dtype = p->y, .steady = p->steady};
    if (!d->blas || !ask(&r))
        return TN_OK;
    gpu_blas_call *call = calloc(1, sizeof *call);
    if (!call)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    call->a = args->a;
    call->b = args->b;
    call->y = args->y;
    call->beta = args->accumulate ? 1.0f : 0.0f;
    if (make_description(d->blas, &r, call) && choose(d, &r, call))
        *out = call;
    else
        gpu_blas_free(d, call);
    return TN_OK;
}

void gpu_blas_free(const tn_device *d, gpu_blas_call *call)
{
    if (!call)
        return;
    if (call->desc)
        d->blas->DescDestroy(call->desc);
    void *const layouts[] = {call->a_layout, call->b_layout, call->y_layout};
    for (int i = 0; i < 3; i++)
        if (layouts[i])
            d->blas->LayoutDestroy(layouts[i]);
    free(call);
}

tn_status gpu_blas_start(const tn_device *d, const gpu_blas_call *call,
                         tn_error *err)
{
    const int status = start(d, call);
    if (!status)
        return TN_OK;
    return tn_fail(err, TN_EDEVICE,
                   "backend cuda: cuBLASLt fails with status %d; set backend: "
                   "{plugin: cuda, cublas: false} to do without it",
                   status);
}
