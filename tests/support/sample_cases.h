/*
 * sample_cases.h - a token drawn by a backend is the one that tenon/sample.h
 * draws on the host, of the same logits, whatever the cut: exactly.
 */
#ifndef SAMPLE_CASES_H
#define SAMPLE_CASES_H

#include "tn_rig_private.h"

#include <tenon/philox.h>
#include <tenon/sample.h>

enum { SAMPLE_ROWS = 12, SAMPLE_MOST = 20000 };

/* How the logits of a case look. */
enum { SPREAD, TIED, FEW, CONSTANT, KINDS };

static inline float sample_logit(uint32_t kind, int row, int i)
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

static const tn_sample_how sample_ways[SAMPLE_ROWS] = {
    {0.0f, 1.0f, 0.0f, 0, SAMPLE_MOST},
    {1.0f, 1.0f, 0.5f, 0, SAMPLE_MOST},
    {0.8f, 1.0f, 0.99f, 50, SAMPLE_MOST},
    {1.0f, 0.9f, 0.3f, 0, SAMPLE_MOST},
    {1.0f, 0.5f, 0.75f, 200, SAMPLE_MOST},
    {1.3f, 0.95f, 0.125f, 3000, SAMPLE_MOST},
    {0.01f, 0.99f, 0.875f, 5, 777},
    {5.0f, 0.999f, 0.0625f, 0, SAMPLE_MOST},
    {1e-30f, 1.0f, 0.5f, 0, SAMPLE_MOST},
    {2.0f, 1e-6f, 0.5f, 1, SAMPLE_MOST},
    {1.0f, 1.0f, 0.99999994f, 0, 31},
    {1.0f, 0.7f, 0.25f, 0, 1},
};

static inline void sample_describe(tn_builder *b, const tn_tensor *in,
                                   tn_tensor *out, const void *with)
{
    (void)with;
    out[0] = tn_sample_tokens(b, in[0], in[1], in[2]);
}

static inline void sample_check(tn_rig *rig, uint32_t kind, int classes)
{
    const tn_rig_how how = {.dtype = TN_F32};
    double *logits = calloc((size_t)SAMPLE_ROWS * SAMPLE_MOST, sizeof *logits);
    float *row = calloc(SAMPLE_MOST, sizeof *row);
    double choice[SAMPLE_ROWS][3], limits[SAMPLE_ROWS][2];
    tn_error err = TN_ERROR_NONE;
    for (int r = 0; r < SAMPLE_ROWS; r++) {
        for (int i = 0; i < classes; i++)
            logits[r * classes + i] = (double)sample_logit(kind, r, i);
        choice[r][0] = (double)sample_ways[r].temperature;
        choice[r][1] = (double)sample_ways[r].top_p;
        choice[r][2] = (double)sample_ways[r].u;
        limits[r][0] = sample_ways[r].top_k;
        limits[r][1] =
            sample_ways[r].ids < classes ? sample_ways[r].ids : classes;
    }
    const tn_rig_case c = {
        .in = {{.rank = 2, .shape = {SAMPLE_ROWS, classes}, .values = logits},
               {.rank = 2, .shape = {SAMPLE_ROWS, 3}, .values = choice[0]},
               {.dtype = TN_I32,
                .rank = 2,
                .shape = {SAMPLE_ROWS, 2},
                .values = limits[0]}},
        .in_count = 3,
        .out_count = 1,
        .describe = sample_describe};
    tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
    assert_non_null(p);
    assert_int_equal(tn_rig_plan(p)->nodes[0].op, TN_OP_SAMPLE);
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    for (int r = 0; r < SAMPLE_ROWS; r++) {
        tn_sample_how h = sample_ways[r];
        h.ids = h.ids < classes ? h.ids : classes;
        for (int i = 0; i < classes; i++)
            row[i] = sample_logit(kind, r, i);
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

static inline void sample_check_all(const char *backend, const char *options)
{
    static const int sizes[] = {1,    2,    31,   33,         256,
                                1023, 1025, 5000, SAMPLE_MOST};
    tn_rig *rig = tn_rig_open(backend, options);
    for (uint32_t kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            sample_check(rig, kind, sizes[i]);
    tn_rig_close(rig);
}

#endif
