/*
 * model_rig.c - the path of section 1 of the design, as short as it goes.
 */
#include "model_rig.h"

#include "plugin/host.h"

/* ---- opening ---- */

void model_rig_open(model_rig *rig, const char *text)
{
    *rig = (model_rig){0};
    rig->arena = tni_arena_create();
    rig->host = tni_host_create();
    rig->registry = tni_registry_create(rig->host);
    tn_assert_ok_err(tni_config_parse(rig->arena, "test.yaml", text,
                                      strlen(text), &rig->node, &rig->err),
                     rig->err);
    rig->status = tni_model_create(rig->arena, rig->registry, rig->node,
                                   &rig->model, &rig->err);
}

void model_rig_open_ok(model_rig *rig, const char *text)
{
    model_rig_open(rig, text);
    tn_assert_ok_err(rig->status, rig->err);
}

void model_rig_close(model_rig *rig)
{
    if (rig->device) {
        rig->backend->free(rig->device, rig->state);
        rig->backend->close(rig->device);
    }
    tni_registry_destroy(rig->registry);
    tni_host_destroy(rig->host);
    tni_arena_destroy(rig->arena);
}

void model_rig_device(model_rig *rig, const char *backend, tn_dtype dtype)
{
    const tn_component *component = NULL;
    tn_assert_ok_err(tni_registry_find(rig->registry, TN_KIND_BACKEND, backend,
                                       &component, &rig->err),
                     rig->err);
    rig->backend = tni_component_vtable(rig->registry, component);
    void *options = tni_arena_alloc(rig->arena, rig->backend->options.size);
    tn_assert_ok_err(tni_options_fill(rig->arena, &rig->backend->options, NULL,
                                      "backend", NULL, NULL, options,
                                      &rig->err),
                     rig->err);
    tn_assert_ok_err(
        rig->backend->open(rig->host, options, &rig->device, &rig->err),
        rig->err);
    rig->dtype = dtype;
}

int64_t model_rig_slab(const model_rig *rig)
{
    return tni_model_slab_elements(rig->model);
}

void model_rig_draw(const model_rig *rig, uint64_t seed, double *slab)
{
    const int64_t n = model_rig_slab(rig);
    float *drawn = malloc((size_t)n * sizeof *drawn);
    assert_non_null(drawn);
    tni_model_initialize(rig->model, seed, drawn);
    for (int64_t i = 0; i < n; i++)
        slab[i] = (double)drawn[i];
    free(drawn);
}

/* ---- describing ---- */

/* Where things lie in the INPUT arena: each on a page of its own. */
enum { TOKENS, TARGETS, POSITIONS, FIRST, LAST, INPUTS };

static int64_t input_bytes(const model_run *run)
{
    const int64_t n = run->batch * run->seq_len * 4;
    return (n + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
}

static tn_tensor input(tni_graph *g, const model_run *run, int which,
                       const void *values, const char *name)
{
    const int64_t shape[2] = {run->batch, run->seq_len};
    if (!values)
        return TN_NONE;
    return tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT,
                          which * input_bytes(run), TN_I32, 2, shape, name);
}

static tni_graph *describe(model_rig *rig, const model_run *run, tn_dtype dtype,
                           tni_model_out *out)
{
    tni_graph *g = tni_graph_create(dtype);
    tni_model_io io = {
        .batch = run->batch,
        .seq_len = run->seq_len,
        .state_len = run->state_len,
        .training = !run->positions,
        .tokens = input(g, run, TOKENS, run->tokens, "tokens"),
        .targets = input(g, run, TARGETS, run->targets, "targets"),
        .positions = input(g, run, POSITIONS, run->positions, "positions"),
        .first = input(g, run, FIRST, run->first, "first"),
    };
    if (run->last)
        io.last = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT,
                                 LAST * input_bytes(run), TN_I32, 1,
                                 &run->last_count, "last");
    tni_model_describe(rig->model, g, &io, out);
    return g;
}

tni_graph *model_rig_describe(model_rig *rig, const model_run *run,
                              tni_model_out *out)
{
    return describe(rig, run, TN_F32, out);
}

/* A copy of x in an arena that can be read back. */
static void keep(tni_graph *g, tn_arena arena, int64_t offset, tn_tensor x,
                 const char *name)
{
    const tn_tensor_info info = tn_info(&g->builder, x);
    const tn_tensor slot =
        tni_graph_leaf(g, TN_OP_SLOT, arena, offset, g->builder.dtype,
                       info.rank, info.shape, name);
    tn_assign(&g->builder, slot, x);
}

/* Gradients of sum(nll) into the GRAD arena. */
static void add_gradient(model_rig *rig, tni_graph *g, tn_tensor nll,
                         model_run *run)
{
    uint32_t count = 0;
    const tni_weight *w = tni_model_weights(rig->model, &count);
    tn_tensor *param = tni_arena_alloc(g->arena, count * sizeof *param);
    tn_tensor *grad = tni_arena_alloc(g->arena, count * sizeof *grad);
    for (uint32_t i = 0; i < count; i++)
        param[i] = tni_model_param(rig->model, i);
    const tn_tensor one = tn_fill(&g->builder, 1.0, run->batch * run->seq_len);
    tn_assert_ok_err(
        tni_differentiate(g, &nll, &one, 1, param, count, grad, &rig->err),
        rig->err);
    run->unreached = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (tn_is_none(grad[i]))
            run->unreached++;
        else
            keep(g, TN_ARENA_GRAD, w[i].offset * tn_dtype_bytes(rig->dtype),
                 grad[i], w[i].name);
    }
}

/* ---- running ---- */

static uint32_t supports(void *of, const tn_plan_node *node)
{
    const model_rig *rig = of;
    return rig->backend->supports(rig->device, node);
}

static tni_plan *plan_of(model_rig *rig, tni_graph *g)
{
    tn_backend_caps caps = {.struct_size = sizeof caps};
    rig->backend->caps(rig->device, &caps);
    const tni_target target = {
        .supports = supports, .of = rig, .flags = caps.flags};
    const tni_place_options options = {.name = "test"};
    tni_plan *plan = NULL;
    tn_assert_ok_err(tni_graph_status(g, &rig->err), rig->err);
    tn_assert_ok_err(tni_share_loss(g, &rig->err), rig->err);
    tn_assert_ok_err(tni_lower(g, &target, &rig->err), rig->err);
    tn_assert_ok_err(tni_fuse(g, &target, &rig->err), rig->err);
    tn_assert_ok_err(tni_graph_verify(g, &rig->err), rig->err);
    tn_assert_ok_err(tni_place(g, &options, &plan, &rig->err), rig->err);
    return plan;
}

static void upload(model_rig *rig, tn_buffer *to, int64_t offset,
                   const void *from, int64_t bytes)
{
    if (from)
        tn_assert_ok_err(rig->backend->upload(rig->device, to, offset, from,
                                              bytes, &rig->err),
                         rig->err);
}

/* double to the dtype of the arenas */
static void upload_reals(model_rig *rig, tn_buffer *to, const double *from,
                         int64_t count)
{
    float *narrow = malloc((size_t)count * sizeof *narrow);
    for (int64_t i = 0; i < count; i++)
        narrow[i] = (float)from[i];
    if (rig->dtype == TN_F64)
        upload(rig, to, 0, from, count * 8);
    else
        upload(rig, to, 0, narrow, count * 4);
    free(narrow);
}

static void download_reals(model_rig *rig, double *to, const tn_buffer *from,
                           int64_t offset, int64_t count)
{
    const int64_t bytes = tn_dtype_bytes(rig->dtype);
    tn_assert_ok_err(rig->backend->download(rig->device, to, from,
                                            offset * bytes, count * bytes,
                                            &rig->err),
                     rig->err);
    if (rig->dtype == TN_F64)
        return;
    float *narrow = malloc((size_t)count * sizeof *narrow);
    memcpy(narrow, to, (size_t)count * sizeof *narrow);
    for (int64_t i = 0; i < count; i++)
        to[i] = (double)narrow[i];
    free(narrow);
}

/* Each arena as large as the plan says; the states are the rig's own. */
static void allocate(model_rig *rig, const tni_plan *plan, const model_run *run,
                     tn_buffer *arena[TN_ARENA_COUNT])
{
    uint32_t states = 0;
    int64_t state_bytes = 0;
    if (run->positions)
        tni_model_states(rig->model, &states, &state_bytes);
    if (run->reset || state_bytes > rig->state_bytes) {
        rig->backend->free(rig->device, rig->state);
        rig->state = NULL;
        rig->state_bytes = state_bytes;
        tn_assert_ok_err(rig->backend->alloc(rig->device, state_bytes,
                                             &rig->state, &rig->err),
                         rig->err);
    }
    const int64_t slab = model_rig_slab(rig) * tn_dtype_bytes(rig->dtype);
    for (tn_arena a = 1; a < TN_ARENA_COUNT; a++) {
        int64_t bytes = plan->plan.arena_bytes[a];
        if ((a == TN_ARENA_PARAM || a == TN_ARENA_GRAD) && bytes < slab)
            bytes = slab;
        if (a == TN_ARENA_INPUT)
            bytes = INPUTS * input_bytes(run);
        if (a == TN_ARENA_STATE)
            arena[a] = rig->state;
        else
            tn_assert_ok_err(
                rig->backend->alloc(rig->device, bytes, &arena[a], &rig->err),
                rig->err);
    }
}

static void feed(model_rig *rig, const model_run *run,
                 tn_buffer *arena[TN_ARENA_COUNT])
{
    const int64_t n = run->batch * run->seq_len * 4, page = input_bytes(run);
    tn_buffer *in = arena[TN_ARENA_INPUT];
    upload(rig, in, TOKENS * page, run->tokens, n);
    upload(rig, in, TARGETS * page, run->targets, n);
    upload(rig, in, POSITIONS * page, run->positions, n);
    upload(rig, in, FIRST * page, run->first, n);
    upload(rig, in, LAST * page, run->last, run->last_count * 4);
    upload_reals(rig, arena[TN_ARENA_PARAM], run->params, model_rig_slab(rig));
}

static void execute(model_rig *rig, const tni_plan *plan,
                    tn_buffer *arena[TN_ARENA_COUNT])
{
    tn_exec *exec = NULL;
    tn_assert_ok_err(rig->backend->compile(rig->device, &plan->plan, arena,
                                           &exec, &rig->err),
                     rig->err);
    for (uint32_t s = 0; s < plan->plan.segment_count; s++)
        tn_assert_ok_err(rig->backend->run(rig->device, exec, s, &rig->err),
                         rig->err);
    tn_assert_ok_err(rig->backend->wait(rig->device, &rig->err), rig->err);
    rig->backend->exec_free(rig->device, exec);
}

static void collect(model_rig *rig, model_run *run,
                    tn_buffer *arena[TN_ARENA_COUNT])
{
    const int64_t rows = run->batch * run->seq_len;
    const tn_buffer *metric = arena[TN_ARENA_METRIC];
    if (run->targets && run->nll)
        download_reals(rig, run->nll, metric, 0, rows);
    if (!run->targets && run->logits)
        download_reals(rig, run->logits, metric, 0,
                       (run->last ? run->last_count : rows) *
                           tni_model_vocab_size(rig->model));
    if (run->gradient)
        download_reals(rig, run->gradient, arena[TN_ARENA_GRAD], 0,
                       model_rig_slab(rig));
}

void model_rig_run(model_rig *rig, model_run *run)
{
    tn_buffer *arena[TN_ARENA_COUNT] = {NULL};
    tni_model_out out;
    tni_graph *g = describe(rig, run, rig->dtype, &out);
    tn_assert_ok_err(tni_graph_status(g, &rig->err), rig->err);
    keep(g, TN_ARENA_METRIC, 0, run->targets ? out.nll : out.logits, "out");
    if (run->gradient)
        add_gradient(rig, g, out.nll, run);
    tni_plan *plan = plan_of(rig, g);
    allocate(rig, plan, run, arena);
    feed(rig, run, arena);
    execute(rig, plan, arena);
    collect(rig, run, arena);
    for (tn_arena a = 1; a < TN_ARENA_COUNT; a++)
        if (a != TN_ARENA_STATE)
            rig->backend->free(rig->device, arena[a]);
    tni_plan_destroy(plan);
    tni_graph_destroy(g);
}
