/*
 * test_data.c - from texts and conversations to training, as a user types it.
 */
#include "program.h"

static const char lines[] =
    "{\"body\": \"a first document of some words\"}\n"
    "{\"body\": \"another one\"}\n{\"body\": \"and the third and last one\"}\n";

static void a_folder_of_tokens_is_made_and_trained_on(void **state)
{
    program *p = *state;
    program_write(p, "a.jsonl", lines);
    assert_int_equal(RUN(p, "tokenize", "a.jsonl", "text.txt", "-o", "web",
                         "--field", "body"),
                     0);
    assert_non_null(strstr(p->out, "web: "));
    assert_non_null(strstr(p->out, "4 documents"));
    assert_int_equal(strlen(p->err), 0); /* no bar where there is no terminal */
    assert_int_equal(RUN(p, "tokenize", "a.jsonl", "-o", "web"), 1);
    assert_non_null(strstr(p->err, "other"));
    assert_int_equal(
        RUN(p, "train", "-f", "c.yaml", "-d", "web", "--max-steps", "2"), 0);
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", "2",
                         "--set",
                         "data.train={plugin: token_file, path: web, packing: "
                         "document_start}"),
                     0);
    assert_non_null(strstr(p->err, "4 documents in 4 rows"));
}

static void one_file_holds_one_text(void **state)
{
    program *p = *state;
    program_write(p, "a.txt", "a");
    assert_int_equal(RUN(p, "tokenize", "a.txt", "text.txt", "-o", "x.bin"), 1);
    assert_non_null(strstr(p->err, "one file holds one text, these are 2"));
    program_write(p, "a.jsonl", lines);
    assert_int_equal(RUN(p, "tokenize", "a.jsonl", "-o", "x.bin"), 1);
    assert_non_null(strstr(p->err, "a.jsonl: -o x.bin takes one plain text"));
    program_write(p, "a.txt.gz", "packed");
    assert_int_equal(RUN(p, "tokenize", "a.txt.gz", "-o", "x.bin"), 1);
    assert_non_null(strstr(p->err, "a.txt.gz: -o x.bin takes one plain text"));
    static const char *const about_documents[][2] = {
        {"--field", "body"}, {"--begin", "none"}, {"--shard-tokens", "9"}};
    for (int i = 0; i < 3; i++) {
        const char *const *flag = about_documents[i];
        assert_int_equal(
            RUN(p, "tokenize", "a.txt", "-o", "x.bin", flag[0], flag[1]), 1);
        tn_assert_says_(__FILE__, __LINE__, p->err, flag[0]);
        tn_assert_says_(__FILE__, __LINE__, p->err, "one plain text");
    }
    assert_false(program_exists(p, "x.bin"));
    assert_int_equal(RUN(p, "tokenize", "a.txt", "-o", "x.bin"), 0);
    assert_int_equal(RUN(p, "tokenize", "a.txt"), 2);
    assert_int_equal(
        RUN(p, "tokenize", "a.txt", "-o", "f", "--shard-tokens", "0"), 2);
    assert_int_equal(RUN(p, "tokenize", "none*", "-o", "f"), 1);
    assert_non_null(strstr(p->err, "none*: no file is called like this"));
}

static void what_is_trained_on_is_shown_in_brackets(void **state)
{
    program *p = *state;
    program_write(p, "chat.jsonl",
                  "[{\"role\": \"user\", \"content\": \"Hi\\u0007\"},"
                  "{\"role\": \"assistant\", \"content\": \"Hello.\"}]\n");
    assert_int_equal(RUN(p, "data", "show", "c.yaml", "--set",
                         "data.train={plugin: sft, path: chat.jsonl}", "--set",
                         "train.seq_len=48", "--set", "model.max_seq_len=48"),
                     0);
    assert_string_equal(p->out,
                        "<|user|>Hi\\x07<|assistant|>[Hello.<|endoftext|>]\n"
                        "-- 42 tokens, 19 of them trained on, 6 of padding\n");
    assert_int_equal(RUN(p, "data", "show", "c.yaml", "--val", "--rows", "3"),
                     0);
    assert_non_null(strstr(p->out, "8 tokens, 8 of them trained on"));
    assert_int_equal(RUN(p, "data", "shew", "c.yaml"), 2);
    assert_int_equal(
        RUN(p, "data", "show", "c.yaml", "--val", "--set", "data.val=null"), 1);
    assert_non_null(strstr(p->err, "there is no data.val in it"));
}

/* Interrupted and resumed, a mixture ends with the bytes of a whole run. */
static void a_mixture_resumes_exactly(void **state)
{
    program *p = *state;
    static const char data[] =
        "data.train=[{plugin: synthetic}, {plugin: text_file, path: text.txt, "
        "weight: 2}]";
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--set", data,
                         "--max-steps", "8", "--set", "checkpoint.every=4"),
                     0);
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--set", data,
                         "--max-steps", "8", "--set", "checkpoint.every=4",
                         "--set", "checkpoint.dir=b", "--resume",
                         "run/step-00000004", "--set", "train.prefetch=0"),
                     0);
    assert_true(program_same(p, "run/step-00000008/model.safetensors",
                             "b/step-00000008/model.safetensors"));
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--set",
                         "checkpoint.dir=c", "--resume", "run/step-00000004"),
                     1);
    assert_non_null(strstr(p->err, "saved with 2 datasets and has 1 now"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROGRAM(a_folder_of_tokens_is_made_and_trained_on),
        WITH_PROGRAM(one_file_holds_one_text),
        WITH_PROGRAM(what_is_trained_on_is_shown_in_brackets),
        WITH_PROGRAM(a_mixture_resumes_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
