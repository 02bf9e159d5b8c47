/*
 * test_sweep.c - `tenon sweep` from outside: two runs, one cut off, a table.
 */
#include "program.h"

static void add_sweep(const program *p, const char *sweep)
{
    char text[4096];
    snprintf(text, sizeof text, "%ssweep: %s\n", program_config, sweep);
    program_write(p, "s.yaml", text);
}

static int setup(void **state)
{
    if (program_setup(state) != 0)
        return -1;
    add_sweep(*state,
              "{name: \"{seed}\", grid: {seed: [1, 2], train.max_steps: [3]}}");
    return 0;
}

/* The line of the table that begins with `name`. */
static const char *row(const program *p, const char *name)
{
    static char line[512];
    const size_t length = strlen(name);
    for (const char *at = p->out; *at; at = strchr(at, '\n') + 1) {
        if (strncmp(at, name, length) != 0 || at[length] != ' ')
            continue;
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        return line;
    }
    fail_msg("there is no run %s in\n%s", name, p->out);
    return NULL;
}

static void runs_are_trained_and_compared(void **state)
{
    program *p = *state;
    char picture[1 << 14];
    assert_int_equal(RUN(p, "sweep", "s.yaml"), 0);
    assert_non_null(strstr(p->err, "0 done, 0 to go on with, 2 to start"));
    assert_non_null(strstr(p->out, "val_loss"));
    assert_non_null(strstr(row(p, "1"), "done"));
    assert_non_null(strstr(row(p, "2"), "done"));
    assert_true(program_exists(p, "run/1/step-00000003/model.safetensors"));
    assert_true(program_exists(p, "run/2/metrics.jsonl"));
    assert_true(program_exists(p, "run/2.log"));
    program_read(p, "run/sweep.svg", picture, sizeof picture);
    const char *first = strstr(picture, "<polyline");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "<polyline"));
    /* a run of a sweep is a run like any other */
    assert_int_equal(RUN(p, "train", "-f", "run/1/config.yaml", "--set",
                         "checkpoint.dir=alone"),
                     0);
    assert_true(program_same(p, "run/1/step-00000003/model.safetensors",
                             "run/1/alone/step-00000003/model.safetensors"));
    assert_false(program_same(p, "run/1/step-00000003/model.safetensors",
                              "run/2/step-00000003/model.safetensors"));
}

static void what_was_cut_off_goes_on(void **state)
{
    program *p = *state;
    char command[512], log[8192];
    assert_int_equal(RUN(p, "sweep", "s.yaml", "--jobs", "2"), 0);
    /* as a kill just before the last step was saved leaves it */
    snprintf(command, sizeof command, "mv %s/run/2/step-00000003 %s/whole",
             p->folder, p->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(RUN(p, "sweep", "s.yaml", "--jobs", "2"), 0);
    assert_non_null(strstr(p->err, "1 done, 1 to go on with, 0 to start"));
    program_read(p, "run/2.log", log, sizeof log);
    assert_non_null(strstr(log, "continues"));
    assert_true(program_same(p, "run/2/step-00000003/model.safetensors",
                             "whole/model.safetensors"));
    assert_int_equal(RUN(p, "sweep", "s.yaml"), 0);
    assert_non_null(strstr(p->err, "2 done, 0 to go on with, 0 to start"));
    assert_non_null(strstr(row(p, "2"), "done"));
}

static void another_config_starts_anew(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "sweep", "s.yaml"), 0);
    assert_int_equal(RUN(p, "sweep", "s.yaml", "--set", "optimizer.lr=0.5"), 0);
    assert_non_null(strstr(p->err, "0 done, 0 to go on with, 2 to start"));
    assert_true(program_exists(p, "run/1.1/step-00000003")); /* kept */
    assert_false(program_same(p, "run/1/step-00000003/model.safetensors",
                              "run/1.1/step-00000003/model.safetensors"));
}

static void wait_for(const program *p, const char *name)
{
    for (int i = 0; i < 1000 && !program_exists(p, name); i++)
        program_sleep_ms(10);
    assert_true(program_exists(p, name));
}

/* Runs that would never end, the second not yet started. */
static pid_t start_long(program *p)
{
    add_sweep(p, "{name: \"{seed}\", grid: {seed: [1, 2], train.max_steps: "
                 "[1000000], checkpoint.every: [0]}}");
    const pid_t child =
        program_start(p, (const char *const[]){"sweep", "s.yaml", NULL});
    wait_for(p, "run/1/metrics.jsonl");
    program_sleep_ms(50);
    return child;
}

static void ctrl_c_saves_the_run_and_starts_no_other(void **state)
{
    program *p = *state;
    const pid_t child = start_long(p);
    kill(child, SIGINT);
    assert_int_equal(program_wait(p, child), 130);
    assert_non_null(strstr(row(p, "1"), "cut off"));
    assert_non_null(strstr(row(p, "2"), "not started"));
    assert_int_equal(
        RUN(p, "generate", "-m", "run/1", "-p", "2 times", "--max-tokens", "2"),
        0);
}

/* Row 2's folder holds a run of the old config when the sweep is cut off. */
static void losses_of_another_config_are_not_shown(void **state)
{
    program *p = *state;
    char picture[1 << 14];
    assert_int_equal(RUN(p, "sweep", "s.yaml"), 0);
    assert_non_null(strchr(row(p, "2"), '.'));
    add_sweep(p, "{name: \"{seed}\", grid: {seed: [1, 2], train.max_steps: "
                 "[1000000], checkpoint.every: [0]}}");
    const pid_t child =
        program_start(p, (const char *const[]){"sweep", "s.yaml", NULL});
    wait_for(p, "run/1.1");
    wait_for(p, "run/1/metrics.jsonl");
    program_sleep_ms(200);
    kill(child, SIGINT);
    assert_int_equal(program_wait(p, child), 130);
    assert_non_null(strchr(row(p, "1"), '.'));
    assert_non_null(strstr(row(p, "2"), "not started"));
    assert_null(strchr(row(p, "2"), '.'));
    program_read(p, "run/sweep.svg", picture, sizeof picture);
    const char *first = strstr(picture, "<polyline");
    assert_non_null(first);
    assert_null(strstr(first + 1, "<polyline"));
}

static void runs_end_with_their_sweep(void **state)
{
    program *p = *state;
    char log[8192] = "";
    const pid_t child = start_long(p);
    kill(child, SIGKILL);
    assert_int_equal(program_wait(p, child), 128 + SIGKILL);
    for (int i = 0; i < 500 && !strstr(log, "interrupted"); i++) {
        program_sleep_ms(10);
        program_read(p, "run/1.log", log, sizeof log);
    }
    assert_non_null(strstr(log, "interrupted after step"));
}

static void one_bad_run_does_not_stop_the_others(void **state)
{
    program *p = *state;
    /* a rate that ends in infinities; nothing says so before it runs */
    add_sweep(p, "{list: [{name: wild, optimizer.lr: 1.0e+30}, {name: tame, "
                 "train.max_steps: 3}]}");
    assert_int_equal(RUN(p, "sweep", "s.yaml"), 1);
    assert_non_null(strstr(row(p, "wild"), "failed"));
    assert_non_null(strstr(row(p, "tame"), "done"));
    assert_non_null(strstr(p->err, "run/wild.log"));
    assert_non_null(strstr(p->err, "1 of 2 runs failed"));
}

static void mistakes_are_found_before_anything_runs(void **state)
{
    program *p = *state;
    add_sweep(p, "{grid: {optimizer.lr: [0.1, fast]}}");
    assert_int_equal(RUN(p, "sweep", "s.yaml"), 1);
    assert_non_null(strstr(p->err, "run lr=fast: "));
    assert_false(program_exists(p, "run"));
    assert_int_equal(RUN(p, "sweep", "c.yaml"), 1);
    assert_non_null(strstr(p->err, "has no sweep"));
    assert_int_equal(RUN(p, "sweep", "s.yaml", "--backend", ""), 1);
    assert_non_null(strstr(p->err, "--backend is empty"));
    assert_int_equal(RUN(p, "sweep", "s.yaml", "-d", ""), 1);
    assert_non_null(strstr(p->err, "-d is empty"));
    assert_int_equal(RUN(p, "sweep"), 2);
    assert_int_equal(RUN(p, "sweep", "s.yaml", "--jobs", "0"), 2);
    /* `train` takes the file without its sweep */
    assert_int_equal(RUN(p, "train", "-f", "s.yaml", "--max-steps", "1"), 0);
    assert_true(program_exists(p, "run/step-00000001"));
}

#define WITH_SWEEP(test)                                                       \
    cmocka_unit_test_setup_teardown(test, setup, program_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SWEEP(runs_are_trained_and_compared),
        WITH_SWEEP(what_was_cut_off_goes_on),
        WITH_SWEEP(another_config_starts_anew),
        WITH_SWEEP(ctrl_c_saves_the_run_and_starts_no_other),
        WITH_SWEEP(losses_of_another_config_are_not_shown),
        WITH_SWEEP(runs_end_with_their_sweep),
        WITH_SWEEP(one_bad_run_does_not_stop_the_others),
        WITH_SWEEP(mistakes_are_found_before_anything_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
