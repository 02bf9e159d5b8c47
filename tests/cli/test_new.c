/*
 * test_new.c - what `tenon new` writes compiles and keeps its word.
 */
#include "support_cli.h"

#include <sys/stat.h>

/* One cc line, as a person without CMake would write it. */
static void compile(const char *folder, const char *name, const char *plugin)
{
    char command[2048];
    snprintf(command, sizeof command,
             "%s %s -shared -fPIC -Wall -Wextra -Werror -I%s/core/include "
             "-o %s %s/%s.c",
             TEST_CC, TEST_CC_FLAGS, getenv("TENON_SOURCE"), plugin, folder,
             name);
    if (system(command) != 0)
        fail_msg("this fails: %s", command);
}

static void every_kind_gives_a_plugin_that_passes(void **state)
{
    (void)state;
    static const char *const kinds[] = {"arch", "optimizer", "dataset",
                                        "schedule", "backend"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char top[64], folder[128], plugin[256];
        make_folder(top);
        snprintf(folder, sizeof folder, "%s/mine", top);
        snprintf(plugin, sizeof plugin, "%s/tenon-%s-fresh_one.so", top,
                 kinds[i]);
        const said *s = tenon("new", kinds[i], "fresh_one", "-o", folder, NULL);
        assert_status(s, 0);
        assert_out(s, "fresh_one.c");
        assert_out(s, "check  tenon check-plugin ");
        compile(folder, "fresh_one", plugin);
        s = tenon("check-plugin", plugin, NULL);
        assert_status(s, 0);
        assert_out(s, "fresh_one\n  ok    says in one line");
        remove_folder(top);
    }
}

static void no_placeholder_is_left(void **state)
{
    (void)state;
    char top[64], command[256];
    make_folder(top);
    assert_status(tenon("new", "arch", "fresh", "-o", at(top, "mine"), NULL),
                  0);
    snprintf(command, sizeof command, "grep -rqi template %s", top);
    assert_int_not_equal(system(command), 0);
    snprintf(command, sizeof command, "grep -rq fresh %s/mine/CMakeLists.txt",
             top);
    assert_int_equal(system(command), 0);
    remove_folder(top);
}

static void what_is_there_is_not_overwritten(void **state)
{
    (void)state;
    char top[64];
    make_folder(top);
    const said *s = tenon("new", "arch", "fresh", "-o", top, NULL);
    assert_status(s, 1);
    assert_err(s, "is already there; choose another folder with -o");
    remove_folder(top);
}

static void names_must_become_c_names(void **state)
{
    (void)state;
    static const char *const names[] = {"Fresh", "9lives", "a-b",
                                        "../up", "",       "a b"};
    char top[64];
    struct stat st;
    make_folder(top);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const said *s =
            tenon("new", "arch", names[i], "-o", at(top, "mine"), NULL);
        assert_status(s, 1);
        assert_err(s, "[a-z][a-z0-9_]*");
    }
    assert_int_not_equal(stat(at(top, "mine"), &st), 0);
    remove_folder(top);
}

static void an_unknown_kind_gets_a_suggestion(void **state)
{
    (void)state;
    const said *s = tenon("new", "optimiser", "fresh", "-o", "/tmp/x", NULL);
    assert_status(s, 1);
    assert_err(s, "did you mean 'optimizer'?");
    assert_err(s, "arch, backend, dataset, optimizer, schedule");
    assert_status(tenon("new", "arch", NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_gives_a_plugin_that_passes),
        cmocka_unit_test(no_placeholder_is_left),
        cmocka_unit_test(what_is_there_is_not_overwritten),
        cmocka_unit_test(names_must_become_c_names),
        cmocka_unit_test(an_unknown_kind_gets_a_suggestion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
