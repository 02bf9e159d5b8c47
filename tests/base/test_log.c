/*
 * test_log.c - what reaches stderr, read back from it.
 */
#include "base/log.h"
#include "tn_test.h"

#include <unistd.h>

/* Everything `say` logs, as one text the caller frees. */
static char *captured(void (*say)(void))
{
    FILE *file = tmpfile();
    const int old = dup(STDERR_FILENO);
    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    say();
    dup2(old, STDERR_FILENO);
    close(old);
    char *text = calloc(1, 10000);
    assert_non_null(text);
    rewind(file);
    assert_true(fread(text, 1, 9999, file) < 9999);
    fclose(file);
    return text;
}

static void say_one_of_each(void)
{
    const tn_host host = {.struct_size = sizeof host, .log = tni_host_log};
    tni_log(TN_LOG_DEBUG, "a");
    tni_log(TN_LOG_INFO, "b %d", 1);
    host.log(&host, TN_LOG_WARNING, "c %s", "2");
    host.log(&host, TN_LOG_ERROR, "d");
}

static void lines_name_the_program_and_the_level(void **state)
{
    (void)state;
    char *text = captured(say_one_of_each);
    assert_string_equal(text, "tenon: b 1\ntenon: warning: c 2\n"
                              "tenon: error: d\n");
    free(text);
}

static void the_threshold_drops_what_is_below_it(void **state)
{
    (void)state;
    tni_log_set_level(TN_LOG_ERROR);
    char *few = captured(say_one_of_each);
    tni_log_set_level(TN_LOG_DEBUG);
    char *all = captured(say_one_of_each);
    tni_log_set_level(TN_LOG_INFO);
    assert_string_equal(few, "tenon: error: d\n");
    assert_memory_equal(all, "tenon: debug: a\n", 16);
    free(few);
    free(all);
}

static void say_too_much(void)
{
    tni_log(TN_LOG_INFO, "%*d", 5000, 1);
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
    (void)state;
    char *text = captured(say_too_much);
    const size_t length = strlen(text);
    assert_in_range(length, 1000, 4000);
    assert_int_equal(text[length - 1], '\n');
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_name_the_program_and_the_level),
        cmocka_unit_test(the_threshold_drops_what_is_below_it),
        cmocka_unit_test(a_long_line_is_cut_and_still_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
