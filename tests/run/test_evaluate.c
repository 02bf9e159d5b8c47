/*
 * test_evaluate.c - the validation loss does not depend on how it is cut into
 * batches.
 */
#include "run_rig.h"

#include "run/evaluate.h"
#include "run/weights.h"

static tni_score whole_set(run_rig *rig, const char *batch_size, int twice)
{
    tni_training *t;
    tni_evaluator e;
    tni_score first, score;
    tn_error err = TN_ERROR_NONE;
    tn_tokenizer_handle tokenizer;
    tni_recipe *r = run_rig_recipe(rig, SET(batch_size));
    tn_assert_ok_err(tni_training_create(r, &t, &err), err);
    tn_assert_ok_err(tni_training_commit(t, &err), err);
    tn_assert_ok_err(tni_weights_draw(t->session, &err), err);
    tn_assert_ok_err(
        tni_tokenizer_open(rig->host, &r->tokenizer, &tokenizer, &err), err);
    tn_assert_ok_err(tni_evaluator_open(t, &tokenizer, 0, &e, &err), err);
    tn_assert_ok_err(tni_evaluate(&e, &first, &err), err);
    score = first;
    if (twice)
        tn_assert_ok_err(tni_evaluate(&e, &score, &err), err);
    tn_assert_near(score.loss, first.loss, 0);
    /* windows of seq_len bytes that have a next byte */
    tn_assert_near(score.tokens, (double)(e.data.info.rows_per_epoch * 8), 0);
    tni_evaluator_close(&e);
    tni_tokenizer_close(&tokenizer);
    tni_training_destroy(t);
    return score;
}

static void every_window_counts_once_whatever_the_batch(void **state)
{
    run_rig *rig = *state;
    const tni_score one = whole_set(rig, "train.batch_size=1", 1);
    const tni_score three = whole_set(rig, "train.batch_size=3", 1);
    const tni_score seven = whole_set(rig, "train.batch_size=7", 0);
    tn_assert_near(one.loss, log(256), 0.1);
    tn_assert_near(one.loss, three.loss, 1e-12);
    tn_assert_near(one.loss, seven.loss, 1e-12);
    tn_assert_near(one.tokens, seven.tokens, 0);
    /* a byte tokenizer: one byte each */
    tn_assert_near(one.bits_per_byte, one.loss / log(2), 1e-12);
    tn_assert_near(seven.bits_per_byte, one.bits_per_byte, 1e-12);
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(every_window_counts_once_whatever_the_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
