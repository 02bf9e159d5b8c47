/*
 * test_utf8.c - no character is ever split.
 */
#include "tn_test.h"

#include "run/utf8.h"

typedef struct {
    char text[256];
    size_t used;
    size_t calls;
} heard;

static void hear(void *to, const char *text, size_t bytes)
{
    heard *h = to;
    memcpy(h->text + h->used, text, bytes);
    h->used += bytes;
    h->calls++;
}

static void says(const char *bytes, size_t count, const char *want)
{
    heard h = {.used = 0};
    tni_utf8 u = {.count = 0};
    for (size_t i = 0; i < count; i++)
        tni_utf8_push(&u, bytes + i, 1, hear, &h);
    tni_utf8_end(&u, hear, &h);
    h.text[h.used] = '\0';
    assert_string_equal(h.text, want);
}

#define SAYS(bytes, want) says(bytes, sizeof(bytes) - 1, want)

static void waits_for_the_whole_character(void **state)
{
    heard h = {.used = 0};
    tni_utf8 u = {.count = 0};
    (void)state;
    tni_utf8_push(&u, "a\xE2\x82", 3, hear, &h);
    assert_int_equal(h.used, 1);
    tni_utf8_push(&u, "\xAC", 1, hear, &h);
    assert_int_equal(h.used, 4);
    assert_int_equal(h.calls, 2);
}

static void passes_valid_text_unchanged(void **state)
{
    (void)state;
    SAYS("na\xC3\xAFve \xE2\x82\xAC \xF0\x9F\x98\x80\n",
         "na\xC3\xAFve \xE2\x82\xAC \xF0\x9F\x98\x80\n");
}

#define BAD "\xEF\xBF\xBD"

static void replaces_what_is_no_character(void **state)
{
    (void)state;
    SAYS("\x80z", BAD "z");                    /* a tail without a head */
    SAYS("\xC0\xAF", BAD BAD);                 /* overlong */
    SAYS("\xE0\x80\x80", BAD BAD BAD);         /* overlong */
    SAYS("\xED\xA0\x80", BAD BAD BAD);         /* a surrogate */
    SAYS("\xF4\x90\x80\x80", BAD BAD BAD BAD); /* above U+10FFFF */
    SAYS("\xE2\x82z", BAD "z");                /* broken off */
    SAYS("\xE2\x82", BAD);                     /* at the end */
    SAYS("\xE2\xE2\x82\xAC", BAD "\xE2\x82\xAC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_for_the_whole_character),
        cmocka_unit_test(passes_valid_text_unchanged),
        cmocka_unit_test(replaces_what_is_no_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
