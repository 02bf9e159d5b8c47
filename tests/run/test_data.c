/*
 * test_data.c - mixtures give rows by weight, batches may be made ahead, and a
 * place is exact in either case.
 */
#include "run_rig.h"

#include "run/evaluate.h"

enum { ROWS = 4, T = 8 };

static const char two[] =
    "data.train=[{plugin: synthetic, rows: 100, weight: 3},"
    " {plugin: text_file, path: text.txt}]";

typedef struct {
    tni_recipe *recipe;
    tn_tokenizer_handle tokenizer;
    tni_data data;
    tn_batch batch;
} feed;

static feed *open_feed(run_rig *rig, const char *data, int64_t ahead)
{
    feed *f = tni_arena_alloc(rig->arena, sizeof *f);
    tn_error err = TN_ERROR_NONE;
    f->recipe = run_rig_recipe(rig, SET("train.batch_size=4", data));
    tn_assert_ok_err(tni_tokenizer_open(rig->host, &f->recipe->tokenizer,
                                        &f->tokenizer, &err),
                     err);
    const tn_dataset_request request =
        tni_data_request(f->recipe, &f->tokenizer);
    tn_assert_ok_err(tni_data_open(rig->host, &f->recipe->train_data, &request,
                                   ahead, &f->data, &err),
                     err);
    f->batch = tni_batch_create(f->recipe);
    return f;
}

static void close_feed(feed *f)
{
    tni_data_close(&f->data);
    tni_batch_destroy(&f->batch);
    tni_tokenizer_close(&f->tokenizer);
}

static const int32_t *take(feed *f)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_data_next(&f->data, &f->batch, &err), err);
    return f->batch.tokens;
}

/* The text holds digits and a few letters; counting and random rows do not
 * stay among them. */
static int is_text(const int32_t *row)
{
    for (int t = 0; t < T; t++)
        if (!strchr("0123456789 times.\n", row[t]) || !row[t])
            return 0;
    return 1;
}

static void rows_come_by_weight_and_are_mixed_within_batches(void **state)
{
    feed *f = open_feed(*state, two, 0);
    int text = 0, mixed = 0;
    assert_int_equal(f->data.info.rows_per_epoch, 0); /* it never ends */
    for (int i = 0; i < 500; i++) {
        const int32_t *rows = take(f);
        int here = 0;
        for (int r = 0; r < ROWS; r++)
            here += is_text(rows + r * T);
        text += here;
        mixed += here && here < ROWS;
    }
    /* a quarter of 2000: 500 +- 5 sigma of 19, and a few constant rows */
    assert_in_range(text, 500 - 100, 500 + 150);
    assert_in_range(mixed, 250, 450);
    close_feed(f);
}

static void one_dataset_in_a_list_is_that_dataset(void **state)
{
    feed *a = open_feed(*state, "data.train=[{plugin: synthetic}]", 0);
    feed *b = open_feed(*state, "data.train={plugin: synthetic}", 0);
    assert_int_equal(a->data.info.rows_per_epoch, 100000);
    for (int i = 0; i < 20; i++)
        assert_memory_equal(take(a), take(b), ROWS * T * 4);
    close_feed(a);
    close_feed(b);
}

static void the_same_dataset_twice_gives_other_rows(void **state)
{
    feed *f = open_feed(*state,
                        "data.train=[{plugin: text_file, path: text.txt},"
                        "{plugin: text_file, path: text.txt}]",
                        0);
    tni_data_cursor before, after;
    tni_data_save(&f->data, &before);
    assert_int_equal(before.count, 2);
    for (int i = 0; i < 30; i++)
        take(f);
    tni_data_save(&f->data, &after);
    assert_int_equal(after.rows, 30 * ROWS);
    /* both have been asked, about as often */
    assert_in_range(after.at[0].word[0], 30, 90);
    assert_int_equal(after.at[0].word[0] + after.at[1].word[0], 30 * ROWS);
    close_feed(f);
}

/* ---- ahead ---- */

static void batches_made_ahead_are_the_same_batches(void **state)
{
    static const char *const data[] = {two, "data.train={plugin: synthetic}"};
    for (int d = 0; d < 2; d++)
        for (int64_t ahead = 1; ahead < 6; ahead += 2) {
            feed *a = open_feed(*state, data[d], 0);
            feed *b = open_feed(*state, data[d], ahead);
            for (int i = 0; i < 40; i++) {
                assert_memory_equal(take(a), take(b), ROWS * T * 4);
                assert_memory_equal(a->batch.targets, b->batch.targets,
                                    ROWS * T * 4);
                assert_int_equal(a->batch.bytes, b->batch.bytes);
            }
            close_feed(a);
            close_feed(b);
        }
}

static void a_place_is_where_the_run_is_and_not_its_maker(void **state)
{
    for (int64_t ahead = 0; ahead < 4; ahead++) {
        feed *whole = open_feed(*state, two, ahead);
        feed *part = open_feed(*state, two, 3 - ahead);
        for (int i = 0; i < 25; i++) {
            tni_data_cursor cursor;
            tn_error err = TN_ERROR_NONE;
            tni_data_save(&whole->data, &cursor);
            tn_assert_ok_err(tni_data_restore(&part->data, &cursor, &err), err);
            assert_memory_equal(take(whole), take(part), ROWS * T * 4);
            assert_memory_equal(take(whole), take(part), ROWS * T * 4);
        }
        close_feed(whole);
        close_feed(part);
    }
}

static void closing_early_waits_for_nobody(void **state)
{
    for (int i = 0; i < 20; i++) {
        feed *f = open_feed(*state, two, 3);
        for (int n = 0; n < i % 3; n++)
            take(f);
        close_feed(f);
    }
}

/* The file shrinks under its reader: batches that were made before stay good,
 * then every call fails with the sentence. */
static void a_failure_comes_after_the_batches_before_it(void **state)
{
    run_rig *rig = *state;
    char path[96];
    snprintf(path, sizeof path, "%s/a.bin", rig->folder);
    static const uint32_t ids[4096];
    tn_assert_ok(tni_file_replace(path, ids, sizeof ids, NULL));
    feed *f = open_feed(rig, "data.train={plugin: token_file, path: a.bin}", 2);
    take(f);
    assert_int_equal(truncate(path, 4096), 0);
    tn_error err = TN_ERROR_NONE;
    int good = 0;
    while (tni_data_next(&f->data, &f->batch, &err) == TN_OK)
        assert_true(++good < 5);
    tn_assert_error_says(err, "a.bin had 16384 bytes when it was opened");
    tn_error again = TN_ERROR_NONE;
    assert_int_equal(tni_data_next(&f->data, &f->batch, &again), TN_EIO);
    close_feed(f);
}

/* ---- configs ---- */

static void refused(run_rig *rig, const char *data, const char *says)
{
    tni_recipe *recipe;
    tn_error err = TN_ERROR_NONE;
    assert_int_not_equal(run_rig_try(rig, SET(data), &recipe, &err), TN_OK);
    tn_assert_error_says(err, says);
}

static void bad_mixtures_are_refused_with_their_place(void **state)
{
    refused(*state, "data.train=[]", "a mixture is a list of 1 to 16 datasets");
    refused(*state, "data.train=[{plugin: synthetic, weight: 0}]",
            "data.train: every weight is 0");
    refused(*state, "data.train=[synthetic, {plugin: synthetic, weight: -1}]",
            "data.train[1].weight: -1 is outside");
    refused(*state, "data.train=[synthetic, {plugin: synthetic, wait: 1}]",
            "data.train[1]: unknown key wait");
    refused(*state, "data.train={plugin: synthetic, weight: 1}",
            "unknown key weight");
}

/* ---- documents ---- */

/* Ids of a file in which 7 begins a document: 7 0 1 7 2 3 7 4 5 ... */
static void write_ids(const run_rig *rig)
{
    uint32_t ids[300];
    FILE *to = fopen(tni_path_join(rig->arena, rig->folder, "ids.bin"), "wb");
    assert_non_null(to);
    for (uint32_t i = 0; i < 300; i++)
        ids[i] = i % 3 ? 100 + i % 50 : 7;
    assert_int_equal(fwrite(ids, sizeof *ids, 300, to), 300);
    fclose(to);
}

static int has_documents(const int32_t *tokens)
{
    int marks = 0;
    for (int t = 0; t < T; t++)
        marks += tokens[t] == 7;
    return marks > 1 && marks < T;
}

/* Rows of a dataset that numbers nothing are one document, whatever stood in
 * their place before. */
static void rows_of_a_mixture_are_divided_one_by_one(void **state)
{
    write_ids(*state);
    for (int64_t ahead = 0; ahead < 4; ahead += 3) {
        feed *f = open_feed(*state,
                            "data.train=[{plugin: text_file, path: text.txt}, "
                            "{plugin: token_file, path: ids.bin, segments: "
                            "true, document_token: 7}]",
                            ahead);
        int divided = 0, whole = 0;
        assert_true(tni_mixture_has_segments(&f->recipe->train_data));
        for (int i = 0; i < 50; i++) {
            const int32_t *rows = take(f);
            for (int r = 0; r < ROWS * T; r += T) {
                const int documents = has_documents(rows + r);
                int32_t number = 0;
                for (int t = 0; t < T; t++) {
                    number += documents && t > 0 && rows[r + t] == 7;
                    assert_int_equal(f->batch.segments[r + t], number);
                }
                divided += documents;
                whole += !documents;
            }
        }
        assert_true(divided > 20 && whole > 20);
        close_feed(f);
    }
}

static void a_mixture_is_written_into_the_resolved_config(void **state)
{
    feed *f = open_feed(*state, two, 0);
    const tni_yaml *list =
        tni_yaml_get(tni_yaml_get(f->recipe->root, "data"), "train");
    assert_int_equal(list->count, 2);
    assert_string_equal(tni_yaml_get(list->entries[0].value, "weight")->scalar,
                        "3");
    assert_string_equal(tni_yaml_get(list->entries[1].value, "weight")->scalar,
                        "1.0");
    close_feed(f);
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(rows_come_by_weight_and_are_mixed_within_batches),
        WITH_RIG(one_dataset_in_a_list_is_that_dataset),
        WITH_RIG(the_same_dataset_twice_gives_other_rows),
        WITH_RIG(batches_made_ahead_are_the_same_batches),
        WITH_RIG(a_place_is_where_the_run_is_and_not_its_maker),
        WITH_RIG(closing_early_waits_for_nobody),
        WITH_RIG(a_failure_comes_after_the_batches_before_it),
        WITH_RIG(bad_mixtures_are_refused_with_their_place),
        WITH_RIG(rows_of_a_mixture_are_divided_one_by_one),
        WITH_RIG(a_mixture_is_written_into_the_resolved_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
