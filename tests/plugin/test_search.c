/*
 * test_search.c - in which folders plugins are looked for.
 */
#include "support_plugin.h"

#include "plugin/module.h"
#include "plugin/registry.h"

static int has(const tni_folders *folders, const char *folder)
{
    for (size_t i = 0; i < folders->count; i++)
        if (!strcmp(folders->at[i], folder))
            return 1;
    return 0;
}

static void absolute_entries_come_first_in_their_order(void **state)
{
    (void)state;
    test_host host = test_host_make();
    tni_folders folders = {0};
    tni_search_folders(test_arena(), &host.table, "/b:/a::/b", 0, &folders);
    assert_true(folders.count >= 3);
    assert_string_equal(folders.at[0], "/b");
    assert_string_equal(folders.at[1], "/a");
    assert_string_not_equal(folders.at[2], "/b");
    assert_string_equal(host.logged, "");
}

static void a_relative_entry_is_ignored_aloud(void **state)
{
    (void)state;
    test_host host = test_host_make();
    tni_folders folders = {0};
    tni_search_folders(test_arena(), &host.table, "plugins:/a:.", 0, &folders);
    assert_false(has(&folders, "plugins"));
    assert_false(has(&folders, "."));
    assert_true(has(&folders, "/a"));
    assert_non_null(strstr(host.logged, "'plugins' is not an absolute path"));
    assert_non_null(strstr(host.logged, "'.' is not an absolute path"));
}

static void with_other_rights_the_variable_is_ignored(void **state)
{
    (void)state;
    test_host host = test_host_make();
    tni_folders folders = {0};
    tni_search_folders(test_arena(), &host.table, "/a", 1, &folders);
    assert_false(has(&folders, "/a"));
    assert_non_null(strstr(host.logged, "ignored"));
}

static void the_folder_beside_the_library_is_searched(void **state)
{
    (void)state;
    test_host host = test_host_make();
    tni_folders folders = {0};
    const char *beside = tni_arena_printf(test_arena(), "%s/tenon/plugins-1",
                                          tni_library_folder(test_arena()));
    tni_search_folders(test_arena(), &host.table, NULL, 0, &folders);
    assert_true(has(&folders, beside));
    assert_int_equal(folders.count, 2); /* and the configured one */
}

static void a_file_is_named_by_kind_and_name(void **state)
{
    (void)state;
    const char *first = test_folder(), *second = test_folder();
    const char *at[] = {first, second};
    const tni_folders folders = {.at = at, .count = 2};
    const char *path = copy_fixture("good", second, "tenon-schedule-good.so");
    assert_string_equal(
        tni_search_file(test_arena(), &folders, TN_KIND_SCHEDULE, "good"),
        path);
    assert_null(tni_search_file(test_arena(), &folders, TN_KIND_ARCH, "good"));
    path = copy_fixture("good", first, "tenon-schedule-good.so");
    assert_string_equal(
        tni_search_file(test_arena(), &folders, TN_KIND_SCHEDULE, "good"),
        path);
    test_folder_remove(first);
    test_folder_remove(second);
}

static void names_are_lower_case_words(void **state)
{
    (void)state;
    assert_true(tni_name_is_valid("token_file-2"));
    assert_false(tni_name_is_valid(""));
    assert_false(tni_name_is_valid(NULL));
    assert_false(tni_name_is_valid("../evil"));
    assert_false(tni_name_is_valid("a/b"));
    assert_false(tni_name_is_valid("Lion"));
    assert_false(tni_name_is_valid("a b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absolute_entries_come_first_in_their_order),
        cmocka_unit_test(a_relative_entry_is_ignored_aloud),
        cmocka_unit_test(with_other_rights_the_variable_is_ignored),
        cmocka_unit_test(the_folder_beside_the_library_is_searched),
        cmocka_unit_test(a_file_is_named_by_kind_and_name),
        cmocka_unit_test(names_are_lower_case_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
