/*
 * program.h - runs the program `tenon` (TENON_BINARY) as a user would.
 */
#ifndef TN_PROGRAM_H
#define TN_PROGRAM_H

#include "tn_test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A folder for one test; out and err hold what the last run printed. */
typedef struct program {
    char folder[64];
    char out[1 << 16], err[1 << 16];
    rlim_t file_limit; /* of runs; 0: none */
    const char *input; /* a file of the folder as standard input; NULL: ours */
    struct rusage usage;
} program;

static inline void program_read(const program *p, const char *name, char *to,
                                size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    to[fread(to, 1, size - 1, from)] = '\0';
    fclose(from);
}

static inline void program_redirect(const char *name, int fd)
{
    const int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(file, fd);
    close(file);
}

/* Start `tenon` with the NULL-ended words in the folder. */
static inline pid_t program_start(const program *p, const char *const *words)
{
    const char *binary = getenv("TENON_BINARY");
    const char *argv[64] = {"tenon"};
    assert_non_null(binary);
    for (int i = 0; words[i]; i++)
        argv[i + 1] = words[i];
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child)
        return child;
    if (chdir(p->folder) != 0)
        _exit(99);
    if (p->input && !freopen(p->input, "r", stdin))
        _exit(97);
    program_redirect("stdout", STDOUT_FILENO);
    program_redirect("stderr", STDERR_FILENO);
    if (p->file_limit) {
        const struct rlimit limit = {p->file_limit, p->file_limit};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    execv(binary, (char *const *)argv);
    _exit(98);
}

/* Its exit status, or 128 + the signal that ended it. */
static inline int program_wait(program *p, pid_t child)
{
    int status;
    assert_int_equal(wait4(child, &status, 0, &p->usage), child);
    program_read(p, "stdout", p->out, sizeof p->out);
    program_read(p, "stderr", p->err, sizeof p->err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define RUN(p, ...)                                                            \
    program_wait((p),                                                          \
                 program_start((p), (const char *const[]){__VA_ARGS__, NULL}))

static inline void program_sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static inline void program_write(const program *p, const char *name,
                                 const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    fputs(text, to);
    fclose(to);
}

static inline int program_exists(const program *p, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", p->folder, name);
    return access(path, F_OK) == 0;
}

/* Whether two files of the folder hold the same bytes. */
static inline int program_same(const program *p, const char *a, const char *b)
{
    char path[256];
    int x, y;
    snprintf(path, sizeof path, "%s/%s", p->folder, a);
    FILE *f = fopen(path, "rb");
    snprintf(path, sizeof path, "%s/%s", p->folder, b);
    FILE *g = fopen(path, "rb");
    assert_non_null(f);
    assert_non_null(g);
    do {
        x = getc(f);
        y = getc(g);
    } while (x == y && x != EOF);
    fclose(f);
    fclose(g);
    return x == y;
}

/* A model of 9,000 parameters and a text to train it on. */
static const char program_config[] =
    "backend: reference\n"
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
    "train: {max_steps: 12, batch_size: 2, seq_len: 8, log_every: 3,\n"
    "        eval_every: 6, eval_batches: 2}\n"
    "checkpoint: {dir: run, every: 1, keep: 2}\n";

static inline int program_setup(void **state)
{
    program *p = calloc(1, sizeof *p);
    char text[8192] = "";
    if (!p)
        return -1;
    strcpy(p->folder, "/tmp/tenon_cli_XXXXXX");
    if (!mkdtemp(p->folder))
        return -1;
    for (int i = 0; i < 150; i++)
        sprintf(text + strlen(text), "%d times %d is %d.\n", i % 7, i % 11,
                i % 7 * (i % 11));
    program_write(p, "text.txt", text);
    program_write(p, "c.yaml", program_config);
    *state = p;
    return 0;
}

static inline int program_teardown(void **state)
{
    program *p = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", p->folder);
    const int status = system(command);
    free(p);
    return status;
}

#define WITH_PROGRAM(test)                                                     \
    cmocka_unit_test_setup_teardown(test, program_setup, program_teardown)

#endif
