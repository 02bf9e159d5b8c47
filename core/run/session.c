/*
 * session.c - arenas, compiled plans, and the border between float and double.
 */
#include "run/session.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 2048 }; /* reals converted at a time, on the stack */

const void *tni_session_extension(const tni_session *s, const char *name)
{
    const tn_backend *backend = s->device.backend;
    return backend->extension ? backend->extension(s->device.device, name)
                              : NULL;
}

static tn_status check_precision(const tni_recipe *recipe,
                                 const tni_device *device, tn_error *err)
{
    static const uint32_t bit[] = {[TNI_RECIPE_F32] = TN_PRECISION_F32,
                                   [TNI_RECIPE_BF16] = TN_PRECISION_BF16,
                                   [TNI_RECIPE_F64] = TN_PRECISION_F64};
    static const char *const name[] = {"f32", "bf16", "f64"};
    const uint32_t have = device->caps.precisions;
    if (!(have & bit[recipe->precision]))
        return tn_fail(err, TN_EUNSUPPORTED,
                       "precision: %s is not among what backend %s computes "
                       "in:%s%s%s",
                       name[recipe->precision], device->name,
                       have & TN_PRECISION_F32 ? " f32" : "",
                       have & TN_PRECISION_BF16 ? " bf16" : "",
                       have & TN_PRECISION_F64 ? " f64" : "");
    return TN_OK;
}

static tn_status check_blocks(const tni_recipe *recipe,
                              const tni_device *device, tn_error *err)
{
    static const uint32_t needs[] = {0, TN_WEIGHTS_Q8_0,
                                     TN_WEIGHTS_Q8_0 | TN_WEIGHTS_Q4_K};
    static const char *const name[] = {"none", "q8_0", "q4_k"};
    if (!(needs[recipe->quantize] & ~device->caps.precisions))
        return TN_OK;
    return tn_fail(err, TN_EUNSUPPORTED,
                   "quantize: backend %s does not read weights in %s; cpu "
                   "does, or set quantize: none",
                   device->name, name[recipe->quantize]);
}

int64_t tni_resident_bytes(void)
{
    long long all, resident = 0;
    FILE *from = fopen("/proc/self/statm", "re");
    if (!from)
        return 0;
    if (fscanf(from, "%lld %lld", &all, &resident) != 2)
        resident = 0;
    fclose(from);
    return resident * sysconf(_SC_PAGESIZE);
}

tn_status tni_session_open(const tni_recipe *recipe, tni_session **session,
                           tn_error *err)
{
    tni_session *s = calloc(1, sizeof *s);
    if (!s)
        return tn_fail(err, TN_ENOMEM, "no memory for a session");
    tn_status status =
        tni_device_open(&recipe->reader, &recipe->backend, &s->device, err);
    if (status == TN_OK)
        status = check_precision(recipe, &s->device, err);
    if (status == TN_OK)
        status = check_blocks(recipe, &s->device, err);
    if (status != TN_OK) {
        tni_session_close(s);
        return status;
    }
    s->ask = tni_session_extension(s, "ask/1");
    s->program_bytes = tni_resident_bytes();
    s->recipe = recipe;
    s->dtype = recipe->precision == TNI_RECIPE_F64 ? TN_F64 : TN_F32;
    s->is_bf16 = recipe->precision == TNI_RECIPE_BF16;
    s->copied = TNI_COPIED_FOR_LOOKUPS;
    s->real_bytes = tn_dtype_bytes(s->dtype);
    *session = s;
    return TN_OK;
}

/* How much memory kernels want for it; backends that do not say want none. */
static tn_status ask_for_workspace(tni_session *s, const tn_plan *plan,
                                   tn_error *err)
{
    const tn_workspace_extension *x = tni_session_extension(s, "workspace/1");
    int64_t bytes = 0;
    if (x)
        TN_TRY(x->bytes(s->device.device, plan, &bytes, err));
    if (s->workspace_bytes < bytes)
        s->workspace_bytes = bytes;
    return TN_OK;
}

static void release(tni_session *s, tni_compiled *c)
{
    const tn_backend *backend = s->device.backend;
    if (c->exec)
        backend->exec_free(s->device.device, c->exec);
    if (c->transient)
        backend->free(s->device.device, c->transient);
    tni_plan_destroy(c->plan);
    *c = (tni_compiled){0};
}

void tni_session_close(tni_session *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->count; i++)
        release(s, &s->compiled[i]);
    for (uint32_t a = 0; a < TN_ARENA_COUNT; a++)
        if (s->arena[a])
            s->device.backend->free(s->device.device, s->arena[a]);
    tni_device_close(&s->device);
    free(s);
}

int tni_session_copies(const tni_session *s, const tni_weight *w)
{
    return s->is_bf16 && !w->block_dtype && w->copied >= s->copied;
}

void tni_session_reserve(tni_session *s, tn_arena arena, int64_t bytes)
{
    if (s->arena_bytes[arena] < bytes)
        s->arena_bytes[arena] = bytes;
}

/* The session's arenas, with a transient of its own where the plan is larger
 * than those it joins. */
static tn_status compile(tni_session *s, tni_compiled *c, tn_error *err)
{
    const tn_backend *backend = s->device.backend;
    const tn_plan *plan = &c->plan->plan;
    tn_buffer *arenas[TN_ARENA_COUNT] = {0};
    for (uint32_t a = 1; a < TN_ARENA_COUNT; a++) {
        const int64_t need = plan->arena_bytes[a];
        if (!need)
            continue;
        if (need <= s->arena_bytes[a]) {
            arenas[a] = s->arena[a];
        } else if (a == TN_ARENA_TRANSIENT) {
            TN_TRY(backend->alloc(s->device.device, need, &c->transient, err));
            arenas[a] = c->transient;
        } else {
            return tn_fail(err, TN_ESHAPE,
                           "plan %s came after the arenas were made and needs "
                           "%lld bytes of arena %u, which has %lld: a bug of "
                           "Tenon's",
                           plan->name, (long long)need, a,
                           (long long)s->arena_bytes[a]);
        }
    }
    return backend->compile(s->device.device, plan, arenas, &c->exec, err);
}

tn_status tni_session_add(tni_session *s, tni_plan *plan, uint32_t *id,
                          tn_error *err)
{
    if (s->count == TNI_SESSION_PLANS) {
        tni_plan_destroy(plan);
        return tn_fail(err, TN_ENOMEM, "a session holds at most %d plans",
                       TNI_SESSION_PLANS);
    }
    tni_compiled *c = &s->compiled[s->count];
    *c = (tni_compiled){.plan = plan};
    tn_status status = ask_for_workspace(s, &plan->plan, err);
    if (status != TN_OK) {
        release(s, c);
        return status;
    }
    if (s->committed) {
        status = compile(s, c, err);
        if (status != TN_OK) {
            release(s, c);
            return status;
        }
    } else {
        for (uint32_t a = 1; a < TN_ARENA_COUNT; a++)
            tni_session_reserve(s, a, plan->plan.arena_bytes[a]);
    }
    *id = s->count++;
    return TN_OK;
}

tn_status tni_session_narrow(const tni_session *s, tni_graph *g, tn_error *err)
{
    TN_TRY(tni_graph_status(g, err));
    if (s->recipe->quantize)
        TN_TRY(tni_quantise(g, err));
    return s->is_bf16 ? tni_narrow(g, s->copied, err) : TN_OK;
}

tn_status tni_session_plan(tni_session *s, tni_graph *g, const char *name,
                           uint32_t *id, tn_error *err)
{
    const tni_target *target = &s->device.target;
    const tni_place_options options = {.name = name};
    tni_plan *plan;
    TN_TRY(tni_graph_status(g, err));
    TN_TRY(tni_lower(g, target, err));
    TN_TRY(tni_fuse(g, target, err));
    TN_TRY(tni_graph_verify_dense(g, err)); /* wrong numbers make no noise */
    TN_TRY(tni_place(g, &options, &plan, err));
    return tni_session_add(s, plan, id, err);
}

int64_t tni_session_bytes(const tni_session *s)
{
    int64_t sum = s->workspace_bytes;
    for (uint32_t a = 1; a < TN_ARENA_COUNT; a++)
        sum += s->arena_bytes[a];
    return sum;
}

int64_t tni_session_resident_bytes(const tni_session *s)
{
    return tni_session_bytes(s) + s->program_bytes;
}

tn_status tni_session_commit(tni_session *s, tn_error *err)
{
    const tn_backend *backend = s->device.backend;
    const int64_t need = tni_session_bytes(s),
                  have = s->device.caps.memory_bytes;
    if (have > 0 && need > have)
        return tn_fail(
            err, TN_ENOMEM, "this run needs %.1f MiB and %s has %.1f MiB free",
            (double)need / 0x1p20, s->device.name, (double)have / 0x1p20);
    for (uint32_t a = 1; a < TN_ARENA_COUNT; a++)
        if (s->arena_bytes[a])
            TN_TRY(backend->alloc(s->device.device, s->arena_bytes[a],
                                  &s->arena[a], err));
    s->committed = 1;
    for (uint32_t i = 0; i < s->count; i++)
        TN_TRY(compile(s, &s->compiled[i], err));
    return TN_OK;
}

tn_status tni_session_start(tni_session *s, uint32_t id, tn_error *err)
{
    const tni_compiled *c = &s->compiled[id];
    for (uint32_t i = 0; i < c->plan->plan.segment_count; i++)
        TN_TRY(s->device.backend->run(s->device.device, c->exec, i, err));
    return TN_OK;
}

tn_status tni_session_wait(tni_session *s, tn_error *err)
{
    return s->device.backend->wait(s->device.device, err);
}

tn_status tni_session_run(tni_session *s, uint32_t id, tn_error *err)
{
    TN_TRY(tni_session_start(s, id, err));
    return tni_session_wait(s, err);
}

uint32_t tni_session_slots(const tni_session *s)
{
    return s->ask ? s->ask->slots : 1;
}

tn_status tni_session_ask(tni_session *s, uint32_t slot, tn_arena arena,
                          int64_t offset, int64_t bytes, tn_error *err)
{
    if (s->ask)
        return s->ask->ask(s->device.device, slot, s->arena[arena], offset,
                           bytes, err);
    s->asked_arena = arena;
    s->asked_offset = offset;
    return TN_OK;
}

tn_status tni_session_take(tni_session *s, uint32_t slot, void *to,
                           int64_t bytes, tn_error *err)
{
    if (s->ask)
        return s->ask->take(s->device.device, slot, to, bytes, err);
    TN_TRY(tni_session_wait(s, err));
    return tni_session_download(s, to, s->asked_arena, s->asked_offset, bytes,
                                err);
}

const tn_plan *tni_session_get(const tni_session *s, uint32_t id)
{
    return &s->compiled[id].plan->plan;
}

tn_status tni_session_upload(tni_session *s, tn_arena arena, int64_t offset,
                             const void *from, int64_t bytes, tn_error *err)
{
    return s->device.backend->upload(s->device.device, s->arena[arena], offset,
                                     from, bytes, err);
}

tn_status tni_session_download(tni_session *s, void *to, tn_arena arena,
                               int64_t offset, int64_t bytes, tn_error *err)
{
    return s->device.backend->download(s->device.device, to, s->arena[arena],
                                       offset, bytes, err);
}

tn_status tni_session_upload_reals(tni_session *s, tn_arena arena,
                                   int64_t offset, const float *from,
                                   int64_t count, tn_error *err)
{
    if (s->dtype == TN_F32)
        return tni_session_upload(s, arena, offset, from, count * 4, err);
    for (int64_t done = 0; done < count; done += CHUNK) {
        const int64_t n = count - done < CHUNK ? count - done : CHUNK;
        double wide[CHUNK];
        for (int64_t i = 0; i < n; i++)
            wide[i] = (double)from[done + i];
        TN_TRY(
            tni_session_upload(s, arena, offset + done * 8, wide, n * 8, err));
    }
    return TN_OK;
}

tn_status tni_session_download_reals(tni_session *s, float *to, tn_arena arena,
                                     int64_t offset, int64_t count,
                                     tn_error *err)
{
    if (s->dtype == TN_F32)
        return tni_session_download(s, to, arena, offset, count * 4, err);
    for (int64_t done = 0; done < count; done += CHUNK) {
        const int64_t n = count - done < CHUNK ? count - done : CHUNK;
        double wide[CHUNK];
        TN_TRY(tni_session_download(s, wide, arena, offset + done * 8, n * 8,
                                    err));
        for (int64_t i = 0; i < n; i++)
            to[done + i] = (float)wide[i];
    }
    return TN_OK;
}
