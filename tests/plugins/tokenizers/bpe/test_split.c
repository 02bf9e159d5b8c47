/*
 * test_split.c - the split patterns written as code cut as their regular
 * expressions do.
 */
#include "tn_test.h"

#include <tenon/philox.h>

#include "split.h"

static tni_splitter opened(const char *pattern)
{
    tni_splitter s = {0};
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_splitter_open(&s, pattern, &err), err);
    return s;
}

/* The pieces with bars between them. */
static const char *cut(const tni_splitter *s, const char *text)
{
    static char out[4096];
    const char *end = text + strlen(text);
    char *to = out;
    while (text < end) {
        const char *stop = tni_split(s, text, end);
        assert_non_null(stop);
        assert_true(stop > text && stop <= end);
        if (to != out)
            *to++ = '|';
        memcpy(to, text, (size_t)(stop - text));
        to += stop - text;
        text = stop;
    }
    *to = '\0';
    return out;
}

static void check(const char *pattern, const char *text, const char *want)
{
    tni_splitter s = opened(pattern);
    assert_string_equal(cut(&s, text), want);
    tni_splitter_close(&s);
}

static void gpt2_keeps_a_space_with_the_word_after_it(void **state)
{
    (void)state;
    check("gpt2", "Hello, world's 12 34x", "Hello|,| world|'s| 12| 34|x");
    check("gpt2", "a  b\n\nc \t", "a| | b|\n|\n|c| \t");
    check("gpt2", "I'LL I'll", "I|'|LL| I|'ll");
    check("gpt2", "e\xcc\x81", "e|\xcc\x81"); /* a mark is no letter */
}

static void cl100k_takes_any_one_character_before_letters(void **state)
{
    (void)state;
    check("cl100k", "(word) \tword", "(word|)| |\tword");
    check("cl100k", "12345 1", "123|45| |1");
    check("cl100k", "I'LL I'\xc5\xbfo", "I|'LL| I|'\xc5\xbf|o");
    check("cl100k", "x.\n\ny", "x|.\n\n|y");
    check("cl100k", "a \n b", "a| \n| b");
    check("nanochat", "12345", "12|34|5");
    check("qwen2", "123", "1|2|3");
}

/* OpenAI's own pattern and what others made of it differ here alone. */
static void space_at_the_end_is_one_piece_for_cl100k_only(void **state)
{
    (void)state;
    check("cl100k", "a\n  ", "a|\n  ");
    check("llama3", "a\n  ", "a|\n|  ");
}

static void o200k_ends_a_word_before_a_capital(void **state)
{
    (void)state;
    check("o200k", "camelCase HTMLParser", "camel|Case| HTMLParser");
    check("o200k", "ABC isn't IT'S", "ABC| isn't| IT'S");
    check("o200k", "a/\n/b", "a|/\n/|b");
    check("o200k", "e\xcc\x81", "e\xcc\x81"); /* a mark belongs to its word */
    /* Letters without case serve as head and as tail: the head gives one
     * back. */
    check("o200k",
          "\xe4\xb8\x80"
          "A",
          "\xe4\xb8\x80|A");
}

static void other_expressions_go_to_pcre2(void **state)
{
    (void)state;
    check("\\d+|[a-c]+", "ab12xyzc", "ab|12|xyz|c");
    check("\\s", "a\xe1\xa0\x8e b", "a\xe1\xa0\x8e| |b"); /* U+180E: no space */
    check("[\\s,]+|\\S", "a ,b", "a| ,|b");
}

static void the_familys_own_expression_is_the_family(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2",     "cl100k", "llama3",
                                        "nanochat", "qwen2",  "o200k"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tni_splitter a = opened(names[i]);
        tni_splitter b = opened(tni_split_expression(names[i]));
        assert_int_not_equal(a.family, TNI_REGEX);
        assert_int_equal(a.family, b.family);
        assert_int_equal(a.digits, b.digits);
        assert_int_equal(a.final_space, b.final_space);
    }
}

/* ---- against the engine ---- */

/* Characters that every version of Unicode classes alike. */
static const char *const characters[] = {
    "a",
    "b",
    "s",
    "t",
    "l",
    "e",
    "v",
    "r",
    "A",
    "S",
    "L",
    "1",
    "2",
    "9",
    " ",
    " ",
    " ",
    "\n",
    "\n",
    "\r",
    "\t",
    "\v",
    "'",
    "'",
    "'",
    ".",
    "/",
    "-",
    "(",
    "_",
    "\xc3\xa9",
    "\xc5\xbf",
    "\xc7\x85",
    "\xca\xb0",
    "\xc2\xaa",
    "\xc2\xb2",
    "\xc2\xbd",
    "\xd9\xa0",
    "\xcc\x81",
    "\xe0\xa4\x83",
    "\xe4\xb8\x80",
    "\xd7\x90",
    "\xc2\xa0",
    "\xc2\x85",
    "\xe3\x80\x80",
    "\xe2\x80\xa8",
    "\xe2\x80\x8b",
    "\xe2\x82\xac",
    "\xf0\x9f\x98\x80",
    "\xe1\xa0\x8e",
    "\xd0\x91",
    "\xd1\x8f",
    "\xe2\x84\xaa",
};

enum { CHARACTERS = sizeof characters / sizeof *characters };

static void random_text(char *to, uint32_t round)
{
    const uint32_t key[2] = {round, 5};
    uint32_t out[4];
    *to = '\0';
    tn_philox(key, (const uint32_t[4]){0, 1, 0, 0}, out);
    const uint32_t count = out[0] % 24;
    for (uint32_t i = 0; i < count; i++) {
        tn_philox(key, (const uint32_t[4]){i, 0, 0, 0}, out);
        strcat(to, characters[out[0] % CHARACTERS]);
    }
}

static void compare(const char *name)
{
    char wrapped[1024], text[256], by_code[512];
    snprintf(wrapped, sizeof wrapped, "(?:%s)", tni_split_expression(name));
    tni_splitter code = opened(name), engine = opened(wrapped);
    assert_int_equal(engine.family, TNI_REGEX);
    for (uint32_t round = 0; round < 20000; round++) {
        random_text(text, round);
        strcpy(by_code, cut(&code, text));
        if (strcmp(by_code, cut(&engine, text)) != 0)
            fail_msg("%s: \"%s\" is cut as %s", name, cut(&engine, text),
                     by_code);
    }
    tni_splitter_close(&engine);
}

static void code_cuts_as_the_expressions_do(void **state)
{
    (void)state;
    compare("gpt2");
    compare("cl100k");
    compare("llama3");
    compare("nanochat");
    compare("qwen2");
    compare("o200k");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_keeps_a_space_with_the_word_after_it),
        cmocka_unit_test(cl100k_takes_any_one_character_before_letters),
        cmocka_unit_test(space_at_the_end_is_one_piece_for_cl100k_only),
        cmocka_unit_test(o200k_ends_a_word_before_a_capital),
        cmocka_unit_test(other_expressions_go_to_pcre2),
        cmocka_unit_test(the_familys_own_expression_is_the_family),
        cmocka_unit_test(code_cuts_as_the_expressions_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
