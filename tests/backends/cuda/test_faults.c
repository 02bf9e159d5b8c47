/*
 * test_faults.c - a device that fails in the middle of things: `tenon train`
 * ends with a sentence, and what it had saved is whole.
 *
 * The device is the emulator, which fails where it is told to (SIMT_FAULT,
 * emulator/driver.h).
 */
#include "program.h"

static void expect_fault(const char *fault)
{
    setenv("SIMT_FAULT", fault, 1);
}

static void expect_none(void)
{
    unsetenv("SIMT_FAULT");
}

static int train(program *p, const char *steps, const char *backend,
                 const char *resume)
{
    char set[128];
    snprintf(set, sizeof set, "backend=%s", backend);
    return RUN(p, "train", "-f", "c.yaml", "--headless", "--set", set,
               "--max-steps", steps, "--set", "train.eval_every=0",
               resume ? "--resume" : NULL, resume);
}

/* The number after `key` on the last line of metrics, as text. */
static void last_loss(const program *p, char loss[64])
{
    const char *at = NULL;
    for (const char *s = p->out; (s = strstr(s, "\"loss\": ")); s++)
        at = s + 8;
    assert_non_null(at);
    snprintf(loss, 64, "%.*s", (int)strcspn(at, ",}"), at);
}

/* ---- a device that is lost ---- */

/* Steps were made, not all; going on gives the bits of a run without fault. */
static void expect_the_checkpoint(program *p, const char *fault,
                                  const char *sentence)
{
    char whole[64], resumed[64];
    expect_none();
    assert_int_equal(train(p, "12", "cuda", NULL), 0);
    last_loss(p, whole);

    expect_fault(fault);
    assert_int_equal(train(p, "12", "cuda", NULL), 1);
    assert_non_null(strstr(p->err, sentence));
    assert_non_null(strstr(p->err, "--resume auto"));
    assert_false(program_exists(p, "run/step-00000012"));

    expect_none();
    assert_int_equal(train(p, "12", "cuda", "auto"), 0);
    assert_non_null(strstr(p->err, "run/step-0000000"));
    last_loss(p, resumed);
    assert_string_equal(resumed, whole);
}

static void an_ecc_error_in_a_kernel_leaves_the_checkpoint(void **state)
{
    expect_the_checkpoint(*state, "kernel 600 214", "an ECC error");
}

static void a_device_lost_in_a_launch_leaves_the_checkpoint(void **state)
{
    expect_the_checkpoint(*state, "GraphLaunch 9 719",
                          "unspecified launch failure");
}

static void a_device_lost_in_a_wait_leaves_the_checkpoint(void **state)
{
    expect_the_checkpoint(*state, "StreamSynchronize 250 719",
                          "unspecified launch failure");
}

/* ---- a kernel that fails ---- */

/* "FILE:LINE: OP" before the driver's words. */
static void culprit(program *p, const char *fault, const char *backend,
                    char name[256])
{
    static const char before[] = "tenon: ";
    expect_fault(fault);
    assert_int_equal(train(p, "12", backend, NULL), 1);
    expect_none();
    assert_non_null(strstr(p->err, "an illegal memory access"));
    assert_non_null(strstr(p->err, "--resume auto"));
    const char *end = strstr(p->err, ": backend cuda: the driver says");
    assert_non_null(end);
    const char *start = end;
    while (start > p->err && start[-1] != '\n')
        start--;
    if (!strncmp(start, before, sizeof before - 1))
        start += sizeof before - 1;
    assert_true(end - start < 256);
    snprintf(name, 256, "%.*s", (int)(end - start), start);
}

/* Within a graph, which is over before anybody looks, as op by op: forward,
 * backward, in the update. */
static void a_kernel_that_fails_is_told_with_its_op_and_line(void **state)
{
    static const char *const faults[] = {"kernel 3 700", "kernel 31 700",
                                         "kernel 130 700"};
    char within[256], by_op[256], seen[3][256];
    for (int i = 0; i < 3; i++) {
        culprit(*state, faults[i], "cuda", within);
        culprit(*state, faults[i], "{plugin: cuda, graph: false}", by_op);
        assert_string_equal(within, by_op);
        assert_non_null(strstr(within, ".c:"));
        snprintf(seen[i], sizeof seen[i], "%s", within);
    }
    assert_string_not_equal(seen[0], seen[1]);
}

static void without_marks_it_is_told_how_to_learn_it(void **state)
{
    program *p = *state;
    expect_fault("kernel 130 700");
    assert_int_equal(train(p, "12", "{plugin: cuda, mark: false}", NULL), 1);
    expect_none();
    assert_non_null(strstr(p->err, "an illegal memory access"));
    assert_null(strstr(p->err, ".c:"));
    assert_non_null(strstr(p->err, "graph: false"));
}

/* ---- memory that runs out ---- */

/* Whichever allocation it is, of arenas, scratch or staging: a sentence about
 * memory with the plan's table, and nothing is trained. */
static void memory_that_runs_out_is_told_before_the_first_step(void **state)
{
    static const char *const what[] = {"MemAlloc", "MemAllocHost"};
    program *p = *state;
    int failed = 0;
    for (int k = 0; k < 2; k++)
        for (int n = 1; n <= 12; n++) {
            char fault[64];
            snprintf(fault, sizeof fault, "%s %d 2", what[k], n);
            expect_fault(fault);
            const int status = train(p, "1", "cuda", NULL);
            if (status == 0)
                break; /* it needs fewer */
            assert_int_equal(status, 1);
            assert_non_null(strstr(p->err, "memory"));
            assert_non_null(strstr(p->err, "train.batch_size"));
            assert_null(strstr(p->err, "run folder")); /* not begun */
            failed++;
        }
    expect_none();
    assert_true(failed > 8);
}

static void an_arena_that_does_not_fit_is_told_with_the_table(void **state)
{
    program *p = *state;
    expect_fault("MemAlloc 5 2");
    assert_int_equal(train(p, "2", "cuda", NULL), 1);
    expect_none();
    assert_non_null(strstr(p->err, "bytes of memory free"));
    assert_non_null(strstr(p->err, "This run's plans need 0.2 MiB (optimizer "
                                   "state 0.1 MiB)"));
    assert_non_null(strstr(p->err, "train.batch_size"));
    assert_string_equal(p->out, "");
}

/* ---- a driver that is too old ---- */

static void a_driver_older_than_the_toolkit_is_told(void **state)
{
    program *p = *state;
    setenv("SIMT_DRIVER", "11080", 1);
    assert_int_equal(RUN(p, "devices"), 0);
    assert_non_null(strstr(p->out, "CUDA 11.8 and older"));
    assert_non_null(strstr(p->out, "update the driver"));
    assert_int_equal(train(p, "1", "cuda", NULL), 1);
    assert_non_null(strstr(p->err, "update the driver"));
    unsetenv("SIMT_DRIVER");
}

/* ---- an option without effect ---- */

static void tf32_without_its_library_is_told(void **state)
{
    program *p = *state;
    assert_int_equal(train(p, "1", "{plugin: cuda, tf32: true}", NULL), 0);
    assert_non_null(strstr(p->err, "tf32: true changes nothing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROGRAM(an_ecc_error_in_a_kernel_leaves_the_checkpoint),
        WITH_PROGRAM(a_device_lost_in_a_launch_leaves_the_checkpoint),
        WITH_PROGRAM(a_device_lost_in_a_wait_leaves_the_checkpoint),
        WITH_PROGRAM(a_kernel_that_fails_is_told_with_its_op_and_line),
        WITH_PROGRAM(without_marks_it_is_told_how_to_learn_it),
        WITH_PROGRAM(memory_that_runs_out_is_told_before_the_first_step),
        WITH_PROGRAM(an_arena_that_does_not_fit_is_told_with_the_table),
        WITH_PROGRAM(a_driver_older_than_the_toolkit_is_told),
        WITH_PROGRAM(tf32_without_its_library_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
