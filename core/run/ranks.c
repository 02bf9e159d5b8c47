/*
 * ranks.c - sums over arenas, in whichever memory the communicator works on.
 *
 *     the host's, and the host can touch the arena      where it lies
 *     the host's, and it cannot                         a part at a time
 *     the device's ("stream/1")                         on the device's stream
 *
 * In the last case nothing waits: the sum stands between the micro-batches and
 * the update as one more thing that the stream does.
 */
#include "run/ranks.h"

#include <stdlib.h>
#include <string.h>

#include "plugin/host.h"

enum { STAGING_BYTES = 4 << 20 };

/* ---- life ---- */

static tn_status join_others(const tn_host *host, const tni_use *use,
                             tni_ranks *ranks, tn_error *err)
{
    tni_ranks r = {.communicator = use->vtable,
                   .name = use->name,
                   .info = {.struct_size = sizeof r.info}};
    TN_TRY(r.communicator->open(host, use->options, &r.self, err));
    r.communicator->info(r.self, &r.info);
    r.rank = r.info.rank;
    r.size = r.info.size;
    *ranks = r;
    return TN_OK;
}

tn_status tni_ranks_open(tni_recipe *recipe, tni_ranks *r, tn_error *err)
{
    const tn_host *host = recipe->reader.host;
    *r = (tni_ranks){.size = 1};
    if (!recipe->communicator.name)
        return TN_OK;
    TN_TRY(join_others(host, &recipe->communicator, r, err));
    recipe->rank = r->rank;
    recipe->ranks = r->size;
    tni_host_share(host, r->info.local_rank, r->info.local_size);
    return TN_OK;
}

/* The others come to their first meeting, and hear of it there. */
void tni_ranks_give_up(const tn_host *host, const tni_use *communicator)
{
    tni_ranks r;
    if (!communicator->name ||
        join_others(host, communicator, &r, NULL) != TN_OK)
        return;
    tni_ranks_meet(&r, TN_EINVALID, NULL);
    tni_ranks_close(&r, TN_EINVALID);
}

void tni_ranks_close(tni_ranks *r, tn_status status)
{
    if (r->self)
        r->communicator->close(r->self, status != TN_OK && !r->together);
    free(r->staging);
    *r = (tni_ranks){.size = 1};
}

static tn_status need_staging(tni_ranks *r, tn_error *err)
{
    const tn_backend *backend = r->session->device.backend;
    tn_buffer *gradients = r->session->arena[TN_ARENA_GRAD];
    if (backend->map(r->session->device.device, gradients))
        return TN_OK;
    r->staging = malloc(STAGING_BYTES);
    return r->staging
               ? TN_OK
               : tn_fail(err, TN_ENOMEM, "no memory to sum gradients through");
}

tn_status tni_ranks_attach(tni_ranks *r, tni_session *s, tn_error *err)
{
    r->session = s;
    if (r->size == 1 || strcmp(r->info.memory, "host") == 0)
        return r->size == 1 ? TN_OK : need_staging(r, err);
    const tn_stream_extension *x = tni_session_extension(s, "stream/1");
    if (x && strcmp(x->memory, r->info.memory) == 0) {
        r->stream = x;
        return need_staging(r, err); /* to look at weights */
    }
    return tn_fail(err, TN_EUNSUPPORTED,
                   "communicator: %s sums in memory of kind %s, which backend "
                   "%s does not have; take another backend, or a communicator "
                   "that works on host memory (`tenon plugins` lists them)",
                   r->name, r->info.memory, s->device.name);
}

void tni_ranks_sign(const tni_ranks *r, tn_error *err)
{
    if (r->size == 1 || !err)
        return;
    const tn_error why = *err;
    *err = (tn_error){0}; /* an error keeps its first sentence */
    tn_fail(err, why.status, "rank %u of %u: %.980s", r->rank, r->size,
            why.message);
}

/* ---- sums ---- */

static tn_status sum_on_device(const tni_ranks *r, tn_arena arena,
                               int64_t offset, int64_t count, tn_dtype dtype,
                               tn_error *err)
{
    tn_device *device = r->session->device.device;
    void *stream = NULL;
    char *at = r->stream->address(device, r->session->arena[arena]);
    TN_TRY(r->stream->stream(device, &stream, err));
    return r->communicator->all_reduce(r->self, at + offset, count, dtype,
                                       stream, err);
}

static tn_status sum_in_parts(const tni_ranks *r, tn_arena arena, int64_t count,
                              tn_error *err)
{
    tni_session *s = r->session;
    const int64_t most = STAGING_BYTES / s->real_bytes;
    for (int64_t at = 0; at < count; at += most) {
        const int64_t n = count - at < most ? count - at : most;
        const int64_t offset = at * s->real_bytes, bytes = n * s->real_bytes;
        TN_TRY(tni_session_download(s, r->staging, arena, offset, bytes, err));
        TN_TRY(r->communicator->all_reduce(r->self, r->staging, n, s->dtype,
                                           NULL, err));
        TN_TRY(tni_session_upload(s, arena, offset, r->staging, bytes, err));
    }
    return TN_OK;
}

/* The first `count` reals of an arena. */
static tn_status sum_arena(const tni_ranks *r, tn_arena arena, int64_t count,
                           tn_error *err)
{
    tni_session *s = r->session;
    if (r->stream)
        return sum_on_device(r, arena, 0, count, s->dtype, err);
    if (r->staging)
        return sum_in_parts(r, arena, count, err);
    TN_TRY(tni_session_wait(s, err));
    return r->communicator->all_reduce(
        r->self, s->device.backend->map(s->device.device, s->arena[arena]),
        count, s->dtype, NULL, err);
}

tn_status tni_ranks_join(const tni_ranks *r, tni_training *t, int stopping,
                         tn_error *err)
{
    tni_session *s = r->session;
    const float flag = stopping ? 1.0f : 0.0f;
    if (r->size == 1)
        return TN_OK;
    TN_TRY(tni_session_upload_reals(
        s, TN_ARENA_METRIC, TNI_METRIC_STOPPING * TN_ALIGNMENT, &flag, 1, err));
    TN_TRY(sum_arena(r, TN_ARENA_GRAD, t->slab_elements, err));
    /* places that are summed, with the zeros between them */
    return sum_arena(r, TN_ARENA_METRIC,
                     TNI_METRIC_SUMMED * TN_ALIGNMENT / s->real_bytes, err);
}

tn_status tni_ranks_sum(const tni_ranks *r, double *values, uint32_t count,
                        tn_error *err)
{
    tni_session *s = r->session;
    const int64_t bytes = (int64_t)(count * sizeof *values);
    const int64_t place = TNI_METRIC_RANKS * TN_ALIGNMENT;
    if (r->size == 1)
        return TN_OK;
    if (!r->stream)
        return r->communicator->all_reduce(r->self, values, count, TN_F64, NULL,
                                           err);
    TN_TRY(tni_session_upload(s, TN_ARENA_METRIC, place, values, bytes, err));
    TN_TRY(sum_on_device(r, TN_ARENA_METRIC, place, count, TN_F64, err));
    return tni_session_download(s, values, TN_ARENA_METRIC, place, bytes, err);
}

/* In a device's memory, not before there is some. */
static int can_sum(const tni_ranks *r)
{
    return r->size == 1 || r->stream || strcmp(r->info.memory, "host") == 0;
}

tn_status tni_ranks_meet(tni_ranks *r, tn_status status, tn_error *err)
{
    double failures = status == TN_OK ? 0.0 : 1.0;
    if (status != TN_OK && !can_sum(r))
        return status;
    TN_TRY(tni_ranks_sum(r, &failures, 1, err));
    r->together = failures > 0.0;
    if (status == TN_OK && r->together)
        return tn_fail(err, TN_EREFUSED, "another rank fails, and says why");
    return status;
}

/* ---- agreement ---- */

static uint64_t hash_of(uint64_t hash, const void *bytes, int64_t count)
{
    const unsigned char *at = bytes;
    for (; count >= 8; at += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    for (; count; at++, count--)
        hash = (hash ^ *at) * 0x100000001b3u;
    return hash;
}

static tn_status hash_arena(const tni_ranks *r, tn_arena arena, uint64_t *hash,
                            tn_error *err)
{
    tni_session *s = r->session;
    const int64_t bytes = s->arena_bytes[arena];
    *hash = 1;
    if (!bytes)
        return TN_OK;
    TN_TRY(tni_session_wait(s, err));
    if (!r->staging) {
        *hash = hash_of(
            1, s->device.backend->map(s->device.device, s->arena[arena]),
            bytes);
        return TN_OK;
    }
    for (int64_t at = 0; at < bytes; at += STAGING_BYTES) {
        const int64_t n =
            bytes - at < STAGING_BYTES ? bytes - at : STAGING_BYTES;
        TN_TRY(tni_session_download(s, r->staging, arena, at, n, err));
        *hash = hash_of(*hash, r->staging, n);
    }
    return TN_OK;
}

typedef struct {
    const char *name;
    uint64_t value;
} fact;

enum { FACTS = 7, PIECES = 4 }; /* of 16 bits, whose sums are exact */
_Static_assert(FACTS *PIECES <= TNI_RANKS_VALUES, "one sum");

static double piece_of(const fact *facts, uint32_t i)
{
    return (double)(facts[i / PIECES].value >> (16 * (i % PIECES)) & 0xffffu);
}

/* Of ranks that differ, one at least differs from the mean. */
static tn_status compare(tni_ranks *r, const fact *facts, tn_error *err)
{
    double sums[FACTS * PIECES], differ[FACTS] = {0};
    for (uint32_t i = 0; i < FACTS * PIECES; i++)
        sums[i] = piece_of(facts, i);
    TN_TRY(tni_ranks_sum(r, sums, FACTS * PIECES, err));
    for (uint32_t i = 0; i < FACTS * PIECES; i++)
        if (fabs(sums[i] - piece_of(facts, i) * r->size) > 0.5)
            differ[i / PIECES] = 1.0;
    TN_TRY(tni_ranks_sum(r, differ, FACTS, err));
    for (uint32_t i = 0; i < FACTS; i++)
        r->together |= differ[i] > 0.0;
    for (uint32_t i = 0; i < FACTS; i++)
        if (differ[i] > 0.0)
            return tn_fail(err, TN_EREFUSED,
                           "the ranks of this run do not have the same %s; "
                           "start all of them with the same config on "
                           "machines of one kind, where each sees the same "
                           "files",
                           facts[i].name);
    return TN_OK;
}

tn_status tni_ranks_agree(tni_ranks *r, const tni_training *t, int64_t step,
                          tn_error *err)
{
    const tni_recipe *recipe = t->recipe;
    const tni_train_options *o = &recipe->train;
    const int64_t course[] = {o->max_steps,    o->batch_size,
                              o->seq_len,      o->grad_accum,
                              o->eval_every,   recipe->val_data.name != NULL,
                              o->eval_batches, recipe->checkpoint.every};
    const char *backend = r->session->device.name;
    uint64_t parameters, state;
    if (r->size == 1)
        return TN_OK;
    TN_TRY(hash_arena(r, TN_ARENA_PARAM, &parameters, err));
    TN_TRY(hash_arena(r, TN_ARENA_OPTIMIZER, &state, err));
    const fact facts[FACTS] = {
        {"backend", hash_of(1, backend, (int64_t)strlen(backend))},
        {"train: and checkpoint.every", hash_of(1, course, sizeof course)},
        {"train.grad_clip", hash_of(1, &o->grad_clip, sizeof o->grad_clip)},
        {"seed", (uint64_t)recipe->seed},
        {"step to go on from", (uint64_t)step},
        {"parameters", parameters},
        {"optimizer state", state},
    };
    return compare(r, facts, err);
}
