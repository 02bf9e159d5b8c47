/*
 * test_stream.c - ids that come one by one, as a model says them, never show
 * half a character.
 *
 * The vocabulary has learned English only: every other character is two to four
 * tokens.
 */
#include "bpe_rig.h"

#include <jansson.h>
#include <unistd.h>

#include "run/utf8.h"

typedef struct heard {
    char text[4096];
    size_t used, tokens;
} heard;

/* Bytes of the character that begins with `lead`; 0 inside one. */
static size_t length_of(unsigned char lead)
{
    return lead < 0x80   ? 1
           : lead < 0xc0 ? 0
           : lead < 0xe0 ? 2
           : lead < 0xf0 ? 3
                         : 4;
}

/* What is said at once begins with a character and ends with one. */
static void hear(void *to, const char *text, size_t bytes)
{
    heard *h = to;
    size_t at = 0;
    while (at < bytes) {
        const size_t length = length_of((unsigned char)text[at]);
        assert_in_range(length, 1, bytes - at);
        for (size_t i = 1; i < length; i++)
            assert_int_equal(length_of((unsigned char)text[at + i]), 0);
        at += length;
    }
    assert_true(h->used + bytes < sizeof h->text);
    memcpy(h->text + h->used, text, bytes);
    h->used += bytes;
}

static void say(const bpe *t, const char *text, size_t bytes, heard *h)
{
    ids list = bpe_encode(t, text, bytes, 0);
    tni_utf8 u = {.count = 0};
    *h = (heard){.tokens = list.count};
    for (size_t i = 0; i < list.count; i++) {
        const char *piece = NULL;
        uint32_t count = 0;
        tn_assert_ok(
            t->vtable->bytes_of(t->self, list.at[i], &piece, &count, NULL));
        tni_utf8_push(&u, piece, count, hear, h);
    }
    tni_utf8_end(&u, hear, h);
    free(list.at);
}

static bpe english(rig *r)
{
    return bpe_open(r,
                    tni_arena_printf(r->arena, "{path: %s, pattern: gpt2}",
                                     bpe_fixture(r, "shakespeare.tiktoken")));
}

static void characters_of_many_tokens_come_whole(void **state)
{
    rig *r = *state;
    static const char text[] =
        "ok \xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd \xe6\xb2\xb3"
        "\xd1\x91 the end";
    bpe t = english(r);
    heard h;
    say(&t, text, sizeof text - 1, &h);
    assert_true(h.tokens > 14); /* 13 bytes of characters are apart */
    assert_int_equal(h.used, sizeof text - 1);
    assert_memory_equal(h.text, text, sizeof text - 1);
    bpe_close(&t);
}

static void every_golden_text_streams_back(void **state)
{
    rig *r = *state;
    size_t i;
    json_error_t why;
    json_t *one, *cases = json_load_file(bpe_fixture(r, "golden.json"),
                                         JSON_ALLOW_NUL, &why);
    assert_non_null(cases);
    bpe t = english(r);
    json_array_foreach(cases, i, one)
    {
        const json_t *text = json_object_get(one, "text");
        heard h;
        say(&t, json_string_value(text), json_string_length(text), &h);
        assert_int_equal(h.used, json_string_length(text));
        assert_memory_equal(h.text, json_string_value(text), h.used);
    }
    bpe_close(&t);
    json_decref(cases);
}

/* As Python's errors="replace": one U+FFFD for each thing that is no
 * character. */
static void what_is_no_character_becomes_a_sign_that_is_one(void **state)
{
    rig *r = *state;
    static const char text[] = "a\xe6\xb2 b\xff\xf0\x9f\x91";
    static const char want[] = "a\xef\xbf\xbd b\xef\xbf\xbd\xef\xbf\xbd";
    bpe t = english(r);
    heard h;
    say(&t, text, sizeof text - 1, &h);
    assert_int_equal(h.used, sizeof want - 1);
    assert_memory_equal(h.text, want, sizeof want - 1);
    bpe_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(characters_of_many_tokens_come_whole),
        RIG_TEST(every_golden_text_streams_back),
        RIG_TEST(what_is_no_character_becomes_a_sign_that_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
