/*
 * test_training.c - what must hold of training, whatever is trained and by
 * whom: every architecture, and two in one stack, with every optimizer, on the
 * oracle in double.
 */
#include "training_rig.h"
#include "stacks.h"

#include "run/checkpoint.h"
#include "run/evaluate.h"
#include "run/training.h"
#include "run/weights.h"

/* ---- a run, step by step ---- */

/* Rows differ; the last target of every second one is ignored. */
static tn_batch batch_of(const tni_recipe *r, int64_t first_row)
{
    tn_batch b = tni_batch_create(r);
    const int64_t T = r->train.seq_len;
    for (int64_t i = 0; i < r->train.batch_size * T; i++) {
        const int64_t row = first_row + i / T, t = i % T;
        b.tokens[i] = (int32_t)((row * 31 + t * 7) % 256);
        b.targets[i] = t == T - 1 && row % 2 ? -1 : (int32_t)((row + t) % 256);
    }
    return b;
}

static void step(tni_training *t, int64_t number)
{
    const tni_train_options *o = &t->recipe->train;
    tni_step_result result;
    tn_error err = TN_ERROR_NONE;
    for (int64_t i = 0; i < o->grad_accum; i++) {
        tn_batch b = batch_of(t->recipe, number + i * o->batch_size);
        tn_assert_ok_err(tni_training_accumulate(t, number, i, &b, &err), err);
        tni_batch_destroy(&b);
    }
    tn_assert_ok_err(tni_training_update(t, number, 1.0, &result, &err), err);
    assert_true(result.ok);
}

static void steps(tni_training *t, int64_t from, int64_t to)
{
    for (int64_t s = from; s < to; s++)
        step(t, s);
}

static double *parameters(const tni_training *t)
{
    double *p = malloc((size_t)t->slab_elements * sizeof *p);
    assert_non_null(p);
    assert_int_equal(t->session->dtype, TN_F64);
    tn_assert_ok(tni_session_download(t->session, p, TN_ARENA_PARAM, 0,
                                      t->slab_elements * 8, NULL));
    return p;
}

/* 0: the same bits. Both runs end here. */
static void expect_equal(tni_training *a, tni_training *b, double tolerance)
{
    double *p = parameters(a), *q = parameters(b);
    assert_int_equal(a->slab_elements, b->slab_elements);
    if (tolerance > 0)
        tn_assert_close_double(p, q, a->slab_elements, tolerance, 0);
    else
        assert_memory_equal(p, q, (size_t)a->slab_elements * sizeof *p);
    free(p);
    free(q);
    tni_training_destroy(a);
    tni_training_destroy(b);
}

/* ---- the laws ---- */

static void four_micro_batches_equal_one_four_times_as_large(void **state)
{
    for (int i = 0; i < STACKS; i++) {
        tni_training *a =
            start(*state, SET(stacks[i], adamw, "train.batch_size=1",
                              "train.grad_accum=4"));
        tni_training *b =
            start(*state, SET(stacks[i], adamw, "train.batch_size=4",
                              "train.grad_accum=1"));
        steps(a, 0, 3);
        steps(b, 0, 3);
        expect_equal(a, b, 1e-9);
    }
}

static void recompute_changes_no_bit(void **state)
{
    for (int i = 0; i < STACKS; i++) {
        tni_training *a =
            start(*state, SET(stacks[i], adamw, "train.recompute=none"));
        tni_training *b =
            start(*state, SET(stacks[i], adamw, "train.recompute=layer"));
        steps(a, 0, 3);
        steps(b, 0, 3);
        expect_equal(a, b, 0);
    }
}

/* Two steps, a checkpoint, another process's two: as four steps in a row. */
static void check_resume(run_rig *rig, const char *const *set)
{
    tn_error err = TN_ERROR_NONE;
    const tni_progress saved = {.step = 2, .tokens = 30};
    tni_progress found;
    char path[256];
    int lock;
    tni_training *whole = start(rig, set), *first = start(rig, set);
    const char *dir = first->recipe->checkpoint.dir;
    tn_assert_ok_err(tni_run_folder_open(dir, &lock, &err), err);
    steps(first, 0, 2);
    tn_assert_ok_err(
        tni_checkpoint_save(first, &saved, path, sizeof path, &err), err);
    tni_training_destroy(first);
    close(lock);

    tni_training *second = start(rig, set);
    steps(second, 7, 8); /* somewhere else, to be forgotten */
    tn_assert_ok_err(tni_checkpoint_restore(second, path, &found, &err), err);
    assert_int_equal(found.step, 2);
    steps(second, 2, 4);
    steps(whole, 0, 4);
    expect_equal(whole, second, 0);
}

static void a_resumed_run_has_the_bits_of_one_that_went_on(void **state)
{
    for (int i = 0; i < STACKS; i++)
        for (int k = 0; k < OPTIMIZERS; k++)
            check_resume(*state, SET(stacks[i], optimizers[k]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_micro_batches_equal_one_four_times_as_large),
        cmocka_unit_test(recompute_changes_no_bit),
        cmocka_unit_test(a_resumed_run_has_the_bits_of_one_that_went_on),
    };
    return cmocka_run_group_tests(tests, run_rig_setup, run_rig_teardown);
}
