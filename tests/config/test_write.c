/*
 * test_write.c - what is written reads back as the same tree.
 */
#include "config_rig.h"

static void a_config_is_written_in_blocks_with_short_lists_in_line(void **state)
{
    rig *r = *state;
    const char *text = "name: a\n"
                       "optimizer:\n"
                       "  betas: [0.9, 0.95]\n"
                       "layers:\n"
                       "- arch: x\n"
                       "  heads: 4\n"
                       "empty: {}\n"
                       "none: []\n"
                       "init: null\n";
    assert_string_equal(rig_text(r, rig_parse(r, text)), text);
}

static void texts_that_read_as_other_things_keep_their_quotes(void **state)
{
    rig *r = *state;
    static const char *const texts[] = {
        "",
        "~",
        "null",
        "true",
        "1",
        "1.5",
        "- x",
        "a: b",
        "#x",
        "x #y",
        " lead",
        "trail ",
        "[a",
        "{",
        "a\nb",
        "tab\there",
        "\"",
        "'",
        "a'b\"",
        "*star",
        "&and",
        "!bang",
        "%percent",
        "@at",
        "`tick",
        "--- doc",
        "...",
        "? q",
        "|",
        ">",
        "\xc3\xbc\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "\x7f",
        "\\n",
        "a\r\nb",
        "\xe2\x80\xa8",
        "\xef\xbb\xbf",
    };
    tni_yaml *map = tni_yaml_new(r->arena, TNI_YAML_MAP);
    tni_yaml *list = tni_yaml_new(r->arena, TNI_YAML_LIST);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        tni_yaml *text = tni_yaml_scalar(r->arena, texts[i]);
        text->quoted = i % 2 == 0;
        if (texts[i][0])
            tni_yaml_put(r->arena, map, texts[i], text);
        list->entries = tni_arena_grow(r->arena, list->entries, list->count,
                                       &list->capacity, sizeof *list->entries);
        list->entries[list->count++] = (tni_yaml_entry){.value = text};
    }
    tni_yaml_put(r->arena, map, "list", list);
    assert_true(same_tree(map, rig_parse(r, rig_text(r, map))));
}

static void long_texts_and_keys_are_not_folded(void **state)
{
    rig *r = *state;
    tni_yaml *map = tni_yaml_new(r->arena, TNI_YAML_MAP);
    char *words = tni_arena_printf(r->arena, "%*s", 3000, "end");
    for (size_t i = 0; words[i]; i++)
        if (words[i] == ' ' && i % 7)
            words[i] = 'w';
    tni_yaml_put(r->arena, map, "plain", tni_yaml_scalar(r->arena, words + 1));
    tni_yaml_put(r->arena, map, words + 1, tni_yaml_scalar(r->arena, "v"));
    assert_true(same_tree(map, rig_parse(r, rig_text(r, map))));
}

static void a_failing_stream_is_reported(void **state)
{
    rig *r = *state;
    FILE *to = fopen("/dev/full", "w");
    assert_non_null(to);
    char *big = tni_arena_printf(r->arena, "%*d", 100000, 1);
    assert_int_equal(tni_yaml_write(tni_yaml_scalar(r->arena, big), to),
                     TN_EIO);
    fclose(to);
}

static void floats_are_written_short_and_exact(void **state)
{
    rig *r = *state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.1, "0.1"},
        {1e-5, "1.0e-05"},
        {1.0, "1.0"},
        {0.95, "0.95"},
        {-3.0, "-3.0"},
        {1e300, "1.0e+300"},
        {2.5e-7, "2.5e-07"},
        {0.0, "0.0"},
        {0.1 + 0.2, "0.30000000000000004"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(tni_float_text(r->arena, cases[i].value),
                            cases[i].text);
    assert_string_equal(tni_float_text(r->arena, (double)INFINITY), ".inf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_config_is_written_in_blocks_with_short_lists_in_line),
        RIG_TEST(texts_that_read_as_other_things_keep_their_quotes),
        RIG_TEST(long_texts_and_keys_are_not_folded),
        RIG_TEST(a_failing_stream_is_reported),
        RIG_TEST(floats_are_written_short_and_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
