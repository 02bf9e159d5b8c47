/*
 * test_sampler.c - the draw has the distribution it says it has.
 */
#include "tn_test.h"

#include "run/sampler.h"

enum { DRAWS = 20000 };

/* Counts of each of four tokens. */
static void draw(const tni_sampling *options, const float logits[4],
                 int counts[4])
{
    tni_sampler s;
    memset(counts, 0, 4 * sizeof *counts);
    tn_assert_ok(tni_sampler_init(&s, options, 4, NULL));
    for (int i = 0; i < DRAWS; i++) {
        int32_t token = -1;
        tn_assert_ok(tni_sampler_next(&s, logits, &token, NULL));
        assert_true(token >= 0 && token < 4);
        counts[token]++;
    }
}

/* Four standard deviations of a binomial count. */
static void near_share(int count, double p)
{
    tn_assert_near(count, DRAWS * p, 4 * sqrt(DRAWS * p * (1 - p)) + 1e-9);
}

/* log of 1/2, 1/4, 1/8, 1/8 in another order, plus a constant */
static const float logits[4] = {3.6137f, 4.3069f, 5.0f, 3.6137f};

static void temperature_one_draws_as_the_model_says(void **state)
{
    int n[4];
    (void)state;
    draw(&(tni_sampling){.temperature = 1, .top_p = 1, .seed = 7}, logits, n);
    near_share(n[2], 0.5);
    near_share(n[1], 0.25);
    near_share(n[0], 0.125);
    near_share(n[3], 0.125);
}

static void temperature_squares_the_odds(void **state)
{
    int n[4];
    (void)state;
    /* shares squared: 16 : 4 : 1 : 1 */
    draw(&(tni_sampling){.temperature = 0.5, .top_p = 1}, logits, n);
    near_share(n[2], 16.0 / 22);
    near_share(n[1], 4.0 / 22);
}

static void top_k_keeps_the_likeliest(void **state)
{
    int n[4];
    (void)state;
    draw(&(tni_sampling){.temperature = 1, .top_p = 1, .top_k = 2}, logits, n);
    near_share(n[2], 2.0 / 3);
    assert_int_equal(n[0] + n[3], 0);
}

static void top_p_keeps_the_smallest_set_that_reaches_it(void **state)
{
    int n[4];
    (void)state;
    draw(&(tni_sampling){.temperature = 1, .top_p = 0.6}, logits, n);
    near_share(n[2], 2.0 / 3);
    assert_int_equal(n[0] + n[3], 0);
    draw(&(tni_sampling){.temperature = 1, .top_p = 0.4}, logits, n);
    assert_int_equal(n[2], DRAWS);
}

static void temperature_zero_takes_the_first_of_the_largest(void **state)
{
    static const float tied[4] = {-1, 2, 2, NAN};
    int n[4];
    (void)state;
    draw(&(tni_sampling){.temperature = 0, .top_p = 1}, tied, n);
    assert_int_equal(n[1], DRAWS);
}

/* ---- tenon/sample.h ---- */

static void a_weight_is_the_exponential_as_a_whole_number(void **state)
{
    (void)state;
    for (int i = 0; i <= 2600; i++) {
        const float logit = 3.0f - 0.01f * (float)i;
        const double want =
            exp2((double)(logit - 3.0f) * (double)1.44269504f) * 0x1p40;
        const double got = (double)tn_sample_weight(logit, 3.0f, 1.44269504f);
        assert_true(fabs(got - want) <= 3e-6 * want + 1.0);
    }
    assert_true(tn_sample_weight(3.0f, 3.0f, INFINITY) == 1ull << 40);
    assert_true(tn_sample_weight(2.0f, 3.0f, INFINITY) == 0);
    assert_true(tn_sample_weight(-1e30f, 3.0f, 1.0f) == 0);
    assert_true(tn_sample_part(1000, 0.5f) == 500);
    assert_true(tn_sample_part((1ull << 62) + 12345, 1.0f) ==
                (1ull << 62) + 12345);
}

/* Four tokens by weight 8, 4, 2, 2: where the share u of what is kept falls. */
static void a_draw_is_by_id_among_those_kept(void **state)
{
    static const float l2 = 0.69314718f;
    const float row[6] = {NAN,       1.0f + l2,
                          INFINITY,  1.0f + 3.0f * l2,
                          1.0f + l2, 1.0f + 2.0f * l2};
    const struct {
        int32_t top_k, ids;
        float top_p, u;
        int32_t token;
    } cases[] = {
        {0, 6, 1, 0.12f, 1},     {0, 6, 1, 0.13f, 3},    {0, 6, 1, 0.62f, 3},
        {0, 6, 1, 0.63f, 4},     {0, 6, 1, 0.76f, 5},    {2, 6, 1, 0.66f, 3},
        {2, 6, 1, 0.67f, 5},     {3, 6, 1, 0.14f, 1}, /* ties: the lower id */
        {0, 6, 0.49f, 0.99f, 3}, {0, 6, 0.6f, 0.99f, 5}, {3, 6, 0.8f, 0.0f, 3},
        {0, 5, 1, 0.99f, 4},     {9, 3, 1, 0.5f, 1},     {0, 1, 1, 0.5f, -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const tn_sample_how how = {.temperature = 1.0f,
                                   .top_p = cases[i].top_p,
                                   .u = cases[i].u,
                                   .top_k = cases[i].top_k,
                                   .ids = cases[i].ids};
        assert_int_equal(tn_sample(row, &how), cases[i].token);
    }
}

static void a_seed_draws_the_same_again(void **state)
{
    tni_sampler a, b;
    const tni_sampling options = {.temperature = 1, .top_p = 1, .seed = 3};
    (void)state;
    tn_assert_ok(tni_sampler_init(&a, &options, 4, NULL));
    tn_assert_ok(tni_sampler_init(&b, &options, 4, NULL));
    for (int i = 0; i < 100; i++) {
        int32_t x, y;
        tn_assert_ok(tni_sampler_next(&a, logits, &x, NULL));
        tn_assert_ok(tni_sampler_next(&b, logits, &y, NULL));
        assert_int_equal(x, y);
    }
}

static void refuses(const tni_sampling *options, const char *sentence)
{
    tni_sampler s;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(tni_sampler_init(&s, options, 4, &err), TN_EINVALID);
    tn_assert_error_says(err, sentence);
}

static void refuses_options_out_of_range(void **state)
{
    static const float nothing[4] = {NAN, NAN, INFINITY, NAN};
    tni_sampler s;
    int32_t token;
    (void)state;
    refuses(&(tni_sampling){.temperature = -1, .top_p = 1}, "temperature -1");
    refuses(&(tni_sampling){.temperature = (double)NAN, .top_p = 1},
            "temperature");
    refuses(&(tni_sampling){.top_p = 0}, "top-p 0");
    refuses(&(tni_sampling){.top_p = 1, .top_k = -2}, "top-k -2");
    tn_assert_ok(tni_sampler_init(&s, &(tni_sampling){.top_p = 1}, 4, NULL));
    assert_int_equal(tni_sampler_next(&s, nothing, &token, NULL),
                     TN_ENONFINITE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temperature_one_draws_as_the_model_says),
        cmocka_unit_test(temperature_squares_the_odds),
        cmocka_unit_test(top_k_keeps_the_likeliest),
        cmocka_unit_test(top_p_keeps_the_smallest_set_that_reaches_it),
        cmocka_unit_test(temperature_zero_takes_the_first_of_the_largest),
        cmocka_unit_test(a_weight_is_the_exponential_as_a_whole_number),
        cmocka_unit_test(a_draw_is_by_id_among_those_kept),
        cmocka_unit_test(a_seed_draws_the_same_again),
        cmocka_unit_test(refuses_options_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
