/*
 * config.c - `tenon config show`: the config a run would really use.
 *
 * With every `extends` merged, every --set applied and every default filled
 * in: what a run writes beside its checkpoints, and what reproduces it.
 */
#include <string.h>

#include "cli/recipes.h"

/* Everything is read, but data files need not be there yet. */
static tn_status show(tni_cli *cli, tni_source_flags *source, int merged_only,
                      tn_error *err)
{
    tni_recipe *recipe;
    if (merged_only) {
        TN_TRY(tni_source_open(cli, source, source->config, err));
        TN_TRY(tni_config_set(cli->arena, source->root, source->set.at,
                              source->set.count, err));
        return tni_yaml_write(source->root, stdout);
    }
    TN_TRY(
        tni_recipe_from_flags(cli, source, TNI_NEED_MODEL, &recipe, NULL, err));
    return tni_yaml_write(recipe->root, stdout);
}

static int run(tni_cli *cli, int argc, char **argv)
{
    tni_source_flags source = {0};
    int32_t merged_only = 0;
    int rest;
    const tni_flag flags[] = {
        TNI_FLAG_SET(&source),
        {.name = "merged",
         .kind = TNI_FLAG_SWITCH,
         .to = &merged_only,
         .help = "only merge files and --set; open no plugin, fill in nothing"},
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_config, flags, 2, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest != 2 || strcmp(argv[0], "show"))
        return tni_cli_misuse(&tni_command_config,
                              "there is only `config show CONFIG`");
    tn_error err = {0};
    source.config = argv[1];
    const tn_status status = show(cli, &source, merged_only, &err);
    if (status == TN_OK)
        return TNI_EXIT_OK;
    tn_fail(&err, status, "%s cannot be written to stdout", argv[1]);
    return tni_cli_fail(&err);
}

const tni_command tni_command_config = {
    .name = "config",
    .summary = "show a config with everything filled in",
    .usage = "show CONFIG [--set KEY=VALUE]... [--merged]\n\n"
             "  Checks the config as `train` does and prints it as YAML: "
             "`extends` merged,\n  --set applied, every default written out. "
             "The output reproduces the run.\n  A flat config (model: "
             "num_layers, mamba_layers ...; trainer:) is translated first.",
    .run = run,
};
