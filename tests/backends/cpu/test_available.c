/*
 * test_available.c - how much memory is left, by files as the system's.
 */
#include "cpu.h"
#include "tn_test.h"

#include <unistd.h>

#include "base/file.h"

enum { PATH = 512 };

static char root[] = "/tmp/tenon-available-XXXXXX";

static void lay(const char *folder, const char *name, const char *text)
{
    char path[PATH];
    tn_error err = TN_ERROR_NONE;
    snprintf(path, sizeof path, "%s/%s", root, folder);
    tn_assert_ok_err(tni_folder_make(path, &err), err);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    tn_assert_ok_err(tni_file_replace(path, text, strlen(text), &err), err);
}

static int begin(void **state)
{
    (void)state;
    strcpy(root + strlen(root) - 6, "XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int end(void **state)
{
    tn_error err = TN_ERROR_NONE;
    (void)state;
    return tni_folder_remove(root, &err) == TN_OK ? 0 : -1;
}

/* A machine of 8 MiB, most of it files. */
static void lay_machine(void)
{
    lay("proc", "meminfo",
        "MemTotal:           8192 kB\nMemFree:             100 kB\n"
        "MemAvailable:       6000 kB\nCached:             5900 kB\n");
}

static void files_that_the_system_keeps_are_not_in_the_way(void **state)
{
    (void)state;
    lay_machine();
    assert_int_equal(cpu_available_memory(root), 6000 * 1024);
}

static void a_group_may_allow_less(void **state)
{
    (void)state;
    lay_machine();
    lay("proc/self", "cgroup", "1:cpu:/other\n0::/jobs/mine\n");
    lay("sys/fs/cgroup/jobs/mine", "memory.max", "1000000\n");
    lay("sys/fs/cgroup/jobs/mine", "memory.current", "300000\n");
    assert_int_equal(cpu_available_memory(root), 700000);
    lay("sys/fs/cgroup/jobs/mine", "memory.max", "max\n");
    assert_int_equal(cpu_available_memory(root), 6000 * 1024);
    lay("sys/fs/cgroup/jobs", "memory.max", "500000\n");
    lay("sys/fs/cgroup/jobs", "memory.current", "300000\n");
    assert_int_equal(cpu_available_memory(root), 200000);
}

static void a_container_is_the_root_of_its_groups(void **state)
{
    (void)state;
    lay_machine();
    lay("proc/self", "cgroup", "0::/\n");
    lay("sys/fs/cgroup", "memory.max", "1000000\n");
    lay("sys/fs/cgroup", "memory.current", "999999\n");
    assert_int_equal(cpu_available_memory(root), 1);
    lay("sys/fs/cgroup", "memory.current", "1000001\n");
    assert_int_equal(cpu_available_memory(root), 1);
}

static void a_groups_files_are_not_in_its_way(void **state)
{
    (void)state;
    lay_machine();
    lay("proc/self", "cgroup", "0::/\n");
    lay("sys/fs/cgroup", "memory.max", "1000000\n");
    lay("sys/fs/cgroup", "memory.current", "900000\n");
    lay("sys/fs/cgroup", "memory.stat",
        "anon 100000\nfile 800000\ninactive_file 600000\nactive_file 50000\n");
    assert_int_equal(cpu_available_memory(root), 750000);
}

static void without_those_files_it_is_what_lies_free(void **state)
{
    (void)state;
    assert_true(cpu_available_memory(root) > 1);
    assert_true(cpu_available_memory("") > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            files_that_the_system_keeps_are_not_in_the_way, begin, end),
        cmocka_unit_test_setup_teardown(a_group_may_allow_less, begin, end),
        cmocka_unit_test_setup_teardown(a_container_is_the_root_of_its_groups,
                                        begin, end),
        cmocka_unit_test_setup_teardown(a_groups_files_are_not_in_its_way,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            without_those_files_it_is_what_lies_free, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
