/*
 * run.c - `tenon run`: the stages of a pipeline, one after the other.
 *
 * Each stage is this program started again, so that it is exactly the command
 * that could be typed, with its own memory and its own live line. It is a
 * process group of its own: Ctrl-C reaches this process, which passes it on
 * once; a second one would end a training without saving.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/bar.h"
#include "cli/interrupt.h"
#include "cli/recipes.h"
#include "cli/term.h"
#include "run/pipeline.h"

typedef struct {
    tni_source_flags source;
    const char *from; /* --from: this stage and those after it run again */
} run_flags;

/* ---- a stage's process ---- */

_Noreturn static void become(const char *base, const char *const *words)
{
    const int nowhere = open("/dev/null", O_RDONLY | O_CLOEXEC);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGINT);
    dup2(nowhere, STDIN_FILENO);
    if (chdir(base) != 0)
        fprintf(stderr, "tenon: %s: %s\n", base, strerror(errno));
    else
        execv("/proc/self/exe", (char *const *)words);
    fprintf(stderr, "tenon: cannot start itself: %s\n", strerror(errno));
    _exit(127);
}

static int wait_for(pid_t child, const volatile sig_atomic_t *stop)
{
    const struct timespec moment = {0, 20 * 1000 * 1000};
    int status = 0, asked = 0;
    for (;;) {
        const pid_t got = waitpid(child, &status, WNOHANG);
        if (got < 0 && errno != EINTR)
            return 127;
        if (got == child)
            return WIFEXITED(status) ? WEXITSTATUS(status)
                                     : 128 + WTERMSIG(status);
        if (*stop && !asked++)
            kill(child, SIGINT);
        nanosleep(&moment, NULL);
    }
}

static tn_status run_words(const char *base, const char *const *words,
                           const volatile sig_atomic_t *stop, int *status,
                           tn_error *err)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0)
        become(base, words);
    if (child < 0)
        return tn_fail(err, TN_EIO, "cannot start a process: %s",
                       strerror(errno));
    *status = wait_for(child, stop);
    return TN_OK;
}

/* ---- what a stage is as a command ---- */

typedef struct {
    tni_arena *arena;
    const char **at;
    size_t count, capacity;
} word_list;

static void add(word_list *l, const char *word)
{
    *TNI_PUSH(l->arena, l->at, l->count, l->capacity) = word;
}

static tn_status words_of(const tni_cli *cli, const tni_pipeline_stage *s,
                          int state, const char *const **words, tn_error *err)
{
    const char *const *given;
    size_t count = 0;
    word_list l = {.arena = cli->arena};
    add(&l, "tenon");
    for (uint32_t i = 0; i < cli->plugin_files.count; i++) {
        add(&l, "--plugin");
        add(&l, tni_path_absolute(cli->arena, cli->plugin_files.at[i]));
    }
    if (s->command)
        TN_TRY(tni_pipeline_words(cli->arena, s, &given, &count, err));
    for (size_t i = 0; i < count; i++)
        add(&l, given[i]);
    if (s->config) {
        add(&l, "train");
        add(&l, "-f");
        add(&l, s->config);
        for (uint32_t i = 0; i < s->set.count; i++) {
            add(&l, "--set");
            add(&l, s->set.at[i]);
        }
    }
    if (s->config && state == TNI_STAGE_CUT_OFF) {
        add(&l, "--resume");
        add(&l, "auto");
    }
    add(&l, NULL);
    *words = l.at;
    return TN_OK;
}

/* ---- stages ---- */

static void tell(const tni_pipeline *p, uint32_t i, int state)
{
    static const char *const how[] = {[TNI_STAGE_NEW] = "",
                                      [TNI_STAGE_CHANGED] = "",
                                      [TNI_STAGE_CUT_OFF] =
                                          ", from where it was cut off",
                                      [TNI_STAGE_DONE] = " is done"};
    fprintf(stderr, "%s[%u/%u] %s%s%s\n", tni_style_on(stderr, TNI_BOLD), i + 1,
            p->stage_count, p->stages[i].name, how[state],
            tni_style_on(stderr, TNI_PLAIN));
}

static tn_status run_stage(const tni_cli *cli, const tni_pipeline *p,
                           uint32_t i, tni_pipeline_record *record, int state,
                           const volatile sig_atomic_t *stop, tn_error *err)
{
    const tni_pipeline_stage *s = &p->stages[i];
    const char *const *words;
    int status = 0;
    TN_TRY(words_of(cli, s, state, &words, err));
    if (state == TNI_STAGE_CHANGED && s->command && record->made)
        TN_TRY(tni_pipeline_set_aside(p, s, err));
    record->made |= s->output && !tni_path_exists(s->output);
    TN_TRY(tni_pipeline_record_write(p, s, record, err));
    const double began = tni_seconds();
    TN_TRY(run_words(p->reader.base, words, stop, &status, err));
    record->seconds += tni_seconds() - began;
    record->complete = status == TNI_EXIT_OK;
    TN_TRY(tni_pipeline_record_write(p, s, record, err));
    if (status == TNI_EXIT_INTERRUPTED || (*stop && status != TNI_EXIT_OK))
        return tn_fail(err, TN_EINTERRUPTED,
                       "interrupted in stage %s; the same command goes on",
                       s->name);
    if (status != TNI_EXIT_OK)
        return tn_fail(err, TN_EINVALID,
                       "stage %s ended with status %d; why is said above. Once "
                       "that is mended, the same command goes on",
                       s->name, status);
    return TN_OK;
}

static tn_status run_stages(const tni_cli *cli, const run_flags *f,
                            const tni_pipeline *p, tn_error *err)
{
    const volatile sig_atomic_t *stop = tni_interrupt_watch();
    const char *before = "";
    int again = 0;
    for (uint32_t i = 0; i < p->stage_count; i++) {
        tni_pipeline_record *record =
            tni_arena_alloc(cli->arena, sizeof *record);
        int state;
        TN_TRY(
            tni_pipeline_state(p, &p->stages[i], before, record, &state, err));
        again |= f->from && strcmp(f->from, p->stages[i].name) == 0;
        if (again)
            state = TNI_STAGE_CHANGED;
        tell(p, i, state);
        if (state != TNI_STAGE_DONE)
            TN_TRY(run_stage(cli, p, i, record, state, stop, err));
        before = record->hash;
        if (*stop)
            return tn_fail(err, TN_EINTERRUPTED,
                           "interrupted after stage %s; the same command goes "
                           "on",
                           p->stages[i].name);
    }
    return TN_OK;
}

/* ---- */

static tn_status check_from(const run_flags *f, const tni_pipeline *p,
                            tn_error *err)
{
    if (!f->from)
        return TN_OK;
    for (uint32_t i = 0; i < p->stage_count; i++)
        if (strcmp(f->from, p->stages[i].name) == 0)
            return TN_OK;
    return tn_fail(err, TN_EINVALID, "--from %s: %s has no such stage", f->from,
                   p->name);
}

static tn_status all_of_it(tni_cli *cli, run_flags *f, tn_error *err)
{
    const tni_reader reader = {
        .arena = cli->arena, .registry = cli->registry, .host = cli->host};
    tni_yaml *root;
    tni_pipeline p;
    TN_TRY(tni_config_load(cli->arena, f->source.config, f->source.set.at,
                           f->source.set.count, &root, err));
    TN_TRY(tni_pipeline_read(&reader, f->source.config, root, &p, err));
    TN_TRY(check_from(f, &p, err));
    TN_TRY(tni_folder_make(p.dir, err));
    TN_TRY(run_stages(cli, f, &p, err));
    TN_TRY(tni_pipeline_report(&p, err));
    fprintf(stderr, "%s\n", tni_path_join(cli->arena, p.dir, "report.md"));
    return TN_OK;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    run_flags f = {0};
    tn_error err = {0};
    int rest;
    const tni_flag flags[] = {
        {.name = "from",
         .kind = TNI_FLAG_STRING,
         .to = &f.from,
         .value = "STAGE",
         .help = "run this stage and those after it again"},
        TNI_FLAG_SET(&f.source),
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_run, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest != 1)
        return tni_cli_misuse(&tni_command_run, "one pipeline is expected");
    f.source.config = argv[0];
    return all_of_it(cli, &f, &err) == TN_OK ? TNI_EXIT_OK : tni_cli_fail(&err);
}

const tni_command tni_command_run = {
    .name = "run",
    .summary = "run the stages of a pipeline: tokenizer, training, tuning",
    .usage = "PIPELINE [--from STAGE] [--set key=value]...\n\n"
             "  A stage whose result is there is skipped, a training that was "
             "cut off goes on,\n  and what depends on a changed stage or file "
             "runs again; what it made before is\n  kept as NAME.1. Ends with "
             "report.md in the pipeline's folder.",
    .run = run,
};
