/*
 * test_child.c - code that may crash, hang or leave, and what is said of it.
 */
#include "support_plugin.h"

#include <signal.h>
#include <unistd.h>

#include "plugin/child.h"

static const char *failure;

static const char *run(tni_child_body body, uint32_t seconds)
{
    return tni_child_run(test_arena(), body, NULL, seconds, &failure);
}

static void write_much(int fd, void *argument)
{
    (void)argument;
    for (int i = 0; i < 50000; i++)
        dprintf(fd, "%04d", i % 10000);
}

/* More than a pipe holds: the parent reads while the child writes. */
static void all_that_is_written_arrives(void **state)
{
    (void)state;
    const char *text = run(write_much, 20);
    assert_null(failure);
    assert_int_equal(strlen(text), 200000);
    assert_memory_equal(text + 4 * 12345, "2345", 4);
}

static void write_and_crash(int fd, void *argument)
{
    (void)argument;
    dprintf(fd, "so far");
    raise(SIGABRT);
}

static void a_crash_keeps_what_was_said_before(void **state)
{
    (void)state;
    assert_string_equal(run(write_and_crash, 20), "so far");
    assert_string_equal(failure, "crashed (signal 6)");
}

static void hang(int fd, void *argument)
{
    (void)fd, (void)argument;
    for (;;)
        pause();
}

static void one_that_hangs_is_ended(void **state)
{
    (void)state;
    run(hang, 1);
    assert_string_equal(failure, "did not answer within 1 seconds");
}

static void leave(int fd, void *argument)
{
    (void)fd, (void)argument;
    _exit(3);
}

static void one_that_leaves_is_noticed(void **state)
{
    (void)state;
    run(leave, 20);
    assert_string_equal(failure, "ended the program (exit status 3)");
}

static void print(int fd, void *argument)
{
    (void)fd, (void)argument;
    printf("noise on stdout\n");
    fflush(stdout);
}

static void the_child_cannot_print_on_our_stdout(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    const int kept = dup(STDOUT_FILENO);
    assert_non_null(file);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    run(print, 20);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    assert_null(failure);
    fseek(file, 0, SEEK_END);
    assert_int_equal(ftell(file), 0);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_written_arrives),
        cmocka_unit_test(a_crash_keeps_what_was_said_before),
        cmocka_unit_test(one_that_hangs_is_ended),
        cmocka_unit_test(one_that_leaves_is_noticed),
        cmocka_unit_test(the_child_cannot_print_on_our_stdout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
