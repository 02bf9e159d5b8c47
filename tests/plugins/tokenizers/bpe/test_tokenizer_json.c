/*
 * test_tokenizer_json.c - Hugging Face's tokenizer.json: what is read of it,
 * and what is refused by name.
 */
#include "bpe_rig.h"

#include <jansson.h>
#include <unistd.h>

/* A vocabulary of the 256 bytes in GPT-2's alphabet, "lo" 256, "er" 257,
 * "low" 258 and "we" 259, with the parts a test wants to be otherwise. */
typedef struct file {
    const char *root, *model, *pre_tokenizer, *merges, *added;
} file;

static void add_bytes(json_t *vocab)
{
    int hidden = 256;
    for (int b = 0; b < 256; b++) {
        const int seen = (b > 32 && b < 127) || (b > 160 && b != 173);
        const int c = seen ? b : hidden++;
        const char two[3] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        const char one[2] = {(char)c};
        json_object_set_new(vocab, c < 128 ? one : two, json_integer(b));
    }
}

static const char *written(rig *r, const file *f)
{
    json_t *vocab = json_object();
    add_bytes(vocab);
    json_object_set_new(vocab, "lo", json_integer(256));
    json_object_set_new(vocab, "er", json_integer(257));
    json_object_set_new(vocab, "low", json_integer(258));
    json_object_set_new(vocab, "we", json_integer(259));
    char *tokens = json_dumps(vocab, 0);
    const char *text = tni_arena_printf(
        r->arena,
        "{%s\"added_tokens\": [%s], \"pre_tokenizer\": %s, \"model\": "
        "{%s\"type\": \"BPE\", \"vocab\": %s, \"merges\": %s}}",
        f->root ? f->root : "", f->added ? f->added : "",
        f->pre_tokenizer ? f->pre_tokenizer
                         : "{\"type\": \"ByteLevel\", \"add_prefix_space\": "
                           "false}",
        f->model ? f->model : "", tokens,
        f->merges ? f->merges : "[\"l o\", \"e r\", \"lo w\"]");
    json_decref(vocab);
    free(tokens);
    return rig_file(r, "t.json", text, strlen(text));
}

static bpe opened(rig *r, const file *f)
{
    written(r, f);
    return bpe_open(r, "{path: t.json}");
}

static void merges_are_those_listed_in_their_order(void **state)
{
    rig *r = *state;
    bpe t = opened(r, &(file){0});
    assert_ids(r, &t, "lower low", "258 257 32 258");
    bpe_close(&t);
    t = opened(r, &(file){.merges = "[[\"l\", \"o\"], [\"e\", \"r\"]]"});
    assert_ids(r, &t, "lower low", "256 119 257 32 256 119");
    bpe_close(&t);
    /* A whole piece that is a token, whatever the merges say. */
    t = opened(r, &(file){.merges = "[\"l o\"]",
                          .model = "\"ignore_merges\": true, "});
    assert_ids(r, &t, "lower low", "256 119 101 114 32 256 119");
    assert_ids(r, &t, "low", "258");
    bpe_close(&t);
}

static void an_empty_normalizer_is_none(void **state)
{
    rig *r = *state;
    bpe t = opened(r, &(file){.root = "\"normalizer\": {\"type\": "
                                      "\"Sequence\", \"normalizers\": []}, "});
    assert_ids(r, &t, "lower low", "258 257 32 258");
    bpe_close(&t);
}

static void order_of_merges_and_not_of_ids_decides(void **state)
{
    rig *r = *state;
    bpe t = opened(r, &(file){.merges = "[\"e r\", \"w e\", \"l o\"]"});
    assert_ids(r, &t, "lower", "256 119 257");
    bpe_close(&t);
    t = opened(r, &(file){.merges = "[\"w e\", \"e r\", \"l o\"]"});
    assert_ids(r, &t, "lower", "256 259 114");
    bpe_close(&t);
}

static void added_tokens_that_are_not_special_are_always_found(void **state)
{
    rig *r = *state;
    bpe t = opened(
        r, &(file){.added = "{\"id\": 300, \"content\": \"<s>\", \"special\": "
                            "true}, {\"id\": 301, \"content\": \"<word>\", "
                            "\"special\": false}"});
    const char *bytes = NULL;
    uint32_t count = 0;
    assert_ids(r, &t, "<s><word>", "60 115 62 301");
    assert_special_ids(r, &t, "<s><word>", "300 301");
    tn_assert_ok(t.vtable->bytes_of(t.self, 301, &bytes, &count, NULL));
    assert_int_equal(count, 6);
    assert_memory_equal(bytes, "<word>", 6);
    bpe_close(&t);
}

static void split_patterns_go_one_after_the_other(void **state)
{
    rig *r = *state;
    /* GPT-2's pattern takes "lo1w" apart at the digit; a first pattern that
     * cuts after every "l" leaves no l+o to merge. */
    bpe t = opened(
        r,
        &(file){.pre_tokenizer =
                    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
                    "\"Split\", \"pattern\": {\"String\": \"l\"}, "
                    "\"behavior\": \"Isolated\", \"invert\": false}, "
                    "{\"type\": \"Digits\", \"individual_digits\": true}, "
                    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                    "\"use_regex\": false}]}"});
    assert_ids(r, &t, "lower12", "108 111 119 257 49 50");
    bpe_close(&t);
    t = opened(r,
               &(file){.pre_tokenizer =
                           "{\"type\": \"Sequence\", \"pretokenizers\": "
                           "[{\"type\": \"Split\", \"pattern\": {\"Regex\": "
                           "\"er\"}, \"behavior\": \"Isolated\"}, {\"type\": "
                           "\"ByteLevel\", \"use_regex\": false}]}"});
    /* What a pattern does not match is a piece as well. */
    assert_ids(r, &t, "lower er", "258 257 32 257");
    bpe_close(&t);
}

static void pattern_replaces_the_files(void **state)
{
    rig *r = *state;
    written(r, &(file){0});
    bpe t = bpe_open(r, "{path: t.json, pattern: \"[lo]|[^lo]\"}");
    assert_ids(r, &t, "low er", "108 111 119 32 101 114");
    bpe_close(&t);
}

static void refused(rig *r, const file *f, tn_status status,
                    const char *sentence)
{
    bpe t;
    tn_error err = TN_ERROR_NONE;
    const char *path = written(r, f);
    assert_int_equal(bpe_try(r, "{path: t.json}", &t, &err), status);
    tn_assert_error_says(err, sentence);
    tn_assert_error_says(err, path);
}

static void unsupported_parts_are_refused_by_name(void **state)
{
    rig *r = *state;
    static const struct {
        file file;
        const char *sentence;
    } cases[] = {
        {{.root = "\"normalizer\": {\"type\": \"NFC\"}, "},
         "normalizer: NFC is not supported"},
        {{.root = "\"normalizer\": {\"type\": \"Sequence\", "
                  "\"normalizers\": [{\"type\": \"NFKC\"}]}, "},
         "normalizer: NFKC is not supported"},
        {{.root = "\"decoder\": {\"type\": \"WordPiece\"}, "},
         "decoder: WordPiece is not supported, only ByteLevel"},
        {{.model = "\"dropout\": 0.1, "}, "model.dropout: 0.1"},
        {{.model = "\"byte_fallback\": true, "}, "model.byte_fallback"},
        {{.model = "\"end_of_word_suffix\": \"</w>\", "},
         "model.end_of_word_suffix: \"</w>\" is not supported"},
        {{.model = "\"continuing_subword_prefix\": \"##\", "},
         "model.continuing_subword_prefix: \"##\""},
        {{.pre_tokenizer = "{\"type\": \"Metaspace\"}"},
         "pre_tokenizer: Metaspace is not supported"},
        {{.pre_tokenizer = "null"}, "pre_tokenizer: null is not supported"},
        {{.pre_tokenizer = "{\"type\": \"ByteLevel\", \"add_prefix_space\": "
                           "true}"},
         "ByteLevel with add_prefix_space is not supported"},
        {{.pre_tokenizer = "{\"type\": \"Digits\"}"}, "there is no ByteLevel"},
        {{.pre_tokenizer = "{\"type\": \"Split\", \"pattern\": {\"Regex\": "
                           "\"a\"}, \"behavior\": \"Removed\"}"},
         "Split with behavior Removed is not supported, only Isolated"},
        {{.pre_tokenizer = "{\"type\": \"Split\", \"pattern\": {\"Regex\": "
                           "\"a\"}, \"behavior\": \"Isolated\", \"invert\": "
                           "true}"},
         "Split with invert is not supported"},
        {{.pre_tokenizer = "{\"type\": \"Split\", \"pattern\": {\"Regex\": "
                           "\"(\"}, \"behavior\": \"Isolated\"}"},
         "pre_tokenizer: split pattern (:"},
        {{.added = "{\"id\": 300, \"content\": \"<m>\", \"lstrip\": true}"},
         "added token <m>: lstrip is not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(r, &cases[i].file,
                strstr(cases[i].sentence, "split pattern") ? TN_EINVALID
                                                           : TN_EUNSUPPORTED,
                cases[i].sentence);
}

static void damaged_files_are_refused(void **state)
{
    rig *r = *state;
    static const struct {
        file file;
        const char *sentence;
    } cases[] = {
        {{.merges = "[\"lo\"]"}, "model.merges[0]: two tokens with a space"},
        {{.merges = "[\"l o\", \"x zz\"]"},
         "model.merges[1]: \"zz\" is no token of the vocabulary"},
        {{.merges = "[\"a b\"]"}, "merge 0 makes \"ab\", which is no token"},
        {{.merges = "[\"l o\", \"l o\"]"}, "merge 1 is listed twice"},
        {{.merges = "7"}, "model.merges is missing"},
        {{.added = "{\"id\": 3, \"content\": \"<m>\", \"special\": true}"},
         "special token <m> has the id 3 of an ordinary token"},
        {{.added = "{\"content\": \"<m>\"}"}, "an entry needs id and content"},
        {{.added = "{\"id\": 400, \"content\": \"<m>\"}, {\"id\": 400, "
                   "\"content\": \"<n>\"}"},
         "share an id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(r, &cases[i].file, TN_EFORMAT, cases[i].sentence);
}

static void other_files_of_json_are_told_apart(void **state)
{
    rig *r = *state;
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"{", "t.json:1:"},
        {"{\"a\": 1, \"a\": 2}", "duplicate object key"},
        {"{\"a\": 0, \"b\": 1}", "there is no model in it"},
        {"{\"model\": {\"type\": \"WordPiece\"}}",
         "model: WordPiece is not supported, only BPE"},
        {"{\"model\": {\"type\": \"BPE\"}}", "model.vocab is missing"},
        {"{\"model\": {\"vocab\": {\"\u2581a\": 0}}}",
         "is not written in the byte-level alphabet"},
        {"{\"model\": {\"vocab\": {\"a\": \"0\"}}}",
         "the id of \"a\" is not a whole number"},
        {"{\"model\": {\"vocab\": {\"a\": 0}}}", "the byte 0x00 is no token"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bpe t;
        tn_error err = TN_ERROR_NONE;
        rig_file(r, "t.json", cases[i].text, strlen(cases[i].text));
        assert_int_not_equal(bpe_try(r, "{path: t.json}", &t, &err), TN_OK);
        tn_assert_error_says(err, cases[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(merges_are_those_listed_in_their_order),
        RIG_TEST(an_empty_normalizer_is_none),
        RIG_TEST(order_of_merges_and_not_of_ids_decides),
        RIG_TEST(added_tokens_that_are_not_special_are_always_found),
        RIG_TEST(split_patterns_go_one_after_the_other),
        RIG_TEST(pattern_replaces_the_files),
        RIG_TEST(unsupported_parts_are_refused_by_name),
        RIG_TEST(damaged_files_are_refused),
        RIG_TEST(other_files_of_json_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
