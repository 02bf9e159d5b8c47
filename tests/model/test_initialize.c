/*
 * test_initialize.c - normals by the inverse of their distribution.
 */
#include "tn_test.h"

#include "model/initialize.h"

static double normal_probability(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

/* Seven digits, in the middle, at the seams and far out. */
static void the_quantile_inverts_the_distribution(void **state)
{
    static const double p[] = {0x1p-33, 1e-9,    1e-6,  0.001,   0.07499,
                               0.07501, 0.2,     0.499, 0.5,     0.7,
                               0.92499, 0.92501, 0.99,  0.999999};
    (void)state;
    for (size_t i = 0; i < sizeof p / sizeof p[0]; i++) {
        const double got = normal_probability(tni_normal_quantile(p[i]));
        tn_assert_near(got / p[i], 1.0, 1e-5);
        tn_assert_near((1.0 - got) / (1.0 - p[i]), 1.0, 1e-5);
    }
}

static void the_quantile_is_odd_and_rises(void **state)
{
    double before = -(double)INFINITY;
    (void)state;
    for (double p = 1e-4; p < 1.0; p += 1e-4) {
        const double x = tni_normal_quantile(p);
        assert_true(x > before);
        tn_assert_near(tni_normal_quantile(1.0 - p), -x, 1e-9);
        before = x;
    }
}

/* Mean, variance, skew and kurtosis of 2^16 draws, within 4 standard errors,
 * and no correlation between neighbours: they share a call of philox. */
static void draws_look_normal(void **state)
{
    enum { N = 1 << 16 };
    static float x[N];
    const tni_weight w = {.name = "model.layers.0.self_attn.q_proj.weight",
                          .elements = N,
                          .init = tn_init_normal(1.0)};
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, next = 0;
    (void)state;
    tni_weight_initialize(&w, 1, x);
    for (size_t i = 0; i < N; i++) {
        const double v = (double)x[i];
        m1 += v / N;
        m2 += v * v / N;
        m3 += v * v * v / N;
        m4 += v * v * v * v / N;
        next += v * (double)x[(i + 1) % N] / N;
    }
    tn_assert_near(m1, 0.0, 4 * sqrt(1.0 / N));
    tn_assert_near(m2, 1.0, 4 * sqrt(2.0 / N));
    tn_assert_near(m3, 0.0, 4 * sqrt(15.0 / N));
    tn_assert_near(m4, 3.0, 4 * sqrt(96.0 / N));
    tn_assert_near(next, 0.0, 4 * sqrt(1.0 / N));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_quantile_inverts_the_distribution),
        cmocka_unit_test(the_quantile_is_odd_and_rises),
        cmocka_unit_test(draws_look_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
