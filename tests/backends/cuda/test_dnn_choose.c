/*
 * test_dnn_choose.c - whose attention: cuDNN's where a trial shows that it
 * computes what our kernels compute, in less time, and ours everywhere else.
 *
 * It runs on the emulator, beside a cuDNN that computes the graphs it is handed
 * operation by operation (emulator/cudnn.c) and counts; CUDNN_FAULT makes it
 * one that is not to be taken. On a GPU, whose cuDNN counts nothing, whatever
 * is chosen has to be right.
 */
#define _GNU_SOURCE /* mkdtemp, setenv */
#include "cache_folder.h"
#include "cuda_device.h"

#include <dlfcn.h>

static unsigned long (*counted)(void); /* NULL: nobody counts */
static tn_rig *oracle;

static const double half_unit = 0x1p-8;

/* ---- cases ---- */

typedef struct shape {
    int64_t batch, rows, heads, groups, key_size, value_size;
    tn_attention_attr attr;
    int is_side_by_side; /* q, k and v in one tensor */
    int last;            /* 1: with positions, 2: with documents as well */
} shape;

static const shape plain = {1, 48, 2, 2, 32, 32, {.scale = 0.0}, 0, 0};

static tn_rig_leaf half(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (tn_rig_leaf){.rank = 4, .shape = {a, b, c, d}};
}

static void slice_one(tn_builder *b, const shape *s, tn_tensor x, tn_tensor *q)
{
    x = tn_cast(b, x, TN_BF16);
    q[0] = tn_slice(b, x, 2, 0, s->heads);
    q[1] = tn_slice(b, x, 2, s->heads, s->groups);
    q[2] = tn_slice(b, x, 2, s->heads + s->groups, s->groups);
}

/* Attention and its gradients by the ops themselves. */
static void describe(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with)
{
    const shape *s = with;
    tn_tensor x[3], made[2], d_out = tn_cast(b, in[3], TN_BF16);
    for (int i = 0; i < 3 && !s->is_side_by_side; i++)
        x[i] = tn_cast(b, in[i], TN_BF16);
    if (s->is_side_by_side)
        slice_one(b, s, in[0], x);
    const uint32_t more = (uint32_t)s->last;
    const tn_tensor to[] = {x[0], x[1], x[2], in[4], in[5]};
    b->api->op(b, TN_OP_ATTENTION, to, 3 + more, &s->attr, sizeof s->attr, made,
               2, TN_HERE);
    const tn_tensor back[] = {d_out,   x[0],    x[1],  x[2],
                              made[0], made[1], in[4], in[5]};
    b->api->op(b, TN_OP_ATTENTION_BWD, back, 6 + more, &s->attr, sizeof s->attr,
               out + 2, 3, TN_HERE);
    out[0] = made[0];
    out[1] = made[1];
}

static tn_rig_case case_of(const shape *s)
{
    const int64_t all = s->heads + 2 * s->groups;
    const tn_rig_leaf places = {.dtype = TN_I32,
                                .rank = 2,
                                .shape = {s->batch, s->rows},
                                .low = 0.0,
                                .high = 15.0};
    return (tn_rig_case){
        .in = {half(s->batch, s->rows, s->is_side_by_side ? all : s->heads,
                    s->key_size),
               half(s->batch, s->rows, s->groups, s->key_size),
               half(s->batch, s->rows, s->groups, s->value_size),
               half(s->batch, s->rows, s->heads, s->value_size), places,
               places},
        .in_count = 6,
        .out_count = 5,
        .seed = 5,
        .describe = describe,
        .with = s};
}

static tn_rig_program *build_on(tn_rig *rig, const shape *s, tn_dtype dtype)
{
    const tn_rig_case c = case_of(s);
    const tn_rig_how how = {.dtype = dtype, .no_fuse = 1};
    tn_error err = TN_ERROR_NONE;
    tn_rig_program *p = tn_rig_build(rig, &c, &how, &err);
    tn_assert_ok_err(err.status, err);
    return p;
}

static void run(tn_rig_program *p)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tn_rig_run(p, &err), err);
}

static void expect_right(tn_rig_program *got, const shape *s)
{
    tn_rig_program *want = build_on(oracle, s, TN_F64);
    run(want);
    for (uint32_t i = 0; i < 5; i++) {
        const tn_rig_result a = tn_rig_output(got, i);
        const tn_rig_result b = tn_rig_output(want, i);
        assert_int_equal(a.count, b.count);
        tn_assert_close_double(a.values, b.values, a.count, 3.0 * half_unit,
                               2.0 * half_unit);
    }
    tn_rig_free(want);
}

/* ---- whose ---- */

typedef struct seen {
    unsigned long trial, run; /* of cuDNN: while compiling, while running */
} seen;

static unsigned long runs(void)
{
    return counted ? counted() : 0;
}

/* Both ops once on a device with these options; what they give is right. */
static seen look(const char *options, const shape *s)
{
    tn_rig *cuda = tn_rig_open("cuda", options);
    const unsigned long before = runs();
    tn_rig_program *p = build_on(cuda, s, TN_F32);
    const unsigned long between = runs();
    run(p);
    const seen what = {between - before, runs() - between};
    expect_right(p, s);
    tn_rig_free(p);
    tn_rig_close(cuda);
    return what;
}

/* A folder of caches that nothing is in yet, and a library without a fault. */
static int begin_anew(void **state)
{
    unsetenv("CUDNN_FAULT");
    return cache_folder_make(state);
}

static const shape shapes[] = {
    {2, 70, 2, 2, 64, 64, {.scale = 0.0}, 1, 0},
    {1, 50, 4, 2, 128, 128, {.scale = 0.2}, 1, 0},
    {1, 40, 2, 1, 48, 32, {.scale = 0.0}, 0, 0},
    {1, 70, 2, 2, 32, 32, {.window = 20}, 0, 0},
    {1, 33, 2, 1, 64, 64, {.bidirectional = 1}, 0, 0},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void what_is_chosen_is_right(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        look("{}", &shapes[i]);
        look("{}", &shapes[i]); /* the choice comes from the disk */
    }
}

static void what_is_right_and_faster_is_taken(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        const seen what = look("{}", &shapes[i]);
        assert_true(what.trial > 0);
        assert_int_equal(what.run, 2); /* attention and its gradients */
    }
}

static void a_choice_is_made_once_and_kept_on_disk(void **state)
{
    (void)state;
    assert_true(look("{}", &plain).trial > 0);
    const seen again = look("{}", &plain);
    assert_int_equal(again.trial, 0);
    assert_int_equal(again.run, 2);
}

static void expect_ours_after_a_trial(const char *fault)
{
    setenv("CUDNN_FAULT", fault, 1);
    assert_int_equal(look("{}", &plain).run, 0);
    unsetenv("CUDNN_FAULT");
    const seen again = look("{}", &plain);
    assert_int_equal(again.trial, 0); /* it was kept */
    assert_int_equal(again.run, 0);
}

static void a_mask_that_is_off_by_one_key_is_seen(void **state)
{
    (void)state;
    expect_ours_after_a_trial("mask");
}

static void results_that_change_from_run_to_run_are_not_taken(void **state)
{
    (void)state;
    expect_ours_after_a_trial("unsteady");
}

static void what_is_slower_is_not_taken(void **state)
{
    (void)state;
    expect_ours_after_a_trial("slow");
}

static void a_plan_that_fails_to_run_is_not_taken(void **state)
{
    (void)state;
    expect_ours_after_a_trial("fails");
}

static void where_no_plan_is_recommended_another_day_may_bring_one(void **state)
{
    (void)state;
    setenv("CUDNN_FAULT", "refuses", 1);
    const seen what = look("{}", &plain);
    assert_int_equal(what.trial + what.run, 0);
    unsetenv("CUDNN_FAULT");
    assert_int_equal(look("{}", &plain).run, 2);
}

static int64_t workspace_of(tn_rig *rig, const tn_plan *plan)
{
    const tn_workspace_extension *x =
        rig->backend->extension(rig->device, "workspace/1");
    tn_error err = TN_ERROR_NONE;
    int64_t bytes = 0;
    tn_assert_ok_err(x->bytes(rig->device, plan, &bytes, &err), err);
    return bytes;
}

/* The choice is made when the plan is only asked about. */
static void what_a_plan_of_cudnn_wants_is_told_before(void **state)
{
    (void)state;
    tn_rig *without = tn_rig_open("cuda", "{cudnn: false}");
    tn_rig *with = tn_rig_open("cuda", "{}");
    tn_rig_program *p = build_on(without, &plain, TN_F32);
    const unsigned long before = runs();
    const int64_t theirs = workspace_of(with, tn_rig_plan(p));
    assert_true(runs() > before);
    assert_true(theirs > workspace_of(without, tn_rig_plan(p)));
    tn_rig_free(p);
    tn_rig_close(with);
    tn_rig_close(without);
    assert_int_equal(look("{}", &plain).trial, 0);
}

static void without_a_cache_no_clock_decides(void **state)
{
    (void)state;
    const seen what = look("{cache: false}", &plain);
    assert_int_equal(what.trial + what.run, 0);
}

static void the_option_does_without(void **state)
{
    (void)state;
    const seen what = look("{cudnn: false}", &plain);
    assert_int_equal(what.trial + what.run, 0);
}

static void it_runs_outside_of_a_graph_as_well(void **state)
{
    (void)state;
    assert_int_equal(look("{graph: false}", &plain).run, 2);
}

static void what_the_graph_does_not_say_stays_ours(void **state)
{
    (void)state;
    const shape ours[] = {
        {1, 40, 2, 2, 32, 32, {.softcap = 5.0}, 0, 0},
        {1, 40, 2, 2, 20, 20, {.scale = 0.0}, 0, 0}, /* not by 16 bytes */
        {1, 40, 2, 2, 32, 32, {.scale = 0.0}, 0, 1},
        {1, 40, 2, 2, 32, 32, {.scale = 0.0}, 0, 2},
    };
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        const seen what = look("{}", &ours[i]);
        assert_int_equal(what.trial + what.run, 0);
    }
}

/* The library that the backend finds, if it is the tests'. */
static void find_counter(void)
{
    void *library = dlopen("libcudnn.so.9", RTLD_NOW);
    if (library)
        *(void **)&counted = dlsym(library, "simt_cudnn_runs");
}

int main(void)
{
#define EACH(test)                                                             \
    cmocka_unit_test_setup_teardown(test, begin_anew, cache_folder_remove)
    const struct CMUnitTest tests[] = {
        EACH(what_is_right_and_faster_is_taken),
        EACH(a_choice_is_made_once_and_kept_on_disk),
        EACH(a_mask_that_is_off_by_one_key_is_seen),
        EACH(results_that_change_from_run_to_run_are_not_taken),
        EACH(what_is_slower_is_not_taken),
        EACH(a_plan_that_fails_to_run_is_not_taken),
        EACH(where_no_plan_is_recommended_another_day_may_bring_one),
        EACH(what_a_plan_of_cudnn_wants_is_told_before),
        EACH(without_a_cache_no_clock_decides),
        EACH(the_option_does_without),
        EACH(it_runs_outside_of_a_graph_as_well),
        EACH(what_the_graph_does_not_say_stays_ours),
    };
    const struct CMUnitTest uncounted[] = {EACH(what_is_chosen_is_right)};
    if (!cuda_can_run())
        return 0;
    find_counter();
    oracle = tn_rig_open("reference", "{}");
    const int failed = counted ? cmocka_run_group_tests(tests, NULL, NULL)
                               : cmocka_run_group_tests(uncounted, NULL, NULL);
    tn_rig_close(oracle);
    return failed;
}
