/*
 * test_sample.c - a token drawn on the device is the one that sample.h draws on
 * the host, of the same logits, whatever the cut: exactly.
 */
#include "cuda_device.h"

#include <tenon/philox.h>
#include <tenon/sample.h>

enum { ROWS = 12, MOST = 20000 };

/* How the logits of a case look. */
enum { SPREAD, TIED, FEW, CONSTANT, KINDS };

static float draw(uint32_t kind, int row, int i)
{
    const float u = tn_philox_uniform(kind, 17, (uint32_t)row, (uint64_t)i);
    switch (kind) {
    case SPREAD:
        return 12.0f * (u - 0.5f) + (u > 0.9999f ? 6.0f : 0.0f);
    case TIED:
        return floorf(8.0f * u) - 4.0f;
    case FEW:
        return u < 0.99f ? -INFINITY : u < 0.995f ? NAN : 300.0f * u;
    default:
        return -0.0f;
    }
}

static const tn_sample_how ways[ROWS] = {
    {0.0f, 1.0f, 0.0f, 0, MOST},      {1.0f, 1.0f, 0.5f, 0, MOST},
    {0.8f, 1.0f, 0.99f, 50, MOST},    {1.0f, 0.9f, 0.3f, 0, MOST},
    {1.0f, 0.5f, 0.75f, 200, MOST},   {1.3f, 0.95f, 0.125f, 3000, MOST},
    {0.01f, 0.99f, 0.875f, 5, 777},   {5.0f, 0.999f, 0.0625f, 0, MOST},
    {1e-30f, 1.0f, 0.5f, 0, MOST},    {2.0f, 1e-6f, 0.5f, 1, MOST},
    {1.0f, 1.0f, 0.99999994f, 0, 31}, {1.0f, 0.7f, 0.25f, 0, 1},
};

static void describe(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    (void)with;
    out[0] = tn_sample_tokens(b, in[0], in[1], in[2]);
}

static void check(tn_rig *rig, uint32_t kind, int classes)
{
    const tn_rig_how how = {.dtype = TN_F32};
    double *logits = calloc((size_t)ROWS * MOST, sizeof *logits);
    float *row = calloc(MOST, sizeof *row);
    double choice[ROWS][3], limits[ROWS][2];
    tn_error err = TN_ERROR_NONE;
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < classes; i++)
            logits[r * classes + i] = (double)draw(kind, r, i);
        choice[r][0] = (double)ways[r].temperature;
        choice[r][1] = (double)ways[r].top_p;
        choice[r][2] = (double)ways[r].u;
        limits[r][0] = ways[r].top_k;
        limits[r][1] = ways[r].ids < classes ? ways[r].ids : classes;
    }
    const tn_rig_case c = {
        .in = {{.rank = 2, .shape = {ROWS, classes}, .values = logits},
               {.rank = 2, .shape = {ROWS, 3}, .values = choice[0]},
               {.dtype = TN_I32,
                .rank = 2,
                .shape = {ROWS, 2},
                .values = limits[0]}},
        .in_count = 3,
        .out_count = 1,
        .describe = describe};
    tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
    assert_non_null(p);
    assert_int_equal(tn_rig_plan(p)->nodes[0].op, TN_OP_SAMPLE);
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    for (int r = 0; r < ROWS; r++) {
        tn_sample_how h = ways[r];
        h.ids = h.ids < classes ? h.ids : classes;
        for (int i = 0; i < classes; i++)
            row[i] = draw(kind, r, i);
        const int32_t want = tn_sample(row, &h);
        const int32_t got = (int32_t)tn_rig_output(p, 0).values[r];
        if (got != want)
            print_error("logits %u of %d, way %d\n", kind, classes, r);
        assert_int_equal(got, want);
    }
    tn_rig_free(p);
    free(logits);
    free(row);
}

static void tokens_are_those_of_the_host(void **state)
{
    static const int sizes[] = {1, 2, 31, 33, 256, 1023, 1025, 5000, MOST};
    (void)state;
    tn_rig *rig = tn_rig_open("cuda", "{cache: false}");
    for (uint32_t kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            check(rig, kind, sizes[i]);
    tn_rig_close(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_those_of_the_host),
    };
    if (!cuda_can_run())
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
