/*
 * test_newton_schulz.c - one iteration by hand, what five do to singular
 * values, what is refused.
 */
#include "ops_rig.h"

#include "graph/passes.h"

static void describe(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    out[0] = tn_newton_schulz_at(b, in[0], with, TN_HERE);
}

static const tn_newton_schulz_attr muons = {5, 3.4445, -4.7750, 2.0315, 1e-7};

/* (3, -4) has norm 5 and one singular value, which becomes 1, then
 * 2 - 1.5 + 0.25 = 0.75: the row is 0.75 (0.6, -0.8). As a column it is turned
 * on its side first. A second matrix of 0 stays 0. */
static void one_iteration_as_worked_by_hand(void **state)
{
    (void)state;
    static const double rows[] = {3, -4, 0, 0};
    const tn_newton_schulz_attr attr = {1, 2, -1.5, 0.25, 1e-7};
    const double want[] = {0.45, -0.6, 0, 0};
    tn_rig_case wide = {.out_count = 1, .describe = describe, .with = &attr};
    tn_rig_case tall = wide;
    give(&wide, rows, SHAPE(2, 1, 2));
    give(&tall, rows, SHAPE(2, 2, 1));
    gives(&wide, want, 4, 1e-15);
    gives(&tall, want, 4, 1e-15);
}

/* (1e-3, 0) over an eps of 1 keeps its 1e-3. */
static void eps_is_the_least_norm(void **state)
{
    (void)state;
    static const double row[] = {1e-3, 0};
    const tn_newton_schulz_attr attr = {1, 2, 0, 0, 1};
    const double want[] = {2e-3, 0};
    tn_rig_case c = {.out_count = 1, .describe = describe, .with = &attr};
    give(&c, row, SHAPE(1, 1, 2));
    gives(&c, want, 2, 1e-18);
}

/* Muon's coefficients bring singular values into (0.68, 1.14). A rotation of a
 * diagonal has them on its face: R diag(1, 0.3) R'. */
static void singular_values_come_near_one(void **state)
{
    (void)state;
    const double c = 0.8, s = 0.6;
    const double matrix[] = {c * c + 0.3 * s * s, c * s * (1 - 0.3),
                             c * s * (1 - 0.3), s * s + 0.3 * c * c};
    double y[4];
    tn_rig_case ask = {.out_count = 1, .describe = describe, .with = &muons};
    give(&ask, matrix, SHAPE(1, 2, 2));
    run_on(by_formula, TN_F64, &ask, y);
    const double first = c * (c * y[0] + s * y[2]) + s * (c * y[1] + s * y[3]);
    const double second = s * (s * y[0] - c * y[2]) - c * (s * y[1] - c * y[3]);
    const double between =
        c * (c * y[1] + s * y[3]) - s * (c * y[0] + s * y[2]);
    assert_true(first > 0.68 && first < 1.14);
    assert_true(second > 0.68 && second < 1.14);
    tn_assert_near(between, 0, 1e-14);
}

/* 5 iterations, 2 matrices: X X' and U X of 2 * 3 * 3 * 7, G G of 2 * 27 */
static void costs_are_those_of_the_smaller_square(void **state)
{
    (void)state;
    tni_graph *g = tni_graph_create(TN_F32);
    const tn_tensor y = tn_newton_schulz_at(
        &g->builder, leaf_of(g, SHAPE(2, 7, 3)), &muons, TN_HERE);
    tn_assert_near(cost_of(g, y), 5.0 * 2 * (2 * 2.0 * 3 * 3 * 7 + 2.0 * 27),
                   0.0);
    tni_graph_destroy(g);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    tni_graph *g = tni_graph_create(TN_F32);
    tn_newton_schulz(&g->builder, leaf_of(g, SHAPE(7, 3)), .steps = 5);
    refuses(g, "x has 2 axes (7, 3), needs 3");
    g = tni_graph_create(TN_F32);
    tn_newton_schulz(&g->builder, leaf_of(g, SHAPE(1, 7, 3)), .a = 2);
    refuses(g, "steps is 0, needs 1 to 99");
    g = tni_graph_create(TN_F32);
    tn_newton_schulz(&g->builder, leaf_of(g, SHAPE(1, 7, 3)), .steps = 5,
                     .eps = -1);
    refuses(g, "eps -1 not below 0");
}

static void a_gradient_is_refused(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_NONE;
    tni_graph *g = tni_graph_create(TN_F32);
    const tn_tensor x = leaf_of(g, SHAPE(1, 7, 3));
    const tn_tensor y = tn_newton_schulz_at(&g->builder, x, &muons, TN_HERE);
    const tn_tensor dy = leaf_of(g, SHAPE(1, 7, 3));
    tn_tensor d = TN_NONE;
    assert_int_not_equal(tni_differentiate(g, &y, &dy, 1, &x, 1, &d, &err),
                         TN_OK);
    tn_assert_error_says(err, "newton_schulz has no gradient");
    tni_graph_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_iteration_as_worked_by_hand),
        cmocka_unit_test(eps_is_the_least_norm),
        cmocka_unit_test(singular_values_come_near_one),
        cmocka_unit_test(costs_are_those_of_the_smaller_square),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(a_gradient_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
