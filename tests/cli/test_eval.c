/*
 * test_eval.c - the program says how good a checkpoint is.
 */
#include "program.h"

#include <jansson.h>

static int train_once(void **state)
{
    if (program_setup(state))
        return -1;
    program *p = *state;
    program_write(p, "q.jsonl",
                  "{\"query\": \"2 times 3\", \"choices\": [\"is 6.\", "
                  "\"\xC3\xA9\xC3\xA9\"], \"gold\": 0}\n"
                  "{\"query\": \"1 times 1\", \"choices\": [\"is 1.\", "
                  "\"##\"], \"gold\": 0}\n");
    return RUN(p, "train", "-f", "c.yaml", "--set", "train.eval_batches=0");
}

/* Line number `line` of the output, as JSON. */
static json_t *object_at(const char *text, int line)
{
    while (line-- > 0) {
        text = strchr(text, '\n');
        assert_non_null(text++);
    }
    json_t *root = json_loadb(text, strcspn(text, "\n"), 0, NULL);
    assert_true(json_is_object(root));
    return root;
}

static double number(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    if (!json_is_number(value))
        fail_msg("no number %s", key);
    return json_number_value(value);
}

static int lines(const char *text)
{
    int count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

/* The last val_loss of the run's metrics. */
static double val_loss(program *p)
{
    static char text[1 << 16];
    const char *last = NULL;
    program_read(p, "run/metrics.jsonl", text, sizeof text);
    for (const char *at = text; (at = strstr(at, "\"val_loss\": ")); at++)
        last = at;
    assert_non_null(last);
    return atof(last + strlen("\"val_loss\": "));
}

static void the_loss_is_what_training_validated(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "eval", "-m", "run"), 0);
    assert_int_equal(lines(p->out), 1);
    json_t *root = object_at(p->out, 0);
    assert_non_null(strstr(json_string_value(json_object_get(root, "data")),
                           "text_file /")); /* as the resolved config says */
    tn_assert_near(number(root, "loss"), val_loss(p), 1e-5);
    /* nine digits are printed */
    tn_assert_near(number(root, "perplexity"), exp(number(root, "loss")), 1e-6);
    tn_assert_near(number(root, "bits_per_byte"), number(root, "loss") / log(2),
                   1e-7);
    tn_assert_near(number(root, "bytes"), number(root, "tokens"), 0);
    json_decref(root);
}

static void any_data_has_a_line_of_its_own(void **state)
{
    program *p = *state;
    assert_int_equal(
        RUN(p, "tokenize", "text.txt", "-t", "byte", "-o", "tokens"), 0);
    assert_int_equal(RUN(p, "eval", "-m", "run", "-d", "text.txt", "-d",
                         "tokens", "-d", "c.yaml", "-d",
                         "{plugin: text_file, path: text.txt, split: [0, 0.5]}",
                         "--batch-size", "5", "--headless"),
                     0);
    assert_int_equal(lines(p->out), 4);
    json_t *text = object_at(p->out, 0), *ids = object_at(p->out, 1);
    json_t *val = object_at(p->out, 2), *half = object_at(p->out, 3);
    assert_string_equal(json_string_value(json_object_get(text, "data")),
                        "text_file text.txt");
    assert_string_equal(json_string_value(json_object_get(ids, "data")),
                        "token_file tokens");
    tn_assert_near(number(text, "loss"), number(ids, "loss"), 1e-6);
    tn_assert_near(number(val, "loss"), val_loss(p), 1e-5);
    assert_true(number(half, "tokens") < number(text, "tokens"));
    json_decref(text);
    json_decref(ids);
    json_decref(val);
    json_decref(half);

    assert_int_equal(RUN(p, "eval", "-m", "run", "-d", "text.txt",
                         "--max-batches", "2", "--seq-len", "16"),
                     0);
    json_t *two = object_at(p->out, 0);
    tn_assert_near(number(two, "tokens"), 2 * 2 * 16, 0);
    json_decref(two);
}

static void questions_are_judged_by_their_likelihood(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "eval", "-m", "run", "--choices", "q.jsonl"), 0);
    assert_int_equal(lines(p->out), 1);
    json_t *root = object_at(p->out, 0);
    tn_assert_near(number(root, "accuracy"), 1, 0);
    tn_assert_near(number(root, "chance"), 0.5, 0);
    tn_assert_near(number(root, "centered"), 1, 0);
    tn_assert_near(number(root, "questions"), 2, 0);
    json_decref(root);
    assert_int_equal(RUN(p, "eval", "-m", "run", "--choices", "q.jsonl",
                         "--shots", "1", "--delimiter", "\nAnswer: "),
                     0);
    tn_assert_says_(__FILE__, __LINE__, p->err, "their beginnings");
}

static void a_byte_order_mark_is_no_part_of_the_questions(void **state)
{
    program *p = *state;
    program_write(p, "marked.jsonl",
                  "\xef\xbb\xbf{\"query\": \"2 times 3\", \"choices\": "
                  "[\"is 6.\", \"##\"], \"gold\": 0}\n");
    assert_int_equal(RUN(p, "eval", "-m", "run", "--choices", "marked.jsonl"),
                     0);
}

static void refusals_are_sentences(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "eval", "-m", "run", "-d", "nowhere.txt"), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "nowhere.txt");
    assert_int_equal(RUN(p, "eval", "-m", "run", "--choices", "nowhere"), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "nowhere");
    assert_int_equal(RUN(p, "eval", "-m", "run", "-d", ""), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "-d is empty");
    assert_int_equal(RUN(p, "eval", "-m", "run", "--backend", ""), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "--backend is empty");
    assert_int_equal(RUN(p, "eval", "-m", "run", "--quantize", ""), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "--quantize is empty");
    program_write(p, "bad.jsonl", "{\"query\": 1}\n");
    assert_int_equal(RUN(p, "eval", "-m", "run", "--choices", "bad.jsonl"), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "bad.jsonl:1: there is no");
    assert_int_equal(RUN(p, "eval", "-m", "run", "--set", "data.val=null"), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "no data.val");
    assert_int_equal(RUN(p, "eval", "-m", "run", "--seq-len", "33"), 1);
    tn_assert_says_(__FILE__, __LINE__, p->err, "max_seq_len 32");
    assert_int_equal(RUN(p, "eval", "-m", "run", "text.txt"), 2);
    assert_int_equal(RUN(p, "eval", "-m", "run", "--max-batches", "-1"), 2);
    assert_int_equal(RUN(p, "eval"), 1);
    assert_string_equal(p->out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_is_what_training_validated),
        cmocka_unit_test(any_data_has_a_line_of_its_own),
        cmocka_unit_test(questions_are_judged_by_their_likelihood),
        cmocka_unit_test(a_byte_order_mark_is_no_part_of_the_questions),
        cmocka_unit_test(refusals_are_sentences),
    };
    return cmocka_run_group_tests(tests, train_once, program_teardown);
}
