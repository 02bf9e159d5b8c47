/*
 * data.c - opening datasets, mixing their rows, saving their places.
 */
#include "run/data.h"

#include <string.h>

#include <tenon/philox.h>

/* ---- from the config ---- */

static tn_status read_weight(const tni_reader *reader, tni_yaml *node,
                             const char *where, double *weight, tn_error *err)
{
    typedef struct {
        double weight;
    } options;
    static const tn_option rows[] = {
        TN_OPTION_FLOAT(options, weight, 1.0, 0, 1e9,
                        "share of the rows, beside the others' weights"),
    };
    static const tn_option_table table = TN_OPTIONS(options, rows);
    options o;
    tni_yaml *own = tni_yaml_new(reader->arena, TNI_YAML_MAP);
    tni_yaml *given = tni_yaml_get(node, "weight");
    if (given)
        tni_yaml_put(reader->arena, own, "weight", given);
    TN_TRY(tni_options_fill(reader->arena, &table, own, where, NULL, NULL, &o,
                            err));
    tni_yaml_put(reader->arena, node, "weight", tni_yaml_get(own, "weight"));
    *weight = o.weight;
    return TN_OK;
}

static tn_status read_list(const tni_reader *reader, tni_yaml *list,
                           const char *where, tni_mixture *m, tn_error *err)
{
    static const char *const reserved[] = {"weight", NULL};
    double weight[TNI_MIXTURE_MOST], sum = 0.0, so_far = 0.0;
    if (!list->count || list->count > TNI_MIXTURE_MOST)
        return tni_yaml_fail(list, err,
                             "%s: a mixture is a list of 1 to %d datasets, "
                             "this one has %zu",
                             where, TNI_MIXTURE_MOST, list->count);
    m->count = (uint32_t)list->count;
    for (uint32_t i = 0; i < m->count; i++) {
        tni_yaml *node = list->entries[i].value;
        const char *at = tni_arena_printf(reader->arena, "%s[%u]", where, i);
        TN_TRY(tni_use_read(reader, TN_KIND_DATASET, node, at, reserved,
                            &m->use[i], err));
        TN_TRY(read_weight(reader, node, at, &weight[i], err));
        sum += weight[i];
    }
    if (!(sum > 0))
        return tni_yaml_fail(list, err,
                             "%s: every weight is 0; one at least must be more",
                             where);
    for (uint32_t i = 0; i < m->count; i++) {
        so_far += weight[i];
        m->below[i] = so_far / sum;
    }
    m->name = m->count == 1 ? m->use[0].name : "a mixture";
    return TN_OK;
}

tn_status tni_mixture_read(const tni_reader *reader, tni_yaml *node,
                           const char *where, tni_mixture *mixture,
                           tn_error *err)
{
    tni_mixture m = {.count = 1, .below = {1.0}};
    if (node->kind == TNI_YAML_LIST)
        TN_TRY(read_list(reader, node, where, &m, err));
    else
        TN_TRY(tni_use_read(reader, TN_KIND_DATASET, node, where, NULL,
                            &m.use[0], err));
    if (!m.name)
        m.name = m.use[0].name;
    *mixture = m;
    return TN_OK;
}

int tni_mixture_has_segments(const tni_mixture *mixture)
{
    for (uint32_t i = 0; i < mixture->count; i++) {
        const tn_dataset *dataset = mixture->use[i].vtable;
        if (dataset->segments && dataset->segments(mixture->use[i].options))
            return 1;
    }
    return 0;
}

/* ---- opening ---- */

static tn_status open_source(const tn_host *host, const tn_dataset_request *of,
                             uint32_t index, tni_data *d, tn_error *err)
{
    const tni_use *use = &d->mixture->use[index];
    tn_dataset_request request = *of;
    tn_dataset_info info = {.struct_size = sizeof info};
    if (d->mixture->count > 1) {
        request.batch_size = 1;
        request.seed += index; /* the same dataset twice: not the same rows */
    }
    tni_source_of_rows source = {.vtable = use->vtable};
    TN_TRY(
        source.vtable->open(host, &request, use->options, &source.self, err));
    source.vtable->info(source.self, &info);
    d->info.tokens += info.tokens;
    d->info.rows_per_epoch = d->mixture->count > 1 ? 0 : info.rows_per_epoch;
    d->source[d->count++] = source;
    return TN_OK;
}

static tn_status open_all(const tn_host *host,
                          const tn_dataset_request *request, int64_t ahead,
                          tni_data *d, tn_error *err)
{
    for (uint32_t i = 0; i < d->mixture->count; i++)
        TN_TRY(open_source(host, request, i, d, err));
    return ahead ? tni_ahead_create(d, ahead, err) : TN_OK;
}

tn_status tni_data_open(const tn_host *host, const tni_mixture *mixture,
                        const tn_dataset_request *request, int64_t ahead,
                        tni_data *data, tn_error *err)
{
    tni_data opened = {.mixture = mixture,
                       .seed = request->seed,
                       .batch_size = request->batch_size,
                       .seq_len = request->seq_len,
                       .info = {.struct_size = sizeof opened.info}};
    const tn_status status = open_all(host, request, ahead, &opened, err);
    if (status != TN_OK)
        tni_data_close(&opened);
    else
        *data = opened;
    return status;
}

void tni_data_close(tni_data *data)
{
    tni_ahead_destroy(data->ahead);
    for (uint32_t i = 0; i < data->count; i++)
        data->source[i].vtable->close(data->source[i].self);
    *data = (tni_data){0};
}

/* ---- batches ---- */

/* The dataset that gives row `n`. */
static const tni_source_of_rows *source_of(const tni_data *d, uint64_t n)
{
    const uint32_t key[2] = {(uint32_t)d->seed, (uint32_t)(d->seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)n, (uint32_t)(n >> 32), 0,
                                 0x6d697874u /* no other stream's */};
    uint32_t out[4], i = 0;
    tn_philox(key, counter, out);
    const double drawn = (double)out[0] / 4294967296.0;
    while (i + 1 < d->count && drawn >= d->mixture->below[i])
        i++;
    return &d->source[i];
}

static tn_status mix(tni_data *d, tn_batch *batch, tn_error *err)
{
    int64_t bytes = 0;
    int known = 1;
    for (int64_t row = 0; row < d->batch_size; row++) {
        const tni_source_of_rows *s = source_of(d, d->rows);
        tn_batch one = {.struct_size = sizeof one,
                        .tokens = batch->tokens + row * d->seq_len,
                        .targets = batch->targets + row * d->seq_len};
        if (batch->segments)
            one.segments = batch->segments + row * d->seq_len;
        TN_TRY(s->vtable->next(s->self, &one, err));
        known &= one.bytes > 0;
        bytes += one.bytes;
        d->rows++;
    }
    batch->bytes = known ? bytes : 0;
    return TN_OK;
}

tn_status tni_data_make(tni_data *d, tn_batch *batch, tn_error *err)
{
    if (batch->segments)
        memset(batch->segments, 0,
               (size_t)(d->batch_size * d->seq_len) * sizeof(int32_t));
    if (d->count > 1)
        return mix(d, batch, err);
    return d->source[0].vtable->next(d->source[0].self, batch, err);
}

tn_status tni_data_next(tni_data *d, tn_batch *batch, tn_error *err)
{
    return d->ahead ? tni_ahead_next(d, batch, err)
                    : tni_data_make(d, batch, err);
}

/* ---- places ---- */

void tni_data_stand(const tni_data *d, tni_data_cursor *cursor)
{
    *cursor = (tni_data_cursor){.rows = d->rows, .count = d->count};
    for (uint32_t i = 0; i < d->count; i++)
        d->source[i].vtable->save(d->source[i].self, &cursor->at[i]);
}

void tni_data_save(const tni_data *d, tni_data_cursor *cursor)
{
    if (!d->ahead || !tni_ahead_place(d->ahead, cursor))
        tni_data_stand(d, cursor);
}

tn_status tni_data_restore(tni_data *d, const tni_data_cursor *cursor,
                           tn_error *err)
{
    if (cursor->count != d->count)
        return tn_fail(err, TN_EINVALID,
                       "data: the run was saved with %u dataset%s and has %u "
                       "now; resume with what it had, or start a new run",
                       cursor->count, cursor->count == 1 ? "" : "s", d->count);
    if (d->ahead)
        tni_ahead_stop(d->ahead);
    for (uint32_t i = 0; i < d->count; i++)
        TN_TRY(d->source[i].vtable->restore(d->source[i].self, &cursor->at[i],
                                            err));
    d->rows = cursor->rows;
    return TN_OK;
}
