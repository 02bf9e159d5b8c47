/*
 * training.c - the one idea of Tenon in one function: describe, differentiate,
 * narrow, recompute, lower, fuse, place. plan_step() is the page to read first.
 */
#include "run/training.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST, NEXT, UPDATE, EVAL };

static const char *const plan_name[] = {"first", "next", "update", "eval"};

/* ---- leaves ---- */

tn_tensor tni_metric_leaf(tni_graph *g, uint32_t metric)
{
    const int64_t one = 1;
    return tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_METRIC,
                          (int64_t)metric * TN_ALIGNMENT, g->builder.dtype, 1,
                          &one, "metric");
}

tn_tensor tni_scalar_leaf(tni_graph *g, uint32_t scalar)
{
    const int64_t one = 1;
    return tni_graph_leaf(g, TN_OP_SCALAR, TN_ARENA_SCALAR,
                          (int64_t)scalar * TN_ALIGNMENT, g->builder.dtype, 1,
                          &one, "scalar");
}

void tni_metric_set(tni_graph *g, uint32_t metric, tn_tensor value)
{
    tn_builder *b = &g->builder;
    tn_assign(b, tni_metric_leaf(g, metric), tn_reshape(b, value, 1));
}

/* Bytes of one (B, T) tensor of i32, to the next placed tensor. */
static int64_t input_pitch(const tni_recipe *r)
{
    const int64_t bytes = tni_recipe_rows(r) * r->train.seq_len * 4;
    return (bytes + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
}

tni_model_io tni_training_inputs(const tni_training *t, tni_graph *g, int apart)
{
    const tni_recipe *r = t->recipe;
    const int64_t shape[2] = {tni_recipe_rows(r), r->train.seq_len};
    const int64_t two = 2;
    return (tni_model_io){
        .batch = shape[0],
        .seq_len = shape[1],
        .tokens = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_I32, 2,
                                 shape, "tokens"),
        .targets = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT,
                                  input_pitch(r), TN_I32, 2, shape, "targets"),
        .first = apart ? tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT,
                                        2 * input_pitch(r), TN_I32, 2, shape,
                                        "first")
                       : TN_NONE,
        .rng = tni_graph_leaf(g, TN_OP_SCALAR, TN_ARENA_SCALAR,
                              TNI_SCALAR_RNG * TN_ALIGNMENT, TN_I32, 1, &two,
                              "rng"),
        .training = 1,
    };
}

static tn_tensor gradient_leaf(tni_graph *g, const tni_weight *w)
{
    return tni_graph_leaf(
        g, TN_OP_SLOT, TN_ARENA_GRAD,
        w->offset * tn_dtype_bytes(g->builder.dtype), g->builder.dtype, w->rank,
        w->shape, tni_arena_printf(g->arena, "gradient of %s", w->name));
}

/* ---- describing ---- */

static void report_sum(tni_graph *g, uint32_t metric, tn_tensor sum, int add)
{
    tn_builder *b = &g->builder;
    if (add)
        sum = tn_add(b, tni_metric_leaf(g, metric), sum);
    tni_metric_set(g, metric, sum);
}

static int64_t target_count(const tni_recipe *r)
{
    return tni_recipe_rows(r) * r->train.seq_len;
}

/* Behind the metrics: the cross-entropy of each target. */
static void report_targets(const tni_training *t, tni_graph *g, tn_tensor nll)
{
    const int64_t count = target_count(t->recipe);
    const tn_tensor slot = tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_METRIC,
                                          (int64_t)sizeof t->metrics,
                                          g->builder.dtype, 1, &count, "nll");
    tn_assign(&g->builder, slot, nll);
}

/* The sums that update divides. */
static void report_loss(tni_graph *g, const tni_model_io *io,
                        const tni_model_out *out, int add)
{
    tn_builder *b = &g->builder;
    report_sum(g, TNI_METRIC_LOSS_SUM,
               tn_sum(b, out->nll, tn_all_axes(b, out->nll)), add);
    report_sum(g, TNI_METRIC_TOKENS, tni_count_targets(b, io->targets), add);
    if (!tn_is_none(out->auxiliary))
        report_sum(g, TNI_METRIC_AUXILIARY_SUM, out->auxiliary, add);
}

/* Gradients of the summed loss, auxiliary losses included, into the slab. */
static tn_status describe_gradients(tni_training *t, tni_graph *g,
                                    const tni_model_out *out, int add,
                                    tn_error *err)
{
    uint32_t count;
    const tni_model *model = t->recipe->model;
    const tni_weight *weights = tni_model_weights(model, &count);
    tn_tensor *wrt = tni_arena_alloc(g->arena, count * sizeof *wrt);
    tn_tensor *dwrt = tni_arena_alloc(g->arena, count * sizeof *dwrt);
    tn_builder *b = &g->builder;
    tn_tensor y[2] = {tni_graph_resolve(g, out->nll)}, seed[2];
    uint32_t y_count = 1;

    g->phase = TNI_BACKWARD;
    seed[0] = tn_fill(b, 1.0, tn_dim(b, y[0], 0));
    if (!tn_is_none(out->auxiliary)) {
        y[1] = tni_graph_resolve(g, out->auxiliary);
        seed[1] = tn_fill(b, 1.0, 1);
        y_count = 2;
    }
    for (uint32_t i = 0; i < count; i++)
        wrt[i] = tni_model_param(model, i);
    TN_TRY(tni_differentiate(g, y, seed, y_count, wrt, count, dwrt, err));
    for (uint32_t i = 0; i < count; i++) {
        if (tn_is_none(dwrt[i]))
            continue;
        const tn_tensor slot = gradient_leaf(g, &weights[i]);
        if (!add)
            tni_lookups_find(t, g, i, dwrt[i]);
        if (t->uses[i])
            tni_lookups_write(t, g, t->uses[i], slot, dwrt[i], add);
        else
            tn_assign(b, slot, add ? tn_add(b, slot, dwrt[i]) : dwrt[i]);
    }
    return tni_graph_status(g, err);
}

/*
 * One of the run's plans, from the model's description to placed bytes. Every
 * plan of a training run is made here, and by nothing else.
 */
static tn_status plan_step(tni_training *t, tni_graph *g, int kind,
                           uint32_t *id, tn_error *err)
{
    const tni_recipe *r = t->recipe;
    const tni_target *target = &t->session->device.target; /* caps */
    const int add = kind == NEXT;
    tni_model_out out = {0};

    if (kind == UPDATE) {
        tni_describe_update(t, g); /* optimizers describe, too */
        return tni_session_plan(t->session, g, plan_name[kind], id, err);
    }
    tni_model_io io = tni_training_inputs(
        t, g,
        tni_mixture_has_segments(kind == EVAL ? &r->val_data : &r->train_data));
    if (kind == EVAL)
        io.rng = TN_NONE;                       /* nothing is dropped */
    tni_model_describe(r->model, g, &io, &out); /* layer by layer, and loss */
    TN_TRY(tni_graph_status(g, err));
    if (kind == EVAL) {
        report_targets(t, g, out.nll);
    } else {
        report_loss(g, &io, &out, add);
        TN_TRY(tni_graph_status(g, err));
        TN_TRY(tni_fuse(g, target, err));
        TN_TRY(describe_gradients(t, g, &out, add, err));
        TN_TRY(tni_share_loss(g, err));
    }
    TN_TRY(tni_session_narrow(t->session, g, err)); /* where it is bf16 */
    if (kind != EVAL)
        TN_TRY(tni_recompute(g, (uint32_t)r->train.recompute, err));
    /* lower to what the backend has kernels for, fuse, place every byte */
    return tni_session_plan(t->session, g, plan_name[kind], id, err);
}

static tn_status plan(tni_training *t, int kind, uint32_t *id, tn_error *err)
{
    tni_graph *g = tni_graph_create(t->session->dtype);
    const tn_status status = plan_step(t, g, kind, id, err);
    tni_graph_destroy(g);
    return status;
}

/* ---- life ---- */

/* One slab per group and state, one after the other. */
static void lay_out_states(tni_training *t)
{
    const tni_recipe *r = t->recipe;
    int64_t at = 0;
    for (uint32_t g = 0; g < r->group_count; g++) {
        const tn_optimizer *o = r->groups[g].optimizer.vtable;
        for (uint32_t s = 0; s < o->state_count; s++) {
            t->state_offset[g * TN_OPTIMIZER_MAX_STATE + s] = at;
            at += r->groups[g].elements * t->session->real_bytes;
        }
    }
    tni_session_reserve(t->session, TN_ARENA_OPTIMIZER, at);
}

static tn_status make_firsts(tni_training *t, tn_error *err)
{
    const tni_recipe *r = t->recipe;
    if (!tni_mixture_has_segments(&r->train_data) &&
        !tni_mixture_has_segments(&r->val_data))
        return TN_OK;
    t->firsts = calloc((size_t)(tni_recipe_rows(r) * r->train.seq_len),
                       sizeof *t->firsts);
    return t->firsts
               ? TN_OK
               : tn_fail(err, TN_ENOMEM, "no memory for where documents begin");
}

static tn_status check_rows(const tni_recipe *r, tn_error *err)
{
    if (r->train.batch_size % r->ranks == 0)
        return TN_OK;
    return tni_yaml_fail(
        tni_yaml_get(tni_yaml_get(r->root, "train"), "batch_size"), err,
        "train.batch_size: %lld rows cannot be shared evenly by %u processes; "
        "take a multiple of %u, or another number of processes",
        (long long)r->train.batch_size, r->ranks, r->ranks);
}

static tn_status create(tni_training *t, tn_error *err)
{
    const tni_recipe *r = t->recipe;
    uint32_t count;
    TN_TRY(check_rows(r, err));
    if (r->quantize)
        return tn_fail(err, TN_EINVALID,
                       "quantize: weights in 8 or 4 bits have no gradient and "
                       "cannot be trained; set quantize: none, and quantize "
                       "where the model is used");
    TN_TRY(tni_session_open(r, &t->session, err));
    t->session->copied = TNI_COPIED_FOR_PRODUCTS; /* tables are there in f32 */
    t->slab_elements = tni_model_slab_elements(r->model);
    t->gradient_elements = t->slab_elements;
    tni_model_weights(r->model, &count);
    t->scalar_bytes = (TNI_SCALAR_LR + (int64_t)r->group_count) * TN_ALIGNMENT;
    t->scalars = calloc(1, (size_t)t->scalar_bytes);
    t->state_offset = calloc(r->group_count + 1,
                             TN_OPTIMIZER_MAX_STATE * sizeof *t->state_offset);
    t->uses = calloc(count, sizeof *t->uses);
    if (!t->scalars || !t->state_offset || !t->uses)
        return tn_fail(err, TN_ENOMEM, "no memory for the step's scalars");
    TN_TRY(make_firsts(t, err));

    const int64_t slab = t->slab_elements * t->session->real_bytes;
    tni_session_reserve(t->session, TN_ARENA_PARAM, slab);
    tni_session_reserve(t->session, TN_ARENA_GRAD, slab);
    tni_session_reserve(t->session, TN_ARENA_SCALAR, t->scalar_bytes);
    tni_session_reserve(t->session, TN_ARENA_METRIC,
                        (int64_t)sizeof t->metrics +
                            target_count(r) * t->session->real_bytes);
    tni_session_reserve(t->session, TN_ARENA_INPUT,
                        (t->firsts ? 3 : 2) * input_pitch(r));
    lay_out_states(t);

    TN_TRY(plan(t, FIRST, &t->first, err));
    if (r->train.grad_accum > 1)
        TN_TRY(plan(t, NEXT, &t->next, err));
    if (r->group_count)
        TN_TRY(plan(t, UPDATE, &t->update, err));
    return plan(t, EVAL, &t->eval, err);
}

tn_status tni_training_create(const tni_recipe *recipe, tni_training **training,
                              tn_error *err)
{
    tni_training *t = calloc(1, sizeof *t);
    if (!t)
        return tn_fail(err, TN_ENOMEM, "no memory for a training run");
    t->recipe = recipe;
    const tn_status status = create(t, err);
    if (status == TN_OK)
        *training = t;
    else
        tni_training_destroy(t);
    return status;
}

tn_status tni_training_commit(tni_training *t, tn_error *err)
{
    return tni_session_commit(t->session, err);
}

void tni_training_destroy(tni_training *t)
{
    if (!t)
        return;
    tni_session_close(t->session);
    free(t->scalars);
    free(t->state_offset);
    free(t->firsts);
    free(t->uses);
    free(t);
}

int64_t tni_training_state_offset(const tni_training *t, const tni_weight *w,
                                  uint32_t state)
{
    return t->state_offset[w->group * TN_OPTIMIZER_MAX_STATE + state] +
           (w->offset - t->recipe->groups[w->group].first) *
               t->session->real_bytes;
}

/* ---- one step; nothing below allocates ---- */

static void set_real(tni_training *t, uint32_t scalar, double value)
{
    unsigned char *at = t->scalars + (size_t)scalar * TN_ALIGNMENT;
    const float narrow = (float)value;
    if (t->session->dtype == TN_F64)
        memcpy(at, &value, sizeof value);
    else
        memcpy(at, &narrow, sizeof narrow);
}

static double get_real(const tni_training *t, uint32_t metric)
{
    const unsigned char *at = t->metrics + (size_t)metric * TN_ALIGNMENT;
    double wide;
    float narrow;
    if (t->session->dtype == TN_F64) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&narrow, at, sizeof narrow);
    return (double)narrow;
}

static tn_status upload_scalars(tni_training *t, tn_error *err)
{
    return tni_session_upload(t->session, TN_ARENA_SCALAR, 0, t->scalars,
                              t->scalar_bytes, err);
}

/* Whatever the numbers are, no place is beyond its row. */
void tni_training_firsts(const int32_t *segments, int64_t rows, int64_t seq_len,
                         int32_t *firsts)
{
    int32_t first = 0;
    for (int64_t i = 0; i < rows * seq_len; i++) {
        if (i % seq_len == 0 || (segments && segments[i] != segments[i - 1]))
            first = (int32_t)(i % seq_len);
        firsts[i] = first;
    }
}

tn_status tni_training_upload(tni_training *t, const tn_batch *batch,
                              tn_error *err)
{
    const tni_recipe *r = t->recipe;
    const int64_t rows = tni_recipe_rows(r), seq_len = r->train.seq_len;
    const int64_t at = tni_recipe_first_row(r) * seq_len;
    const int64_t bytes = rows * seq_len * 4, pitch = input_pitch(r);
    TN_TRY(tni_session_upload(t->session, TN_ARENA_INPUT, 0, batch->tokens + at,
                              bytes, err));
    TN_TRY(tni_session_upload(t->session, TN_ARENA_INPUT, pitch,
                              batch->targets + at, bytes, err));
    if (!t->firsts)
        return TN_OK;
    tni_training_firsts(batch->segments ? batch->segments + at : NULL, rows,
                        seq_len, t->firsts);
    return tni_session_upload(t->session, TN_ARENA_INPUT, 2 * pitch, t->firsts,
                              bytes, err);
}

tn_status tni_training_accumulate(tni_training *t, int64_t step, int64_t index,
                                  const tn_batch *batch, tn_error *err)
{
    /* Each micro-batch draws its own dropout masks, and so does each rank. */
    const tni_recipe *r = t->recipe;
    const int64_t draw =
        (step * r->train.grad_accum + index) * r->ranks + r->rank;
    const int32_t rng[2] = {(int32_t)r->seed, (int32_t)(draw & INT32_MAX)};
    memcpy(t->scalars + TNI_SCALAR_RNG * TN_ALIGNMENT, rng, sizeof rng);
    TN_TRY(upload_scalars(t, err));
    TN_TRY(tni_training_upload(t, batch, err));
    return tni_session_start(t->session, index ? t->next : t->first, err);
}

int64_t tni_training_ahead(const tni_training *t)
{
    const int64_t slots = tni_session_slots(t->session);
    return slots < TNI_TRAINING_AHEAD ? slots : TNI_TRAINING_AHEAD;
}

static uint32_t slot_of(const tni_training *t, int64_t step)
{
    return (uint32_t)(step % tni_training_ahead(t));
}

tn_status tni_training_start_update(tni_training *t, int64_t step,
                                    double multiplier, tn_error *err)
{
    const tni_recipe *r = t->recipe;
    set_real(t, TNI_SCALAR_STEP, (double)(step + 1));
    for (uint32_t g = 0; g < r->group_count; g++)
        set_real(t, TNI_SCALAR_LR + g, r->groups[g].lr * multiplier);
    TN_TRY(upload_scalars(t, err));
    TN_TRY(tni_session_start(t->session, t->update, err));
    return tni_session_ask(t->session, slot_of(t, step), TN_ARENA_METRIC, 0,
                           sizeof t->metrics, err);
}

tn_status tni_training_result(tni_training *t, int64_t step,
                              tni_step_result *result, tn_error *err)
{
    TN_TRY(tni_session_take(t->session, slot_of(t, step), t->metrics,
                            sizeof t->metrics, err));
    *result = (tni_step_result){
        .loss = get_real(t, TNI_METRIC_LOSS),
        .auxiliary = get_real(t, TNI_METRIC_AUXILIARY),
        .grad_norm = get_real(t, TNI_METRIC_GRAD_NORM),
        .tokens = get_real(t, TNI_METRIC_TOKENS),
        .ok = get_real(t, TNI_METRIC_OK) > 0.5,
        .stopping = get_real(t, TNI_METRIC_STOPPING) > 0.5,
    };
    return TN_OK;
}

tn_status tni_training_update(tni_training *t, int64_t step, double multiplier,
                              tni_step_result *result, tn_error *err)
{
    TN_TRY(tni_training_start_update(t, step, multiplier, err));
    return tni_training_result(t, step, result, err);
}

tn_status tni_training_score(tni_training *t, const tn_batch *batch, float *nll,
                             tn_error *err)
{
    TN_TRY(tni_training_upload(t, batch, err));
    TN_TRY(tni_session_run(t->session, t->eval, err));
    return tni_session_download_reals(t->session, nll, TN_ARENA_METRIC,
                                      (int64_t)sizeof t->metrics,
                                      target_count(t->recipe), err);
}
