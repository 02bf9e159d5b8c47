/*
 * test_stops.c - a text ends before a stop, in whatever pieces it comes.
 */
#include "tn_test.h"

#include "run/stops.h"

/* ---- a vocabulary with one special token ---- */

static int32_t special(const void *self, const char *text)
{
    (void)self;
    return strcmp(text, "<|end|>") == 0 ? 7 : -1;
}

static const tn_tokenizer one_special = {.special = special};
static const tn_tokenizer_handle tokenizer = {.struct_size = sizeof tokenizer,
                                              .vtable = &one_special};

typedef struct {
    char text[256];
    size_t used;
} heard;

static void hear(void *to, const char *text, size_t bytes)
{
    heard *h = to;
    memcpy(h->text + h->used, text, bytes);
    h->used += bytes;
    h->text[h->used] = '\0';
}

static tni_stops stops_at(const char *const *texts)
{
    tni_stops s = {.id_count = 0};
    for (; *texts; texts++)
        tn_assert_ok(tni_stops_add(&s, &tokenizer, *texts, NULL));
    return s;
}

#define STOPS(...) stops_at((const char *const[]){__VA_ARGS__, NULL})

/* In one piece and byte by byte. */
static void becomes(tni_stops s, const char *given, const char *want, int met)
{
    for (size_t piece = strlen(given); piece; piece = piece > 1) {
        heard h = {.used = 0};
        tni_stops_begin(&s);
        for (size_t at = 0; at < strlen(given); at += piece)
            tni_stops_push(&s, given + at, piece, hear, &h);
        tni_stops_end(&s, hear, &h);
        assert_string_equal(h.text, want);
        assert_int_equal(s.met, met);
    }
}

static void the_text_ends_before_the_first_stop(void **state)
{
    (void)state;
    becomes(STOPS("<|user|>"), "Hello<|user|>Who?", "Hello", 1);
    becomes(STOPS("<|user|>", "."), "No. <|user|>", "No", 1);
    becomes(STOPS("ab"), "aab", "a", 1);
    becomes(STOPS("aab"), "aaab", "a", 1);
    becomes(STOPS("x"), "x", "", 1);
}

static void what_only_begins_like_a_stop_is_said(void **state)
{
    (void)state;
    becomes(STOPS("<|user|>"), "a <|use", "a <|use", 0);
    becomes(STOPS("<|user|>"), "<|us<|useful", "<|us<|useful", 0);
    becomes(STOPS("abab"), "abaabx", "abaabx", 0);
}

static void stops_inside_of_one_another_are_found(void **state)
{
    (void)state;
    becomes(STOPS("abcd", "bc"), "xabce", "xa", 1);
    becomes(STOPS("bc", "abc"), "abcd", "", 1);
    becomes(STOPS("ab", "abc"), "abc", "", 1);
}

static void what_may_be_a_stop_waits_and_nothing_else_does(void **state)
{
    tni_stops s = STOPS("<|user|>");
    heard h = {.used = 0};
    (void)state;
    tni_stops_push(&s, "Hi <|us", 7, hear, &h);
    assert_string_equal(h.text, "Hi ");
    tni_stops_push(&s, "a", 1, hear, &h);
    assert_string_equal(h.text, "Hi <|usa");
}

static void a_special_token_is_a_stop_as_an_id(void **state)
{
    const tni_stops s = STOPS("<|end|>", "<|end|>", "", "stop", "stop");
    (void)state;
    assert_int_equal(s.id_count, 1);
    assert_int_equal(s.text_count, 1);
    assert_true(tni_stops_at(&s, 7));
    assert_false(tni_stops_at(&s, 0));
    becomes(s, "<|end|> is text here", "<|end|> is text here", 0);
}

static void refuses_what_it_cannot_hold(void **state)
{
    tni_stops s = {.id_count = 0};
    tn_error err = TN_ERROR_NONE;
    char longest[TNI_STOP_BYTES + 2];
    static const char letter[17][2] = {"a", "b", "c", "d", "e", "f",
                                       "g", "h", "i", "j", "k", "l",
                                       "m", "n", "o", "p", "q"};
    (void)state;
    memset(longest, 'x', sizeof longest);
    longest[TNI_STOP_BYTES + 1] = '\0';
    assert_int_equal(tni_stops_add(&s, &tokenizer, longest, &err), TN_EINVALID);
    tn_assert_error_says(err, "257 bytes");
    longest[TNI_STOP_BYTES] = '\0';
    tn_assert_ok(tni_stops_add(&s, &tokenizer, longest, NULL));
    becomes(s, longest, "", 1);
    becomes(s, longest + 1, longest + 1, 0);
    for (int i = 0; i < 15; i++)
        tn_assert_ok(tni_stops_add(&s, &tokenizer, letter[i], NULL));
    err = TN_ERROR_NONE;
    assert_int_equal(tni_stops_add(&s, &tokenizer, letter[15], &err),
                     TN_EINVALID);
    tn_assert_error_says(err, "more than 16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_ends_before_the_first_stop),
        cmocka_unit_test(what_only_begins_like_a_stop_is_said),
        cmocka_unit_test(stops_inside_of_one_another_are_found),
        cmocka_unit_test(what_may_be_a_stop_waits_and_nothing_else_does),
        cmocka_unit_test(a_special_token_is_a_stop_as_an_id),
        cmocka_unit_test(refuses_what_it_cannot_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
