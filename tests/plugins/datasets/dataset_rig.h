/*
 * dataset_rig.h - files of ids, and an opened dataset that hands out batches.
 */
#ifndef DATASET_RIG_H
#define DATASET_RIG_H

#include <tenon/dataset.h>

#include "../plugin_rig.h"

typedef struct reading {
    const tn_dataset *vtable;
    void *self;
    int64_t batch, seq_len;
    int32_t tokens[4096], targets[4096], segments[4096];
    int64_t bytes;
} reading;

static inline tn_dataset_request request(int64_t batch, int64_t seq_len,
                                         uint64_t seed)
{
    return (tn_dataset_request){
        .struct_size = sizeof(tn_dataset_request),
        .batch_size = batch,
        .seq_len = seq_len,
        .vocab_size = 1 << 20,
        .seed = seed,
    };
}

static inline tn_status try_open(rig *r, reading *d, const char *plugin,
                                 const char *yaml, tn_dataset_request asked,
                                 tn_error *err)
{
    d->vtable = rig_vtable(r, TN_KIND_DATASET, plugin);
    d->batch = asked.batch_size;
    d->seq_len = asked.seq_len;
    assert_true(d->batch * d->seq_len <= 4096);
    return d->vtable->open(r->host, &asked, rig_options(r, d->vtable, yaml),
                           &d->self, err);
}

static inline reading *opened(rig *r, const char *plugin, const char *yaml,
                              tn_dataset_request asked)
{
    reading *d = tni_arena_alloc(r->arena, sizeof *d);
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(try_open(r, d, plugin, yaml, asked, &err), err);
    return d;
}

static inline void fails_to_open(rig *r, const char *plugin, const char *yaml,
                                 tn_dataset_request asked, const char *says)
{
    reading *d = tni_arena_alloc(r->arena, sizeof *d);
    tn_error err = TN_ERROR_NONE;
    assert_int_not_equal(try_open(r, d, plugin, yaml, asked, &err), TN_OK);
    tn_assert_error_says(err, says);
    assert_null(d->self);
}

static inline void closed(reading *d)
{
    d->vtable->close(d->self);
}

static inline tn_status try_next(reading *d, tn_error *err)
{
    tn_batch batch = {.struct_size = sizeof batch,
                      .tokens = d->tokens,
                      .targets = d->targets,
                      .segments = d->segments};
    memset(d->segments, 0, sizeof d->segments);
    const tn_status status = d->vtable->next(d->self, &batch, err);
    d->bytes = batch.bytes;
    return status;
}

static inline void next(reading *d)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(try_next(d, &err), err);
}

static inline tn_dataset_info info_of(const reading *d)
{
    tn_dataset_info info = {.struct_size = sizeof info};
    d->vtable->info(d->self, &info);
    return info;
}

/* Whether rows of a dataset with these options are kept to documents. */
static inline uint32_t has_segments(rig *r, const char *plugin,
                                    const char *yaml)
{
    const tn_dataset *vtable = rig_vtable(r, TN_KIND_DATASET, plugin);
    return vtable->segments && vtable->segments(rig_options(r, vtable, yaml));
}

/* A file whose token i is i * step. */
static inline void counting_file(rig *r, const char *name, uint32_t count,
                                 uint32_t step)
{
    uint32_t *ids = tni_arena_alloc(r->arena, (count + 1) * sizeof *ids);
    for (uint32_t i = 0; i < count; i++)
        ids[i] = i * step;
    rig_file(r, name, ids, count * sizeof *ids);
}

#endif
