/*
 * test_check.c - which files may be opened at all.
 */
#include "support_plugin.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin/module.h"

enum { NOBODY = 65534 };

typedef struct place {
    const char *folder, *file;
    test_host host;
} place;

static place make_place(void)
{
    place p = {.folder = test_folder(), .host = test_host_make()};
    p.file = copy_fixture("good", p.folder, "tenon-schedule-good.so");
    return p;
}

static tn_status check(place *p, tn_error *err)
{
    tni_module module = {0};
    *err = TN_ERROR_NONE;
    const tn_status status =
        tni_module_check(test_arena(), &p->host.table, p->file, &module, err);
    assert_int_equal(module.file >= 0, status == TN_OK);
    if (status == TN_OK)
        tni_module_close_file(&module);
    return status;
}

static void an_ordinary_file_is_accepted(void **state)
{
    (void)state;
    place p = make_place();
    tni_module module = {0};
    tn_error err = TN_ERROR_NONE;
    struct stat st;
    tn_assert_ok_err(
        tni_module_check(test_arena(), &p.host.table, p.file, &module, &err),
        err);
    assert_int_equal(stat(p.file, &st), 0);
    assert_true(module.inode == st.st_ino && module.device == st.st_dev);
    assert_string_equal(p.host.logged, "");
    tni_module_close_file(&module);
    test_folder_remove(p.folder);
}

static void expect_sha256_of(const char *path, const char *want)
{
    char hex[TNI_SHA256_HEX];
    tn_error err = TN_ERROR_NONE;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    tn_assert_ok_err(tni_sha256_file(fd, hex, &err), err);
    close(fd);
    assert_string_equal(want, hex);
}

static void what_is_measured_is_the_file_that_was_opened(void **state)
{
    (void)state;
    place p = make_place();
    tni_module module = {0};
    tn_error err = TN_ERROR_NONE;
    const char *moved = tni_arena_printf(test_arena(), "%s.old", p.file);
    tn_assert_ok_err(
        tni_module_check(test_arena(), &p.host.table, p.file, &module, &err),
        err);
    assert_int_equal(rename(p.file, moved), 0);
    copy_fixture("pair", p.folder, "tenon-schedule-good.so");
    for (int i = 0; i < 2; i++) {
        tn_assert_ok_err(tni_module_measure(&module, &err), err);
        expect_sha256_of(moved, module.sha256);
    }
    assert_int_equal(module.file, -1);
    test_folder_remove(p.folder);
}

static void a_file_that_anyone_may_write_is_refused(void **state)
{
    (void)state;
    place p = make_place();
    tn_error err;
    chmod(p.file, 0646);
    assert_int_equal(check(&p, &err), TN_EREFUSED);
    tn_assert_error_says(err, p.file);
    tn_assert_error_says(err, "anyone may write to it (mode 0646)");
    test_folder_remove(p.folder);
}

static void
a_folder_that_anyone_may_write_is_refused_even_if_sticky(void **state)
{
    (void)state;
    place p = make_place();
    tn_error err;
    chmod(p.folder, 01777);
    assert_int_equal(check(&p, &err), TN_EREFUSED);
    tn_assert_error_says(err, p.folder);
    tn_assert_error_says(err, "anyone may write to it");
    test_folder_remove(p.folder);
}

static void a_higher_folder_may_be_open_to_all_only_if_sticky(void **state)
{
    (void)state;
    const char *above = test_folder();
    place p = {.folder = tni_arena_printf(test_arena(), "%s/own", above),
               .host = test_host_make()};
    tn_error err;
    assert_int_equal(mkdir(p.folder, 0755), 0);
    p.file = copy_fixture("good", p.folder, "a.so");
    chmod(above, 01777);
    tn_assert_ok_err(check(&p, &err), err);
    chmod(above, 0777);
    assert_int_equal(check(&p, &err), TN_EREFUSED);
    tn_assert_error_says(err, "anyone may write to it (mode 0777)");
    test_folder_remove(above);
}

static void another_users_file_is_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can give a file away */
    place p = make_place();
    tn_error err;
    assert_int_equal(chown(p.file, NOBODY, 0), 0);
    assert_int_equal(check(&p, &err), TN_EREFUSED);
    tn_assert_error_says(err, "it belongs to user 65534");
    tn_assert_error_says(err, "you (user 0)");
    test_folder_remove(p.folder);
}

static void another_users_folder_is_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    place p = make_place();
    tn_error err;
    assert_int_equal(chown(p.folder, NOBODY, 0), 0);
    assert_int_equal(check(&p, &err), TN_EREFUSED);
    tn_assert_error_says(err, "it belongs to user 65534");
    test_folder_remove(p.folder);
}

static void a_group_that_may_write_is_refused_to_root(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    place p = make_place();
    tn_error err;
    chmod(p.file, 0664);
    tn_assert_ok_err(check(&p, &err), err); /* root's own group */
    assert_int_equal(chown(p.file, 0, NOBODY), 0);
    assert_int_equal(check(&p, &err), TN_EREFUSED);
    tn_assert_error_says(err, "group 65534 may write");
    test_folder_remove(p.folder);
}

/* umask 002: files 0664, folders 0775, of the user's own group. */
static void a_users_own_group_may_write(void **state)
{
    (void)state;
    place p = make_place();
    tn_error err;
    chmod(p.file, 0664);
    chmod(p.folder, 0775);
    if (geteuid() == 0) {
        assert_int_equal(chown(p.file, NOBODY, NOBODY), 0);
        assert_int_equal(chown(p.folder, NOBODY, NOBODY), 0);
        assert_int_equal(setegid(NOBODY), 0);
        assert_int_equal(seteuid(NOBODY), 0);
    }
    const tn_status status = check(&p, &err);
    if (getuid() == 0) {
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(setegid(0), 0);
    }
    tn_assert_ok_err(status, err);
    assert_string_equal(p.host.logged, "");
    test_folder_remove(p.folder);
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    place p = make_place();
    tn_error err;
    p.file = tni_arena_printf(test_arena(), "%s/pipe.so", p.folder);
    assert_int_equal(mkfifo(p.file, 0600), 0);
    assert_int_equal(check(&p, &err), TN_EREFUSED);
    tn_assert_error_says(err, "not a regular file");
    p.file = p.folder;
    assert_int_equal(check(&p, &err), TN_EREFUSED);
    tn_assert_error_says(err, "not a regular file");
    p.file = "/nowhere/tenon-arch-x.so";
    assert_int_equal(check(&p, &err), TN_ENOTFOUND);
    tn_assert_error_says(err, "/nowhere/tenon-arch-x.so");
    test_folder_remove(p.folder);
}

/* The link may lie in a safe place: what counts is where the file is. */
static void a_link_is_judged_by_what_it_leads_to(void **state)
{
    (void)state;
    place p = make_place();
    const char *link = tni_arena_printf(test_arena(), "%s/link.so", p.folder);
    tn_error err;
    assert_int_equal(symlink(p.file, link), 0);
    chmod(p.file, 0666);
    p.file = link;
    assert_int_equal(check(&p, &err), TN_EREFUSED);
    tn_assert_error_says(err, "tenon-schedule-good.so");
    test_folder_remove(p.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_file_is_accepted),
        cmocka_unit_test(what_is_measured_is_the_file_that_was_opened),
        cmocka_unit_test(a_file_that_anyone_may_write_is_refused),
        cmocka_unit_test(
            a_folder_that_anyone_may_write_is_refused_even_if_sticky),
        cmocka_unit_test(a_higher_folder_may_be_open_to_all_only_if_sticky),
        cmocka_unit_test(another_users_file_is_refused),
        cmocka_unit_test(another_users_folder_is_refused),
        cmocka_unit_test(a_group_that_may_write_is_refused_to_root),
        cmocka_unit_test(a_users_own_group_may_write),
        cmocka_unit_test(what_is_no_regular_file_is_refused),
        cmocka_unit_test(a_link_is_judged_by_what_it_leads_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
