/*
 * test_faults.c - devices that cannot be used, and one that fails in the middle
 * of things: `tenon train` ends with a sentence, and what it had saved is
 * whole.
 *
 * The device is the machine's own; faulty_loader.c stands before its driver.
 */
#include "program.h"

#include "vulkan_device.h"

/* Where nothing is meant to fail, the fault is one that never comes. */
static void expect_fault(const char *fault)
{
    setenv("VULKAN_FAULT", fault, 1);
}

static int train(program *p, const char *steps, const char *resume)
{
    return RUN(p, "train", "-f", "c.yaml", "--headless", "--backend", "vulkan",
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

/* ---- devices that cannot be used ---- */

static int list(program *p)
{
    return RUN(p, "devices");
}

static void a_device_that_lacks_something_is_refused_by_name(void **state)
{
    program *p = *state;
    setenv("VULKAN_OLD", "1", 1);
    const int listed = list(p);
    assert_non_null(
        strstr(p->out, "its driver lacks bufferDeviceAddress, shaderInt64"));
    const int status = train(p, "2", NULL);
    unsetenv("VULKAN_OLD");
    assert_int_equal(listed, 0);
    assert_int_equal(status, 1);
    assert_non_null(strstr(p->err, "lacks bufferDeviceAddress, shaderInt64"));
    assert_string_equal(p->out, "");
}

static void without_a_driver_it_says_what_to_install(void **state)
{
    program *p = *state;
    setenv("VK_ICD_FILENAMES", "/none.json", 1);
    setenv("VK_DRIVER_FILES", "/none.json", 1);
    const int listed = list(p);
    assert_non_null(strstr(p->out, "mesa-vulkan-drivers"));
    const int status = train(p, "2", NULL);
    unsetenv("VK_ICD_FILENAMES");
    unsetenv("VK_DRIVER_FILES");
    assert_int_equal(listed, 0);
    assert_int_equal(status, 1);
    assert_non_null(strstr(p->err, "mesa-vulkan-drivers"));
}

static int is_software(void)
{
    tn_rig *rig = tn_rig_open("vulkan", "{}");
    const uint32_t score = tn_rig_score(rig);
    tn_rig_close(rig);
    return score == 1;
}

/* Never chosen; taken with a warning where it is asked for by name. */
static void a_software_device_is_for_those_who_ask_for_it(void **state)
{
    program *p = *state;
    if (!is_software()) {
        print_message("passed over: the best device here is a GPU\n");
        return;
    }
    assert_int_equal(list(p), 0);
    assert_null(strstr(p->out, "`backend: auto` takes vulkan"));
    expect_fault("none 0 0");
    assert_int_equal(train(p, "1", NULL), 0);
    assert_non_null(strstr(p->err, "computes on the CPU and is for tests"));
}

/* ---- a device that is lost ---- */

static void expect_loss_of_the_device(program *p, const char *fault)
{
    char whole[64], resumed[64];
    expect_fault("none 0 0");
    assert_int_equal(train(p, "12", NULL), 0);
    last_loss(p, whole);

    expect_fault(fault);
    assert_int_equal(train(p, "12", NULL), 1);
    assert_non_null(strstr(p->err, "the device was lost"));
    assert_non_null(strstr(p->err, "--resume auto"));
    assert_true(program_exists(p, "run/step-00000001") ||
                program_exists(p, "run/step-00000008"));
    assert_false(program_exists(p, "run/step-00000012"));

    expect_fault("none 0 0");
    assert_int_equal(train(p, "12", "auto"), 0);
    assert_non_null(strstr(p->err, "run/step-0000000"));
    last_loss(p, resumed);
    assert_string_equal(resumed, whole);
}

static void a_device_lost_in_a_submission_leaves_the_checkpoint(void **state)
{
    expect_loss_of_the_device(*state, "vkQueueSubmit 20 -4");
}

static void a_device_lost_in_a_wait_leaves_the_checkpoint(void **state)
{
    expect_loss_of_the_device(*state, "vkWaitSemaphores 60 -4");
}

/* ---- memory that runs out ---- */

/* Whichever allocation it is, of arenas, scratch, staging or the device's own:
 * a sentence about memory, and no run folder left half made. */
static void memory_that_runs_out_is_told_before_the_first_step(void **state)
{
    program *p = *state;
    for (int n = 1; n <= 3; n++) {
        char fault[64];
        snprintf(fault, sizeof fault, "vkAllocateMemory %d -2", n);
        expect_fault(fault);
        const int status = train(p, "2", NULL);
        if (status == 0)
            continue; /* it needs fewer */
        assert_int_equal(status, 1);
        assert_non_null(strstr(p->err, "memory"));
        assert_non_null(strstr(p->err, "train.batch_size"));
        assert_string_equal(p->out, "");
    }
    expect_fault("vkCreateComputePipelines 2 -1");
    assert_int_equal(train(p, "2", NULL), 1);
    assert_non_null(strstr(p->err, "out of the machine's memory"));
    expect_fault("none 0 0");
}

static void an_arena_above_the_largest_buffer_is_refused_by_name(void **state)
{
    program *p = *state;
    setenv("VULKAN_MOST_BYTES", "1048576", 1);
    expect_fault("none 0 0");
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--headless", "--backend",
                         "vulkan", "--set", "model.hidden_size=256"),
                     1);
    unsetenv("VULKAN_MOST_BYTES");
    assert_non_null(strstr(p->err, "in one piece"));
    assert_non_null(strstr(p->err, "allows 1.0 MiB (maxBufferSize)"));
    assert_string_equal(p->out, "");
}

/* 512 rows of 4096 logits are 8 MiB, which no plan's table has. */
static void scratch_that_does_not_fit_is_told_with_the_table(void **state)
{
    program *p = *state;
    setenv("VULKAN_MOST_BYTES", "3145728", 1);
    expect_fault("none 0 0");
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--headless", "--backend",
                         "vulkan", "--set", "model.vocab_size=4096",
                         "--batch-size", "16", "--seq-len", "32"),
                     1);
    unsetenv("VULKAN_MOST_BYTES");
    assert_non_null(strstr(p->err, "the device has no 8.0 MiB"));
    assert_non_null(strstr(p->err, "gradients 0.5 MiB"));
    assert_string_equal(p->out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROGRAM(a_device_that_lacks_something_is_refused_by_name),
        WITH_PROGRAM(without_a_driver_it_says_what_to_install),
        WITH_PROGRAM(a_software_device_is_for_those_who_ask_for_it),
        WITH_PROGRAM(a_device_lost_in_a_submission_leaves_the_checkpoint),
        WITH_PROGRAM(a_device_lost_in_a_wait_leaves_the_checkpoint),
        WITH_PROGRAM(memory_that_runs_out_is_told_before_the_first_step),
        WITH_PROGRAM(scratch_that_does_not_fit_is_told_with_the_table),
        WITH_PROGRAM(an_arena_above_the_largest_buffer_is_refused_by_name),
    };
    if (!vulkan_can_run())
        return 0;
    setenv("LD_LIBRARY_PATH", VULKAN_FAULTY_FOLDER, 1); /* of the program */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
