/*
 * test_lion.c - Lion against a step worked by hand and its paper's algorithm,
 * on every backend present; then what makes it Lion.
 */
#include "optimizer_rig.h"

#include "lion.h"

enum { ELEMENTS = 4 };
static const int64_t shape[] = {ELEMENTS};

static void open(optimizer_rig *rig, const char *options)
{
    tn_assert_ok(optimizer_rig_load(rig, "lion", options));
    optimizer_rig_on(rig, "reference", TN_F64, 1, shape);
}

/* Element 0: momentum outvotes the gradient; sign(g) would step the wrong way.
 * Element 1: the gradient wins under beta1 but would lose under beta2.
 *     c = 0.9 m + 0.1 g              = {-0.70,  0.10}
 *     p = 1 - 0.1 (sign(c) + 0.5 p)  = { 1.05,  0.85}
 *     m = 0.99 m + 0.01 g            = {-0.97, -0.89} */
static void one_step_as_worked_by_hand(void **state)
{
    (void)state;
    optimizer_rig rig;
    double p[] = {1, 1, 1, 1}, m[] = {-1, -1, -1, -1};
    const double g[] = {2, 10, 2, 10};
    const double want_p[] = {1.05, 0.85, 1.05, 0.85};
    const double want_m[] = {-0.97, -0.89, -0.97, -0.89};
    open(&rig, "{lr: 1, weight_decay: 0.5}");
    optimizer_rig_step(&rig, p, m, g, 0.1);
    tn_assert_close_double(p, want_p, ELEMENTS, 1e-14, 0);
    tn_assert_close_double(m, want_m, ELEMENTS, 1e-14, 0);
    optimizer_rig_close(&rig);
}

static void follow_the_paper(const char *backend, tn_dtype dtype,
                             double tolerance)
{
    const optimizer_record record = {4,          lion_lr,     lion_start[0],
                                     *lion_grad, *lion_param, *lion_state};
    optimizer_rig rig;
    tn_assert_ok(
        optimizer_rig_load(&rig, "lion", "{lr: 1, weight_decay: 0.5}"));
    optimizer_rig_on(&rig, backend, dtype, 1, shape);
    optimizer_rig_follow(&rig, &record, tolerance);
    optimizer_rig_close(&rig);
}

static void four_steps_are_the_papers_on_every_backend(void **state)
{
    (void)state;
    const char *names[16];
    const uint32_t count = tn_rig_backends(names, 16);
    assert_true(count > 0);
    follow_the_paper("reference", TN_F64, 1e-15);
    for (uint32_t i = 0; i < count; i++) {
        follow_the_paper(names[i], TN_F32, 3e-7);
        free((void *)names[i]);
    }
}

static void it_moves_every_element_by_lr(void **state)
{
    (void)state;
    optimizer_rig rig;
    double p[ELEMENTS] = {0}, m[ELEMENTS] = {0};
    const double g[] = {1e-6, -3, 1e6, -1e-9};
    const double want[] = {-0.01, 0.01, -0.01, 0.01};
    open(&rig, "{lr: 1}");
    optimizer_rig_step(&rig, p, m, g, 0.01);
    tn_assert_close_double(p, want, ELEMENTS, 1e-16, 0);
    optimizer_rig_close(&rig);
}

static void it_rests_without_gradient_or_momentum(void **state)
{
    (void)state;
    optimizer_rig rig;
    double p[] = {-4, 4, 0, 1}, m[ELEMENTS] = {0};
    const double g[ELEMENTS] = {0}, want[] = {-4, 4, 0, 1};
    open(&rig, "{lr: 1}");
    optimizer_rig_step(&rig, p, m, g, 0.1);
    tn_assert_close_double(p, want, ELEMENTS, 0, 0);
    optimizer_rig_close(&rig);
}

static void betas_above_one_are_refused(void **state)
{
    (void)state;
    optimizer_rig rig;
    assert_int_equal(
        optimizer_rig_load(&rig, "lion", "{lr: 1, betas: [1.5, 0.9]}"),
        TN_EINVALID);
    tn_assert_error_says(rig.err, "lion.betas: 1.5 is outside [0, 1]");
    optimizer_rig_close(&rig);
}

static void defaults_are_the_papers(void **state)
{
    (void)state;
    optimizer_rig rig;
    tn_assert_ok(optimizer_rig_load(&rig, "lion", "{lr: 1}"));
    const tni_yaml *betas = tni_yaml_get(rig.node, "betas");
    assert_string_equal(betas->entries[0].value->scalar, "0.9");
    assert_string_equal(betas->entries[1].value->scalar, "0.99");
    assert_string_equal(optimizer_rig_default(&rig, "weight_decay"), "0.0");
    optimizer_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_step_as_worked_by_hand),
        cmocka_unit_test(four_steps_are_the_papers_on_every_backend),
        cmocka_unit_test(it_moves_every_element_by_lr),
        cmocka_unit_test(it_rests_without_gradient_or_momentum),
        cmocka_unit_test(betas_above_one_are_refused),
        cmocka_unit_test(defaults_are_the_papers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
