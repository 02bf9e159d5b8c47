/*
 * test_train.c - texts to a folder that opens as a tokenizer.
 */
#include "bpe_rig.h"

#include <unistd.h>

/* A text, handed over in documents of so many bytes. */
typedef struct source {
    const char *text;
    size_t bytes, at, each;
    int calls, stop_at;
} source;

static tn_status next(void *from, const char **text, uint64_t *bytes,
                      tn_error *err)
{
    source *s = from;
    (void)err;
    const size_t left = s->bytes - s->at;
    *text = s->text + s->at;
    *bytes = left < s->each ? left : s->each;
    s->at += *bytes;
    return TN_OK;
}

static int32_t progress(void *from, const char *doing, double share)
{
    source *s = from;
    assert_non_null(doing);
    assert_true(share <= 1);
    return ++s->calls == s->stop_at;
}

static source whole_file(rig *r, const char *path)
{
    source s = {0};
    char *text;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(
        tni_file_read(r->arena, path, SIZE_MAX / 4, &text, &s.bytes, &err),
        err);
    s.text = text;
    s.each = s.bytes;
    return s;
}

static tn_status train(rig *r, const char *options, int64_t size, source *s,
                       tn_error *err)
{
    const tn_tokenizer *vtable = rig_vtable(r, TN_KIND_TOKENIZER, "bpe");
    const tn_tokenizer_training how = {.struct_size = sizeof how,
                                       .vocab_size = size,
                                       .from = s,
                                       .next = next,
                                       .progress = progress};
    return vtable->train(r->host, rig_options(r, vtable, options), &how, err);
}

static void trained(rig *r, const char *options, int64_t size, source s)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(train(r, options, size, &s, &err), err);
    assert_true(s.calls > 0);
}

static void assert_same_file(rig *r, const char *a, const char *b)
{
    const source x = whole_file(r, a), y = whole_file(r, b);
    assert_string_equal(x.text, y.text);
}

static const char *made(rig *r, const char *name)
{
    return tni_path_join(r->arena, r->folder, name);
}

/* ---- golden ---- */

static void hugging_faces_trainer_learns_the_same(void **state)
{
    rig *r = *state;
    trained(r, "{path: t, pattern: gpt2, alphabet: gpt2}", 700,
            whole_file(r, bpe_fixture(r, "corpus.txt")));
    assert_same_file(r, made(r, "t/tokenizer.tiktoken"),
                     bpe_fixture(r, "corpus_hf.tiktoken"));
}

static void rustbpe_learns_the_same(void **state)
{
    rig *r = *state;
    trained(r, "{path: t}", 700, whole_file(r, bpe_fixture(r, "corpus.txt")));
    assert_same_file(r, made(r, "t/tokenizer.tiktoken"),
                     bpe_fixture(r, "corpus_rust.tiktoken"));
}

static void tiny_shakespeare_gives_hugging_faces_tokens(void **state)
{
    rig *r = *state;
    NEEDS_SHARED(r, "tinyshakespeare.txt");
    trained(r, "{path: t, pattern: gpt2, alphabet: gpt2}", 512,
            whole_file(r, bpe_shared(r, "tinyshakespeare.txt")));
    assert_same_file(r, made(r, "t/tokenizer.tiktoken"),
                     bpe_fixture(r, "shakespeare.tiktoken"));
}

/* A long document is counted in segments by all threads; that must not show. */
static void a_long_document_is_no_different_from_its_parts_counts(void **state)
{
    rig *r = *state;
    const source once = whole_file(r, bpe_fixture(r, "corpus.txt"));
    enum { TIMES = 100 };
    char *text = tni_arena_alloc(r->arena, TIMES * once.bytes + 1);
    for (size_t i = 0; i < TIMES; i++)
        memcpy(text + i * once.bytes, once.text, once.bytes);
    source s = {.text = text, .bytes = TIMES * once.bytes};
    s.each = s.bytes;
    trained(r, "{path: whole}", 700, s);
    s.each = once.bytes;
    trained(r, "{path: parts}", 700, s);
    assert_same_file(r, made(r, "whole/tokenizer.json"),
                     made(r, "parts/tokenizer.json"));
    assert_same_file(r, made(r, "parts/tokenizer.tiktoken"),
                     bpe_fixture(r, "corpus_rust.tiktoken"));
}

/* ---- what is written ---- */

static void both_files_open_and_agree(void **state)
{
    rig *r = *state;
    const source text = whole_file(r, bpe_fixture(r, "corpus.txt"));
    trained(r, "{path: t, special_tokens: [<|bos|>, <|end|>]}", 500, text);
    bpe folder = bpe_open(r, "{path: t}");
    bpe ranks = bpe_open(r, "{path: t/tokenizer.tiktoken, pattern: nanochat}");
    assert_int_equal(folder.vtable->vocab_size(folder.self), 500);
    assert_int_equal(ranks.vtable->vocab_size(ranks.self), 498);
    assert_int_equal(folder.vtable->special(folder.self, "<|bos|>"), 498);
    assert_int_equal(folder.vtable->special(folder.self, "<|end|>"), 499);
    ids a = bpe_encode(&folder, text.text, text.bytes, 0);
    ids b = bpe_encode(&ranks, text.text, text.bytes, 0);
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.at, b.at, a.count * sizeof *a.at);
    assert_true(a.count < text.bytes * 2 / 3);
    assert_decodes(&folder, &a, text.text, text.bytes);
    assert_special_ids(r, &folder, "<|end|><|bos|>", "499 498");
    free(a.at);
    free(b.at);
    bpe_close(&folder);
    bpe_close(&ranks);
}

static void any_expression_splits_and_is_written_down(void **state)
{
    rig *r = *state;
    source s = {.text = "abcabcabc abc", .bytes = 13, .each = 13};
    trained(r, "{path: t, pattern: '[a-c]{2}|.'}", 258, s);
    bpe t = bpe_open(r, "{path: t}");
    /* ab|ca|bc|ab|c| |ab|c: "ab" three times, then "bc" before "ca". */
    assert_ids(r, &t, "abcabc", "256 99 97 257");
    assert_ids(r, &t, "ab", "256");
    bpe_close(&t);
}

static void a_short_text_gives_a_small_vocabulary(void **state)
{
    rig *r = *state;
    source s = {.text = "ab ab", .bytes = 5, .each = 5};
    trained(r, "{path: t, special_tokens: [<s>]}", 1000, s);
    bpe t = bpe_open(r, "{path: t}");
    /* ab, " ab", <s> */
    assert_int_equal(t.vtable->vocab_size(t.self), 259);
    assert_int_equal(t.vtable->special(t.self, "<s>"), 258);
    assert_ids(r, &t, "ab ab", "256 257");
    bpe_close(&t);
}

/* ---- refusals ---- */

static void refused(rig *r, const char *options, int64_t size, tn_status status,
                    const char *sentence)
{
    source s = {.text = "some text", .bytes = 9, .each = 9};
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(train(r, options, size, &s, &err), status);
    tn_assert_error_says(err, sentence);
    assert_int_not_equal(access(made(r, "t/tokenizer.json"), F_OK), 0);
}

static void sizes_and_patterns_that_cannot_be_are_refused(void **state)
{
    rig *r = *state;
    refused(r, "{path: t}", 255, TN_EINVALID,
            "vocab_size: 255 is outside [256");
    refused(r, "{path: t, special_tokens: [a, b]}", 257, TN_EINVALID,
            "vocab_size: 257 is outside [258, 1048576]; 256 bytes and 2 "
            "special tokens");
    refused(r, "{path: t, pattern: '('}", 300, TN_EINVALID, "split pattern");
    refused(r, "{path: t, special_tokens: [a, a]}", 300, TN_EFORMAT,
            "share a text");
    refused(r, "{path: nowhere/t}", 300, TN_EIO, "cannot make the folder");
}

static void no_text_is_refused(void **state)
{
    rig *r = *state;
    source s = {.text = ""};
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(train(r, "{path: t}", 300, &s, &err), TN_EINVALID);
    tn_assert_error_says(err, "no text to learn from");
}

static void an_interruption_leaves_no_files(void **state)
{
    rig *r = *state;
    for (int stop = 1; stop < 4; stop++) {
        source s = {
            .text = "abab abab", .bytes = 9, .each = 9, .stop_at = stop};
        tn_error err = TN_ERROR_NONE;
        assert_int_equal(train(r, "{path: t}", 300, &s, &err), TN_EINTERRUPTED);
        assert_int_not_equal(access(made(r, "t/tokenizer.json"), F_OK), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(hugging_faces_trainer_learns_the_same),
        RIG_TEST(rustbpe_learns_the_same),
        RIG_TEST(tiny_shakespeare_gives_hugging_faces_tokens),
        RIG_TEST(a_long_document_is_no_different_from_its_parts_counts),
        RIG_TEST(both_files_open_and_agree),
        RIG_TEST(any_expression_splits_and_is_written_down),
        RIG_TEST(a_short_text_gives_a_small_vocabulary),
        RIG_TEST(sizes_and_patterns_that_cannot_be_are_refused),
        RIG_TEST(no_text_is_refused),
        RIG_TEST(an_interruption_leaves_no_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
