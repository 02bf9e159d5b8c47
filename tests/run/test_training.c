/*
 * test_training.c - the plans of a step: sums that divide once, updates that
 * change nothing when they should not.
 */
#include "training_rig.h"

#include "run/evaluate.h"
#include "run/training.h"
#include "run/weights.h"

/* Rows of text that differ; the last target of each row is ignored. */
static tn_batch batch_of(const tni_recipe *r, int64_t first_row)
{
    tn_batch b = tni_batch_create(r);
    const int64_t T = r->train.seq_len;
    for (int64_t i = 0; i < r->train.batch_size * T; i++) {
        const int64_t row = first_row + i / T, t = i % T;
        b.tokens[i] = (int32_t)((row * 31 + t * 7) % 256);
        b.targets[i] = t == T - 1 && row % 2 ? -1 : (int32_t)((row + t) % 256);
    }
    return b;
}

static double *parameters(const tni_training *t)
{
    double *p = malloc((size_t)t->slab_elements * sizeof *p);
    assert_non_null(p);
    assert_int_equal(t->session->dtype, TN_F64);
    tn_assert_ok(tni_session_download(t->session, p, TN_ARENA_PARAM, 0,
                                      t->slab_elements * 8, NULL));
    return p;
}

static tni_step_result step(tni_training *t, int64_t number)
{
    const tni_train_options *o = &t->recipe->train;
    tni_step_result result;
    tn_error err = TN_ERROR_NONE;
    for (int64_t i = 0; i < o->grad_accum; i++) {
        tn_batch b = batch_of(t->recipe, i * o->batch_size);
        tn_assert_ok_err(tni_training_accumulate(t, number, i, &b, &err), err);
        tni_batch_destroy(&b);
    }
    tn_assert_ok_err(tni_training_update(t, number, 1.0, &result, &err), err);
    return result;
}

static void four_micro_batches_equal_one_four_times_as_large(void **state)
{
    run_rig *rig = *state;
    tni_training *a =
        start(rig, SET("train.batch_size=1", "train.grad_accum=4"));
    tni_training *b =
        start(rig, SET("train.batch_size=4", "train.grad_accum=1"));
    for (int64_t i = 0; i < 3; i++) {
        const tni_step_result x = step(a, i), y = step(b, i);
        tn_assert_near(x.loss, y.loss, 1e-12);
        tn_assert_near(x.grad_norm, y.grad_norm, 1e-10);
        tn_assert_near(x.tokens, 4 * 8 - 2, 0);
        tn_assert_near(y.tokens, 4 * 8 - 2, 0);
    }
    double *p = parameters(a), *q = parameters(b);
    tn_assert_close_double(p, q, a->slab_elements, 1e-9, 0);
    free(p);
    free(q);
    tni_training_destroy(a);
    tni_training_destroy(b);
}

#define EXPERTS                                                                \
    "model.layers=[{arch: transformer, repeat: 2, num_heads: 2, mlp: {type: "  \
    "moe, num_experts: 4, experts_per_token: 2, intermediate_size: 6, "        \
    "load_balance_alpha: 0.25}}]"

static const tni_weight *router_of(const tni_training *t, const char *layer)
{
    char name[80];
    snprintf(name, sizeof name, "model.layers.%s.mlp.gate.weight", layer);
    const tni_weight *w = tni_model_weight(t->recipe->model, name);
    assert_non_null(w);
    return w;
}

static void put_parameter(tni_training *t, int64_t at, double value)
{
    tn_assert_ok(tni_session_upload(t->session, TN_ARENA_PARAM, at * 8, &value,
                                    8, NULL));
}

/* Routers that know no difference send the same experts every token: alpha E
 * sum f P is alpha in each layer, whatever the targets and micro-batches. */
static void the_balance_loss_is_reported_per_token(void **state)
{
    static const char *const layers[] = {"0", "1"};
    tni_training *t = start(*state, SET(EXPERTS, "train.grad_accum=3"));
    for (int l = 0; l < 2; l++) {
        const tni_weight *w = router_of(t, layers[l]);
        for (int64_t i = 0; i < w->elements; i++)
            put_parameter(t, w->offset + i, 0);
    }
    const tni_step_result r = step(t, 0);
    tn_assert_near(r.auxiliary, 2 * 0.25, 1e-12);
    tn_assert_near(r.loss, log(256), 0.1); /* without it */
    tni_training_destroy(t);
}

/* Summed cross-entropy and auxiliary losses of one micro-batch. */
static double summed_loss(tni_training *t)
{
    static const uint32_t metric[2] = {TNI_METRIC_LOSS_SUM,
                                       TNI_METRIC_AUXILIARY_SUM};
    tn_batch b = batch_of(t->recipe, 0);
    double sum[2];
    tn_assert_ok(tni_training_accumulate(t, 0, 0, &b, NULL));
    for (int i = 0; i < 2; i++)
        tn_assert_ok(tni_session_download(t->session, &sum[i], TN_ARENA_METRIC,
                                          metric[i] * TN_ALIGNMENT, 8, NULL));
    tni_batch_destroy(&b);
    return sum[0] + sum[1];
}

/* Central differences of both losses. */
static void routers_learn_from_both_losses(void **state)
{
    tni_training *t = start(*state, SET(EXPERTS));
    const tni_weight *w = router_of(t, "0");
    const double h = 1e-4;
    double gradient[64], start_value;
    assert_int_equal(w->elements, 64);
    summed_loss(t);
    tn_assert_ok(tni_session_download(t->session, gradient, TN_ARENA_GRAD,
                                      w->offset * 8, sizeof gradient, NULL));
    for (int i = 0; i < 64; i += 9) {
        tn_assert_ok(tni_session_download(t->session, &start_value,
                                          TN_ARENA_PARAM, (w->offset + i) * 8,
                                          8, NULL));
        put_parameter(t, w->offset + i, start_value + h);
        const double above = summed_loss(t);
        put_parameter(t, w->offset + i, start_value - h);
        const double below = summed_loss(t);
        put_parameter(t, w->offset + i, start_value);
        tn_assert_near(gradient[i], (above - below) / (2 * h), 1e-6);
        assert_true(fabs(gradient[i]) > 1e-6);
    }
    tni_training_destroy(t);
}

static void recompute_changes_no_bit(void **state)
{
    run_rig *rig = *state;
    tni_training *a = start(rig, SET("train.recompute=none"));
    tni_training *b = start(rig, SET("train.recompute=layer"));
    for (int64_t i = 0; i < 3; i++) {
        const tni_step_result x = step(a, i), y = step(b, i);
        tn_assert_near(x.loss, y.loss, 0);
    }
    double *p = parameters(a), *q = parameters(b);
    assert_memory_equal(p, q, (size_t)a->slab_elements * sizeof *p);
    free(p);
    free(q);
    tni_training_destroy(a);
    tni_training_destroy(b);
}

static void the_first_loss_is_that_of_guessing(void **state)
{
    tni_training *t = start(*state, NULL);
    const tni_step_result r = step(t, 0);
    assert_true(r.ok);
    tn_assert_near(r.loss, log(256), 0.1);
    assert_true(r.grad_norm > 0);
    tni_training_destroy(t);
}

static void clipping_bounds_the_gradient_an_optimizer_sees(void **state)
{
    run_rig *rig = *state;
    /* AdamW's first step does not depend on the gradient's size unless eps
     * dominates: with eps huge the step is proportional to it */
    tni_training *a = start(
        rig, SET("optimizer={plugin: adamw, lr: 1, eps: 1, weight_decay: 0}",
                 "train.grad_clip=0"));
    tni_training *b = start(
        rig, SET("optimizer={plugin: adamw, lr: 1, eps: 1, weight_decay: 0}",
                 "train.grad_clip=1.0e-3"));
    double *before = parameters(a);
    const tni_step_result x = step(a, 0), y = step(b, 0);
    tn_assert_near(x.grad_norm, y.grad_norm, 0); /* before clipping */
    double *p = parameters(a), *q = parameters(b);
    double moved = 0;
    for (int64_t i = 0; i < a->slab_elements; i++)
        moved += (q[i] - before[i]) * (q[i] - before[i]);
    /* g / (|g| + 1) is g for small g */
    tn_assert_near(sqrt(moved), 1e-3, 1e-6);
    free(before);
    free(p);
    free(q);
    tni_training_destroy(a);
    tni_training_destroy(b);
}

static void a_bad_loss_changes_nothing_from_then_on(void **state)
{
    tni_training *t = start(*state, NULL);
    const double nan = (double)NAN;
    double old;
    step(t, 0);
    /* one weight of the embedding goes bad: restored afterwards */
    const tni_weight *w =
        tni_model_weight(t->recipe->model, "model.embed_tokens.weight");
    const int64_t at = w->offset * 8;
    double *before = parameters(t);
    tn_assert_ok(
        tni_session_download(t->session, &old, TN_ARENA_PARAM, at, 8, NULL));
    tn_assert_ok(
        tni_session_upload(t->session, TN_ARENA_PARAM, at, &nan, 8, NULL));
    const tni_step_result bad = step(t, 1); /* row 0 reads token 0 */
    assert_false(bad.ok);
    tn_assert_ok(
        tni_session_upload(t->session, TN_ARENA_PARAM, at, &old, 8, NULL));
    double *after = parameters(t);
    assert_memory_equal(before, after,
                        (size_t)t->slab_elements * sizeof *after);
    assert_false(step(t, 2).ok); /* nor does a step behind it */
    double *behind = parameters(t);
    assert_memory_equal(before, behind,
                        (size_t)t->slab_elements * sizeof *behind);
    free(behind);
    free(before);
    free(after);
    tni_training_destroy(t);
}

static void groups_use_their_own_learning_rates(void **state)
{
    run_rig *rig = *state;
    tni_training *t = start(
        rig, SET("optimizer=[{match: \"*norm*\", plugin: adamw, lr: 0, "
                 "weight_decay: 0}, {match: \"*\", plugin: adamw, lr: 0.01, "
                 "weight_decay: 0}]"));
    double *before = parameters(t);
    step(t, 0);
    double *after = parameters(t);
    uint32_t count;
    const tni_weight *w = tni_model_weights(t->recipe->model, &count);
    for (uint32_t i = 0; i < count; i++) {
        double most = 0;
        for (int64_t e = 0; e < w[i].elements; e++)
            most = fmax(most,
                        fabs(after[w[i].offset + e] - before[w[i].offset + e]));
        /* Adam's first step moves by lr wherever there is a gradient */
        tn_assert_near(most, strstr(w[i].name, "norm") ? 0 : 0.01, 1e-5);
    }
    free(before);
    free(after);
    tni_training_destroy(t);
}

/* A test's own optimizer: p -= lr * g, matrix by matrix, and counts in its
 * state how often it ran. */
static void descend(tn_builder *b, const tn_slot *slot, const void *options)
{
    (void)options;
    tn_assign(b, slot->param,
              tn_sub(b, slot->param, tn_mul(b, slot->lr, slot->grad)));
    tn_assign(b, slot->state[0], tn_shift(b, slot->state[0], 1.0));
}

static const tn_state_spec descend_state[] = {{"count"}};
static const tn_optimizer descend_optimizer = {.summary = "gradient descent",
                                               .state = descend_state,
                                               .state_count = 1,
                                               .per_matrix = 1,
                                               .step = descend};

static void matrices_reach_an_optimizer_one_shape_at_a_time(void **state)
{
    run_rig *rig = *state;
    tni_recipe *r = run_rig_recipe(
        rig, SET("optimizer=[{match: \"*norm*|*embed*\", plugin: adamw, lr: "
                 "0}, {match: \"*\", plugin: adamw, lr: 0.5}]",
                 "train.grad_clip=0"));
    r->groups[1].optimizer.vtable = &descend_optimizer;
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_training_create(r, &t, &err), err);
    tn_assert_ok_err(tni_training_commit(t, &err), err);
    tn_assert_ok_err(tni_weights_draw(t->session, &err), err);
    double *before = parameters(t);
    const tni_step_result result = step(t, 0);
    double *after = parameters(t);
    double *grad = malloc((size_t)t->slab_elements * sizeof *grad);
    tn_assert_ok(tni_session_download(t->session, grad, TN_ARENA_GRAD, 0,
                                      t->slab_elements * 8, NULL));
    uint32_t count;
    const tni_weight *w = tni_model_weights(r->model, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (r->group_of[i] != 1)
            continue;
        double ran;
        tn_assert_ok(tni_session_download(
            t->session, &ran, TN_ARENA_OPTIMIZER,
            tni_training_state_offset(t, &w[i], 0) + 8 * (w[i].elements - 1), 8,
            NULL));
        tn_assert_near(ran, 1, 0);
        for (int64_t e = w[i].offset; e < w[i].offset + w[i].elements; e++)
            tn_assert_near(after[e], before[e] - 0.5 * grad[e] / result.tokens,
                           1e-12);
    }
    free(before);
    free(after);
    free(grad);
    tni_training_destroy(t);
}

/* How a test's optimizer writes p - lr * g. */
typedef enum { WHOLE, RESHAPED, IN_HALVES, IN_ROWS } manner;

static void descend_so(tn_builder *b, const tn_slot *slot, const void *options)
{
    const tn_tensor_info info = tn_info(b, slot->param);
    const int64_t n = tn_elements(&info), half = n / 2, m = info.shape[0];
    const tn_tensor p = tn_reshape(b, slot->param, n);
    const tn_tensor next =
        tn_sub(b, slot->param, tn_mul(b, slot->lr, slot->grad));
    const tn_tensor flat = tn_reshape(b, next, n);
    switch (*(const manner *)options) {
    case WHOLE:
        tn_assign(b, slot->param, next);
        break;
    case RESHAPED:
        tn_assign(b, p, flat);
        break;
    case IN_HALVES:
        tn_assign(b, tn_slice(b, p, 0, 0, half), tn_slice(b, flat, 0, 0, half));
        tn_assign(b, tn_slice(b, p, 0, half, n - half),
                  tn_slice(b, flat, 0, half, n - half));
        break;
    case IN_ROWS:
        tn_set_rows(b, slot->param, tn_cast(b, tn_fill(b, 0.0, m, 1), TN_I32),
                    tn_slice(b, next, 1, 0, 1));
    }
}

static const tn_optimizer manners_optimizer = {
    .summary = "gradient descent", .per_matrix = 1, .step = descend_so};

static tni_recipe *recipe_of_manner(run_rig *rig, const manner *how)
{
    tni_recipe *r = run_rig_recipe(
        rig, SET("precision=bf16",
                 "optimizer=[{match: \"*norm*\", plugin: adamw, lr: 0.5}, "
                 "{match: \"*\", plugin: adamw, lr: 0.5}]"));
    r->groups[1].optimizer.vtable = &manners_optimizer;
    r->groups[1].optimizer.options = how;
    return r;
}

/* The bf16 copies after a step, for the caller to free. */
static unsigned char *copies_after_a_step(run_rig *rig, manner how,
                                          size_t *bytes)
{
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_training_create(recipe_of_manner(rig, &how), &t, &err),
                     err);
    tn_assert_ok_err(tni_training_commit(t, &err), err);
    tn_assert_ok_err(tni_weights_draw(t->session, &err), err);
    step(t, 0);
    *bytes = (size_t)t->session->arena_bytes[TN_ARENA_COPY];
    assert_true(*bytes > 0);
    unsigned char *copies = malloc(*bytes);
    assert_non_null(copies);
    tn_assert_ok(tni_session_download(t->session, copies, TN_ARENA_COPY, 0,
                                      (int64_t)*bytes, NULL));
    tni_training_destroy(t);
    return copies;
}

static void bf16_copies_follow_parameters_that_change_in_parts(void **state)
{
    size_t bytes, again;
    unsigned char *want = copies_after_a_step(*state, WHOLE, &bytes);
    for (manner how = RESHAPED; how <= IN_HALVES; how++) {
        unsigned char *got = copies_after_a_step(*state, how, &again);
        assert_int_equal(again, bytes);
        assert_memory_equal(got, want, bytes);
        free(got);
    }
    free(want);
}

static void an_optimizer_that_sets_rows_is_refused(void **state)
{
    const manner how = IN_ROWS;
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    assert_int_not_equal(
        tni_training_create(recipe_of_manner(*state, &how), &t, &err), TN_OK);
    tn_assert_error_says(err, "set_rows: an optimizer changes parameters by "
                              "tn_assign");
}

/* As a pass with a bug would leave it. */
static void a_graph_that_breaks_its_rules_is_not_planned(void **state)
{
    tni_session *s;
    uint32_t plan;
    const int64_t shape[2] = {4, 4};
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_session_open(run_rig_recipe(*state, NULL), &s, &err),
                     err);
    for (int broken = 0; broken < 2; broken++) {
        tni_graph *g = tni_graph_create(TN_F64);
        tn_builder *b = &g->builder;
        const tn_tensor x = tni_graph_leaf(g, TN_OP_PARAM, TN_ARENA_PARAM, 0,
                                           TN_F64, 2, shape, "x");
        const tn_tensor to = tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_METRIC, 0,
                                            TN_F64, 2, shape, "to");
        const tn_tensor y = tn_matmul(b, x, x);
        tn_assign(b, to, y);
        if (broken)
            g->values[y.id].info.shape[1] = 3;
        const tn_status status = tni_session_plan(s, g, "test", &plan, &err);
        assert_int_equal(status, broken ? TN_ESHAPE : TN_OK);
        tni_graph_destroy(g);
    }
    tn_assert_error_says(err, "matmul of test_training.c:");
    tn_assert_error_says(err, "(a bug of Tenon's or of a custom op's rules)");
    tni_session_close(s);
}

static void precision_is_refused_where_the_backend_lacks_it(void **state)
{
    run_rig *rig = *state;
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(
        tni_training_create(
            run_rig_recipe(rig, SET("backend=cpu", "precision=f64")), &t, &err),
        TN_EUNSUPPORTED);
    tn_assert_error_says(err, "precision: f64");
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(the_first_loss_is_that_of_guessing),
        WITH_RIG(four_micro_batches_equal_one_four_times_as_large),
        WITH_RIG(recompute_changes_no_bit),
        WITH_RIG(the_balance_loss_is_reported_per_token),
        WITH_RIG(routers_learn_from_both_losses),
        WITH_RIG(clipping_bounds_the_gradient_an_optimizer_sees),
        WITH_RIG(a_bad_loss_changes_nothing_from_then_on),
        WITH_RIG(groups_use_their_own_learning_rates),
        WITH_RIG(matrices_reach_an_optimizer_one_shape_at_a_time),
        WITH_RIG(bf16_copies_follow_parameters_that_change_in_parts),
        WITH_RIG(an_optimizer_that_sets_rows_is_refused),
        WITH_RIG(a_graph_that_breaks_its_rules_is_not_planned),
        WITH_RIG(precision_is_refused_where_the_backend_lacks_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
