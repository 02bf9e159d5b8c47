/*
 * test_adamw.c - AdamW against a step worked by hand and against PyTorch, on
 * every backend present.
 */
#include "tn_rig.h"

#include <tenon/optimizer.h>

#include "adamw.h"
#include "config/config.h"
#include "plugin/host.h"
#include "plugin/registry.h"

enum { PARAM, GRAD, EXP_AVG, EXP_AVG_SQ, LR, STEP, INPUTS };
enum { ELEMENTS = 4 };

/* The plugin, with options read as from a config. */
typedef struct loaded {
    tni_arena *arena;
    tn_host *host;
    tni_registry *registry;
    const tn_optimizer *adamw;
    tni_yaml *node; /* the options, completed */
    void *options;
    tn_error err;
} loaded;

static tn_status load(loaded *l, const char *options)
{
    const tn_component *component = NULL;
    *l = (loaded){.arena = tni_arena_create(), .host = tni_host_create()};
    l->registry = tni_registry_create(l->host);
    tn_assert_ok_err(tni_registry_find(l->registry, TN_KIND_OPTIMIZER, "adamw",
                                       &component, &l->err),
                     l->err);
    l->adamw = tni_component_vtable(l->registry, component);
    l->options = tni_arena_alloc(l->arena, l->adamw->options.size);
    tn_assert_ok_err(tni_config_parse(l->arena, "test.yaml", options,
                                      strlen(options), &l->node, &l->err),
                     l->err);
    return tni_options_fill(l->arena, &l->adamw->options, l->node, "optimizer",
                            NULL, NULL, l->options, &l->err);
}

static void unload(loaded *l)
{
    tni_registry_destroy(l->registry);
    tni_host_destroy(l->host);
    tni_arena_destroy(l->arena);
}

/* One step; the outputs are param and states after it. */
static void describe(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    const loaded *l = with;
    const tn_slot slot = {.struct_size = sizeof slot,
                          .param = in[PARAM],
                          .grad = in[GRAD],
                          .lr = in[LR],
                          .step = in[STEP],
                          .state = {in[EXP_AVG], in[EXP_AVG_SQ]}};
    l->adamw->step(b, &slot, l->options);
    out[0] = tn_copy(b, in[PARAM]);
    out[1] = tn_copy(b, in[EXP_AVG]);
    out[2] = tn_copy(b, in[EXP_AVG_SQ]);
}

typedef struct numbers {
    double param[ELEMENTS], exp_avg[ELEMENTS], exp_avg_sq[ELEMENTS];
} numbers;

static tn_rig_program *build(tn_rig *rig, const loaded *l, tn_dtype dtype)
{
    static const double zero[ELEMENTS];
    const tn_rig_how how = {.dtype = dtype};
    tn_error err = TN_ERROR_NONE;
    tn_rig_case c = {
        .in_count = INPUTS, .out_count = 3, .describe = describe, .with = l};
    for (int i = 0; i < INPUTS; i++) {
        const int scalar = i == LR || i == STEP;
        c.in[i] = (tn_rig_leaf){.op = scalar ? TN_OP_SCALAR : TN_OP_SLOT,
                                .rank = 1,
                                .shape = {scalar ? 1 : ELEMENTS},
                                .values = zero};
    }
    c.in[PARAM].op = TN_OP_PARAM;
    tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
    if (!p)
        print_error("%s\n", err.message);
    assert_non_null(p);
    return p;
}

static void step(tn_rig_program *p, numbers *n, const double *grad, double lr,
                 double number)
{
    tn_error err = TN_ERROR_NONE;
    tn_rig_set(p, PARAM, n->param);
    tn_rig_set(p, GRAD, grad);
    tn_rig_set(p, EXP_AVG, n->exp_avg);
    tn_rig_set(p, EXP_AVG_SQ, n->exp_avg_sq);
    tn_rig_set(p, LR, &lr);
    tn_rig_set(p, STEP, &number);
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    memcpy(n->param, tn_rig_output(p, 0).values, sizeof n->param);
    memcpy(n->exp_avg, tn_rig_output(p, 1).values, sizeof n->exp_avg);
    memcpy(n->exp_avg_sq, tn_rig_output(p, 2).values, sizeof n->exp_avg_sq);
}

/*
 * p = 2, g = 0.5, lr = 0.1, wd = 0.5, betas 0.9 and 0.99, first step:
 *     m = 0.1 * 0.5 = 0.05       m / (1 - 0.9)  = 0.5
 *     v = 0.01 * 0.25 = 0.0025   v / (1 - 0.99) = 0.25, root 0.5
 *     p = 2 (1 - 0.05) - 0.1 * 0.5 / 0.5 = 1.8
 */
static void one_step_as_worked_by_hand(void **state)
{
    (void)state;
    loaded l;
    tn_assert_ok(load(&l, "{lr: 0.1, betas: [0.9, 0.99], eps: 0, "
                          "weight_decay: 0.5}"));
    tn_rig *rig = tn_rig_open("reference", "{}");
    tn_rig_program *p = build(rig, &l, TN_F64);
    numbers n = {.param = {2, 2, -2, 2}};
    const double grad[] = {0.5, -0.5, 0.5, 0.25};
    const double param[] = {1.8, 2.0, -2.0, 1.8};
    const double exp_avg[] = {0.05, -0.05, 0.05, 0.025};
    const double exp_avg_sq[] = {0.0025, 0.0025, 0.0025, 0.000625};
    step(p, &n, grad, 0.1, 1);
    tn_assert_close_double(n.param, param, ELEMENTS, 1e-14, 0);
    tn_assert_close_double(n.exp_avg, exp_avg, ELEMENTS, 1e-14, 0);
    tn_assert_close_double(n.exp_avg_sq, exp_avg_sq, ELEMENTS, 1e-14, 0);
    tn_rig_free(p);
    tn_rig_close(rig);
    unload(&l);
}

static void follow_pytorch(const char *backend, tn_dtype dtype,
                           double tolerance)
{
    loaded l;
    numbers n = {.param = {0}};
    tn_assert_ok(load(&l, "{lr: 1, betas: [0.9, 0.95], weight_decay: 0.1}"));
    tn_rig *rig = tn_rig_open(backend, "{}");
    tn_rig_program *p = build(rig, &l, dtype);
    memcpy(n.param, adamw_start, sizeof n.param);
    for (int s = 0; s < 5; s++) {
        step(p, &n, adamw_grad[s], adamw_lr[s][0], s + 1);
        /* relative for states, which are as small as 1e-14 */
        tn_assert_close_double(n.param, adamw_param[s], ELEMENTS, tolerance,
                               tolerance);
        tn_assert_close_double(n.exp_avg, adamw_exp_avg[s], ELEMENTS,
                               tolerance * 1e-6, 10 * tolerance);
        tn_assert_close_double(n.exp_avg_sq, adamw_exp_avg_sq[s], ELEMENTS, 0,
                               10 * tolerance);
    }
    tn_rig_free(p);
    tn_rig_close(rig);
    unload(&l);
}

static void five_steps_are_pytorchs(void **state)
{
    (void)state;
    follow_pytorch("reference", TN_F64, 1e-14);
}

static void five_steps_are_pytorchs_on_every_backend(void **state)
{
    (void)state;
    const char *names[16];
    const uint32_t count = tn_rig_backends(names, 16);
    assert_true(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        follow_pytorch(names[i], TN_F32, 4e-7);
        free((void *)names[i]);
    }
}

/* Without memory the update is lr times the sign, whatever the step. */
static void betas_of_zero_step_by_the_sign(void **state)
{
    (void)state;
    loaded l;
    tn_assert_ok(load(&l, "{lr: 1, betas: [0, 0], eps: 0, weight_decay: 0}"));
    tn_rig *rig = tn_rig_open("reference", "{}");
    tn_rig_program *p = build(rig, &l, TN_F64);
    numbers n = {.param = {1, 1, 1, 1}};
    const double grad[] = {3, -2, 1e-9, 7};
    const double want[] = {0.75, 1.25, 0.75, 0.75};
    step(p, &n, grad, 0.25, 1000);
    tn_assert_close_double(n.param, want, ELEMENTS, 1e-14, 0);
    tn_rig_free(p);
    tn_rig_close(rig);
    unload(&l);
}

static void betas_of_one_are_refused(void **state)
{
    (void)state;
    loaded l;
    assert_int_equal(load(&l, "{lr: 1, betas: [0.9, 1]}"), TN_EINVALID);
    tn_assert_error_says(l.err, "betas: 1 is outside [0, 0.99999]");
    unload(&l);
}

static void defaults_are_pytorchs(void **state)
{
    (void)state;
    loaded l;
    tn_assert_ok(load(&l, "{lr: 1}"));
    const tni_yaml *betas = tni_yaml_get(l.node, "betas");
    assert_string_equal(betas->entries[0].value->scalar, "0.9");
    assert_string_equal(betas->entries[1].value->scalar, "0.999");
    assert_string_equal(tni_yaml_get(l.node, "eps")->scalar, "1.0e-08");
    assert_string_equal(tni_yaml_get(l.node, "weight_decay")->scalar, "0.01");
    unload(&l);
}

static void a_learning_rate_is_required(void **state)
{
    (void)state;
    loaded l;
    assert_int_equal(load(&l, "{betas: [0.9, 0.95]}"), TN_EINVALID);
    tn_assert_error_says(l.err, "lr");
    unload(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_step_as_worked_by_hand),
        cmocka_unit_test(five_steps_are_pytorchs),
        cmocka_unit_test(five_steps_are_pytorchs_on_every_backend),
        cmocka_unit_test(betas_of_zero_step_by_the_sign),
        cmocka_unit_test(defaults_are_pytorchs),
        cmocka_unit_test(betas_of_one_are_refused),
        cmocka_unit_test(a_learning_rate_is_required),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
