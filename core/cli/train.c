/*
 * train.c - `tenon train`.
 */
#include <string.h>

#include "base/file.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/recipes.h"
#include "cli/term.h"
#include "run/curve.h"
#include "run/ranks.h"

typedef struct {
    tni_source_flags source;
    const char *data, *resume;
    int64_t batch_size, max_steps, seq_len, grad_accum;
    int32_t given_batch_size, given_max_steps, given_seq_len, given_grad_accum;
    int32_t headless;
} train_flags;

static void set_number(tni_cli *cli, train_flags *f, const char *key,
                       int32_t given, int64_t value)
{
    if (given)
        tni_set_add(cli, &f->source.set, "train.%s=%lld", key,
                    (long long)value);
}

/* The folder of the run that `resume` is, or is a checkpoint of; NULL where a
 * checkpoint lies by itself. */
static const char *run_folder(tni_cli *cli, const char *resume)
{
    const char *path = tni_path_absolute(cli->arena, resume);
    if (tni_path_exists(tni_path_join(cli->arena, path, "trainer.json")))
        path = tni_path_dirname(cli->arena, path);
    return tni_path_exists(tni_path_join(cli->arena, path, "config.yaml"))
               ? path
               : NULL;
}

/*
 * Resuming by folder alone takes the config that lies in it, and goes on there:
 * the config of a copy names the folder that was copied.
 */
static tn_status take_config_beside(tni_cli *cli, train_flags *f, tn_error *err)
{
    if (f->source.config || !f->resume || strcmp(f->resume, "auto") == 0)
        return TN_OK;
    f->source.config = tni_path_join(cli->arena, f->resume, "config.yaml");
    TN_TRY(tni_source_open(cli, &f->source, f->source.config, err));
    const char *dir = run_folder(cli, f->resume);
    tni_yaml *checkpoint = tni_yaml_get(f->source.root, "checkpoint");
    if (dir && checkpoint && checkpoint->kind == TNI_YAML_MAP)
        tni_yaml_put(cli->arena, checkpoint, "dir",
                     tni_yaml_scalar(cli->arena, dir));
    return TN_OK;
}

static tn_status load(tni_cli *cli, train_flags *f, tni_recipe **recipe,
                      tn_error *err)
{
    TN_TRY(take_config_beside(cli, f, err));
    if (f->data && f->source.config)
        TN_TRY(tni_source_set_data(cli, &f->source, f->data, err));
    set_number(cli, f, "batch_size", f->given_batch_size, f->batch_size);
    set_number(cli, f, "max_steps", f->given_max_steps, f->max_steps);
    set_number(cli, f, "seq_len", f->given_seq_len, f->seq_len);
    set_number(cli, f, "grad_accum", f->given_grad_accum, f->grad_accum);
    return tni_recipe_from_flags(cli, &f->source, TNI_NEED_TRAINING, recipe,
                                 NULL, err);
}

static void show_curve(tni_cli *cli, const tni_recipe *recipe)
{
    tni_metrics *metrics;
    size_t count;
    tni_curve curve;
    const uint32_t width = tni_term_width(stdout);
    if (tni_metrics_read(cli->arena, recipe->checkpoint.dir, &metrics, &count,
                         NULL) == TN_OK &&
        tni_curve_make(cli->arena, metrics, count, 2 * width, &curve, NULL) ==
            TN_OK)
        fputs(tni_curve_text(cli->arena, &curve, width, 12), stdout);
}

static int train(tni_cli *cli, train_flags *f)
{
    tn_error err = {0};
    tni_recipe *recipe;
    tni_use communicator = {0};
    f->source.communicator = &communicator;
    if (load(cli, f, &recipe, &err) != TN_OK) {
        const int status = tni_cli_fail(&err);
        tni_ranks_give_up(cli->host, &communicator);
        return status;
    }

    tni_progress_view view;
    tni_progress_view_init(&view, cli, f->headless);
    const tni_train_observer observer = tni_progress_observer(&view);
    const tni_train_request request = {.recipe = recipe,
                                       .resume = f->resume,
                                       .stop = tni_interrupt_watch(),
                                       .observer = &observer};
    tni_interrupt_ignore_pipe();
    const tn_status status = tni_train(&request, &err);
    tni_progress_clear(&view);
    if (view.started && !view.headless &&
        (status == TN_OK || status == TN_EINTERRUPTED))
        show_curve(cli, recipe);
    return status == TN_OK ? TNI_EXIT_OK : tni_cli_fail(&err);
}

static int run(tni_cli *cli, int argc, char **argv)
{
    train_flags f = {0};
    int rest;
    const tni_flag flags[] = {
        TNI_FLAG_CONFIG(&f.source),
        TNI_FLAG_DATA(&f),
        TNI_FLAG_SET(&f.source),
        {.name = "batch-size",
         .kind = TNI_FLAG_INT,
         .to = &f.batch_size,
         .given = &f.given_batch_size,
         .help = "train.batch_size"},
        {.name = "max-steps",
         .kind = TNI_FLAG_INT,
         .to = &f.max_steps,
         .given = &f.given_max_steps,
         .help = "train.max_steps"},
        {.name = "seq-len",
         .kind = TNI_FLAG_INT,
         .to = &f.seq_len,
         .given = &f.given_seq_len,
         .help = "train.seq_len"},
        {.name = "grad-accum",
         .kind = TNI_FLAG_INT,
         .to = &f.grad_accum,
         .given = &f.given_grad_accum,
         .help = "train.grad_accum"},
        TNI_FLAG_BACKEND(&f.source),
        {.name = "resume",
         .kind = TNI_FLAG_STRING,
         .to = &f.resume,
         .value = "auto|FOLDER",
         .help = "go on from the newest checkpoint of this run, or from one"},
        {.name = "headless",
         .kind = TNI_FLAG_SWITCH,
         .to = &f.headless,
         .help = "JSON lines only, as when stdout is no terminal"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_train, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest)
        return tni_cli_misuse(&tni_command_train, "%s: not expected here",
                              argv[0]);
    return train(cli, &f);
}

const tni_command tni_command_train = {
    .name = "train",
    .summary = "train a model as a config describes it",
    .usage =
        "-f CONFIG [-d tokens.bin] [--set key=value]... [--resume auto|FOLDER]"
        "\n\n"
        "  On a terminal one live line with a log above it; otherwise, or with "
        "--headless,\n  one JSON object per report. Ctrl-C, SIGTERM and a "
        "closed stdout finish the step,\n  save and exit with 130; --resume "
        "auto goes on from there, bit for bit.",
    .run = run,
};
