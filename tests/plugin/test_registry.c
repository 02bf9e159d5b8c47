/*
 * test_registry.c - a kind and a name to a component.
 */
#include "support_plugin.h"

#include <sys/stat.h>
#include <unistd.h>

#include <tenon/schedule.h>

#include "plugin/registry.h"

typedef struct scene {
    const char *folder;
    test_host host;
    tni_registry *registry;
    const tn_component *component;
    tn_error err;
} scene;

/* A registry that searches one fresh folder before the usual ones. */
static scene *make_scene(void)
{
    scene *s = tni_arena_alloc(test_arena(), sizeof *s);
    s->folder = test_folder();
    s->host = test_host_make();
    setenv("TENON_PLUGIN_PATH", s->folder, 1);
    s->registry = tni_registry_create(&s->host.table);
    return s;
}

static void end_scene(scene *s)
{
    tni_registry_destroy(s->registry);
    test_folder_remove(s->folder);
}

static tn_status find(scene *s, tn_kind kind, const char *name)
{
    s->err = TN_ERROR_NONE;
    s->component = NULL;
    return tni_registry_find(s->registry, kind, name, &s->component, &s->err);
}

static tn_status give(scene *s, const char *path)
{
    s->err = TN_ERROR_NONE;
    return tni_registry_add_file(s->registry, path, &s->err);
}

static void a_plugin_is_found_by_its_file_name(void **state)
{
    (void)state;
    scene *s = make_scene();
    const tni_opened *opened;
    copy_fixture("good", s->folder, "tenon-schedule-good.so");
    tn_assert_ok_err(find(s, TN_KIND_SCHEDULE, "good"), s->err);
    assert_string_equal(s->component->name, "good");
    const tn_schedule *schedule =
        tni_component_vtable(s->registry, s->component);
    assert_string_equal(schedule->summary, "a fixture with nothing wrong");
    assert_int_equal(tni_registry_opened(s->registry, test_arena(), &opened),
                     1);
    assert_string_equal(opened[0].name, "good");
    const char *sha256 = tni_registry_sha256(s->registry, &opened[0]);
    assert_non_null(sha256);
    assert_int_equal(strlen(sha256), 64);
    end_scene(s);
}

static void only_what_is_asked_for_is_opened(void **state)
{
    (void)state;
    scene *s = make_scene();
    const tni_opened *opened;
    copy_fixture("good", s->folder, "tenon-schedule-good.so");
    copy_fixture("crashes", s->folder, "tenon-schedule-crashes.so");
    tn_assert_ok_err(find(s, TN_KIND_SCHEDULE, "good"), s->err);
    assert_int_equal(tni_registry_opened(s->registry, test_arena(), &opened),
                     1);
    end_scene(s);
}

static void a_misspelled_name_gets_a_suggestion_and_the_list(void **state)
{
    (void)state;
    scene *s = make_scene();
    copy_fixture("good", s->folder, "tenon-schedule-good.so");
    copy_fixture("pair", s->folder, "tenon-schedule-pair.so");
    assert_int_equal(find(s, TN_KIND_SCHEDULE, "god"), TN_ENOTFOUND);
    tn_assert_error_says(s->err, "no schedule is named 'god'; did you mean "
                                 "'good'?");
    tn_assert_error_says(s->err, "there is: good, pair");
    assert_null(strstr(s->err.message, "--plugin"));
    assert_int_equal(find(s, TN_KIND_SCHEDULE, "ramp"), TN_ENOTFOUND);
    tn_assert_error_says(s->err,
                         "pair; another comes by --plugin FILE, or lies "
                         "in a folder of TENON_PLUGIN_PATH");
    assert_int_equal(find(s, TN_KIND_COMMUNICATOR, "mpi"), TN_ENOTFOUND);
    tn_assert_error_says(s->err, s->folder);
    end_scene(s);
}

static void a_path_is_no_name(void **state)
{
    (void)state;
    scene *s = make_scene();
    static const char *const names[] = {"../good", "/tmp/x.so", "a.so", "",
                                        "Good"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(find(s, TN_KIND_SCHEDULE, names[i]), TN_EINVALID);
        tn_assert_error_says(s->err, "names are [a-z0-9_-]+");
    }
    assert_int_equal(find(s, 99, "good"), TN_EINVALID);
    end_scene(s);
}

static void a_file_must_offer_what_its_name_says(void **state)
{
    (void)state;
    scene *s = make_scene();
    copy_fixture("good", s->folder, "tenon-schedule-better.so");
    assert_int_equal(find(s, TN_KIND_SCHEDULE, "better"), TN_EREFUSED);
    tn_assert_error_says(s->err, "offers no schedule named 'better'");
    end_scene(s);
}

static void a_refused_candidate_is_not_passed_over(void **state)
{
    (void)state;
    scene *s = make_scene();
    chmod(copy_fixture("good", s->folder, "tenon-schedule-good.so"), 0666);
    assert_int_equal(find(s, TN_KIND_SCHEDULE, "good"), TN_EREFUSED);
    tn_assert_error_says(s->err, "anyone may write");
    end_scene(s);
}

static void a_given_file_comes_before_the_folders(void **state)
{
    (void)state;
    scene *s = make_scene();
    copy_fixture("good", s->folder, "tenon-schedule-good.so");
    tn_assert_ok_err(give(s, fixture("pair")), s->err);
    tn_assert_ok_err(find(s, TN_KIND_SCHEDULE, "good"), s->err);
    const tn_schedule *schedule = s->component->vtable;
    assert_string_equal(schedule->summary, "first of two");
    tn_assert_ok_err(find(s, TN_KIND_SCHEDULE, "pair"), s->err);
    end_scene(s);
}

static void two_given_files_may_not_offer_the_same(void **state)
{
    (void)state;
    scene *s = make_scene();
    tn_assert_ok_err(give(s, fixture("pair")), s->err);
    assert_int_equal(give(s, fixture("good")), TN_EREFUSED);
    tn_assert_error_says(s->err, "schedule good is already given by ");
    tn_assert_error_says(s->err, "pair.so");
    tn_assert_ok_err(give(s, fixture("pair")), s->err); /* the same again */
    end_scene(s);
}

static void the_same_file_under_another_name_is_opened_once(void **state)
{
    (void)state;
    scene *s = make_scene();
    const tni_opened *opened;
    const tn_component *first;
    const char *file =
        copy_fixture("pair", s->folder, "tenon-schedule-pair.so");
    const char *link =
        tni_arena_printf(test_arena(), "%s/tenon-schedule-good.so", s->folder);
    assert_int_equal(symlink(file, link), 0);
    tn_assert_ok_err(find(s, TN_KIND_SCHEDULE, "pair"), s->err);
    first = s->component;
    tn_assert_ok_err(find(s, TN_KIND_SCHEDULE, "good"), s->err);
    assert_ptr_equal(s->component, first - 1);
    assert_int_equal(tni_registry_opened(s->registry, test_arena(), &opened),
                     1);
    end_scene(s);
}

static void a_start_that_failed_is_not_tried_again(void **state)
{
    (void)state;
    scene *s = make_scene();
    char first[sizeof s->err.message];
    copy_fixture("start_fails", s->folder, "tenon-schedule-start_fails.so");
    assert_int_equal(find(s, TN_KIND_SCHEDULE, "start_fails"), TN_EDEVICE);
    memcpy(first, s->err.message, sizeof first);
    assert_int_equal(find(s, TN_KIND_SCHEDULE, "start_fails"), TN_EDEVICE);
    assert_string_equal(s->err.message, first);
    end_scene(s);
}

/* ---- the list ---- */

static const tni_candidate *listed(scene *s, const char *file)
{
    const tni_candidate *list;
    const uint32_t count = tni_registry_list(s->registry, test_arena(), &list);
    const char *path = tni_arena_printf(test_arena(), "%s/%s", s->folder, file);
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(list[i].path, path))
            return &list[i];
    fail_msg("%s is not listed", path);
    return NULL;
}

static void the_list_tells_what_is_loaded_and_what_could_be(void **state)
{
    (void)state;
    scene *s = make_scene();
    copy_fixture("good", s->folder, "tenon-schedule-good.so");
    copy_fixture("pair", s->folder, "tenon-schedule-pair.so");
    tn_assert_ok_err(find(s, TN_KIND_SCHEDULE, "good"), s->err);
    const tni_candidate *c = listed(s, "tenon-schedule-good.so");
    assert_string_equal(c->state, "loaded");
    assert_string_equal(c->component[0], "schedule good");
    c = listed(s, "tenon-schedule-pair.so");
    assert_string_equal(c->state, "available");
    assert_int_equal(c->component_count, 2);
    assert_string_equal(c->component[1], "schedule pair");
    assert_string_equal(c->summary[1], "second of two");
    end_scene(s);
}

static void the_list_tells_why_a_file_was_turned_down(void **state)
{
    (void)state;
    scene *s = make_scene();
    copy_fixture("wrong_tag", s->folder, "tenon-schedule-tag.so");
    copy_fixture("unresolved", s->folder, "tenon-schedule-unresolved.so");
    chmod(copy_fixture("good", s->folder, "tenon-schedule-open.so"), 0666);
    const tni_candidate *c = listed(s, "tenon-schedule-tag.so");
    assert_string_equal(c->state, "refused");
    assert_non_null(strstr(c->reason, "m68k-amiga"));
    c = listed(s, "tenon-schedule-open.so");
    assert_string_equal(c->state, "refused");
    assert_non_null(strstr(c->reason, "anyone may write"));
    c = listed(s, "tenon-schedule-unresolved.so");
    assert_string_equal(c->state, "failed");
    assert_non_null(strstr(c->reason, "nobody_has_this"));
    end_scene(s);
}

static void a_plugin_that_crashes_is_one_line(void **state)
{
    (void)state;
    scene *s = make_scene();
    copy_fixture("crashes", s->folder, "tenon-schedule-crashes.so");
    copy_fixture("leaves", s->folder, "tenon-schedule-leaves.so");
    copy_fixture("good", s->folder, "tenon-schedule-zzz.so");
    const tni_candidate *c = listed(s, "tenon-schedule-crashes.so");
    assert_string_equal(c->state, "failed");
    assert_string_equal(c->reason, "crashed (signal 11)");
    c = listed(s, "tenon-schedule-leaves.so");
    assert_string_equal(c->state, "failed");
    assert_string_equal(c->reason, "ended the program (exit status 0)");
    c = listed(s, "tenon-schedule-zzz.so");
    assert_string_equal(c->state, "available");
    end_scene(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plugin_is_found_by_its_file_name),
        cmocka_unit_test(only_what_is_asked_for_is_opened),
        cmocka_unit_test(a_misspelled_name_gets_a_suggestion_and_the_list),
        cmocka_unit_test(a_path_is_no_name),
        cmocka_unit_test(a_file_must_offer_what_its_name_says),
        cmocka_unit_test(a_refused_candidate_is_not_passed_over),
        cmocka_unit_test(a_given_file_comes_before_the_folders),
        cmocka_unit_test(two_given_files_may_not_offer_the_same),
        cmocka_unit_test(the_same_file_under_another_name_is_opened_once),
        cmocka_unit_test(a_start_that_failed_is_not_tried_again),
        cmocka_unit_test(the_list_tells_what_is_loaded_and_what_could_be),
        cmocka_unit_test(the_list_tells_why_a_file_was_turned_down),
        cmocka_unit_test(a_plugin_that_crashes_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
