/*
 * tn_rig_program.c - from a described case to bytes on a device and back.
 *
 * The way is the one of a run: describe, fuse, differentiate, share the loss,
 * lower, fuse, place, compile. Outputs and gradients are assigned to slots of
 * the metric arena, which is what makes them needed.
 */
#include "bf16.h"
#include "tn_rig_private.h"

#include <tenon/philox.h>

#include "graph/ops/ops.h"
#include "graph/passes.h"

enum { GUARD = TN_ALIGNMENT };

/* A tensor that the rig placed. arena 0: no gradient flows. */
typedef struct place {
    tn_arena arena;
    tn_dtype dtype;
    int64_t offset, count;
} place;

typedef struct memory {
    int64_t bytes;
    uint8_t *first;   /* what it holds before a run */
    uint8_t *now;     /* what was downloaded after it */
    uint8_t *written; /* 1 for bytes that the plan may write */
    tn_buffer *buffer;
} memory;

struct tn_rig_program {
    tn_rig *rig;
    tni_plan *plan;
    tn_exec *exec;
    memory arenas[TN_ARENA_COUNT];
    place in[TN_RIG_MAX_INPUTS];
    place out[TN_RIG_MAX_OUTPUTS];
    double *values[TN_RIG_MAX_OUTPUTS];
    uint32_t out_count;
};

/* ---- numbers ---- */

int64_t tn_rig_leaf_count(const tn_rig_leaf *leaf)
{
    int64_t count = 1;
    for (uint32_t i = 0; i < leaf->rank; i++)
        count *= leaf->shape[i];
    return count;
}

/* Numbers in [low, high), rounded to f32. */
static void draw(uint32_t seed, uint32_t stream, double low, double high,
                 int64_t count, double *out)
{
    for (int64_t i = 0; i < count; i++) {
        const float u = tn_philox_uniform(seed, stream, 0, (uint64_t)i);
        out[i] = (double)(float)(low + (high - low) * (double)u);
    }
}

void tn_rig_draw(const tn_rig_case *c, uint32_t input, double *out)
{
    const tn_rig_leaf *leaf = &c->in[input];
    const int64_t count = tn_rig_leaf_count(leaf);
    const int drawn = leaf->low != 0.0 || leaf->high != 0.0;
    const double low = drawn ? leaf->low : -1.0;
    const double high = drawn ? leaf->high : 1.0;
    if (leaf->values) {
        memcpy(out, leaf->values, (size_t)count * sizeof *out);
    } else if (leaf->dtype == TN_I32) {
        draw(c->seed, input, low, high + 1.0, count, out);
        for (int64_t i = 0; i < count; i++)
            out[i] = floor(out[i]);
    } else {
        draw(c->seed, input, low, high, count, out);
    }
}

void tn_rig_draw_seed(const tn_rig_case *c, uint32_t output, int64_t count,
                      double *out)
{
    draw(c->seed, 1000 + output, -1.0, 1.0, count, out);
}

static double decode_f16(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double sign = bits & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25)
                            : ldexp(fraction, -24));
}

static double get(const uint8_t *bytes, tn_dtype dtype, int64_t i)
{
    const void *at = bytes;
    switch (dtype) {
    case TN_F64:
        return ((const double *)at)[i];
    case TN_F32:
        return (double)((const float *)at)[i];
    case TN_BF16:
        return (double)from_bf16(((const uint16_t *)at)[i]);
    case TN_F16:
        return decode_f16(((const uint16_t *)at)[i]);
    case TN_I32:
        return ((const int32_t *)at)[i];
    case TN_U16:
        return ((const uint16_t *)at)[i];
    case TN_U8:
        return bytes[i];
    case TN_I8:
        return ((const int8_t *)at)[i];
    default:
        tn_rig_give_up("the rig cannot read dtype %u", dtype);
    }
}

static void put(uint8_t *bytes, tn_dtype dtype, int64_t i, double value)
{
    void *at = bytes;
    if (dtype == TN_F64)
        ((double *)at)[i] = value;
    else if (dtype == TN_F32)
        ((float *)at)[i] = (float)value;
    else if (dtype == TN_I32)
        ((int32_t *)at)[i] = (int32_t)value;
    else if (dtype == TN_BF16)
        ((uint16_t *)at)[i] = to_bf16((float)value);
    else
        tn_rig_give_up("the rig has no inputs of dtype %s",
                       tn_dtype_name(dtype));
}

/* ---- describing ---- */

static place reserve(tn_rig_program *p, tn_arena arena,
                     const tn_tensor_info *info)
{
    const int64_t count = tn_elements(info);
    const int64_t bytes = count * tn_dtype_bytes(info->dtype);
    memory *m = &p->arenas[arena];
    const place at = {arena, info->dtype, m->bytes + GUARD, count};
    m->bytes =
        (at.offset + bytes + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
    return at;
}

static tn_arena arena_of(tn_op leaf)
{
    switch (leaf) {
    case TN_OP_PARAM:
        return TN_ARENA_PARAM;
    case TN_OP_SCALAR:
        return TN_ARENA_SCALAR;
    case TN_OP_STATE:
        return TN_ARENA_STATE;
    case TN_OP_SLOT:
        return TN_ARENA_GRAD;
    default:
        return TN_ARENA_INPUT;
    }
}

/* What precision bf16 may store in bf16: vectors and states stay f32. */
static int is_narrow(const tn_rig_leaf *leaf, const tn_rig_how *how)
{
    return how->narrow && !leaf->dtype &&
           (leaf->op == 0 || leaf->op == TN_OP_INPUT ||
            (leaf->op == TN_OP_PARAM && leaf->rank >= 2));
}

static void add_leaves(tn_rig_program *p, tni_graph *g, const tn_rig_case *c,
                       const tn_rig_how *how, tn_tensor *in)
{
    for (uint32_t i = 0; i < c->in_count; i++) {
        const tn_rig_leaf *leaf = &c->in[i];
        const tn_op op = leaf->op ? leaf->op : TN_OP_INPUT;
        char name[16];
        tn_tensor_info info = {.dtype =
                                   leaf->dtype ? leaf->dtype : g->builder.dtype,
                               .rank = leaf->rank};
        if (is_narrow(leaf, how))
            info.dtype = TN_BF16;
        for (uint32_t k = 0; k < leaf->rank; k++)
            info.shape[k] = leaf->shape[k];
        snprintf(name, sizeof name, "in%u", i);
        p->in[i] = reserve(p, arena_of(op), &info);
        in[i] = tni_graph_leaf(g, op, p->in[i].arena, p->in[i].offset,
                               info.dtype, info.rank, info.shape, name);
        if (is_narrow(leaf, how))
            in[i] = tni_stored_as(&g->builder, in[i], TN_F32, TN_HERE);
    }
}

/* Write x to a slot of its own; a value that is none gets none. */
static void keep(tn_rig_program *p, tni_graph *g, tn_tensor x)
{
    if (p->out_count == TN_RIG_MAX_OUTPUTS)
        tn_rig_give_up("a case has at most %d outputs and gradients",
                       TN_RIG_MAX_OUTPUTS);
    place *at = &p->out[p->out_count++];
    if (tn_is_none(x))
        return;
    const tn_tensor_info info = tn_info(&g->builder, x);
    *at = reserve(p, TN_ARENA_METRIC, &info);
    const tn_tensor slot =
        tni_graph_leaf(g, TN_OP_SLOT, at->arena, at->offset, info.dtype,
                       info.rank, info.shape, "kept");
    tn_assign_at(&g->builder, slot, x, TN_HERE);
}

static int is_float(tn_dtype dtype)
{
    return dtype == TN_F32 || dtype == TN_F64;
}

/* The gradient of sum(out * seed) for every float output. Seeds are inputs
 * that live behind the case's own in the input arena. */
static tn_status add_gradients(tn_rig_program *p, tni_graph *g,
                               const tn_rig_case *c, const tn_tensor *in,
                               const tn_tensor *out, place *seeds,
                               tn_error *err)
{
    tn_tensor y[TN_RIG_MAX_OUTPUTS], seed[TN_RIG_MAX_OUTPUTS];
    tn_tensor wrt[TN_RIG_MAX_INPUTS], dwrt[TN_RIG_MAX_INPUTS] = {{0}};
    uint32_t y_count = 0, wrt_count = 0;
    for (uint32_t i = 0; i < c->out_count; i++) {
        const tn_tensor_info info = tn_info(&g->builder, out[i]);
        if (!is_float(info.dtype))
            continue;
        seeds[i] = reserve(p, TN_ARENA_INPUT, &info);
        y[y_count] = tni_graph_resolve(g, out[i]);
        seed[y_count++] =
            tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, seeds[i].offset,
                           info.dtype, info.rank, info.shape, "seed");
    }
    for (uint32_t i = 0; i < c->in_count; i++)
        if (c->wrt >> i & 1u)
            wrt[wrt_count++] = in[i];
    g->phase = TNI_BACKWARD;
    TN_TRY(tni_differentiate(g, y, seed, y_count, wrt, wrt_count, dwrt, err));
    for (uint32_t i = 0; i < wrt_count; i++)
        keep(p, g, dwrt[i]);
    return tni_graph_status(g, err);
}

/* ---- passes ---- */

static uint32_t supports(void *of, const tn_plan_node *node)
{
    const tn_rig *rig = of;
    return rig->backend->supports(rig->device, node);
}

static tn_status fuse(tni_graph *g, const tn_rig_how *how,
                      const tni_target *target, tn_error *err)
{
    if (!how->no_fuse)
        TN_TRY(tni_fuse(g, target, err));
    return tni_graph_verify(g, err);
}

static tn_status plan_graph(tn_rig_program *p, tni_graph *g,
                            const tn_rig_case *c, const tn_rig_how *how,
                            place *seeds, tn_error *err)
{
    const tni_place_options options = {"conformance", how->no_reuse};
    const tni_target target = {p->rig->caps.map_inputs,
                               p->rig->caps.map_instructions, supports, p->rig,
                               p->rig->caps.flags};
    tn_tensor in[TN_RIG_MAX_INPUTS] = {{0}}, out[TN_RIG_MAX_OUTPUTS] = {{0}};
    add_leaves(p, g, c, how, in);
    g->phase = c->update ? TNI_UPDATE : TNI_FORWARD;
    c->describe(&g->builder, in, out, c->with);
    TN_TRY(tni_graph_status(g, err));
    for (uint32_t i = 0; i < c->out_count; i++)
        keep(p, g,
             how->narrow && tn_info(&g->builder, out[i]).dtype == TN_F32
                 ? tni_stored_as(&g->builder, out[i], TN_BF16, TN_HERE)
                 : out[i]);
    for (uint32_t i = 0; i < c->in_count; i++)
        if (c->shown >> i & 1u)
            p->out[p->out_count++] = p->in[i];
    TN_TRY(fuse(g, how, &target, err));
    if (c->wrt)
        TN_TRY(add_gradients(p, g, c, in, out, seeds, err));
    TN_TRY(tni_graph_verify(g, err));
    TN_TRY(tni_share_loss(g, err));
    if (how->narrow)
        TN_TRY(tni_narrow(g, TNI_COPIED_FOR_LOOKUPS, err));
    TN_TRY(tni_graph_verify(g, err));
    TN_TRY(tni_lower(g, &target, err));
    TN_TRY(fuse(g, how, &target, err));
    return tni_place(g, &options, &p->plan, err);
}

/* ---- memory ---- */

/* 0x7fff in every half word: NaN as F32, F64, BF16 and F16, and as I32 an index
 * far outside of every tensor. The bytes of an arena are even. */
static void poison(uint8_t *bytes, int64_t count)
{
    const uint16_t half = 0x7fff;
    for (int64_t i = 0; i < count; i += 2)
        memcpy(bytes + i, &half, sizeof half);
}

/* Mark what an operand's axes from `axis` on cover, from its byte `at` on. */
static void mark_axes(uint8_t *at, const tn_operand *o, uint32_t axis)
{
    const int64_t size = tn_dtype_bytes(o->dtype);
    const int64_t count = axis < o->rank ? o->shape[axis] : 1;
    if (axis >= o->rank || (axis + 1 == o->rank && o->stride[axis] == 1))
        memset(at, 1, (size_t)(count * size));
    else
        for (int64_t i = 0; i < count; i++)
            mark_axes(at + i * o->stride[axis] * size, o, axis + 1);
}

/* Mark the bytes of every element of an operand. */
static void mark_written(tn_rig_program *p, const tn_operand *o)
{
    if (o->arena)
        mark_axes(p->arenas[o->arena].written + o->offset, o, 0);
}

static tn_status allocate(tn_rig_program *p, tn_error *err)
{
    const tn_plan *plan = &p->plan->plan;
    for (tn_arena a = 1; a < TN_ARENA_COUNT; a++) {
        memory *m = &p->arenas[a];
        if (plan->arena_bytes[a] > m->bytes)
            m->bytes = plan->arena_bytes[a];
        m->bytes += GUARD;
        m->first = malloc((size_t)m->bytes);
        m->now = malloc((size_t)m->bytes);
        m->written = calloc(1, (size_t)m->bytes);
        poison(m->first, m->bytes);
        TN_TRY(
            p->rig->backend->alloc(p->rig->device, m->bytes, &m->buffer, err));
    }
    for (uint32_t i = 0; i < plan->node_count; i++)
        for (uint32_t o = 0; o < plan->nodes[i].out_count; o++)
            mark_written(p, &plan->nodes[i].out[o]);
    return TN_OK;
}

static void write_place(tn_rig_program *p, place at, const double *values)
{
    for (int64_t i = 0; i < at.count; i++)
        put(p->arenas[at.arena].first + at.offset, at.dtype, i, values[i]);
}

static void write_first_values(tn_rig_program *p, const tn_rig_case *c,
                               const place *seeds)
{
    for (uint32_t i = 0; i < c->in_count; i++) {
        double *values = malloc((size_t)p->in[i].count * sizeof *values);
        tn_rig_draw(c, i, values);
        write_place(p, p->in[i], values);
        free(values);
    }
    for (uint32_t i = 0; i < c->out_count; i++) {
        double *values = malloc((size_t)(seeds[i].count + 1) * sizeof *values);
        tn_rig_draw_seed(c, i, seeds[i].count, values);
        if (seeds[i].arena)
            write_place(p, seeds[i], values);
        free(values);
    }
}

/* ---- life ---- */

static tn_status build(tn_rig_program *p, tni_graph *g, const tn_rig_case *c,
                       const tn_rig_how *how, tn_error *err)
{
    place seeds[TN_RIG_MAX_OUTPUTS] = {{0}};
    tn_buffer *buffers[TN_ARENA_COUNT] = {NULL};
    TN_TRY(plan_graph(p, g, c, how, seeds, err));
    TN_TRY(allocate(p, err));
    write_first_values(p, c, seeds);
    for (uint32_t i = 0; i < p->out_count; i++)
        p->values[i] = malloc((size_t)(p->out[i].count + 1) * sizeof(double));
    for (tn_arena a = 1; a < TN_ARENA_COUNT; a++)
        buffers[a] = p->arenas[a].buffer;
    return p->rig->backend->compile(p->rig->device, &p->plan->plan, buffers,
                                    &p->exec, err);
}

tn_rig_program *tn_rig_build(tn_rig *rig, const tn_rig_case *c,
                             const tn_rig_how *how, tn_error *err)
{
    tn_rig_program *p = calloc(1, sizeof *p);
    tni_graph *g = tni_graph_create(how->dtype);
    assert_non_null(p);
    p->rig = rig;
    const tn_status status = build(p, g, c, how, err);
    tni_graph_destroy(g);
    if (status == TN_OK)
        return p;
    tn_rig_free(p);
    return NULL;
}

void tn_rig_free(tn_rig_program *p)
{
    if (!p)
        return;
    if (p->exec)
        p->rig->backend->exec_free(p->rig->device, p->exec);
    for (tn_arena a = 1; a < TN_ARENA_COUNT; a++) {
        memory *m = &p->arenas[a];
        if (m->buffer)
            p->rig->backend->free(p->rig->device, m->buffer);
        free(m->first);
        free(m->now);
        free(m->written);
    }
    for (uint32_t i = 0; i < p->out_count; i++)
        free(p->values[i]);
    tni_plan_destroy(p->plan);
    free(p);
}

/* ---- running ---- */

void tn_rig_set(tn_rig_program *p, uint32_t input, const double *values)
{
    write_place(p, p->in[input], values);
}

static const char *arena_name(tn_arena arena)
{
    static const char *const names[TN_ARENA_COUNT] = {
#define XX(name, number, text) [number] = text,
        TN_ARENA_MAP(XX)
#undef XX
    };
    return names[arena];
}

/* The first byte of [begin, end) that changed and belongs to no output; end. */
static int64_t stray_byte(const memory *m, int64_t begin, int64_t end)
{
    if (!memcmp(m->now + begin, m->first + begin, (size_t)(end - begin)))
        return end;
    while (begin < end &&
           (m->written[begin] || m->now[begin] == m->first[begin]))
        begin++;
    return begin;
}

/* Bytes that no output covers must be as they were. */
static void check_bytes(const tn_rig_program *p)
{
    enum { AT_ONCE = 256 }; /* most are: whole stretches are compared first */
    for (tn_arena a = 1; a < TN_ARENA_COUNT; a++) {
        const memory *m = &p->arenas[a];
        for (int64_t i = 0; i < m->bytes; i += AT_ONCE) {
            const int64_t end = i + AT_ONCE < m->bytes ? i + AT_ONCE : m->bytes;
            const int64_t stray = stray_byte(m, i, end);
            if (stray < end)
                tn_rig_give_up("%s wrote byte %lld of the arena of %s, which "
                               "belongs to no output",
                               p->rig->name, (long long)stray, arena_name(a));
        }
    }
}

static tn_status transfer(tn_rig_program *p, int up, tn_error *err)
{
    const tn_backend *b = p->rig->backend;
    for (tn_arena a = 1; a < TN_ARENA_COUNT; a++) {
        memory *m = &p->arenas[a];
        TN_TRY(up ? b->upload(p->rig->device, m->buffer, 0, m->first, m->bytes,
                              err)
                  : b->download(p->rig->device, m->now, m->buffer, 0, m->bytes,
                                err));
    }
    return TN_OK;
}

tn_status tn_rig_run(tn_rig_program *p, tn_error *err)
{
    const tn_backend *b = p->rig->backend;
    TN_TRY(transfer(p, 1, err));
    for (uint32_t s = 0; s < p->plan->plan.segment_count; s++)
        TN_TRY(b->run(p->rig->device, p->exec, s, err));
    TN_TRY(b->wait(p->rig->device, err));
    TN_TRY(transfer(p, 0, err));
    check_bytes(p);
    for (uint32_t o = 0; o < p->out_count; o++)
        for (int64_t i = 0; i < p->out[o].count; i++)
            p->values[o][i] =
                get(p->arenas[p->out[o].arena].now + p->out[o].offset,
                    p->out[o].dtype, i);
    return TN_OK;
}

uint32_t tn_rig_output_count(const tn_rig_program *p)
{
    return p->out_count;
}

tn_rig_result tn_rig_output(const tn_rig_program *p, uint32_t i)
{
    return (tn_rig_result){p->out[i].arena ? p->values[i] : NULL,
                           p->out[i].count, p->out[i].dtype};
}

const tn_plan *tn_rig_plan(const tn_rig_program *p)
{
    return &p->plan->plan;
}
