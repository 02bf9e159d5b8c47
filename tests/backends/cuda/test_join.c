/*
 * test_join.c - neighbours of a plan that are one kernel: the numbers are those
 * of two, and of the oracle, and there are fewer launches.
 */
#define _GNU_SOURCE
#include "cuda_device.h"

#include <dlfcn.h>

static tn_rig *joined, *apart, *oracle;

/* Kernels that the emulator has carried out; 0: it is not the emulator. */
static unsigned long kernels_so_far(void)
{
    static unsigned long (*count)(void);
    if (!count) {
        void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
        void *symbol = driver ? dlsym(driver, "simt_kernel_count") : NULL;
        *(void **)&count = symbol;
    }
    return count ? count() : 0;
}

typedef struct outcome {
    tn_rig_program *program;
    unsigned long kernels; /* of a run */
} outcome;

static outcome run_on(tn_rig *rig, const tn_rig_case *c, uint32_t narrow)
{
    const tn_rig_how how = {
        .dtype = TN_F32, .no_fuse = narrow, .narrow = narrow};
    tn_error err = TN_ERROR_NONE;
    outcome o = {tn_rig_build(rig, c, &how, &err), 0};
    if (!o.program)
        print_error("%s\n", err.message);
    assert_non_null(o.program);
    const unsigned long before = kernels_so_far();
    tn_assert_ok_err(tn_rig_run(o.program, &err), err);
    o.kernels = kernels_so_far() - before;
    return o;
}

static void expect_alike(const outcome *a, const outcome *b, double absolute,
                         double relative)
{
    for (uint32_t i = 0; i < tn_rig_output_count(a->program); i++) {
        const tn_rig_result got = tn_rig_output(a->program, i);
        tn_assert_close_double(got.values, tn_rig_output(b->program, i).values,
                               got.count, absolute, relative);
    }
}

/* `fewer` launches. Of BF16 a row's sum in another order moves a rounding here
 * and there: by 2^-8 of what was rounded. */
static void expect_joined(const tn_rig_case *c, uint32_t narrow,
                          unsigned long fewer)
{
    outcome a = run_on(joined, c, narrow), b = run_on(apart, c, narrow);
    if (narrow) {
        expect_alike(&a, &b, 0.02, 0x1p-7);
    } else {
        outcome o = run_on(oracle, c, 0);
        expect_alike(&a, &b, 2e-5, 2e-6);
        expect_alike(&a, &o, 5e-5, 5e-6);
        tn_rig_free(o.program);
    }
    if (b.kernels && a.kernels + fewer != b.kernels)
        print_error("%lu kernels, and %lu apart\n", a.kernels, b.kernels);
    assert_true(!b.kernels || a.kernels + fewer == b.kernels);
    tn_rig_free(a.program);
    tn_rig_free(b.program);
}

/* ---- a residual and its norm ---- */

typedef struct rows {
    int64_t B, T, C;
} rows;

/* h is read again behind the norm, as in a layer. */
static void describe_residual(tn_builder *b, const tn_tensor *in,
                              tn_tensor *out, const void *with)
{
    const rows *s = with;
    const tn_tensor h = tn_add(b, in[0], tn_mul(b, in[1], in[3]));
    const tn_tensor flat = tn_reshape(b, h, s->B * s->T, s->C);
    const tn_tensor y = tn_rms_norm(b, flat, in[2], 1e-5);
    const tn_tensor product = tn_matmul(b, y, in[4]);
    out[0] = tn_add(b, h, tn_reshape(b, product, s->B, s->T, s->C));
}

static tn_rig_case residual_case(const rows *s)
{
    return (tn_rig_case){
        .in = {{.rank = 3, .shape = {s->B, s->T, s->C}},
               {.rank = 3, .shape = {s->B, s->T, s->C}},
               {.rank = 1, .shape = {s->C}, .low = 0.5, .high = 1.5},
               {.rank = 1, .shape = {s->C}},
               {.rank = 2, .shape = {s->C, s->C}, .low = -0.1, .high = 0.1}},
        .in_count = 5,
        .out_count = 1,
        .wrt = 7,
        .describe = describe_residual,
        .with = s};
}

/* Rows of one lane each, of several warps, of several pieces, of no fours. */
static void a_residual_and_its_norm_are_one_kernel(void **state)
{
    (void)state;
    static const rows sizes[] = {
        {1, 1, 4}, {2, 3, 33}, {2, 5, 128}, {1, 3, 260}, {1, 2, 1100}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint32_t narrow = 0; narrow < 2; narrow++) {
            const tn_rig_case c = residual_case(&sizes[i]);
            expect_joined(&c, narrow, 2); /* forward and backward */
        }
}

/* The rows of many blocks, 16 elements for a lane. */
static void long_tensors_give_a_lane_more(void **state)
{
    (void)state;
    static const rows s = {3, 700, 48};
    const tn_rig_case c = residual_case(&s);
    expect_joined(&c, 0, 2);
}

/* ---- queries that are normed and turned ---- */

typedef struct heads {
    int64_t B, T, H, D, dims;
    uint32_t interleaved, positions;
} heads;

/* Between other activations, of which none is a map's: in BF16, what enters and
 * leaves a graph is converted. */
static void describe_heads(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                           const void *with)
{
    const heads *s = with;
    const tn_tensor at = s->positions ? in[2] : TN_NONE;
    const tn_tensor x = tn_rope(b, tn_mul(b, in[0], in[0]), at, .theta = 100);
    const tn_tensor n = tn_rms_norm(b, x, in[1], 1e-6);
    const tn_tensor y = tn_rope(b, n, at, .theta = 1000, .dims = s->dims,
                                .interleaved = s->interleaved);
    out[0] = tn_mul(b, y, y);
}

static void heads_are_normed_and_turned_at_once(void **state)
{
    (void)state;
    static const heads sizes[] = {
        {2, 3, 1, 8, 0, 0, 0},     {1, 5, 3, 64, 0, 0, 1},
        {1, 2, 9, 40, 0, 1, 0},    {2, 3, 2, 70, 30, 0, 1},
        {1, 1, 2, 512, 100, 1, 1}, {1, 1100, 1, 32, 0, 0, 1}};
    static double at[4000];
    for (int i = 0; i < 4000; i++)
        at[i] = (double)(i * 17 % 91);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (uint32_t narrow = 0; narrow < 2; narrow++) {
            const heads *s = &sizes[i];
            const tn_rig_case c = {
                .in = {{.rank = 4,
                        .shape = {s->B, s->T, s->H, s->D},
                        .low = 0.5,
                        .high = 1.5},
                       {.rank = 1, .shape = {s->D}, .low = 0.5, .high = 1.5},
                       {.dtype = TN_I32,
                        .rank = 2,
                        .shape = {s->B, s->T},
                        .values = at}},
                .in_count = 3,
                .out_count = 1,
                .wrt = 3,
                .describe = describe_heads,
                .with = s};
            /* the weight's gradient is among it, of many rows a sum of sums */
            expect_joined(&c, narrow, s->T > 1000 ? 3 : 2);
        }
}

/* ---- what keeps two apart ---- */

/* The turned and what was only normed: it is written, too. */
static void describe_both(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *with)
{
    (void)with;
    const tn_tensor n = tn_rms_norm(b, in[0], in[1], 1e-6);
    out[0] = tn_rope(b, n, TN_NONE, .theta = 100);
    out[1] = tn_mul(b, n, out[0]);
}

static void what_lies_between_is_there_for_others(void **state)
{
    (void)state;
    const tn_rig_case c = {
        .in = {{.rank = 4, .shape = {2, 3, 2, 16}}, {.rank = 1, .shape = {16}}},
        .in_count = 2,
        .out_count = 2,
        .describe = describe_both};
    expect_joined(&c, 0, 1);
    /* The weight, a copy here, dies with the norm, and what is turned is placed
     * on it: one kernel would write what it still reads. */
    expect_joined(&c, 1, 0);
}

/* The norm is of another value than the map's. */
static void describe_strangers(tn_builder *b, const tn_tensor *in,
                               tn_tensor *out, const void *with)
{
    (void)with;
    out[0] = tn_add(b, in[0], in[1]);
    out[1] = tn_rms_norm(b, in[0], in[2], 1e-5);
}

static void strangers_stay_apart(void **state)
{
    (void)state;
    const tn_rig_case c = {.in = {{.rank = 2, .shape = {3, 40}},
                                  {.rank = 2, .shape = {3, 40}},
                                  {.rank = 1, .shape = {40}}},
                           .in_count = 3,
                           .out_count = 2,
                           .describe = describe_strangers};
    expect_joined(&c, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_residual_and_its_norm_are_one_kernel),
        cmocka_unit_test(long_tensors_give_a_lane_more),
        cmocka_unit_test(heads_are_normed_and_turned_at_once),
        cmocka_unit_test(what_lies_between_is_there_for_others),
        cmocka_unit_test(strangers_stay_apart),
    };
    if (!cuda_can_run())
        return 0;
    joined = tn_rig_open("cuda", "{join: true}");
    apart = tn_rig_open("cuda", "{join: false}");
    oracle = tn_rig_open("reference", "{}");
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tn_rig_close(joined);
    tn_rig_close(apart);
    tn_rig_close(oracle);
    return failed;
}
