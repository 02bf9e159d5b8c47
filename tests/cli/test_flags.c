/*
 * test_flags.c - a command's arguments, one spelling after the other.
 */
#include "tn_test.h"

#include "cli/command.h"

static const tni_command command = {.name = "try", .usage = ""};

typedef struct parsed {
    int32_t loud, given;
    int64_t steps;
    double rate;
    const char *file;
    tni_flag_list set;
    int status, rest;
    char *words[16];
} parsed;

/* "a b c" as argv. */
static parsed parse(const char *line)
{
    static char text[256];
    parsed p = {.steps = 7, .rate = 0.5};
    tni_cli cli = {.arena = tni_arena_create()};
    const tni_flag flags[] = {
        {.name = "loud", .letter = 'l', .kind = TNI_FLAG_SWITCH, .to = &p.loud},
        {.name = "max-steps",
         .kind = TNI_FLAG_INT,
         .to = &p.steps,
         .given = &p.given},
        {.name = "rate", .kind = TNI_FLAG_FLOAT, .to = &p.rate},
        {.name = "file", .letter = 'f', .kind = TNI_FLAG_STRING, .to = &p.file},
        {.name = "set", .kind = TNI_FLAG_LIST, .to = &p.set},
    };
    int count = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *w = strtok(text, " "); w && count < 16; w = strtok(NULL, " "))
        p.words[count++] = w;
    p.status = tni_cli_parse(&cli, &command, flags, 5, count, p.words, &p.rest);
    /* Of the list only the words are used, which lie in `text`. */
    static const char *kept[16];
    for (uint32_t i = 0; i < p.set.count; i++)
        kept[i] = p.set.at[i];
    p.set.at = kept;
    tni_arena_destroy(cli.arena);
    return p;
}

static void every_spelling_is_understood(void **state)
{
    (void)state;
    parsed p = parse("--max-steps 5 --rate=0.25 -f a.yaml --loud");
    assert_int_equal(p.status, 0);
    assert_int_equal(p.steps, 5);
    assert_int_equal(p.given, 1);
    tn_assert_near(p.rate, 0.25, 0.0);
    assert_string_equal(p.file, "a.yaml");
    assert_int_equal(p.loud, 1);
    p = parse("--max-steps=-3 --file=b -l");
    assert_int_equal(p.steps, -3);
    assert_string_equal(p.file, "b");
    assert_int_equal(p.loud, 1);
}

static void what_is_not_given_keeps_its_value(void **state)
{
    (void)state;
    const parsed p = parse("");
    assert_int_equal(p.steps, 7);
    assert_int_equal(p.given, 0);
    assert_null(p.file);
}

static void arguments_are_left_in_order(void **state)
{
    (void)state;
    const parsed p = parse("one --loud two -3 - -- --loud -x");
    assert_int_equal(p.status, 0);
    assert_int_equal(p.rest, 6);
    assert_string_equal(p.words[0], "one");
    assert_string_equal(p.words[1], "two");
    assert_string_equal(p.words[2], "-3");
    assert_string_equal(p.words[3], "-");
    assert_string_equal(p.words[4], "--loud");
    assert_string_equal(p.words[5], "-x");
}

static void a_list_keeps_every_value_in_order(void **state)
{
    (void)state;
    const parsed p = parse("--set a=1 --set b=2 --set=c=3");
    assert_int_equal(p.set.count, 3);
    assert_string_equal(p.set.at[0], "a=1");
    assert_string_equal(p.set.at[1], "b=2");
    assert_string_equal(p.set.at[2], "c=3");
}

static void bad_values_are_misuses(void **state)
{
    (void)state;
    static const char *const lines[] = {"--max-steps five",
                                        "--max-steps 5x",
                                        "--max-steps 1.5",
                                        "--max-steps 99999999999999999999",
                                        "--rate fast",
                                        "--rate nan",
                                        "--rate inf",
                                        "--loud=yes",
                                        "--file",
                                        "--nothing",
                                        "-q"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (parse(lines[i]).status != TNI_EXIT_USAGE)
            fail_msg("'%s' is accepted", lines[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_is_understood),
        cmocka_unit_test(what_is_not_given_keeps_its_value),
        cmocka_unit_test(arguments_are_left_in_order),
        cmocka_unit_test(a_list_keeps_every_value_in_order),
        cmocka_unit_test(bad_values_are_misuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
