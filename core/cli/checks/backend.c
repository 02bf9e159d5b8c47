/*
 * backend.c - memory that keeps what is written to it, and ops that agree with
 * the oracle.
 *
 * A backend whose score is 0 says itself that it is not complete (or that its
 * hardware is not here): what it refuses then is passed over, what it computes
 * is compared all the same.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <tenon/backend.h>

#include "cli/checks/ops.h"
#include "cli/checks/stage.h"

/* ---- probe and memory ---- */

static tn_status probe(const tni_subject *s, uint32_t index,
                       tn_device_info *info, tn_error *err)
{
    const tn_backend *backend = s->component->vtable;
    *info = (tn_device_info){.struct_size = (uint32_t)sizeof *info};
    return backend->probe(s->host, index, info, err);
}

static tn_status check_probe(const tni_subject *s, tn_error *err)
{
    enum { MOST = 64 };
    for (uint32_t index = 0; index < MOST; index++) {
        tn_device_info info;
        tn_error why = {0};
        const tn_status status = probe(s, index, &info, &why);
        if (status == TN_EEND && index > 0)
            return TN_OK;
        if (status != TN_OK)
            return tn_fail(err, TN_EINVALID,
                           "probe of device %u fails: %s; a device that is not "
                           "there is an answer with score 0, the end of the "
                           "list is TN_EEND",
                           index, why.message);
        if (!info.name[0] || (!info.score && !info.note[0]))
            return tn_fail(err, TN_EINVALID, "device %u has no %s", index,
                           info.name[0] ? "note that says why its score is 0"
                                        : "name");
    }
    return tn_fail(err, TN_EINVALID, "probe does not end: %d devices", MOST);
}

/* The device, or a skip with the note of a backend that cannot run here. */
static tn_status open_stage(const tni_subject *s, tn_dtype dtype,
                            tni_stage *stage, tn_error *err)
{
    tn_device_info info;
    tn_error why = {0};
    if (tni_stage_open(s, s->component, dtype, stage, &why) == TN_OK)
        return TN_OK;
    const tn_status probed = probe(s, 0, &info, &(tn_error){0});
    if (probed == TN_OK && info.score == 0)
        return tn_fail(err, TNI_CHECK_SKIPPED, "it cannot run here: %s",
                       info.note);
    return tn_fail(err, why.status, "%s", why.message);
}

static tn_dtype dtype_of(const tni_stage *stage)
{
    return stage->session->device.caps.precisions & TN_PRECISION_F32 ? TN_F32
                                                                     : TN_F64;
}

static tn_status check_caps(const tni_subject *s, tn_error *err)
{
    tni_stage stage;
    TN_TRY(open_stage(s, TN_F32, &stage, err));
    const tn_backend_caps caps = stage.session->device.caps;
    tni_stage_close(&stage);
    if (!(caps.precisions & (TN_PRECISION_F32 | TN_PRECISION_F64)))
        return tn_fail(err, TN_EINVALID, "it computes in neither f32 nor f64");
    if (caps.map_inputs < 3 || caps.map_inputs > TN_MAP_MAX_INPUTS ||
        caps.map_instructions < 8 ||
        caps.map_instructions > TN_MAP_MAX_INSTRUCTIONS)
        return tn_fail(err, TN_EINVALID,
                       "maps of %u inputs and %u instructions; there must be 3 "
                       "to %d and 8 to %d",
                       caps.map_inputs, caps.map_instructions,
                       TN_MAP_MAX_INPUTS, TN_MAP_MAX_INSTRUCTIONS);
    return TN_OK;
}

static tn_status compare_bytes(const unsigned char *got,
                               const unsigned char *want, size_t bytes,
                               const char *when, tn_error *err)
{
    for (size_t i = 0; i < bytes; i++)
        if (got[i] != want[i])
            return tn_fail(err, TN_EDEVICE, "byte %zu is %u, not %u, %s", i,
                           got[i], want[i], when);
    return TN_OK;
}

static tn_status use_memory(tni_device *d, tn_buffer *buffer, tn_error *err)
{
    enum { BYTES = 5000, AT = 768, PART = 1001 };
    unsigned char want[BYTES] = {0}, got[BYTES];
    const tn_backend *b = d->backend;
    TN_TRY(b->download(d->device, got, buffer, 0, BYTES, err));
    TN_TRY(compare_bytes(got, want, BYTES, "after alloc", err));
    for (size_t i = 0; i < PART; i++)
        want[AT + i] = (unsigned char)(i * 7 + 1);
    TN_TRY(b->upload(d->device, buffer, AT, want + AT, PART, err));
    TN_TRY(b->download(d->device, got, buffer, 0, BYTES, err));
    TN_TRY(compare_bytes(got, want, BYTES, "after an upload", err));
    TN_TRY(b->download(d->device, got, buffer, AT + 5, 100, err));
    return compare_bytes(got, want + AT + 5, 100, "at an offset", err);
}

static tn_status check_memory(const tni_subject *s, tn_error *err)
{
    tni_stage stage;
    tn_buffer *buffer, *empty;
    TN_TRY(open_stage(s, TN_F32, &stage, err));
    tni_device *d = &stage.session->device;
    TN_TRY(d->backend->alloc(d->device, 5000, &buffer, err));
    TN_TRY(d->backend->alloc(d->device, 0, &empty, err));
    const uintptr_t mapped = (uintptr_t)d->backend->map(d->device, buffer);
    if (mapped % TN_ALIGNMENT)
        return tn_fail(err, TN_EDEVICE,
                       "alloc returns memory that is not aligned to %d bytes",
                       TN_ALIGNMENT);
    TN_TRY(use_memory(d, buffer, err));
    d->backend->free(d->device, empty);
    d->backend->free(d->device, buffer);
    tni_stage_close(&stage);
    return TN_OK;
}

/* ---- ops ---- */

enum { RESULTS = TNI_OP_CASE_OUTPUTS + TNI_OP_CASE_INPUTS };

/* A case on one backend: outputs, then the gradients of wrt. */
typedef struct performance {
    tni_stage stage;
    tni_prop in[TNI_OP_CASE_INPUTS];
    tni_prop seed[TNI_OP_CASE_OUTPUTS];
    tni_prop result[RESULTS];
    uint32_t result_count;
    uint32_t plan;
} performance;

static tn_arena arena_of(tn_op op)
{
    return op == TN_OP_STATE  ? TN_ARENA_STATE
           : op == TN_OP_SLOT ? TN_ARENA_GRAD
                              : TN_ARENA_INPUT;
}

/* Gradients of sum(out * seed) for every real output. */
static tn_status add_gradients(performance *p, tni_graph *g,
                               const tni_op_case *c, const tn_tensor *out,
                               tn_error *err)
{
    tn_tensor y[TNI_OP_CASE_OUTPUTS], seed[TNI_OP_CASE_OUTPUTS];
    tn_tensor wrt[TNI_OP_CASE_INPUTS], dwrt[TNI_OP_CASE_INPUTS] = {{0}};
    uint32_t wrt_count = 0;
    for (uint32_t i = 0; i < c->out_count; i++) {
        const tn_tensor_info info = tn_info(&g->builder, out[i]);
        p->seed[i] = tni_stage_leaf(&p->stage, g, TN_OP_INPUT, TN_ARENA_INPUT,
                                    0, info.rank, info.shape, "seed");
        y[i] = out[i];
        seed[i] = p->seed[i].leaf;
    }
    for (uint32_t i = 0; i < c->in_count; i++)
        if (c->wrt >> i & 1u)
            wrt[wrt_count++] = p->in[i].leaf;
    TN_TRY(
        tni_differentiate(g, y, seed, c->out_count, wrt, wrt_count, dwrt, err));
    for (uint32_t i = 0; i < wrt_count; i++)
        p->result[p->result_count++] = tni_stage_keep(&p->stage, g, dwrt[i]);
    return TN_OK;
}

static tn_status describe(performance *p, tni_graph *g, const tni_op_case *c,
                          tn_error *err)
{
    tn_tensor in[TNI_OP_CASE_INPUTS] = {{0}}, out[TNI_OP_CASE_OUTPUTS] = {{0}};
    for (uint32_t i = 0; i < c->in_count; i++) {
        const tni_op_input *d = &c->in[i];
        const tn_op op = d->op ? d->op : TN_OP_INPUT;
        p->in[i] = tni_stage_leaf(&p->stage, g, op, arena_of(op), d->dtype,
                                  d->rank, d->shape, "input");
        in[i] = p->in[i].leaf;
    }
    c->describe(&g->builder, in, out);
    TN_TRY(tni_graph_status(g, err));
    for (uint32_t i = 0; i < c->out_count; i++)
        p->result[p->result_count++] = tni_stage_keep(&p->stage, g, out[i]);
    if (c->wrt)
        TN_TRY(add_gradients(p, g, c, out, err));
    TN_TRY(tni_share_loss(g, err));
    return tni_stage_plan(&p->stage, g, &p->plan, err);
}

static tn_status write_drawn(performance *p, const tni_prop *prop,
                             uint32_t stream, const tni_op_input *from,
                             tn_error *err)
{
    double *values = malloc((size_t)(prop->count + 1) * sizeof *values);
    if (!values)
        return tn_fail(err, TN_ENOMEM, "out of memory");
    tni_stage_draw(17, stream, from->low, from->high, prop->count, values);
    for (int64_t i = 0; prop->dtype == TN_I32 && i < prop->count; i++)
        values[i] = floor(values[i]);
    const tn_status status = tni_stage_write(&p->stage, prop, values, err);
    free(values);
    return status;
}

static tn_status perform(performance *p, const tni_op_case *c, tn_dtype dtype,
                         tn_error *err)
{
    static const tni_op_input seeds = {.low = -1, .high = 1};
    tni_graph *g = tni_graph_create(dtype);
    const tn_status status = describe(p, g, c, err);
    tni_graph_destroy(g);
    if (status != TN_OK)
        return status;
    TN_TRY(tni_stage_ready(&p->stage, err));
    for (uint32_t i = 0; i < c->in_count; i++)
        TN_TRY(write_drawn(p, &p->in[i], i, &c->in[i], err));
    for (uint32_t i = 0; c->wrt && i < c->out_count; i++)
        TN_TRY(write_drawn(p, &p->seed[i], 100 + i, &seeds, err));
    return tni_stage_run(&p->stage, p->plan, err);
}

static tn_status compare(performance *p, performance *oracle, uint32_t i,
                         const tni_op_case *c, tn_error *err)
{
    const int64_t count = p->result[i].count;
    double *got = malloc((size_t)(2 * count + 1) * sizeof *got);
    double *want = got + count;
    tn_status status = got ? TN_OK : tn_fail(err, TN_ENOMEM, "out of memory");
    if (status == TN_OK)
        status = tni_stage_read(&p->stage, &p->result[i], got, err);
    if (status == TN_OK)
        status = tni_stage_read(&oracle->stage, &oracle->result[i], want, err);
    for (int64_t j = 0; status == TN_OK && j < count; j++)
        if (!(fabs(got[j] - want[j]) <= c->tolerance * (1 + fabs(want[j]))))
            status = tn_fail(err, TN_EDEVICE,
                             "%s %u, element %lld of %lld: %.9g, the oracle "
                             "says %.9g",
                             i < c->out_count ? "output" : "gradient",
                             i < c->out_count ? i : i - c->out_count,
                             (long long)j, (long long)count, got[j], want[j]);
    free(got);
    return status;
}

/* What a backend without a score may refuse. */
static tn_status forgive(const tni_subject *s, const tn_error *why,
                         tn_error *err)
{
    tn_device_info info;
    if (why->status == TN_EUNSUPPORTED &&
        probe(s, 0, &info, &(tn_error){0}) == TN_OK && info.score == 0)
        return tn_fail(err, TNI_CHECK_SKIPPED, "%s", why->message);
    return tn_fail(err, why->status, "%s", why->message);
}

static tn_status check_op(const tni_subject *s, tn_error *err)
{
    const tni_op_case *c = s->with;
    const tn_component *reference = NULL;
    performance mine = {0}, oracle = {0};
    tn_error why = {0};
    TN_TRY(tni_stage_oracle(s, &reference, err));
    TN_TRY(open_stage(s, TN_F32, &mine.stage, err));
    const tn_dtype dtype = dtype_of(&mine.stage);
    mine.stage.session->dtype = dtype;
    if (perform(&mine, c, dtype, &why) != TN_OK)
        return forgive(s, &why, err);
    TN_TRY(tni_stage_open(s, reference, TN_F64, &oracle.stage, err));
    TN_TRY(perform(&oracle, c, TN_F64, err));
    for (uint32_t i = 0; i < mine.result_count; i++)
        TN_TRY(compare(&mine, &oracle, i, c, err));
    tni_stage_close(&mine.stage);
    tni_stage_close(&oracle.stage);
    return TN_OK;
}

static const tni_check checks[] = {
    {"answers for every device, and ends", check_probe, NULL},
    {"says what it can do", check_caps, NULL},
    {"keeps memory as it was written", check_memory, NULL},
#define XX(name)                                                               \
    {"computes " #name " as the oracle does", check_op,                        \
     &tni_op_cases[TNI_OP_CASE_##name]},
    TNI_OP_CASES(XX)
#undef XX
};

const tni_check_list tni_checks_backend = TNI_CHECK_LIST(checks);
