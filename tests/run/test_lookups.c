/*
 * test_lookups.c - a table of which a step looks up few rows trains as if all
 * of its gradient were written.
 */
#include "training_rig.h"

#include "run/evaluate.h"
#include "run/training.h"
#include "run/weights.h"

static int tables_of(const tni_training *t)
{
    uint32_t count;
    int tables = 0;
    tni_model_weights(t->recipe->model, &count);
    for (uint32_t i = 0; i < count; i++)
        tables += t->uses[i] != 0;
    return tables;
}

enum { ROWS = 2, ID = 4 }; /* that count, of a batch; rare tokens' distance */

/* Some tokens come in every step and twice in a row, others now and then. Rows
 * behind the first two have no targets. */
static tn_batch batch_of(const tni_recipe *r, int64_t step, int64_t index)
{
    tn_batch b = tni_batch_create(r);
    const int64_t T = r->train.seq_len;
    for (int64_t i = 0; i < r->train.batch_size * T; i++) {
        const int64_t row = i / T, t = i % T;
        const int64_t rare = (step * 5 + index * 3 + row) * ID + t;
        b.tokens[i] = (int32_t)(t % 3 ? rare % 256 : 7 + row);
        b.targets[i] = row < ROWS ? (int32_t)((rare + t) % 256) : -1;
    }
    return b;
}

static tni_step_result step(tni_training *t, int64_t number)
{
    tni_step_result result;
    tn_error err = TN_ERROR_NONE;
    for (int64_t i = 0; i < t->recipe->train.grad_accum; i++) {
        tn_batch b = batch_of(t->recipe, number, i);
        tn_assert_ok_err(tni_training_accumulate(t, number, i, &b, &err), err);
        tni_batch_destroy(&b);
    }
    tn_assert_ok_err(tni_training_update(t, number, 1.0, &result, &err), err);
    return result;
}

static float *parameters(const tni_training *t)
{
    float *p = malloc((size_t)t->slab_elements * sizeof *p);
    assert_non_null(p);
    tn_assert_ok(tni_session_download_reals(t->session, p, TN_ARENA_PARAM, 0,
                                            t->slab_elements, NULL));
    return p;
}

/* The table of `few` is written where it is used, that of `many`, whose batch
 * has rows without targets besides, everywhere. */
static void expect_equal_runs(run_rig *rig, const char *const *few,
                              const char *const *many, double tolerance)
{
    tni_training *a = start(rig, few), *b = start(rig, many);
    assert_int_equal(tables_of(a), 1);
    assert_int_equal(tables_of(b), 0);
    for (int64_t i = 0; i < 6; i++) {
        const tni_step_result x = step(a, i), y = step(b, i);
        assert_true(x.ok && y.ok);
        tn_assert_near(x.loss, y.loss, tolerance);
        tn_assert_near(x.grad_norm, y.grad_norm, tolerance);
    }
    float *p = parameters(a), *q = parameters(b);
    tn_assert_close(p, q, a->slab_elements, tolerance, tolerance);
    free(p);
    free(q);
    tni_training_destroy(a);
    tni_training_destroy(b);
}

static void few_rows_train_as_all_do(void **state)
{
    expect_equal_runs(*state, SET("train.batch_size=2"),
                      SET("train.batch_size=16"), 1e-7);
    expect_equal_runs(*state, SET("train.batch_size=2", "train.grad_accum=3"),
                      SET("train.batch_size=16", "train.grad_accum=3"), 1e-7);
}

#define ON_CPU "backend=cpu", "precision=f32", "train.grad_accum=2"

static void few_rows_train_as_all_do_on_the_cpu(void **state)
{
    expect_equal_runs(*state, SET(ON_CPU, "train.batch_size=2"),
                      SET(ON_CPU, "train.batch_size=16"), 1e-5);
}

static int tables_with(run_rig *rig, const char *const *set)
{
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_training_create(run_rig_recipe(rig, set), &t, &err),
                     err);
    const int tables = tables_of(t);
    tni_training_destroy(t);
    return tables;
}

static void a_table_that_something_else_reads_is_written_whole(void **state)
{
    run_rig *rig = *state;
    assert_int_equal(tables_with(rig, NULL), 1);
    assert_int_equal(tables_with(rig, SET("model.tie_embeddings=true")), 0);
}

static void a_step_of_many_tokens_writes_all_of_a_table(void **state)
{
    run_rig *rig = *state;
    assert_int_equal(tables_with(rig, SET("train.batch_size=8")), 1);
    assert_int_equal(tables_with(rig, SET("train.batch_size=9")), 0);
    assert_int_equal(
        tables_with(rig, SET("train.batch_size=3", "train.grad_accum=3")), 0);
}

/* Everything but gains is a matrix to Muon. */
#define GROUPS(plugin)                                                         \
    "optimizer=[{match: \"*norm*\", plugin: adamw, lr: 0.01}, "                \
    "{match: \"*\", plugin: " plugin ", lr: 0.01}]"

static void an_optimizer_of_matrices_gets_all_of_a_table(void **state)
{
    run_rig *rig = *state;
    assert_int_equal(tables_with(rig, SET(GROUPS("muon"))), 0);
    assert_int_equal(tables_with(rig, SET(GROUPS("lion"))), 1);
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(few_rows_train_as_all_do),
        WITH_RIG(few_rows_train_as_all_do_on_the_cpu),
        WITH_RIG(a_table_that_something_else_reads_is_written_whole),
        WITH_RIG(a_step_of_many_tokens_writes_all_of_a_table),
        WITH_RIG(an_optimizer_of_matrices_gets_all_of_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
