/*
 * test_rough.c - quotients and roots on a GPU that rounds them no better than
 * Vulkan asks, by faulty_loader.c's word. On lavapipe, whose fma does not fuse,
 * what a quotient lacks is found by emulation.
 */
#include "vulkan_device.h"

#include <math.h>

#include <tenon/philox.h>

enum { NUMBERS = 4096 };

static void describe(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    (void)with;
    out[0] = tn_div(b, in[0], in[1]);
    out[1] = tn_sqrt(b, in[1]);
}

/* Positive floats of every mantissa, from 2^low to 2^high. */
static void draw(uint32_t stream, double low, double high, double *to)
{
    for (uint64_t i = 0; i < NUMBERS; i++) {
        const double u = (double)tn_philox_uniform(7, stream, 0, i);
        to[i] = (double)(float)exp2(low + u * (high - low));
    }
}

/* The number of ulp between the floats. */
static int64_t ulp_between(double a, double b)
{
    const float pair[] = {(float)a, (float)b};
    int32_t bits[2];
    memcpy(bits, pair, sizeof bits);
    return labs((long)bits[0] - (long)bits[1]);
}

/* Of numbers between 2^low and 2^high, by as much as `most` ulp; IEEE's are
 * those of double rounded to float. */
static void expect_within(double low, double high, int64_t most)
{
    static double a[NUMBERS], b[NUMBERS];
    draw(1, low, high, a);
    draw(2, low, high, b);
    const tn_rig_case c = {.in = {{.rank = 1, .shape = {NUMBERS}, .values = a},
                                  {.rank = 1, .shape = {NUMBERS}, .values = b}},
                           .in_count = 2,
                           .out_count = 2,
                           .describe = describe};
    const tn_rig_how how = {.dtype = TN_F32};
    tn_rig *rig = tn_rig_open("vulkan", "{cache: false}");
    tn_rig_program *p = tn_rig_build(rig, &c, &how, NULL);
    assert_non_null(p);
    tn_assert_ok(tn_rig_run(p, NULL));
    const double *quotient = tn_rig_output(p, 0).values;
    const double *root = tn_rig_output(p, 1).values;
    for (int i = 0; i < NUMBERS; i++) {
        assert_true(ulp_between(quotient[i], a[i] / b[i]) <= most);
        assert_true(ulp_between(root[i], sqrt(b[i])) <= most);
    }
    tn_rig_free(p);
    tn_rig_close(rig);
}

static void quotients_and_roots_are_the_nearest_floats(void **state)
{
    (void)state;
    expect_within(-45.0, 50.0, 0);
}

/* Where a residue would overflow or be flushed, they are the device's. */
static void at_the_ends_of_the_floats_they_are_the_devices(void **state)
{
    (void)state;
    expect_within(-125.0, -90.0, 2);
    expect_within(105.0, 127.9, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotients_and_roots_are_the_nearest_floats),
        cmocka_unit_test(at_the_ends_of_the_floats_they_are_the_devices),
    };
    if (!vulkan_can_run())
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
