/*
 * test_main.c - what all commands share.
 */
#include "support_cli.h"

static void help_lists_the_commands(void **state)
{
    (void)state;
    const said *s = tenon("--help", NULL);
    assert_status(s, 0);
    assert_out(s, "Usage\n  tenon");
    assert_out(s, "  train ");
    assert_out(s, "  check-plugin  run the conformance checks");
    assert_string_equal(s->err, "");
    assert_status(tenon("help", NULL), 0);
}

static void no_command_is_a_misuse_that_shows_help(void **state)
{
    (void)state;
    const said *s = tenon(NULL);
    assert_status(s, 2);
    assert_err(s, "Commands");
    assert_string_equal(s->out, "");
}

static void help_of_a_command_shows_its_flags(void **state)
{
    (void)state;
    const said *s = tenon("help", "new", NULL);
    assert_status(s, 0);
    assert_out(s, "tenon new KIND NAME [-o DIR]");
    assert_out(s, "-o, --output DIR");
    assert_status(tenon("new", "--help", NULL), 0);
    assert_status(tenon("new", "-h", NULL), 0);
}

static void a_misspelled_command_gets_a_suggestion(void **state)
{
    (void)state;
    const said *s = tenon("trian", NULL);
    assert_status(s, 2);
    assert_err(s, "there is no command 'trian'; did you mean 'train'?");
    s = tenon("help", "pluggins", NULL);
    assert_status(s, 2);
    assert_err(s, "did you mean 'plugins'?");
}

static void a_misspelled_flag_gets_a_suggestion(void **state)
{
    (void)state;
    const said *s = tenon("plugins", "--jsno", NULL);
    assert_status(s, 2);
    assert_err(s, "there is no flag --jsno; did you mean --json?");
    assert_err(s, "`tenon plugins --help`");
}

static void the_version_names_the_abi(void **state)
{
    (void)state;
    const said *s = tenon("--version", NULL);
    assert_status(s, 0);
    assert_out(s, "plugin ABI 1.");
}

static void a_given_plugin_must_open(void **state)
{
    (void)state;
    const said *s = tenon("--plugin", "/nowhere.so", "plugins", NULL);
    assert_status(s, 1);
    assert_err(s, "tenon: /nowhere.so: No such file");
    s = tenon("plugins", "--plugin", NULL);
    assert_status(s, 2);
    assert_err(s, "--plugin wants a FILE");
}

static const char *demo(void)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/configs/demo.yaml", getenv("TENON_SOURCE"));
    return path;
}

static void the_environment_says_how_much_is_told(void **state)
{
    (void)state;
    setenv("TENON_LOG", "debug", 1);
    const said *s = tenon("plan", "--backend", "cpu", "-f", demo(), NULL);
    assert_status(s, 0);
    assert_err(s, "tenon: debug: backend cpu: AVX");
    setenv("TENON_LOG", "info", 1);
    s = tenon("plan", "--backend", "cpu", "-f", demo(), NULL);
    assert_status(s, 0);
    assert_null(strstr(s->err, "debug"));
    setenv("TENON_LOG", "chatty", 1);
    s = tenon("plugins", NULL);
    unsetenv("TENON_LOG");
    assert_status(s, 2);
    assert_err(s, "TENON_LOG is 'chatty'; it takes debug, info, warning or "
                  "error");
}

static void more_is_said_of_the_backend_that_is_named(void **state)
{
    (void)state;
    const said *s = tenon("plan", "-f", demo(), "--set", "backend.threads=0x",
                          "--backend", "cpu", NULL);
    assert_status(s, 1);
    assert_err(s, "threads");
}

/* /dev/full takes nothing: the exit status has to tell. */
static void output_that_cannot_be_written_is_a_failure(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "%s --help > /dev/full 2> /dev/null",
             getenv("TENON_BINARY"));
    assert_int_not_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_lists_the_commands),
        cmocka_unit_test(no_command_is_a_misuse_that_shows_help),
        cmocka_unit_test(help_of_a_command_shows_its_flags),
        cmocka_unit_test(a_misspelled_command_gets_a_suggestion),
        cmocka_unit_test(a_misspelled_flag_gets_a_suggestion),
        cmocka_unit_test(the_version_names_the_abi),
        cmocka_unit_test(a_given_plugin_must_open),
        cmocka_unit_test(the_environment_says_how_much_is_told),
        cmocka_unit_test(more_is_said_of_the_backend_that_is_named),
        cmocka_unit_test(output_that_cannot_be_written_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
