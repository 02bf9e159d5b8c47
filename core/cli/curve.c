/*
 * curve.c - `tenon curve`: the loss of a run, in the terminal.
 */
#include <string.h>

#include "base/file.h"
#include "cli/command.h"
#include "cli/term.h"
#include "run/curve.h"

static tn_status show(tni_cli *cli, const char *dir, uint32_t rows,
                      tn_error *err)
{
    tni_metrics *metrics;
    size_t count;
    tni_curve curve;
    const uint32_t width = tni_term_width(stdout);
    TN_TRY(tni_metrics_read(cli->arena, dir, &metrics, &count, err));
    TN_TRY(tni_curve_make(cli->arena, metrics, count, 2 * width, &curve, err));
    fputs(tni_curve_text(cli->arena, &curve, width, rows), stdout);
    const tni_metrics *last = &metrics[count - 1];
    printf("step %lld: training loss %.4f", (long long)last->step, last->loss);
    if (last->has_val)
        printf(", validation %.4f", last->val_loss);
    printf("; %s\n", tni_path_join(cli->arena, dir, "loss.svg"));
    return TN_OK;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    int64_t rows = 14;
    tn_error err = {0};
    int rest;
    const tni_flag flags[] = {
        {.name = "rows",
         .kind = TNI_FLAG_INT,
         .to = &rows,
         .help = "height in lines; 14"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_curve, flags, 1, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest != 1)
        return tni_cli_misuse(&tni_command_curve, "one run folder is expected");
    if (rows < 3 || rows > 1000)
        return tni_cli_misuse(&tni_command_curve,
                              "--rows %lld is outside [3, 1000]",
                              (long long)rows);
    return show(cli, argv[0], (uint32_t)rows, &err) == TN_OK
               ? TNI_EXIT_OK
               : tni_cli_fail(&err);
}

const tni_command tni_command_curve = {
    .name = "curve",
    .summary = "draw the loss of a run in the terminal",
    .usage = "RUN_FOLDER [--rows N]",
    .run = run,
};
