/*
 * diagnose.c - where a step went wrong: the same batches again, with a check
 * after each layer.
 *
 * Since a bad step changes nothing, the parameters are still those it ran
 * with. The plan is made here, when it is needed, which is at most once.
 */
#include <math.h>
#include <stdlib.h>

#include "run/training.h"
#include "run/weights.h"

/* 1 where every element is finite, as a scalar (1). */
static tn_tensor all_finite(tn_builder *b, tn_tensor x)
{
    const tn_tensor flags = tn_finite(b, x);
    return tn_reshape(b, tn_minimum(b, flags, tn_all_axes(b, flags)), 1);
}

/* Flags go where the gradients are: one each layer, then the loss. They are
 * of no more use after a bad step, and their arena is large enough. */
static void report(tni_graph *g, uint32_t at, tn_tensor flag)
{
    const int64_t one = 1;
    const tn_tensor slot =
        tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_GRAD, (int64_t)at * TN_ALIGNMENT,
                       g->builder.dtype, 1, &one, "finite");
    tn_assign(&g->builder, slot, flag);
}

static tn_status plan_checks(tni_training *t, uint32_t *id, tn_error *err)
{
    tni_graph *g = tni_graph_create(t->session->dtype);
    const tni_model *model = t->recipe->model;
    const uint32_t layers = tni_model_layer_count(model);
    const tni_model_io io = tni_training_inputs(
        t, g, tni_mixture_has_segments(&t->recipe->train_data));
    tni_model_out out = {0};
    tni_model_describe(t->recipe->model, g, &io, &out);
    tn_status status = tni_graph_status(g, err);
    if (status == TN_OK) {
        for (uint32_t i = 0; i < layers; i++)
            report(g, i, all_finite(&g->builder, out.layer_out[i]));
        report(g, layers, all_finite(&g->builder, out.nll));
        status = tni_session_narrow(t->session, g, err);
    }
    if (status == TN_OK)
        status = tni_session_plan(t->session, g, "diagnose", id, err);
    tni_graph_destroy(g);
    return status;
}

static int is_finite(const void *values, tn_dtype dtype, int64_t count)
{
    const double *wide = values;
    const float *narrow = values;
    for (int64_t i = 0; i < count; i++)
        if (dtype == TN_F64 ? !isfinite(wide[i]) : !isfinite(narrow[i]))
            return 0;
    return 1;
}

/* A part at a time. */
static tn_status look_at(tni_session *s, tn_arena arena, const tni_weight *w,
                         int *finite, tn_error *err)
{
    enum { PART = 16 * 1024 };
    double part[PART];
    *finite = 1;
    for (int64_t at = 0; *finite && at < w->elements; at += PART) {
        const int64_t left = w->elements - at, n = left < PART ? left : PART;
        TN_TRY(tni_session_download(s, part, arena,
                                    (w->offset + at) * s->real_bytes,
                                    n * s->real_bytes, err));
        *finite = is_finite(part, s->dtype, n);
    }
    return TN_OK;
}

/* The first weight whose numbers in `arena` (the parameters or their gradients)
 * are not all finite, NULL where they are. */
static tn_status find_bad(tni_training *t, tn_arena arena, const char **name,
                          tn_error *err)
{
    tni_session *s = t->session;
    uint32_t count;
    const tni_weight *w = tni_model_weights(t->recipe->model, &count);
    *name = NULL;
    for (uint32_t i = 0; i < count && !*name; i++) {
        int finite;
        TN_TRY(look_at(s, arena, &w[i], &finite, err));
        if (!finite)
            *name = w[i].name;
    }
    return TN_OK;
}

/* The number of the first flag that is down; layers + 1 where none is. */
static tn_status first_flag(tni_training *t, uint32_t id, uint32_t layers,
                            uint32_t *first, tn_error *err)
{
    TN_TRY(tni_session_run(t->session, id, err));
    for (*first = 0; *first <= layers; (*first)++) {
        float flag;
        TN_TRY(tni_session_download_reals(t->session, &flag, TN_ARENA_GRAD,
                                          (int64_t)*first * TN_ALIGNMENT, 1,
                                          err));
        if (!(flag > 0.5f))
            return TN_OK;
    }
    return TN_OK;
}

/* The forward pass of each micro-batch of the step, until one goes wrong. */
static tn_status first_bad_layer(tni_training *t, tni_data *data,
                                 tn_batch *batch, uint32_t *first,
                                 tn_error *err)
{
    const uint32_t layers = tni_model_layer_count(t->recipe->model);
    uint32_t id;
    TN_TRY(plan_checks(t, &id, err));
    for (int64_t i = 0; i < t->recipe->train.grad_accum; i++) {
        TN_TRY(tni_data_next(data, batch, err));
        TN_TRY(tni_training_upload(t, batch, err));
        TN_TRY(first_flag(t, id, layers, first, err));
        if (*first <= layers)
            return TN_OK;
    }
    return TN_OK;
}

tn_status tni_training_diagnose(tni_training *t, tni_data *data,
                                tn_batch *batch, char *phrase, size_t size,
                                tn_error *err)
{
    const uint32_t layers = tni_model_layer_count(t->recipe->model);
    const char *weight, *gradient;
    uint32_t first = 0;
    TN_TRY(find_bad(t, TN_ARENA_PARAM, &weight, err));
    TN_TRY(find_bad(t, TN_ARENA_GRAD, &gradient, err));
    if (weight) {
        snprintf(phrase, size, "the weight %s is not finite", weight);
        return TN_OK;
    }
    TN_TRY(first_bad_layer(t, data, batch, &first, err));
    if (first < layers)
        snprintf(phrase, size,
                 "layers[%u] is the first of %u whose output is not finite",
                 first, layers);
    else if (first == layers)
        snprintf(phrase, size, "all layers are finite, the head is not");
    else if (gradient)
        snprintf(phrase, size,
                 "the forward pass is finite, the gradient of %s is not",
                 gradient);
    else if (t->recipe->ranks > 1)
        snprintf(phrase, size,
                 "in this rank's rows all is finite: see what the others say");
    else
        snprintf(phrase, size, "every gradient is finite, their norm is not");
    return TN_OK;
}
