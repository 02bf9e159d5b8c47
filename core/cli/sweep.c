/*
 * sweep.c - `tenon sweep`: every run of a config's `sweep:`, one table.
 *
 * All runs are read before the first is started, so that a mistake in the last
 * is not found in the middle of the night. Each is then a `tenon train` of its
 * own, in its own folder; asked again, finished ones are left as they are and
 * the others go on.
 */
#include "run/sweep.h"

#include <string.h>

#include "base/file.h"
#include "cli/interrupt.h"
#include "cli/jobs.h"
#include "cli/recipes.h"
#include "cli/term.h"

typedef struct {
    tni_source_flags source;
    const char *data;
    int64_t jobs;
} sweep_flags;

typedef struct {
    tni_cli *cli;
    const tni_source_flags *source;
    tni_sweep sweep;
    tni_recipe **recipe;    /* by run */
    uint32_t *run_of;       /* by job */
    const tni_job **job_of; /* by run, NULL where there is nothing to do */
    tni_job *jobs;
    uint32_t job_count, ended, failed;
} desk;

/* ---- before ---- */

/* The recipe that `tenon train` will make of this run. */
static tn_status read_run(desk *d, uint32_t i, tn_error *err)
{
    tni_sweep_run *run = &d->sweep.runs[i];
    tni_cli *cli = d->cli;
    tn_error why = {0};
    const tni_recipe_request request = {
        .path = d->source->config,
        .root = tni_yaml_copy(cli->arena, d->source->root),
        .set = run->set,
        .set_count = run->set_count,
        .needs = TNI_NEED_TRAINING};
    if (tni_recipe_load(cli->arena, cli->registry, cli->host, &request,
                        &d->recipe[i], &why) != TN_OK)
        return tn_fail(err, why.status, "run %s: %s", run->name, why.message);
    return tni_sweep_state(d->recipe[i], &run->state, err);
}

static void add_word(tni_arena *arena, const char ***words, size_t *count,
                     size_t *capacity, const char *word)
{
    *TNI_PUSH(arena, *words, *count, *capacity) = word;
}

/* train -f FILE --set ... */
static const char *const *command_of(const desk *d, uint32_t run)
{
    const tni_cli *cli = d->cli;
    const tni_sweep_run *r = &d->sweep.runs[run];
    const char **words = NULL;
    size_t count = 0, capacity = 0;
#define ADD(word) add_word(cli->arena, &words, &count, &capacity, (word))
    ADD("tenon");
    for (uint32_t i = 0; i < cli->plugin_files.count; i++) {
        ADD("--plugin");
        ADD(cli->plugin_files.at[i]);
    }
    ADD("train");
    ADD("-f");
    ADD(d->source->config);
    for (uint32_t i = 0; i < d->source->set.count; i++) {
        ADD("--set");
        ADD(d->source->set.at[i]);
    }
    for (uint32_t i = 0; i < r->set_count; i++) {
        ADD("--set");
        ADD(r->set[i]);
    }
    if (r->state == TNI_SWEEP_CUT_OFF) {
        ADD("--resume");
        ADD("auto");
    }
    ADD("--headless");
    ADD(NULL);
#undef ADD
    return words;
}

static void make_jobs(desk *d)
{
    tni_arena *arena = d->cli->arena;
    for (uint32_t i = 0; i < d->sweep.run_count; i++) {
        if (d->sweep.runs[i].state == TNI_SWEEP_DONE)
            continue;
        tni_job *job = &d->jobs[d->job_count];
        job->words = command_of(d, i);
        job->log = tni_arena_printf(arena, "%s.log", d->sweep.runs[i].dir);
        d->job_of[i] = job;
        d->run_of[d->job_count++] = i;
    }
}

static tn_status open_desk(desk *d, sweep_flags *f, tn_error *err)
{
    tni_arena *arena = d->cli->arena;
    d->source = &f->source;
    if (f->data)
        TN_TRY(tni_source_set_data(d->cli, &f->source, f->data, err));
    if (!f->source.root)
        TN_TRY(tni_source_open(d->cli, &f->source, f->source.config, err));
    TN_TRY(tni_set_flag(d->cli, &f->source.set, "backend", f->source.backend,
                        err));
    TN_TRY(tni_config_set(arena, f->source.root, f->source.set.at,
                          f->source.set.count, err));
    TN_TRY(tni_sweep_read(arena, f->source.config, f->source.root, &d->sweep,
                          err));
    const size_t runs = d->sweep.run_count;
    d->recipe = tni_arena_alloc(arena, runs * sizeof(tni_recipe *));
    d->jobs = tni_arena_alloc(arena, runs * sizeof *d->jobs);
    d->run_of = tni_arena_alloc(arena, runs * sizeof *d->run_of);
    d->job_of = tni_arena_alloc(arena, runs * sizeof(tni_job *));
    for (uint32_t i = 0; i < runs; i++)
        TN_TRY(read_run(d, i, err));
    TN_TRY(tni_folder_make(d->sweep.dir, err));
    make_jobs(d);
    return TN_OK;
}

/* ---- while they run ---- */

static void tell_start(const desk *d)
{
    uint32_t count[TNI_SWEEP_DONE + 1] = {0};
    for (uint32_t i = 0; i < d->sweep.run_count; i++)
        count[d->sweep.runs[i].state]++;
    d->cli->host->log(d->cli->host, TN_LOG_INFO,
                      "%u runs in %s: %u done, %u to go on with, %u to start",
                      d->sweep.run_count, d->sweep.dir, count[TNI_SWEEP_DONE],
                      count[TNI_SWEEP_CUT_OFF],
                      count[TNI_SWEEP_NEW] + count[TNI_SWEEP_OTHER]);
}

static void on_ended(void *to, const tni_job *job)
{
    desk *d = to;
    const tn_host *host = d->cli->host;
    tni_sweep_run *run = &d->sweep.runs[d->run_of[job - d->jobs]];
    d->ended++;
    if (job->status == TNI_EXIT_OK) {
        run->state = TNI_SWEEP_DONE;
        const tni_sweep_result r = tni_sweep_result_of(run);
        host->log(host, TN_LOG_INFO,
                  "[%u/%u] %s: loss %.4f after %lld steps, %.0f s", d->ended,
                  d->job_count, run->name, r.loss, (long long)r.step,
                  job->seconds);
        return;
    }
    if (job->status == TNI_EXIT_INTERRUPTED)
        return;
    d->failed++;
    host->log(host, TN_LOG_ERROR,
              "[%u/%u] %s failed with status %d; why is said in %s", d->ended,
              d->job_count, run->name, job->status, job->log);
}

/* ---- after ---- */

/* A job that never came to open its folder has left another run's there. */
static tn_status look_again(desk *d, tn_error *err)
{
    for (uint32_t i = 0; i < d->sweep.run_count; i++)
        TN_TRY(tni_sweep_state(d->recipe[i], &d->sweep.runs[i].state, err));
    return TN_OK;
}

static const char *outcome(const desk *d, uint32_t run)
{
    const tni_job *job = d->job_of[run];
    if (!job || (job->started && job->status == TNI_EXIT_OK))
        return "done";
    if (!job->started)
        return "not started";
    return job->status == TNI_EXIT_INTERRUPTED ? "cut off" : "failed";
}

static void add_number(tni_table *t, int there, const char *format,
                       double value)
{
    tni_table_add(t, there ? tni_arena_printf(t->arena, format, value) : "");
}

static void print_table(const desk *d)
{
    const tni_sweep *s = &d->sweep;
    tni_table t = {
        .arena = d->cli->arena, .columns = s->key_count + 6, .headed = 1};
    static const char *const results[] = {"step", "loss", "val_loss", "tok/s",
                                          "state"};
    tni_table_add(&t, "run");
    for (uint32_t k = 0; k < s->key_count; k++)
        tni_table_add(&t, s->keys[k]);
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
        tni_table_add(&t, results[i]);
    for (uint32_t i = 0; i < s->run_count; i++) {
        const tni_sweep_result r = tni_sweep_result_of(&s->runs[i]);
        tni_table_add(&t, s->runs[i].name);
        for (uint32_t k = 0; k < s->key_count; k++)
            tni_table_add(&t, s->runs[i].values[k]);
        add_number(&t, r.step > 0, "%.0f", (double)r.step);
        add_number(&t, r.step > 0, "%.4f", r.loss);
        add_number(&t, r.has_val, "%.4f", r.val_loss);
        add_number(&t, r.step > 0, "%.0f", r.tokens_per_second);
        tni_table_add(&t, outcome(d, i));
    }
    tni_table_print(&t, stdout);
}

static tn_status all_of_it(desk *d, sweep_flags *f, tn_error *err)
{
    const volatile sig_atomic_t *stop = tni_interrupt_watch();
    TN_TRY(open_desk(d, f, err));
    tell_start(d);
    TN_TRY(tni_jobs_run(d->jobs, d->job_count, (uint32_t)f->jobs, stop,
                        on_ended, d, err));
    TN_TRY(look_again(d, err));
    TN_TRY(tni_sweep_draw(&d->sweep, err));
    print_table(d);
    printf("%s\n", tni_path_join(d->cli->arena, d->sweep.dir, "sweep.svg"));
    if (*stop)
        return tn_fail(err, TN_EINTERRUPTED,
                       "interrupted; the same command goes on from here");
    if (d->failed)
        return tn_fail(err, TN_EINVALID, "%u of %u runs failed", d->failed,
                       d->sweep.run_count);
    return TN_OK;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    sweep_flags f = {.jobs = 1};
    desk d = {.cli = cli};
    tn_error err = {0};
    int rest;
    const tni_flag flags[] = {
        TNI_FLAG_DATA(&f),
        TNI_FLAG_SET(&f.source),
        TNI_FLAG_BACKEND(&f.source),
        {.name = "jobs",
         .letter = 'j',
         .kind = TNI_FLAG_INT,
         .to = &f.jobs,
         .help = "runs at a time, each with its share of the cores; 1"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_sweep, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest != 1)
        return tni_cli_misuse(&tni_command_sweep, "one CONFIG is expected");
    if (f.jobs < 1 || f.jobs > 1024)
        return tni_cli_misuse(&tni_command_sweep,
                              "--jobs %lld is outside [1, 1024]",
                              (long long)f.jobs);
    f.source.config = argv[0];
    return all_of_it(&d, &f, &err) == TN_OK ? TNI_EXIT_OK : tni_cli_fail(&err);
}

const tni_command tni_command_sweep = {
    .name = "sweep",
    .summary = "train every run that a config's sweep: describes, and compare",
    .usage = "CONFIG [-d tokens.bin] [--set key=value]... [--jobs N]\n\n"
             "  sweep:\n"
             "    grid: {optimizer.lr: [1.0e-3, 3.0e-3], seed: [1, 2]}\n"
             "    list: [{model.hidden_size: 64}, {model.hidden_size: 128}]\n\n"
             "  Each run has a folder below checkpoint.dir. Asked again, "
             "finished runs stay\n  and the others go on where they were cut "
             "off. Prints a table; sweep.svg has the\n  curves.",
    .run = run,
};
