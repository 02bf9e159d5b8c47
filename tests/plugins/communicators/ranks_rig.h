/*
 * ranks_rig.h - runs of several processes and what they leave behind, beside
 * the same run by one.
 */
#ifndef RANKS_RIG_H
#define RANKS_RIG_H

#include "program.h"

enum { RANKS_STEPS = 20, RANKS_WORDS = 96 };

/* Rows of a micro-batch for 1, 2 and 3 ranks; in double, so that nothing but
 * the order of sums may differ. */
static const char ranks_config[] =
    "backend: reference\n"
    "precision: f64\n"
    "tokenizer: byte\n"
    "model:\n"
    "  vocab_size: 256\n"
    "  hidden_size: 16\n"
    "  max_seq_len: 32\n"
    "  layers:\n"
    "    - {arch: transformer, num_heads: 2, intermediate_size: 24}\n"
    "data:\n"
    "  train: {plugin: text_file, path: text.txt, split: [0, 0.8]}\n"
    "  val: {plugin: text_file, path: text.txt, split: [0.8, 1]}\n"
    "optimizer: {plugin: adamw, lr: 1.0e-2}\n"
    "train: {max_steps: 20, batch_size: 6, seq_len: 8, log_every: 1,\n"
    "        eval_every: 10, eval_batches: 2}\n"
    "checkpoint: {dir: run, every: 10, keep: 4}\n";

static inline int ranks_setup(void **state)
{
    if (program_setup(state))
        return -1;
    program_write(*state, "c.yaml", ranks_config);
    return 0;
}

/* Its exit status, or 128 + the signal that ended it. One that hangs fails the
 * test. */
static inline int ranks_wait(program *p, pid_t child)
{
    int status = 0;
    for (int tenths = 0; waitpid(child, &status, WNOHANG) != child; tenths++) {
        if (tenths > 2000) {
            kill(child, SIGKILL);
            fail_msg("hangs");
        }
        program_sleep_ms(100);
    }
    program_read(p, "stdout", p->out, sizeof p->out);
    program_read(p, "stderr", p->err, sizeof p->err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* words[0] as a program in the folder. */
static inline pid_t ranks_start(const program *p, const char *const *words)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child)
        return child;
    if (chdir(p->folder) != 0)
        _exit(99);
    program_redirect("stdout", STDOUT_FILENO);
    program_redirect("stderr", STDERR_FILENO);
    execvp(words[0], (char *const *)words);
    _exit(98);
}

/* Losses of all steps, and of the evaluations behind them. */
typedef struct ranks_curve {
    double at[RANKS_STEPS + 2];
    int steps, evaluations;
} ranks_curve;

static inline ranks_curve ranks_curve_of(const char *out)
{
    ranks_curve c = {.steps = 0};
    for (const char *at = out; (at = strstr(at, "\"loss\": ")); at += 8) {
        assert_true(c.steps < RANKS_STEPS);
        c.at[c.steps++] = strtod(at + 8, NULL);
    }
    for (const char *at = out; (at = strstr(at, "\"val_loss\": ")); at += 12) {
        assert_true(c.evaluations < 2);
        c.at[c.steps + c.evaluations++] = strtod(at + 12, NULL);
    }
    return c;
}

static inline void ranks_assert_curves(const ranks_curve *got,
                                       const ranks_curve *want, double relative)
{
    assert_int_equal(want->steps, RANKS_STEPS);
    assert_int_equal(got->steps, want->steps);
    assert_int_equal(got->evaluations, want->evaluations);
    assert_true(want->at[RANKS_STEPS - 1] < want->at[0]); /* it learns */
    tn_assert_close_double(got->at, want->at, want->steps + want->evaluations,
                           0, relative);
}

/* The numbers of a safetensors file, F64 or F32 alone. */
static inline double *ranks_tensors(const program *p, const char *name,
                                    char **header, size_t *count)
{
    enum { MOST = 1 << 16 };
    char path[256];
    uint64_t bytes = 0;
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    FILE *from = fopen(path, "rb");
    assert_non_null(from);
    assert_int_equal(fread(&bytes, sizeof bytes, 1, from), 1);
    *header = calloc(1, bytes + 1);
    assert_int_equal(fread(*header, 1, bytes, from), bytes);
    double *values = calloc(MOST, sizeof *values);
    if (strstr(*header, "F64")) {
        *count = fread(values, sizeof *values, MOST, from);
    } else {
        float one;
        for (*count = 0; *count < MOST && fread(&one, sizeof one, 1, from) == 1;
             ++*count)
            values[*count] = (double)one;
    }
    fclose(from);
    return values;
}

static inline void ranks_assert_tensors(const program *p, const char *got,
                                        const char *want, double tolerance)
{
    char *got_header, *want_header;
    size_t got_count, want_count;
    double *a = ranks_tensors(p, got, &got_header, &got_count);
    double *b = ranks_tensors(p, want, &want_header, &want_count);
    assert_string_equal(got_header, want_header);
    assert_int_equal(got_count, want_count);
    assert_true(want_count > 1000);
    tn_assert_close_double(a, b, want_count, tolerance, tolerance);
    free(a);
    free(b);
    free(got_header);
    free(want_header);
}

#endif
