/*
 * stage.c - a session that a check sets up by hand.
 */
#include "cli/checks/stage.h"

#include <stdlib.h>
#include <string.h>
#include <tenon/philox.h>

/* ---- life ---- */

static uint32_t supports(void *of, const tn_plan_node *node)
{
    const tni_device *d = of;
    return d->backend->supports(d->device, node);
}

static tn_status open_device(const tni_subject *s,
                             const tn_component *component, tni_device *d,
                             tn_error *err)
{
    static const tni_flag_list nothing;
    tni_subject backend = *s;
    const void *options;
    backend.component = component;
    if (component != s->component)
        backend.set = &nothing; /* --set is about the plugin that is checked */
    TN_TRY(tni_subject_options(&backend, &options, err));
    d->backend = component->vtable;
    d->name = component->name;
    TN_TRY(d->backend->open(s->host, options, &d->device, err));
    d->caps.struct_size = (uint32_t)sizeof d->caps;
    d->backend->caps(d->device, &d->caps);
    d->target = (tni_target){.map_inputs = d->caps.map_inputs,
                             .map_instructions = d->caps.map_instructions,
                             .supports = supports,
                             .of = d,
                             .flags = d->caps.flags};
    return TN_OK;
}

tn_status tni_stage_open(const tni_subject *subject,
                         const tn_component *backend, tn_dtype dtype,
                         tni_stage *stage, tn_error *err)
{
    tni_session *session = calloc(1, sizeof *session);
    *stage = (tni_stage){.session = session};
    if (!session)
        return tn_fail(err, TN_ENOMEM, "out of memory");
    session->recipe = &stage->recipe;
    session->dtype = dtype;
    session->real_bytes = tn_dtype_bytes(dtype);
    const tn_status status =
        open_device(subject, backend, &session->device, err);
    if (status != TN_OK)
        tni_stage_close(stage);
    return status;
}

void tni_stage_close(tni_stage *stage)
{
    tni_session_close(stage->session);
    stage->session = NULL;
}

tn_status tni_stage_oracle(const tni_subject *subject,
                           const tn_component **backend, tn_error *err)
{
    tn_error why = {0};
    if (tni_registry_find(subject->registry, TN_KIND_BACKEND, "reference",
                          backend, &why) == TN_OK)
        return TN_OK;
    return tn_fail(err, TNI_CHECK_SKIPPED, "the oracle is not there: %s",
                   why.message);
}

/* ---- placing ---- */

static int64_t count_of(uint32_t rank, const int64_t *shape)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < rank; i++)
        n *= shape[i];
    return n;
}

static tni_prop place(tni_stage *stage, tn_arena arena, tn_dtype dtype,
                      int64_t count)
{
    const int64_t bytes = count * tn_dtype_bytes(dtype);
    const tni_prop prop = {.arena = arena,
                           .dtype = dtype,
                           .offset = stage->used[arena],
                           .count = count};
    stage->used[arena] +=
        (bytes + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
    tni_session_reserve(stage->session, arena, stage->used[arena]);
    return prop;
}

tn_tensor tni_stage_again(tni_graph *g, const tni_prop *prop, tn_op op,
                          uint32_t rank, const int64_t *shape, const char *name)
{
    return tni_graph_leaf(g, op, prop->arena, prop->offset, prop->dtype, rank,
                          shape, name);
}

tni_prop tni_stage_leaf(tni_stage *stage, tni_graph *g, tn_op op,
                        tn_arena arena, tn_dtype dtype, uint32_t rank,
                        const int64_t *shape, const char *name)
{
    tni_prop prop = place(stage, arena, dtype ? dtype : g->builder.dtype,
                          count_of(rank, shape));
    prop.leaf = tni_stage_again(g, &prop, op, rank, shape, name);
    return prop;
}

tni_prop tni_stage_keep(tni_stage *stage, tni_graph *g, tn_tensor x)
{
    const tn_tensor_info info = tn_info(&g->builder, x);
    if (tn_is_none(x))
        return (tni_prop){0};
    const tni_prop prop =
        tni_stage_leaf(stage, g, TN_OP_SLOT, TN_ARENA_METRIC, info.dtype,
                       info.rank, info.shape, "kept");
    tn_assign(&g->builder, prop.leaf, x);
    return prop;
}

tn_status tni_stage_plan(tni_stage *stage, tni_graph *g, uint32_t *plan,
                         tn_error *err)
{
    return tni_session_plan(stage->session, g, "check", plan, err);
}

tn_status tni_stage_ready(tni_stage *stage, tn_error *err)
{
    return tni_session_commit(stage->session, err);
}

/* ---- values ---- */

static double get(const void *bytes, tn_dtype dtype, int64_t i)
{
    switch (dtype) {
    case TN_F64:
        return ((const double *)bytes)[i];
    case TN_F32:
        return (double)((const float *)bytes)[i];
    default:
        return ((const int32_t *)bytes)[i];
    }
}

static void put(void *bytes, tn_dtype dtype, int64_t i, double value)
{
    switch (dtype) {
    case TN_F64:
        ((double *)bytes)[i] = value;
        break;
    case TN_F32:
        ((float *)bytes)[i] = (float)value;
        break;
    default:
        ((int32_t *)bytes)[i] = (int32_t)value;
        break;
    }
}

tn_status tni_stage_write(tni_stage *stage, const tni_prop *prop,
                          const double *values, tn_error *err)
{
    const int64_t bytes = prop->count * tn_dtype_bytes(prop->dtype);
    void *image = malloc((size_t)bytes + 1);
    if (!image)
        return tn_fail(err, TN_ENOMEM, "out of memory");
    for (int64_t i = 0; i < prop->count; i++)
        put(image, prop->dtype, i, values[i]);
    const tn_status status = tni_session_upload(
        stage->session, prop->arena, prop->offset, image, bytes, err);
    free(image);
    return status;
}

tn_status tni_stage_read(tni_stage *stage, const tni_prop *prop, double *values,
                         tn_error *err)
{
    const int64_t bytes = prop->count * tn_dtype_bytes(prop->dtype);
    void *image = malloc((size_t)bytes + 1);
    if (!image)
        return tn_fail(err, TN_ENOMEM, "out of memory");
    const tn_status status = tni_session_download(
        stage->session, image, prop->arena, prop->offset, bytes, err);
    for (int64_t i = 0; status == TN_OK && i < prop->count; i++)
        values[i] = get(image, prop->dtype, i);
    free(image);
    return status;
}

tn_status tni_stage_run(tni_stage *stage, uint32_t plan, tn_error *err)
{
    return tni_session_run(stage->session, plan, err);
}

void tni_stage_draw(uint32_t seed, uint32_t stream, double low, double high,
                    int64_t count, double *out)
{
    for (int64_t i = 0; i < count; i++) {
        const float u = tn_philox_uniform(seed, stream, 0, (uint64_t)i);
        out[i] = (double)(float)(low + (high - low) * (double)u);
    }
}
