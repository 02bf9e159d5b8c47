/*
 * test_muon.c - Muon against a step worked by hand and against torch.optim, on
 * every backend present; then what makes it Muon.
 */
#include "optimizer_rig.h"

#include "muon.h"

static const int64_t square[] = {1, 2, 2};

/* Shapes and options as make_optimizers.py has them. */
static const struct {
    int64_t shape[3];
    const char *options;
    optimizer_record record;
} recorded[] = {
    {{2, 5, 3},
     "{lr: 1, weight_decay: 0.1}",
     {4, muon_lr, muon_tall_start[0], *muon_tall_grad, *muon_tall_param,
      *muon_tall_state}},
    {{1, 2, 4},
     "{lr: 1, weight_decay: 0}",
     {4, muon_lr, muon_broad_start[0], *muon_broad_grad, *muon_broad_param,
      *muon_broad_state}},
    {{1, 3, 4},
     "{lr: 1, weight_decay: 0.3, momentum: 0.8, nesterov: false, ns_steps: 3, "
     "adjust_lr_fn: match_rms_adamw}",
     {4, muon_lr, muon_wide_start[0], *muon_wide_grad, *muon_wide_param,
      *muon_wide_state}},
};
enum { RECORDED = sizeof recorded / sizeof recorded[0] };

static void open(optimizer_rig *rig, const char *options)
{
    tn_assert_ok(optimizer_rig_load(rig, "muon", options));
    optimizer_rig_on(rig, "reference", TN_F64, 3, square);
}

/*
 * g = diag(3, -4): its norm is 5, its singular values become 0.6 and 0.8, and
 * one step of 2 s - 1.5 s^3 + 0.5 s^5 makes them
 *     1.2 - 0.324 + 0.03888 = 0.91488      1.6 - 0.768 + 0.16384 = 0.99584
 * m = 0.5 g from zero; what the step looks at is a multiple of g.
 * p = 1 (1 - 0.1 * 0.5) -+ 0.1 * those on the diagonal.
 */
static void one_step_as_worked_by_hand(void **state)
{
    (void)state;
    optimizer_rig rig;
    double p[] = {1, 1, 1, 1}, m[4] = {0};
    const double g[] = {3, 0, 0, -4};
    const double want_p[] = {0.858512, 0.95, 0.95, 1.049584};
    const double want_m[] = {1.5, 0, 0, -2};
    open(&rig, "{lr: 1, weight_decay: 0.5, momentum: 0.5, ns_steps: 1, "
               "ns_coefficients: [2, -1.5, 0.5]}");
    optimizer_rig_step(&rig, p, m, g, 0.1);
    tn_assert_close_double(p, want_p, 4, 1e-14, 0);
    tn_assert_close_double(m, want_m, 4, 1e-14, 0);
    optimizer_rig_close(&rig);
}

static void follow_pytorch(const char *backend, tn_dtype dtype,
                           double tolerance)
{
    for (int i = 0; i < RECORDED; i++) {
        optimizer_rig rig;
        tn_assert_ok(optimizer_rig_load(&rig, "muon", recorded[i].options));
        optimizer_rig_on(&rig, backend, dtype, 3, recorded[i].shape);
        optimizer_rig_follow(&rig, &recorded[i].record, tolerance);
        optimizer_rig_close(&rig);
    }
}

static void four_steps_are_pytorchs_on_every_backend(void **state)
{
    (void)state;
    const char *names[16];
    const uint32_t count = tn_rig_backends(names, 16);
    assert_true(count > 0);
    follow_pytorch("reference", TN_F64, 1e-13);
    for (uint32_t i = 0; i < count; i++) {
        follow_pytorch(names[i], TN_F32, 1e-6);
        free((void *)names[i]);
    }
}

static void the_gradients_size_does_not_matter(void **state)
{
    (void)state;
    optimizer_rig rig;
    double p[4] = {0}, q[4] = {0}, m[4] = {0}, n[4] = {0};
    const double g[] = {1, 2, -3, 0.5}, large[] = {1e6, 2e6, -3e6, 5e5};
    open(&rig, "{lr: 1}");
    optimizer_rig_step(&rig, p, m, g, 0.1);
    optimizer_rig_step(&rig, q, n, large, 0.1);
    tn_assert_close_double(p, q, 4, 1e-14, 0);
    assert_true(fabs(p[2]) > 0.01);
    optimizer_rig_close(&rig);
}

/* No direction, not NaN. */
static void without_gradient_weights_only_decay(void **state)
{
    (void)state;
    optimizer_rig rig;
    double p[] = {1, 2, 3, 4}, m[4] = {0};
    const double g[4] = {0}, want[] = {0.95, 1.9, 2.85, 3.8};
    open(&rig, "{lr: 1, weight_decay: 0.5}");
    optimizer_rig_step(&rig, p, m, g, 0.1);
    tn_assert_close_double(p, want, 4, 1e-14, 0);
    optimizer_rig_close(&rig);
}

static void defaults_are_pytorchs(void **state)
{
    (void)state;
    static const char *const abc[] = {"3.4445", "-4.775", "2.0315"};
    optimizer_rig rig;
    tn_assert_ok(optimizer_rig_load(&rig, "muon", "{lr: 1}"));
    assert_string_equal(optimizer_rig_default(&rig, "weight_decay"), "0.1");
    assert_string_equal(optimizer_rig_default(&rig, "momentum"), "0.95");
    assert_string_equal(optimizer_rig_default(&rig, "nesterov"), "true");
    assert_string_equal(optimizer_rig_default(&rig, "eps"), "1.0e-07");
    assert_string_equal(optimizer_rig_default(&rig, "ns_steps"), "5");
    assert_string_equal(optimizer_rig_default(&rig, "adjust_lr_fn"),
                        "original");
    const tni_yaml *list = tni_yaml_get(rig.node, "ns_coefficients");
    for (int i = 0; i < 3; i++)
        tn_assert_near(strtod(list->entries[i].value->scalar, NULL),
                       strtod(abc[i], NULL), 0);
    optimizer_rig_close(&rig);
}

static void a_hundred_iterations_are_refused(void **state)
{
    (void)state;
    optimizer_rig rig;
    assert_int_equal(optimizer_rig_load(&rig, "muon", "{lr: 1, ns_steps: 100}"),
                     TN_EINVALID);
    tn_assert_error_says(rig.err, "muon.ns_steps: 100 is outside [1, 99]");
    optimizer_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_step_as_worked_by_hand),
        cmocka_unit_test(four_steps_are_pytorchs_on_every_backend),
        cmocka_unit_test(the_gradients_size_does_not_matter),
        cmocka_unit_test(without_gradient_weights_only_decay),
        cmocka_unit_test(defaults_are_pytorchs),
        cmocka_unit_test(a_hundred_iterations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
