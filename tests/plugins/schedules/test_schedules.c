/*
 * test_schedules.c - where each schedule starts, turns and ends.
 */
#include <tenon/schedule.h>

#include "../plugin_rig.h"

/* Multipliers of steps 0 .. max_steps - 1, and beyond, against `want`. */
static void check(rig *r, const char *name, const char *yaml, int64_t max_steps,
                  const double *want, size_t count)
{
    const tn_schedule *s = rig_vtable(r, TN_KIND_SCHEDULE, name);
    const void *options = rig_options(r, s, yaml);
    double got[32];
    for (size_t step = 0; step < count; step++)
        got[step] = s->multiplier(options, (int64_t)step, max_steps);
    tn_assert_close_double(got, want, count, 1e-15, 0.0);
}
#define CHECK(name, yaml, max_steps, ...)                                      \
    check(r, name, yaml, max_steps, (const double[]){__VA_ARGS__},             \
          sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void constant_rises_and_stays(void **state)
{
    rig *r = *state;
    CHECK("constant", "{}", 3, 1, 1, 1, 1);
    CHECK("constant", "{warmup_steps: 4}", 6, 0.25, 0.5, 0.75, 1, 1, 1, 1);
}

/* W = 2, S = 7: one at step 2, final at step 6, quarters between. */
static void linear_falls_by_equal_steps_to_final(void **state)
{
    rig *r = *state;
    CHECK("linear", "{}", 5, 1, 0.75, 0.5, 0.25, 0, 0);
    CHECK("linear", "{warmup_steps: 2, final: 0.2}", 7, 0.5, 1, 1, 0.8, 0.6,
          0.4, 0.2, 0.2);
}

/* cos(pi/4) = 0.70710678118654757 */
static void cosine_falls_slowly_fast_slowly(void **state)
{
    rig *r = *state;
    CHECK("cosine", "{}", 5, 1, 0.5 + 0.35355339059327379, 0.5,
          0.5 - 0.35355339059327379, 0, 0);
    CHECK("cosine", "{warmup_steps: 1, final: 0.1}", 4, 1, 1, 0.55, 0.1, 0.1);
}

/* S = 10, D = 4: step 5 is the last at the peak, step 9 has final. */
static void wsd_keeps_the_peak_until_the_decay(void **state)
{
    rig *r = *state;
    CHECK("wsd", "{warmup_steps: 2, decay_fraction: 0.4, final: 0.2}", 10, 0.5,
          1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0.2);
    CHECK("wsd", "{decay_fraction: 0}", 4, 1, 1, 1, 1, 1);
    CHECK("wsd", "{decay_fraction: 1}", 4, 0.75, 0.5, 0.25, 0);
    CHECK("wsd", "{}", 5, 1, 1, 1, 1, 0); /* a fifth, to nothing */
}

static void the_lower_of_warmup_and_decay_holds_in_wsd(void **state)
{
    rig *r = *state;
    CHECK("wsd", "{warmup_steps: 4, decay_fraction: 1}", 4, 0.25, 0.5, 0.25, 0);
}

static void a_warmup_longer_than_the_run_only_rises(void **state)
{
    rig *r = *state;
    static const char *const names[] = {"constant", "linear", "cosine"};
    for (int i = 0; i < 3; i++)
        CHECK(names[i], "{warmup_steps: 10}", 3, 0.1, 0.2, 0.3, 0.4);
}

static void a_run_of_one_step_has_a_multiplier(void **state)
{
    rig *r = *state;
    static const char *const names[] = {"linear", "cosine", "wsd"};
    for (int i = 0; i < 3; i++)
        CHECK(names[i], "{warmup_steps: 1, final: 0.5}", 1, 1);
    CHECK("linear", "{final: 0.5}", 1, 0.5);
    CHECK("cosine", "{final: 0.5}", 1, 0.5);
}

static void every_value_of_long_schedules_is_between_zero_and_one(void **state)
{
    rig *r = *state;
    static const char *const names[] = {"constant", "linear", "cosine", "wsd"};
    for (int i = 0; i < 4; i++) {
        const tn_schedule *s = rig_vtable(r, TN_KIND_SCHEDULE, names[i]);
        const void *o = rig_options(r, s, "{warmup_steps: 1000}");
        double before = 0.0;
        for (int64_t step = 0; step < 100000; step++) {
            const double m = s->multiplier(o, step, 100000);
            assert_true(m >= 0.0 && m <= 1.0);
            /* no jumps: the warm-up is the steepest part */
            assert_true(fabs(m - before) < 1.01e-3);
            before = m;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(constant_rises_and_stays),
        RIG_TEST(linear_falls_by_equal_steps_to_final),
        RIG_TEST(cosine_falls_slowly_fast_slowly),
        RIG_TEST(wsd_keeps_the_peak_until_the_decay),
        RIG_TEST(the_lower_of_warmup_and_decay_holds_in_wsd),
        RIG_TEST(a_warmup_longer_than_the_run_only_rises),
        RIG_TEST(a_run_of_one_step_has_a_multiplier),
        RIG_TEST(every_value_of_long_schedules_is_between_zero_and_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
