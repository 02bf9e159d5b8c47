/*
 * test_bpe.c - ids as tiktoken has them, and what files it refuses.
 */
#include "bpe_rig.h"

#include <jansson.h>
#include <pthread.h>
#include <tenon/philox.h>
#include <unistd.h>

/* ---- by pencil ---- */

/* The 256 bytes in order, and then some. */
static const char *ranks_file(rig *r, const char *name, const char *more)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = tni_arena_alloc(r->arena, 256 * 16 + strlen(more) + 1);
    char *to = text;
    for (int i = 0; i < 256; i++)
        to +=
            sprintf(to, "%c%c== %d\n", digits[i >> 2], digits[(i & 3) << 4], i);
    strcpy(to, more);
    return rig_file(r, name, text, strlen(text));
}

/*
 * Tokens: "lo" 256, "er" 257, "low" 258, " l" 259.
 *   low    is a token, and that is that
 *   lower  is none: l+o first (256), then e+r (257), then lo+w (258)
 *   slow   is none: s, low; and " l" of " low" never comes to be, l+o is first
 */
static void merges_go_by_rank_and_never_cross_pieces(void **state)
{
    rig *r = *state;
    ranks_file(r, "r.tiktoken", "bG8= 256\nZXI= 257\nbG93 258\nIGw= 259\n");
    bpe t = bpe_open(r, "{path: r.tiktoken, pattern: gpt2}");
    assert_int_equal(t.vtable->vocab_size(t.self), 260);
    assert_ids(r, &t, "low", "258");
    assert_ids(r, &t, "lower", "258 257");
    assert_ids(r, &t, "slow low", "115 258 32 258");
    assert_ids(r, &t, "l lx", "108 259 120");
    assert_ids(r, &t, "lol", "256 108");
    assert_ids(r, &t, "", "");
    bpe_close(&t);
}

static void special_text_is_ordinary_unless_it_is_allowed(void **state)
{
    rig *r = *state;
    ranks_file(r, "r.tiktoken", "bG8= 256\n");
    bpe t = bpe_open(r, "{path: r.tiktoken, pattern: gpt2, special_tokens: "
                        "[<s>, <s>>, lo]}");
    assert_int_equal(t.vtable->vocab_size(t.self), 260);
    assert_int_equal(t.vtable->special(t.self, "<s>"), 257);
    assert_int_equal(t.vtable->special(t.self, "<x>"), -1);
    assert_ids(r, &t, "a<s>lo", "97 60 115 62 256");
    assert_special_ids(r, &t, "a<s>lo<", "97 257 259 60");
    /* Of two that begin here, the longer. */
    assert_special_ids(r, &t, "<s>>><s>", "258 62 257");
    const char *bytes = NULL;
    uint32_t count = 9;
    tn_assert_ok(t.vtable->bytes_of(t.self, 257, &bytes, &count, NULL));
    assert_int_equal(count, 0);
    bpe_close(&t);
}

static void special_tokens_are_listed_one_by_one(void **state)
{
    rig *r = *state;
    ranks_file(r, "r.tiktoken", "");
    bpe t = bpe_open(r, "{path: r.tiktoken, pattern: gpt2, special_tokens: "
                        "[<a>, <bb>]}");
    int seen[2] = {0};
    const char *text = NULL;
    int32_t id = 0;
    for (uint32_t i = 0; i < 2; i++) {
        tn_assert_ok(t.vtable->special_at(t.self, i, &text, &id));
        assert_in_range(id, 256, 257);
        assert_string_equal(text, id == 256 ? "<a>" : "<bb>");
        seen[id - 256]++;
    }
    assert_int_equal(seen[0], 1);
    assert_int_equal(seen[1], 1);
    assert_int_equal(t.vtable->special_at(t.self, 2, &text, &id), TN_EEND);
    bpe_close(&t);
}

static void ids_outside_the_vocabulary_are_refused(void **state)
{
    rig *r = *state;
    static const int32_t outside[] = {-1, 256, INT32_MAX, INT32_MIN};
    ranks_file(r, "r.tiktoken", "");
    bpe t = bpe_open(r, "{path: r.tiktoken, pattern: gpt2}");
    for (int i = 0; i < 4; i++) {
        const char *bytes = NULL;
        uint32_t count = 0;
        tn_error err = TN_ERROR_NONE;
        assert_int_equal(
            t.vtable->bytes_of(t.self, outside[i], &bytes, &count, &err),
            TN_EINVALID);
        tn_assert_error_says(err, "0 to 255");
    }
    bpe_close(&t);
}

/* ---- golden ---- */

static json_t *golden(rig *r)
{
    json_error_t why;
    json_t *cases =
        json_load_file(bpe_fixture(r, "golden.json"), JSON_ALLOW_NUL, &why);
    assert_non_null(cases);
    assert_true(json_array_size(cases) > 50);
    return cases;
}

static void check_case(const bpe *t, const json_t *one, const char *name)
{
    const json_t *text = json_object_get(one, "text");
    const json_t *want = json_object_get(one, name);
    const char *bytes = json_string_value(text);
    const size_t count = json_string_length(text);
    ids got = bpe_encode(t, bytes, count, 0);
    int same = got.count == json_array_size(want);
    for (size_t i = 0; same && i < got.count; i++)
        same = got.at[i] == json_integer_value(json_array_get(want, i));
    if (!same)
        fail_msg("%s: other ids for \"%s\"", name, bytes);
    assert_decodes(t, &got, bytes, count);
    free(got.at);
}

/* Long enough that from here on pieces are remembered. */
static void make_remember(const bpe *t)
{
    char text[1 << 15];
    memset(text, 'a', sizeof text);
    ids list = bpe_encode(t, text, sizeof text, 0);
    free(list.at);
}

/* Each text three times: nothing is remembered, or not yet, or it is. */
static void check_golden(rig *r, const char *options, const char *name)
{
    size_t i;
    json_t *one, *cases = golden(r);
    bpe t = bpe_open(r, options);
    json_array_foreach(cases, i, one) check_case(&t, one, name);
    make_remember(&t);
    for (int again = 0; again < 2; again++)
        json_array_foreach(cases, i, one) check_case(&t, one, name);
    bpe_close(&t);
    json_decref(cases);
}

/* Pieces of one length that differ in one place only, last, first or between:
 * each must be told from what was remembered of the others. */
static void what_is_remembered_is_never_taken_for_another(void **state)
{
    rig *r = *state;
    ranks_file(r, "r.tiktoken", "bG8= 256\nZXI= 257\nYWE= 258\nYWFhYQ== 259\n");
    static const char yaml[] = "{path: r.tiktoken, pattern: gpt2}";
    bpe remembers = bpe_open(r, yaml);
    make_remember(&remembers);
    for (size_t bytes = 1; bytes <= 36; bytes++) {
        bpe fresh = bpe_open(r, yaml);
        for (size_t i = 0; i < 3 * bytes; i++) {
            char word[40];
            memset(word, 'a', bytes);
            word[i % bytes] = (char)('b' + i / bytes);
            ids a = bpe_encode(&fresh, word, bytes, 0);
            ids b = bpe_encode(&remembers, word, bytes, 0);
            assert_int_equal(a.count, b.count);
            assert_memory_equal(a.at, b.at, a.count * sizeof *a.at);
            free(a.at);
            free(b.at);
        }
        bpe_close(&fresh);
    }
    bpe_close(&remembers);
}

static void a_small_vocabulary_gives_tiktokens_ids(void **state)
{
    rig *r = *state;
    check_golden(r,
                 tni_arena_printf(r->arena, "{path: %s, pattern: gpt2}",
                                  bpe_fixture(r, "shakespeare.tiktoken")),
                 "small");
}

static void r50k_gives_tiktokens_ids(void **state)
{
    rig *r = *state;
    NEEDS_SHARED(r, "tokenizers/r50k_base.tiktoken");
    check_golden(
        r,
        tni_arena_printf(r->arena, "{path: %s}",
                         bpe_shared(r, "tokenizers/r50k_base.tiktoken")),
        "r50k");
}

static void cl100k_gives_tiktokens_ids(void **state)
{
    rig *r = *state;
    NEEDS_SHARED(r, "tokenizers/cl100k_base.tiktoken");
    const char *path = bpe_shared(r, "tokenizers/cl100k_base.tiktoken");
    check_golden(r, tni_arena_printf(r->arena, "{path: %s}", path), "cl100k");
    check_golden(r,
                 tni_arena_printf(r->arena, "{path: %s, pattern: o200k}", path),
                 "o200k");
}

static void gpt2s_tokenizer_json_gives_tiktokens_ids(void **state)
{
    rig *r = *state;
    NEEDS_SHARED(r, "tokenizers/gpt2_tokenizer.json");
    check_golden(r,
                 tni_arena_printf(r->arena, "{path: %s}",
                                  bpe_shared(r, "tokenizers/gpt2_tokenizer"
                                                ".json")),
                 "r50k");
}

static void openais_vocabularies_bring_their_special_tokens(void **state)
{
    rig *r = *state;
    NEEDS_SHARED(r, "tokenizers/cl100k_base.tiktoken");
    bpe t = bpe_open(
        r, tni_arena_printf(r->arena, "{path: %s}",
                            bpe_shared(r, "tokenizers/cl100k_base.tiktoken")));
    assert_int_equal(t.vtable->vocab_size(t.self), 100277);
    assert_int_equal(t.vtable->special(t.self, "<|endoftext|>"), 100257);
    assert_int_equal(t.vtable->special(t.self, "<|endofprompt|>"), 100276);
    assert_special_ids(r, &t, "a<|fim_middle|>", "64 100259");
    /* A hole in the ids stands for nothing, as a special token does. */
    const char *bytes = NULL;
    uint32_t count = 9;
    tn_assert_ok(t.vtable->bytes_of(t.self, 100270, &bytes, &count, NULL));
    assert_int_equal(count, 0);
    bpe_close(&t);
}

/* ---- any bytes ---- */

static void random_bytes_come_back(void **state)
{
    rig *r = *state;
    char text[3000];
    bpe t =
        bpe_open(r, tni_arena_printf(r->arena, "{path: %s, pattern: cl100k}",
                                     bpe_fixture(r, "shakespeare.tiktoken")));
    for (uint32_t round = 0; round < 200; round++) {
        const uint32_t key[2] = {round, 7};
        const size_t bytes = round * 15;
        for (uint32_t i = 0; i < bytes; i++) {
            uint32_t out[4];
            tn_philox(key, (const uint32_t[4]){i, 0, 0, 0}, out);
            /* Half of it: starts and parts of characters, and ASCII. */
            text[i] = (char)(round % 2 ? out[0] : 0xe2 + out[0] % 4 * 0x28u);
        }
        ids list = bpe_encode(&t, text, bytes, 1);
        assert_decodes(&t, &list, text, bytes);
        free(list.at);
    }
    bpe_close(&t);
}

static void text_that_is_not_utf8_is_kept_replaced_or_refused(void **state)
{
    rig *r = *state;
    static const char bad[] = "a\xff\xf0\x9f\x98z";
    tn_error err = TN_ERROR_NONE;
    ids list = {0};
    ranks_file(r, "r.tiktoken", "/6c= 256\n");
    bpe t = bpe_open(r, "{path: r.tiktoken, pattern: gpt2}");
    assert_ids(r, &t, bad, "97 255 240 159 152 122");
    bpe_close(&t);
    /* One U+FFFD for 0xff, one for the start of a character. */
    t = bpe_open(r, "{path: r.tiktoken, pattern: gpt2, invalid: replace}");
    assert_ids(r, &t, bad, "97 239 191 189 239 191 189 122");
    assert_ids(r, &t, "ok", "111 107");
    bpe_close(&t);
    t = bpe_open(r, "{path: r.tiktoken, pattern: gpt2, invalid: refuse}");
    assert_int_equal(
        t.vtable->encode(t.self, bad, strlen(bad), 0, ids_take, &list, &err),
        TN_EINVALID);
    tn_assert_error_says(err, "byte 1 is 0xff");
    assert_int_equal(list.count, 0);
    assert_ids(r, &t, "ok", "111 107");
    bpe_close(&t);
}

/* Long forms, surrogates and what is past U+10FFFF are no characters: U+FFFD
 * for every byte. The neighbours that are characters stay. */
static void what_only_looks_like_utf8_is_not(void **state)
{
    rig *r = *state;
    static const struct {
        const char *text;
        size_t replaced; /* 0: it is a character */
    } cases[] = {
        {"\xc1\xbf", 2},
        {"\xc2\x80", 0},
        {"\xe0\x9f\xbf", 3},
        {"\xe0\xa0\x80", 0},
        {"\xed\xa0\x80", 3},
        {"\xed\x9f\xbf", 0},
        {"\xee\x80\x80", 0},
        {"\xf0\x8f\xbf\xbf", 4},
        {"\xf0\x90\x80\x80", 0},
        {"\xf4\x8f\xbf\xbf", 0},
        {"\xf4\x90\x80\x80", 4},
        {"\xf5\x80", 2},
        {"\x80", 1},
        {"\xe4\xb8", 1},
    };
    ranks_file(r, "r.tiktoken", "");
    bpe t = bpe_open(r, "{path: r.tiktoken, pattern: gpt2, invalid: replace}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = cases[i].text;
        ids list = bpe_encode(&t, text, strlen(text), 0);
        assert_int_equal(list.count, cases[i].replaced ? 3 * cases[i].replaced
                                                       : strlen(text));
        assert_int_equal(list.at[0] == 0xef && list.at[2] == 0xbd,
                         cases[i].replaced > 0);
        free(list.at);
    }
    bpe_close(&t);
}

/* ---- many threads ---- */

enum { THREADS = 4 };

typedef struct job {
    const bpe *t;
    json_t *cases;
} job;

static void *encode_all(void *argument)
{
    const job *j = argument;
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < json_array_size(j->cases); i++)
            check_case(j->t, json_array_get(j->cases, i), "small");
    return NULL;
}

static void threads_share_a_tokenizer(void **state)
{
    rig *r = *state;
    pthread_t thread[THREADS];
    bpe t =
        bpe_open(r, tni_arena_printf(r->arena, "{path: %s, pattern: gpt2}",
                                     bpe_fixture(r, "shakespeare.tiktoken")));
    job j = {&t, golden(r)};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, encode_all, &j), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    json_decref(j.cases);
    bpe_close(&t);
}

static tn_status refuse_ids(void *to, const int32_t *at, uint64_t count,
                            tn_error *err)
{
    (void)to, (void)at, (void)count;
    return tn_fail(err, TN_EREFUSED, "enough");
}

static void a_sink_that_refuses_is_heard(void **state)
{
    rig *r = *state;
    static char text[20000];
    tn_error err = TN_ERROR_NONE;
    ranks_file(r, "r.tiktoken", "");
    bpe t = bpe_open(r, "{path: r.tiktoken, pattern: gpt2}");
    memset(text, 'x', sizeof text);
    assert_int_equal(
        t.vtable->encode(t.self, text, sizeof text, 0, refuse_ids, NULL, &err),
        TN_EREFUSED);
    tn_assert_error_says(err, "enough");
    assert_ids(r, &t, "ab", "97 98");
    bpe_close(&t);
}

/* ---- refusals ---- */

static void refused(rig *r, const char *options, tn_status status,
                    const char *sentence)
{
    bpe t;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(bpe_try(r, options, &t, &err), status);
    tn_assert_error_says(err, sentence);
    tn_assert_error_says(err, r->folder);
}

static void bad_rank_files_are_refused_with_their_line(void **state)
{
    rig *r = *state;
    static const struct {
        const char *more, *sentence;
    } cases[] = {
        {"bG8 256\n", "r.tiktoken:257: the token is not base64"},
        {"bG8=bG8= 256\n", "r.tiktoken:257: the token is not base64"},
        {"bG9= 256\n", "r.tiktoken:257: the token is not base64"},
        {"b*8= 256\n", "r.tiktoken:257: the token is not base64"},
        {" 256\n", "r.tiktoken:257: the token is not base64"},
        {"bG8=\n", "r.tiktoken:257: expected a token in base64, a space"},
        {"bG8= \n", "r.tiktoken:257: the token's id is not a whole number"},
        {"bG8= -1\n", "r.tiktoken:257: the token's id is not a whole number"},
        {"bG8= 25x\n", "r.tiktoken:257: the token's id is not a whole number"},
        {"\nbG8= 255\n", "two tokens have the id 255 (line 258)"},
        {"bG8= 99999999\n", "token id 99999999 is outside 0 to 1048575"},
        {"bG8= 256\nbG8= 257\n",
         "tokens 256 and 257 are the same bytes, \"lo\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ranks_file(r, "r.tiktoken", cases[i].more);
        refused(r, "{path: r.tiktoken, pattern: gpt2}", TN_EFORMAT,
                cases[i].sentence);
    }
    rig_file(r, "r.tiktoken", "YQ== 0\n", 7);
    refused(r, "{path: r.tiktoken, pattern: gpt2}", TN_EFORMAT,
            "the byte 0x00 is no token; a byte-level vocabulary has all 256");
    rig_file(r, "r.tiktoken", "", 0);
    refused(r, "{path: r.tiktoken, pattern: gpt2}", TN_EFORMAT,
            "the byte 0x00");
}

static void what_cannot_be_opened_is_named(void **state)
{
    rig *r = *state;
    refused(r, "{path: nowhere.tiktoken}", TN_ENOTFOUND, "nowhere.tiktoken");
    ranks_file(r, "r.tiktoken", "");
    refused(r, "{path: r.tiktoken}", TN_EINVALID,
            "256 tokens, none of OpenAI's vocabularies; pattern: must say");
    /* A folder: its tokenizer.json, else its tokenizer.tiktoken. */
    assert_int_equal(mkdir(tni_path_join(r->arena, r->folder, "f"), 0755), 0);
    refused(r, "{path: f}", TN_ENOTFOUND, "f/tokenizer.tiktoken");
    rig_file(r, "f/tokenizer.json", "{", 1);
    refused(r, "{path: f}", TN_EFORMAT, "f/tokenizer.json:1:");
}

static void bad_patterns_are_refused(void **state)
{
    rig *r = *state;
    static const struct {
        const char *pattern, *sentence;
    } cases[] = {
        {"'(a'", "split pattern (a:"},
        {"'a*'", "matches the empty text"},
        {"'\\w+'", "\\w is not supported"},
        {"'\\ba'", "\\b is not supported"},
        {"'[\\S]'", "\\S inside [...] is not supported"},
        {"'^a|.'", "^ is not supported"},
        {"'(?<=a)b|.'", "lookbehind is not supported"},
        {"'[a[bc]]'", "a set inside a set is not supported"},
        {"'\\p{Nope}'", "split pattern \\p{Nope}:"},
    };
    ranks_file(r, "r.tiktoken", "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bpe t;
        tn_error err = TN_ERROR_NONE;
        assert_int_not_equal(
            bpe_try(r,
                    tni_arena_printf(r->arena,
                                     "{path: r.tiktoken, pattern: %s}",
                                     cases[i].pattern),
                    &t, &err),
            TN_OK);
        tn_assert_error_says(err, cases[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(merges_go_by_rank_and_never_cross_pieces),
        RIG_TEST(special_text_is_ordinary_unless_it_is_allowed),
        RIG_TEST(special_tokens_are_listed_one_by_one),
        RIG_TEST(ids_outside_the_vocabulary_are_refused),
        RIG_TEST(what_is_remembered_is_never_taken_for_another),
        RIG_TEST(a_small_vocabulary_gives_tiktokens_ids),
        RIG_TEST(r50k_gives_tiktokens_ids),
        RIG_TEST(cl100k_gives_tiktokens_ids),
        RIG_TEST(gpt2s_tokenizer_json_gives_tiktokens_ids),
        RIG_TEST(openais_vocabularies_bring_their_special_tokens),
        RIG_TEST(random_bytes_come_back),
        RIG_TEST(text_that_is_not_utf8_is_kept_replaced_or_refused),
        RIG_TEST(what_only_looks_like_utf8_is_not),
        RIG_TEST(threads_share_a_tokenizer),
        RIG_TEST(a_sink_that_refuses_is_heard),
        RIG_TEST(bad_rank_files_are_refused_with_their_line),
        RIG_TEST(what_cannot_be_opened_is_named),
        RIG_TEST(bad_patterns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
