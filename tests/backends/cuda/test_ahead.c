/*
 * test_ahead.c - a run on CUDA starts a step before it knows what the last one
 * came to: the device never waits, and nothing else is different.
 */
#define _GNU_SOURCE
#include "run_rig.h"

#include <dlfcn.h>

#include "cuda_device.h"
#include "run/train.h"

enum { STEPS = 12 };

#define AHEAD                                                                  \
    "backend=cuda", "precision=f32", "train.max_steps=12",                     \
        "train.log_every="                                                     \
        "1",                                                                   \
        "train.eval_every=0", "checkpoint.every=0", "train.grad_accum=2"

/* What the emulator has counted; 0: it is not the emulator. */
static unsigned long counted(const char *what)
{
    unsigned long (*count)(void) = NULL;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    void *symbol = driver ? dlsym(driver, what) : NULL;
    *(void **)&count = symbol;
    return count ? count() : 0;
}

static unsigned long waits_so_far(void)
{
    return counted("simt_wait_count");
}

typedef struct watch {
    double loss[STEPS + 1], norm[STEPS + 1];
    unsigned long waits[STEPS + 1];
    int64_t last;
} watch;

static void on_step(void *to, const tni_metrics *m)
{
    watch *w = to;
    assert_int_equal(m->step, w->last + 1);
    w->last = m->step;
    w->loss[m->step] = m->loss;
    w->norm[m->step] = m->grad_norm;
    w->waits[m->step] = waits_so_far();
}

static tn_status train(run_rig *rig, const char *const *set, watch *w,
                       tn_error *err)
{
    const tni_train_observer observer = {.to = w, .step = on_step};
    const tni_train_request request = {.recipe = run_rig_recipe(rig, set),
                                       .observer = &observer};
    return tni_train(&request, err);
}

static void losses_come_in_order_and_are_those_of_single_steps(void **state)
{
    watch ahead = {.last = 0}, one_by_one = {.last = 0};
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(train(*state, SET(AHEAD), &ahead, &err), err);
    tn_assert_ok_err(
        train(*state, SET(AHEAD, "checkpoint.every=1"), &one_by_one, &err),
        err);
    assert_int_equal(ahead.last, STEPS);
    for (int i = 1; i <= STEPS; i++) {
        assert_true(ahead.loss[i] == one_by_one.loss[i]);
        assert_true(ahead.norm[i] == one_by_one.norm[i]);
    }
    assert_true(ahead.loss[STEPS] < ahead.loss[1]);
}

static void no_step_is_waited_for(void **state)
{
    watch w = {.last = 0}, looked_at = {.last = 0};
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(train(*state, SET(AHEAD), &w, &err), err);
    if (!w.waits[1]) {
        print_message("passed over: waits are counted by the emulator\n");
        return;
    }
    assert_int_equal(w.waits[STEPS], w.waits[1]);
    tn_assert_ok_err(
        train(*state, SET(AHEAD, "train.eval_every=3", "train.eval_batches=1"),
              &looked_at, &err),
        err);
    assert_true(looked_at.waits[STEPS] > looked_at.waits[1]); /* it counts */
}

/* A step's tokens come to the device while the one before it runs: not always,
 * in an order drawn at random, but often. */
static void tokens_travel_beside_the_step_before(void **state)
{
    watch w = {.last = 0};
    tn_error err = TN_ERROR_NONE;
    const unsigned long before = counted("simt_beside_count");
    tn_assert_ok_err(train(*state, SET(AHEAD), &w, &err), err);
    if (!w.waits[1]) {
        print_message("passed over: copies are counted by the emulator\n");
        return;
    }
    assert_true(counted("simt_beside_count") - before > STEPS);
}

/* What is said before "Last good checkpoint". */
static void failure(run_rig *rig, const char *const *set, char text[512])
{
    watch w = {.last = 0};
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(train(rig, set, &w, &err), TN_ENONFINITE);
    const char *end = strstr(err.message, "Last good");
    assert_non_null(end);
    snprintf(text, 512, "%.*s", (int)(end - err.message), err.message);
}

static void
a_bad_step_is_told_as_if_none_had_been_started_behind_it(void **state)
{
    char ahead[512], one_by_one[512];
    failure(*state, SET(AHEAD, "optimizer.lr=1.0e30"), ahead);
    failure(*state, SET(AHEAD, "optimizer.lr=1.0e30", "checkpoint.every=1"),
            one_by_one);
    assert_string_equal(ahead, one_by_one);
    assert_non_null(strstr(ahead, "step 2: the loss is"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            losses_come_in_order_and_are_those_of_single_steps, run_rig_setup,
            run_rig_teardown),
        cmocka_unit_test_setup_teardown(no_step_is_waited_for, run_rig_setup,
                                        run_rig_teardown),
        cmocka_unit_test_setup_teardown(tokens_travel_beside_the_step_before,
                                        run_rig_setup, run_rig_teardown),
        cmocka_unit_test_setup_teardown(
            a_bad_step_is_told_as_if_none_had_been_started_behind_it,
            run_rig_setup, run_rig_teardown),
    };
    if (!cuda_can_run())
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
