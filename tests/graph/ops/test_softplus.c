/*
 * test_softplus.c - its values and slopes where formulas go wrong: at 0, far
 * from it, at infinity.
 */
#include "ops_rig.h"

static void describe(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    (void)with;
    out[0] = tn_softplus(b, in[0]);
}

enum { COUNT = 7 };
static const double x[COUNT] = {0, -0.0, 1e-3, 1, -1, 1000, -1000};

static void its_slope_is_the_sigmoid_at_0_too(void **state)
{
    (void)state;
    double seed[COUNT], got[2 * COUNT], value[COUNT], slope[COUNT];
    tn_rig_case c = {.out_count = 1, .wrt = 1, .describe = describe};
    give(&c, x, SHAPE(COUNT));
    tn_rig_draw_seed(&c, 0, COUNT, seed);
    for (int i = 0; i < COUNT; i++) {
        value[i] = x[i] > 100 ? x[i] : log1p(exp(x[i]));
        slope[i] = seed[i] / (1 + exp(-x[i]));
    }
    run_on(by_formula, TN_F64, &c, got);
    tn_assert_close_double(got, value, COUNT, 1e-15, 1e-15);
    tn_assert_close_double(got + COUNT, slope, COUNT, 1e-15, 1e-15);
}

static void infinities_stay_what_they_are(void **state)
{
    (void)state;
    static const double far[] = {(double)INFINITY, -(double)INFINITY,
                                 (double)NAN};
    double got[3];
    tn_rig_case c = {.out_count = 1, .describe = describe};
    give(&c, far, SHAPE(3));
    run_on(by_formula, TN_F64, &c, got);
    assert_true(isinf(got[0]) && got[0] > 0);
    tn_assert_near(got[1], 0, 0);
    assert_true(isnan(got[2]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_slope_is_the_sigmoid_at_0_too),
        cmocka_unit_test(infinities_stay_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
