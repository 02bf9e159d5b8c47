/*
 * test_train.c - `tenon train` from outside: what it prints, what a kill or a
 * full disk leaves behind, how it ends.
 */
#include "program.h"

#include <dirent.h>

#include <jansson.h>

#include <tenon/philox.h>

/* Every line of stdout is one JSON object with the keys of the manual. */
static int check_reports(const char *out)
{
    static const char *const keys[] = {
        "step",  "loss", "grad_norm",        "learning_rate",
        "epoch", "it/s", "tokens_per_second"};
    int lines = 0;
    for (const char *at = out; *at; lines++) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        json_t *line =
            json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES, NULL);
        assert_true(json_is_object(line));
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            assert_true(json_is_number(json_object_get(line, keys[i])));
        json_decref(line);
        at = end + 1;
    }
    return lines;
}

static void stdout_is_json_and_nothing_else(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--headless"), 0);
    assert_int_equal(check_reports(p->out), 4); /* steps 3, 6, 9, 12 */
    assert_non_null(strstr(p->out, "\"val_loss\""));
    assert_non_null(strstr(p->err, "parameters"));
    assert_true(program_exists(p, "run/metrics.jsonl"));
    assert_true(program_exists(p, "run/loss.svg"));
}

static void flags_change_the_config(void **state)
{
    program *p = *state;
    char config[1 << 14];
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", "2",
                         "--batch-size=3", "--seq-len", "4", "--grad-accum",
                         "2", "--set", "optimizer.lr=0.5", "--backend",
                         "reference"),
                     0);
    assert_int_equal(check_reports(p->out), 1);
    program_read(p, "run/config.yaml", config, sizeof config);
    assert_non_null(strstr(config, "max_steps: 2"));
    assert_non_null(strstr(config, "batch_size: 3"));
    assert_non_null(strstr(config, "seq_len: 4"));
    assert_non_null(strstr(config, "grad_accum: 2"));
    assert_non_null(strstr(config, "lr: 0.5"));
    /* the resolved config alone gives the same run */
    assert_int_equal(RUN(p, "train", "-f", "run/config.yaml", "--set",
                         "checkpoint.dir=again"),
                     0);
    assert_true(program_same(p, "run/step-00000002/model.safetensors",
                             "run/again/step-00000002/model.safetensors"));
}

static void tokens_come_from_a_file(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "tokenize", "text.txt", "-o", "t.bin"), 0);
    assert_int_equal(
        RUN(p, "train", "-f", "c.yaml", "-d", "t.bin", "--max-steps", "3"), 0);
    assert_int_equal(check_reports(p->out), 1);
    assert_int_equal(
        RUN(p, "train", "-f", "c.yaml", "-d", "none.bin", "--max-steps", "3"),
        1);
    assert_non_null(strstr(p->err, "none.bin"));
    assert_int_equal(
        RUN(p, "tokenize", "text.txt", "-o", "t.bin", "--dtype", "u8"), 1);
    assert_int_equal(
        RUN(p, "tokenize", "text.txt", "-o", "t.bin", "--tokenizer", "bite"),
        1);
    assert_non_null(strstr(p->err, "byte"));
}

/* A run without an end that has begun: metrics.jsonl is made just before step
 * 1. */
static pid_t start_training(const program *p, const char *grad_accum)
{
    const pid_t child = program_start(
        p, (const char *const[]){"train", "-f", "c.yaml", "--max-steps",
                                 "1000000", "--grad-accum", grad_accum, "--set",
                                 "checkpoint.every=0", NULL});
    for (int i = 0; i < 500 && !program_exists(p, "run/metrics.jsonl"); i++)
        program_sleep_ms(10);
    program_sleep_ms(50);
    return child;
}

static void ctrl_c_saves_and_exits_with_130(void **state)
{
    program *p = *state;
    const pid_t child = start_training(p, "1");
    kill(child, SIGINT);
    assert_int_equal(program_wait(p, child), 130);
    assert_non_null(strstr(p->err, "--resume auto"));
    assert_int_equal(
        RUN(p, "generate", "-m", "run", "-p", "2 times", "--max-tokens", "4"),
        0);
}

/* timeout(1) signals its child, and then its group with the child in it. */
static void a_signal_sent_twice_at_once_is_one(void **state)
{
    program *p = *state;
    const pid_t child = start_training(p, "64");
    kill(child, SIGTERM);
    program_sleep_ms(2);
    kill(child, SIGTERM);
    assert_int_equal(program_wait(p, child), 130);
    assert_non_null(strstr(p->err, "--resume auto"));
}

/* Within a step that takes many minutes. */
static void a_second_signal_later_ends_at_once(void **state)
{
    program *p = *state;
    const pid_t child = start_training(p, "1000000");
    kill(child, SIGTERM);
    program_sleep_ms(1100);
    kill(child, SIGTERM);
    assert_int_equal(program_wait(p, child), 128 + SIGTERM);
}

/* The newest step saved in the folder, and whether a save was cut short. */
static long newest_step(const program *p, const char *name, int *cut_short)
{
    char path[128];
    long newest = 0;
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    DIR *folder = opendir(path);
    for (struct dirent *e; folder && (e = readdir(folder));) {
        const long step =
            strncmp(e->d_name, "step-", 5) ? 0 : atol(e->d_name + 5);
        newest = step > newest ? step : newest;
        *cut_short |= strncmp(e->d_name, ".tmp-step-", 10) == 0;
    }
    if (folder)
        closedir(folder);
    return newest;
}

/* Milliseconds from the start of a run to the end of its first step. */
static double startup_ms(program *p)
{
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", "1",
                         "--set", "checkpoint.dir=warm"),
                     0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    return 1e3 * (double)(b.tv_sec - a.tv_sec) +
           1e-6 * (double)(b.tv_nsec - a.tv_nsec);
}

static void killed_at_any_moment_it_resumes_bit_for_bit(void **state)
{
    program *p = *state;
    enum { KILLS = 20, MOST_KILLS = 100 };
    int inside_a_save = 0;
    char steps[24], a[64], b[64];
    const double start = startup_ms(p);
    /* every step saves, so that many kills fall into a save; on a machine that
     * is busy elsewhere it may take more of them */
    for (uint32_t i = 0; i < KILLS || (!inside_a_save && i < MOST_KILLS); i++) {
        int cut_short = 0;
        const pid_t child = program_start(
            p, (const char *const[]){"train", "-f", "c.yaml", "--resume",
                                     "auto", "--max-steps", "1000000", "--set",
                                     "checkpoint.dir=b", NULL});
        const double u = (double)tn_philox_uniform(11, 0, 0, i);
        program_sleep_ms((long)(start * (0.5 + u) + 100 * u));
        kill(child, SIGKILL);
        assert_int_equal(program_wait(p, child), 128 + SIGKILL);
        newest_step(p, "b", &cut_short);
        inside_a_save += cut_short;
    }
    assert_true(inside_a_save > 0);
    const long last = newest_step(p, "b", &(int){0}) + 3;
    assert_true(last > 3);
    snprintf(steps, sizeof steps, "%ld", last);
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--resume", "auto",
                         "--max-steps", steps, "--set", "checkpoint.dir=b"),
                     0);
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", steps,
                         "--set", "checkpoint.dir=a", "--set",
                         "checkpoint.every=0"),
                     0);
    static const char *const files[] = {"model", "optimizer"};
    for (int i = 0; i < 2; i++) {
        snprintf(a, sizeof a, "a/step-%08ld/%s.safetensors", last, files[i]);
        snprintf(b, sizeof b, "b/step-%08ld/%s.safetensors", last, files[i]);
        assert_true(program_same(p, a, b));
    }
}

/* Where nobody reads its reports any more. */
static void a_closed_stdout_saves_as_a_signal_does(void **state)
{
    program *p = *state;
    char command[512];
    snprintf(command, sizeof command,
             "cd %s && (timeout 60 \"$TENON_BINARY\" train -f c.yaml "
             "--headless --max-steps 1000000 --set checkpoint.every=0 "
             "2>stderr; echo $? >stdout) | head -n 1 >first",
             p->folder);
    assert_int_equal(system(command), 0);
    program_read(p, "stdout", p->out, sizeof p->out);
    program_read(p, "stderr", p->err, sizeof p->err);
    assert_string_equal(p->out, "130\n");
    assert_non_null(strstr(p->err, "stdout: Broken pipe"));
    assert_non_null(strstr(p->err, "--resume auto"));
}

static void a_copied_run_goes_on_where_it_lies(void **state)
{
    program *p = *state;
    char command[128];
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", "4"), 0);
    snprintf(command, sizeof command,
             "cd %s && cp -r run copy && cp -r "
             "run/step-00000003 alone",
             p->folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(RUN(p, "train", "--resume", "copy", "--max-steps", "6"),
                     0);
    assert_true(program_exists(p, "run/step-00000003"));
    assert_false(program_exists(p, "run/step-00000006"));
    assert_true(program_exists(p, "copy/step-00000006"));
    assert_int_equal(
        RUN(p, "train", "--resume", "copy/step-00000005", "--max-steps", "7"),
        0);
    assert_true(program_exists(p, "copy.1/step-00000006"));
    assert_true(program_exists(p, "copy/step-00000007"));
    /* a checkpoint by itself goes on where its config says */
    assert_int_equal(RUN(p, "train", "--resume", "alone", "--max-steps", "5"),
                     0);
    assert_true(program_exists(p, "run/step-00000005"));
    assert_true(program_exists(p, "run.1/step-00000004"));
}

static void a_run_past_its_end_says_so(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", "4"), 0);
    assert_int_equal(
        RUN(p, "train", "-f", "c.yaml", "--resume", "auto", "--max-steps", "4"),
        0);
    assert_null(strstr(p->err, "nothing is left"));
    assert_int_equal(
        RUN(p, "train", "-f", "c.yaml", "--resume", "auto", "--max-steps", "3"),
        0);
    assert_non_null(strstr(p->err, "max_steps: 3 is below step 4"));
}

/* A number of the last report on stdout. */
static double last_report(const program *p, const char *key)
{
    const char *line = strrchr(p->out, '{');
    assert_non_null(line);
    json_t *root = json_loads(line, 0, NULL);
    const double value = json_number_value(json_object_get(root, key));
    json_decref(root);
    return value;
}

static void an_epoch_counts_rows_whatever_the_batches(void **state)
{
    program *p = *state;
    program_write(p, "e.yaml",
                  "extends: c.yaml\n"
                  "train: {max_steps: null, epochs: 1, eval_every: 0}\n"
                  "checkpoint: {every: 0}\n");
    assert_int_equal(RUN(p, "train", "-f", "e.yaml", "--batch-size", "1"), 0);
    /* the last step of an epoch is filled up from the next one */
    const double rows = last_report(p, "step") / last_report(p, "epoch");
    assert_true(rows > 100);
    assert_int_equal(RUN(p, "train", "-f", "e.yaml", "--max-steps", "30"), 0);
    tn_assert_near(last_report(p, "epoch"), 2 * 30 / rows, 1e-6);
    assert_int_equal(RUN(p, "train", "-f", "e.yaml", "--resume", "auto",
                         "--batch-size", "4"),
                     0);
    tn_assert_near(last_report(p, "step"), 30 + (rows - 60) / 4, 1.5);
    tn_assert_near(last_report(p, "epoch"), 1, 6 / rows);
}

static void a_full_disk_is_a_sentence(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-steps", "2"), 0);
    p->file_limit = 24 * 1024; /* as ulimit -f does */
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--resume", "auto"), 1);
    p->file_limit = 0;
    assert_non_null(strstr(p->err, "File too large"));
    assert_true(program_exists(p, "run/step-00000002/trainer.json"));
    assert_false(program_exists(p, "run/.tmp-step-00000003"));
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--resume", "auto"), 0);
}

static void mistakes_have_their_status_and_sentence(void **state)
{
    program *p = *state;
    assert_int_equal(RUN(p, "train", "-f", "none.yaml"), 1);
    assert_non_null(strstr(p->err, "none.yaml"));
    assert_int_equal(RUN(p, "train"), 1);
    assert_non_null(strstr(p->err, "-f FILE"));
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--max-stps", "3"), 2);
    assert_non_null(strstr(p->err, "--max-steps"));
    assert_int_equal(
        RUN(p, "train", "-f", "c.yaml", "--set", "train.max_stps=3"), 1);
    assert_non_null(strstr(p->err, "did you mean max_steps"));
    assert_int_equal(RUN(p, "train", "-f", "c.yaml", "--resume", "nowhere"), 1);
    assert_int_equal(p->out[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROGRAM(stdout_is_json_and_nothing_else),
        WITH_PROGRAM(flags_change_the_config),
        WITH_PROGRAM(tokens_come_from_a_file),
        WITH_PROGRAM(ctrl_c_saves_and_exits_with_130),
        WITH_PROGRAM(a_signal_sent_twice_at_once_is_one),
        WITH_PROGRAM(a_second_signal_later_ends_at_once),
        WITH_PROGRAM(a_closed_stdout_saves_as_a_signal_does),
        WITH_PROGRAM(killed_at_any_moment_it_resumes_bit_for_bit),
        WITH_PROGRAM(a_copied_run_goes_on_where_it_lies),
        WITH_PROGRAM(a_run_past_its_end_says_so),
        WITH_PROGRAM(an_epoch_counts_rows_whatever_the_batches),
        WITH_PROGRAM(a_full_disk_is_a_sentence),
        WITH_PROGRAM(mistakes_have_their_status_and_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
