/*
 * test_score.c - the loss of every token is what the logits say it is, however
 * rows are batched and padded; sums over a dataset are what training calls its
 * validation loss; choices are judged by hand.
 */
#include "run_rig.h"

#include "run/checkpoint.h"
#include "run/choices.h"
#include "run/evaluate.h"
#include "run/logits.h"
#include "run/weights.h"

enum { V = 256 };

static const char *weights_of(const tni_recipe *r)
{
    static char path[256];
    tni_training *t;
    tn_error err = TN_ERROR_NONE;
    const tni_progress progress = {.step = 1};
    tn_assert_ok_err(tni_training_create(r, &t, &err), err);
    tn_assert_ok_err(tni_training_commit(t, &err), err);
    tn_assert_ok_err(tni_weights_draw(t->session, &err), err);
    tn_assert_ok_err(tni_checkpoint_save(t, &progress, path, sizeof path, &err),
                     err);
    tni_training_destroy(t);
    return path;
}

/* A checkpoint whose parameters are all NaN. */
static const char *damaged(const tni_recipe *r)
{
    const char *path = weights_of(r);
    char file[320];
    uint64_t header = 0;
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    FILE *f = fopen(file, "r+b");
    assert_non_null(f);
    assert_int_equal(fread(&header, 8, 1, f), 1);
    fseek(f, 0, SEEK_END);
    const long end = ftell(f);
    fseek(f, (long)header + 8, SEEK_SET);
    for (long at = (long)header + 8; at < end; at++)
        fputc(0xff, f);
    fclose(f);
    return path;
}

static tni_recipe *recipe_of(run_rig *rig)
{
    return run_rig_recipe(rig, SET("model.initializer_range=0.3",
                                   "model.max_seq_len=100", "train.seq_len=8",
                                   "train.batch_size=3"));
}

/* -log softmax(logits after `count - 1` tokens)[the last], for each token. */
static void losses_by_hand(const tni_recipe *r, const char *weights,
                           const int32_t *ids, int64_t count, double *nats)
{
    float *logits;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_logits(r, weights, ids, count, &logits, &err), err);
    for (int64_t i = 0; i + 1 < count; i++) {
        double sum = 0.0;
        for (int64_t v = 0; v < V; v++)
            sum += exp((double)logits[i * V + v]);
        nats[i] = log(sum) - (double)logits[i * V + ids[i + 1]];
    }
    free(logits);
}

/* ---- tokens ---- */

static void a_row_costs_the_same_however_long_its_padding_is(void **state)
{
    const tni_recipe *r = recipe_of(*state);
    const char *weights = weights_of(r);
    tni_scorer *s;
    tn_error err = TN_ERROR_NONE;
    int32_t ids[101], tokens[2 * 100], targets[2 * 100];
    double nats[100];
    for (int i = 0; i < 101; i++)
        ids[i] = (i * 37 + i * i) % V;
    losses_by_hand(r, weights, ids, 100, nats);
    tn_assert_ok_err(tni_scorer_create(r, weights, 2, 100, 0, &s, &err), err);
    assert_int_equal(tni_scorer_length(s, 1), 32);
    assert_int_equal(tni_scorer_length(s, 33), 64);
    assert_int_equal(tni_scorer_length(s, 65), 100);
    for (int64_t length = 32; length; length = length < 64    ? 64
                                               : length < 100 ? 100
                                                              : 0) {
        for (int64_t i = 0; i < 2 * length; i++) {
            tokens[i] = i < length ? 7 : i < length + 30 ? ids[i - length] : 0;
            targets[i] = i < length        ? -1
                         : i < length + 29 ? ids[i - length + 1]
                                           : -1;
        }
        tn_assert_ok_err(tni_scorer_run(s, length, tokens, targets, NULL, &err),
                         err);
        for (int64_t i = 0; i < 2 * length; i++)
            tn_assert_near(
                s->nll[i],
                i >= length && i < length + 29 ? nats[i - length] : 0.0, 1e-5);
    }
    tni_scorer_destroy(s);
}

/* ---- datasets ---- */

static tni_data_score score_with(const tni_recipe *r,
                                 const tn_tokenizer_handle *tokenizer,
                                 const char *weights, int64_t max_batches)
{
    tni_scorer *s;
    tni_data_score score;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_scorer_create(r, weights, r->train.batch_size,
                                       r->train.seq_len, 0, &s, &err),
                     err);
    const tni_score_request request = {.tokenizer = tokenizer,
                                       .mixture = &r->val_data,
                                       .max_batches = max_batches};
    tn_assert_ok_err(tni_score_data(s, &request, &score, &err), err);
    tni_scorer_destroy(s);
    return score;
}

static tni_score validation_with(const tni_recipe *r,
                                 const tn_tokenizer_handle *tokenizer,
                                 const char *weights, int64_t max_batches)
{
    tni_training *t;
    tni_evaluator e;
    tni_score score;
    tn_assert_ok(tni_training_create(r, &t, NULL));
    tn_assert_ok(tni_training_commit(t, NULL));
    tn_assert_ok(tni_weights_load(t->session, weights, NULL));
    tn_assert_ok(tni_evaluator_open(t, tokenizer, max_batches, &e, NULL));
    tn_assert_ok(tni_evaluate(&e, &score, NULL));
    tni_evaluator_close(&e);
    tni_training_destroy(t);
    return score;
}

static void a_dataset_scores_what_training_validates(void **state)
{
    const tni_recipe *r = recipe_of(*state);
    const char *weights = weights_of(r);
    tn_tokenizer_handle t;
    tn_assert_ok(tni_tokenizer_open(r->reader.host, &r->tokenizer, &t, NULL));
    for (int64_t batches = 0; batches < 3; batches++) {
        const tni_data_score mine = score_with(r, &t, weights, batches);
        const tni_score theirs = validation_with(r, &t, weights, batches);
        tn_assert_near(mine.loss, theirs.loss, 1e-6);
        tn_assert_near(mine.tokens, theirs.tokens, 0);
        tn_assert_near(mine.perplexity, exp(theirs.loss), 1e-2);
        /* a byte tokenizer: one byte each */
        tn_assert_near(mine.bytes, mine.tokens, 0);
        tn_assert_near(mine.bits_per_byte, mine.loss / log(2), 1e-9);
    }
    tni_tokenizer_close(&t);
}

/* A line's end stands for no text, as a marker does not. */
static const tn_tokenizer *plain;

static tn_status text_of(const void *self, int32_t id, const char **bytes,
                         uint32_t *count, tn_error *err)
{
    TN_TRY(plain->bytes_of(self, id, bytes, count, err));
    *count = id == '\n' ? 0 : *count;
    return TN_OK;
}

static int32_t begins(const void *self, const char *text)
{
    (void)self;
    return strcmp(text, "<|begin_of_text|>") == 0 ? '\n' : -1;
}

static tn_tokenizer_handle with_marker(const tni_recipe *r)
{
    static tn_tokenizer marked;
    tn_tokenizer_handle t;
    tn_assert_ok(tni_tokenizer_open(r->reader.host, &r->tokenizer, &t, NULL));
    plain = t.vtable;
    marked = *plain;
    marked.bytes_of = text_of;
    marked.special = begins;
    t.vtable = &marked;
    return t;
}

/* Rows of different lengths in a last batch that is not full; markers; rows
 * whose dataset does not know their bytes. */
static void training_counts_bits_per_byte_as_eval_does(void **state)
{
    run_rig *rig = *state;
    static const char *const val[] = {
        "data.val={plugin: text_file, path: text.txt, split: [0.8, 1]}",
        "data.val={plugin: sft, path: chat.jsonl, packing: pad}",
        "data.val=[{plugin: text_file, path: text.txt}, {plugin: synthetic}]"};
    char path[128];
    snprintf(path, sizeof path, "%s/chat.jsonl", rig->folder);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    for (int i = 0; i < 5; i++)
        fprintf(to,
                "[{\"role\":\"user\",\"content\":\"%d\"},{\"role\":"
                "\"assistant\",\"content\":\"no\\n%s\"}]\n",
                i, &"many, very many words\\n"[5 * i]);
    fclose(to);
    for (size_t i = 0; i < sizeof val / sizeof *val; i++) {
        const tni_recipe *r = run_rig_recipe(
            rig, SET("model.initializer_range=0.3", "model.max_seq_len=64",
                     "train.seq_len=64", "train.batch_size=4", val[i]));
        const char *weights = weights_of(r);
        tn_tokenizer_handle t = with_marker(r);
        const int64_t batches = i == 2 ? 3 : 0;
        const tni_data_score mine = score_with(r, &t, weights, batches);
        const tni_score theirs = validation_with(r, &t, weights, batches);
        tn_assert_near(mine.loss, theirs.loss, 1e-6);
        assert_true(mine.bytes < mine.tokens); /* there are markers */
        assert_true(mine.bits_per_byte > 0);
        tn_assert_near(mine.bits_per_byte, theirs.bits_per_byte, 1e-12);
        t.vtable = plain;
        tni_tokenizer_close(&t);
    }
}

static void endless_data_need_a_number_of_batches(void **state)
{
    const tni_recipe *r = run_rig_recipe(
        *state, SET("data.val=[{plugin: synthetic}, {plugin: synthetic}]",
                    "train.batch_size=2"));
    const char *weights = weights_of(r);
    const tn_tokenizer_handle none = {.struct_size = sizeof none};
    tni_scorer *s;
    tni_data_score score;
    tn_error err = TN_ERROR_NONE;
    volatile sig_atomic_t stop = 0;
    tni_score_request request = {
        .tokenizer = &none, .mixture = &r->val_data, .stop = &stop};
    tn_assert_ok(tni_scorer_create(r, weights, 2, 8, 0, &s, NULL));
    assert_int_equal(tni_score_data(s, &request, &score, &err), TN_EINVALID);
    tn_assert_error_says(err, "--max-batches");
    request.max_batches = 3;
    tn_assert_ok(tni_score_data(s, &request, &score, NULL));
    tn_assert_near(score.tokens, 3 * 2 * 8, 0);
    tn_assert_near(score.bits_per_byte, 0, 0); /* unknown */
    stop = 1;
    assert_int_equal(tni_score_data(s, &request, &score, NULL),
                     TN_EINTERRUPTED);
    tni_scorer_destroy(s);
}

static void damaged_weights_have_no_loss(void **state)
{
    const tni_recipe *r = recipe_of(*state);
    tn_tokenizer_handle tokenizer;
    const tni_score_request request = {.tokenizer = &tokenizer,
                                       .mixture = &r->val_data};
    tni_scorer *s;
    tni_data_score score;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok(
        tni_tokenizer_open(r->reader.host, &r->tokenizer, &tokenizer, NULL));
    tn_assert_ok_err(
        tni_scorer_create(r, damaged(r), r->train.batch_size, 8, 0, &s, &err),
        err);
    assert_int_equal(tni_score_data(s, &request, &score, &err), TN_ENONFINITE);
    tn_assert_error_says(err, "the weights are damaged");
    tni_scorer_destroy(s);
    tni_tokenizer_close(&tokenizer);
}

/* ---- choices ---- */

static const char questions[] =
    "{\"query\": \"2 times 3 is\", \"choices\": [\"6.\", \"6. Or\"], "
    "\"gold\": 0}\n"
    "\n"
    "{\"query\": \"1 times 1\", \"choices\": [\"is 1\", \"is 2\"], "
    "\"gold\": 1}\n"
    "{\"query\": \"What?\", \"choices\": [\"That\", \"This\"], \"gold\": 0}\n"
    "{\"query\": \"0\", \"choices\": [\"0\", \"1\", \"2\", \"3\"], "
    "\"gold\": 3}\n";

static tn_status choose_by(run_rig *rig, const tni_recipe *r,
                           const char *weights, const char *text,
                           tni_choices_request request, int64_t seq_len,
                           tni_choices_result *result, tn_error *err)
{
    char path[128];
    tn_tokenizer_handle tokenizer;
    tni_scorer *s;
    snprintf(path, sizeof path, "%s/questions.jsonl", rig->folder);
    run_rig_write(path, text);
    tn_assert_ok(
        tni_tokenizer_open(rig->host, &r->tokenizer, &tokenizer, NULL));
    tn_assert_ok(tni_scorer_create(r, weights, 3, seq_len, 0, &s, NULL));
    request.tokenizer = &tokenizer;
    request.path = path;
    request.delimiter = request.delimiter ? request.delimiter : " ";
    const tn_status status = tni_choices_score(s, &request, result, err);
    tni_scorer_destroy(s);
    tni_tokenizer_close(&tokenizer);
    return status;
}

static tn_status choose(run_rig *rig, const char *text,
                        tni_choices_request request, int64_t seq_len,
                        tni_choices_result *result, tn_error *err)
{
    const tni_recipe *r = recipe_of(rig);
    return choose_by(rig, r, weights_of(r), text, request, seq_len, result,
                     err);
}

/* Nats per byte of the text from `from` on; the tokenizer's ids are bytes. */
static double mean_by_hand(const tni_recipe *r, const char *weights,
                           const char *text, int64_t from)
{
    int32_t ids[100] = {0};
    double nats[100], sum = 0.0;
    const int64_t count = (int64_t)strlen(text);
    assert_in_range(count, 2, 100);
    for (int64_t i = 0; i < count; i++)
        ids[i] = (unsigned char)text[i];
    losses_by_hand(r, weights, ids, count, nats);
    for (int64_t i = from; i < count; i++)
        sum += nats[i - 1];
    return sum / (double)(count - from);
}

static int lowest(const double *of, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        best = of[i] < of[best] ? i : best;
    return best;
}

static void the_lowest_mean_over_what_differs_is_the_answer(void **state)
{
    const tni_recipe *r = recipe_of(*state);
    const char *w = weights_of(r);
    tni_choices_result result;
    tn_error err = TN_ERROR_NONE;
    /* spans begin where the choices part; "6." is the beginning of "6. Or", so
     * its last byte is what it is judged by */
    const double a[] = {mean_by_hand(r, w, "2 times 3 is 6.", 14),
                        mean_by_hand(r, w, "2 times 3 is 6. Or", 15)};
    const double b[] = {mean_by_hand(r, w, "1 times 1 is 1", 13),
                        mean_by_hand(r, w, "1 times 1 is 2", 13)};
    const double c[] = {mean_by_hand(r, w, "What? That", 8),
                        mean_by_hand(r, w, "What? This", 8)};
    const double d[] = {
        mean_by_hand(r, w, "0 0", 2), mean_by_hand(r, w, "0 1", 2),
        mean_by_hand(r, w, "0 2", 2), mean_by_hand(r, w, "0 3", 2)};
    const int correct = (lowest(a, 2) == 0) + (lowest(b, 2) == 1) +
                        (lowest(c, 2) == 0) + (lowest(d, 4) == 3);
    tn_assert_ok_err(
        choose(*state, questions, (tni_choices_request){0}, 100, &result, &err),
        err);
    assert_int_equal(result.examples, 4);
    assert_int_equal(result.correct, correct);
    assert_int_equal(result.cropped, 0);
    tn_assert_near(result.accuracy, correct / 4.0, 1e-12);
    tn_assert_near(result.chance, (0.5 + 0.5 + 0.5 + 0.25) / 4, 1e-12);
    tn_assert_near(result.centered,
                   (result.accuracy - result.chance) / (1 - result.chance),
                   1e-12);
}

static void what_does_not_fit_loses_its_beginning(void **state)
{
    tni_choices_result result;
    tn_assert_ok(
        choose(*state, questions, (tni_choices_request){0}, 12, &result, NULL));
    assert_int_equal(result.cropped, 4);
    assert_int_equal(result.examples, 4);
}

/* "0 0" and the marker before it are four tokens. */
static void prompts_begin_as_the_vocabulary_begins_texts(void **state)
{
    run_rig *rig = *state;
    const tni_recipe *r = recipe_of(rig);
    tn_tokenizer_handle t = with_marker(r);
    tni_choices_result result;
    tni_scorer *s;
    char path[128];
    snprintf(path, sizeof path, "%s/questions.jsonl", rig->folder);
    run_rig_write(path, "{\"query\": \"0\", \"choices\": [\"0\", \"1\"], "
                        "\"gold\": 0}\n");
    const tni_choices_request request = {
        .tokenizer = &t, .path = path, .delimiter = " "};
    for (int64_t seq_len = 2; seq_len < 4; seq_len++) {
        tn_assert_ok(
            tni_scorer_create(r, weights_of(r), 3, seq_len, 0, &s, NULL));
        tn_assert_ok(tni_choices_score(s, &request, &result, NULL));
        assert_int_equal(result.cropped, seq_len == 2 ? 2 : 0);
        tni_scorer_destroy(s);
    }
    t.vtable = plain;
    tni_tokenizer_close(&t);
}

static void shots_are_other_questions(void **state)
{
    tni_choices_result result;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(choose(*state, questions,
                            (tni_choices_request){.shots = 1}, 100, &result,
                            &err),
                     err);
    assert_int_equal(result.examples, 4);
    assert_int_equal(choose(*state, questions,
                            (tni_choices_request){.shots = 4}, 100, &result,
                            &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "too few for 4 shots");
    err = TN_ERROR_NONE;
    assert_int_equal(choose(*state, questions,
                            (tni_choices_request){.shots = 65}, 100, &result,
                            &err),
                     TN_EINVALID);
    tn_assert_ok(choose(*state, questions, (tni_choices_request){.most = 2},
                        100, &result, NULL));
    assert_int_equal(result.examples, 2);
}

static void damaged_weights_choose_nothing(void **state)
{
    const tni_recipe *r = recipe_of(*state);
    tni_choices_result result;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(choose_by(*state, r, damaged(r), questions,
                               (tni_choices_request){0}, 100, &result, &err),
                     TN_ENONFINITE);
    tn_assert_error_says(err, "the weights are damaged");
}

static void refuses(run_rig *rig, const char *text, const char *part)
{
    tni_choices_result result;
    tn_error err = TN_ERROR_NONE;
    assert_true(choose(rig, text, (tni_choices_request){0}, 100, &result,
                       &err) != TN_OK);
    tn_assert_error_says(err, part);
}

static void bad_lines_are_refused_by_their_number(void **state)
{
    refuses(*state, "\n{\n", "questions.jsonl:2: column");
    refuses(*state, "{\"choices\": [\"a\", \"b\"], \"gold\": 0}\n",
            ":1: there is no \"query\"");
    refuses(*state, "{\"query\": \"q\", \"choices\": [\"a\"], \"gold\": 0}\n",
            "\"choices\" has 1 texts");
    refuses(*state,
            "{\"query\": \"q\", \"choices\": [\"a\", \"b\"], \"gold\": 2}\n",
            "\"gold\" is not the number of a choice, 0 to 1");
    refuses(*state, "{\"query\": \"q\", \"choices\": [\"a\", 7], \"gold\": 0}",
            "choice 1 is not a text");
    refuses(*state, "\n \n", "there are 0 questions");
}

#define WITH_RIG(test)                                                         \
    cmocka_unit_test_setup_teardown(test, run_rig_setup, run_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(a_row_costs_the_same_however_long_its_padding_is),
        WITH_RIG(a_dataset_scores_what_training_validates),
        WITH_RIG(training_counts_bits_per_byte_as_eval_does),
        WITH_RIG(endless_data_need_a_number_of_batches),
        WITH_RIG(damaged_weights_have_no_loss),
        WITH_RIG(damaged_weights_choose_nothing),
        WITH_RIG(the_lowest_mean_over_what_differs_is_the_answer),
        WITH_RIG(what_does_not_fit_loses_its_beginning),
        WITH_RIG(prompts_begin_as_the_vocabulary_begins_texts),
        WITH_RIG(shots_are_other_questions),
        WITH_RIG(bad_lines_are_refused_by_their_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
