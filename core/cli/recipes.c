/*
 * recipes.c - from flags to a recipe.
 */
#include "cli/recipes.h"

#include <string.h>

#include "base/file.h"
#include "cli/flat_config.h"
#include "run/weights.h"

/* The dataset that -d means: a file of tokens. */
static const char tokens_plugin[] = "token_file";

static void append(tni_cli *cli, tni_flag_list *set, const char *const *at,
                   uint32_t count)
{
    const char **longer =
        tni_arena_alloc(cli->arena, (set->count + count + 1) * sizeof *longer);
    for (uint32_t i = 0; i < set->count; i++)
        longer[i] = set->at[i];
    for (uint32_t i = 0; i < count; i++)
        longer[set->count + i] = at[i];
    set->count += count;
    set->at = longer;
}

void tni_set_add(tni_cli *cli, tni_flag_list *set, const char *format, ...)
{
    char text[8192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    append(cli, set, (const char *[]){tni_arena_strdup(cli->arena, text)}, 1);
}

tn_status tni_set_flag(tni_cli *cli, tni_flag_list *set, const char *key,
                       const char *value, tn_error *err)
{
    if (!value)
        return TN_OK;
    if (!*value)
        return tn_fail(err, TN_EINVALID,
                       "--%s is empty; give a name, or leave the flag out",
                       key);
    tni_set_add(cli, set, "%s=%s", key, value);
    return TN_OK;
}

/* The config that lies beside a checkpoint's weights. */
static tn_status config_of_checkpoint(tni_cli *cli, const char *checkpoint,
                                      const char **config, const char **weights,
                                      tn_error *err)
{
    TN_TRY(tni_weights_path(cli->arena, cli->host, checkpoint, weights, err));
    const char *folder = tni_path_dirname(cli->arena, *weights);
    *config = tni_path_join(cli->arena, folder, "config.yaml");
    if (tni_path_exists(*config))
        return TN_OK;
    return tn_fail(err, TN_ENOTFOUND,
                   "%s: there is no config.yaml, so these weights are not a "
                   "checkpoint of Tenon's; describe their model in a config: "
                   "-f CONFIG --weights %s",
                   folder, *weights);
}

static tn_status choose_source(tni_cli *cli, const tni_source_flags *flags,
                               const char **config, const char **weights,
                               tn_error *err)
{
    if (!weights) {
        *config = flags->config;
        return *config
                   ? TN_OK
                   : tn_fail(err, TN_EINVALID, "give a config with -f FILE");
    }
    if (flags->checkpoint && (flags->config || flags->weights))
        return tn_fail(err, TN_EINVALID,
                       "give either -m CHECKPOINT or -f CONFIG with --weights "
                       "FILE, not both");
    if (flags->checkpoint)
        return config_of_checkpoint(cli, flags->checkpoint, config, weights,
                                    err);
    if (!flags->config || !flags->weights)
        return tn_fail(err, TN_EINVALID,
                       "give a checkpoint with -m FOLDER, or -f CONFIG with "
                       "--weights FILE");
    *config = flags->config;
    *weights = flags->weights;
    return TN_OK;
}

tn_status tni_source_open(tni_cli *cli, tni_source_flags *source,
                          const char *path, tn_error *err)
{
    TN_TRY(tni_config_load(cli->arena, path, NULL, 0, &source->root, err));
    source->flat = tni_flat_config_is(source->root);
    if (!source->flat)
        return TN_OK;
    return tni_flat_config_translate(cli->arena, cli->host, source->root,
                                     &source->root, err);
}

/* A path between single quotes, as YAML reads it. */
static const char *quoted(tni_cli *cli, const char *path)
{
    char *text = tni_arena_alloc(cli->arena, 2 * strlen(path) + 3), *at = text;
    *at++ = '\'';
    for (; *path; path++) {
        if (*path == '\'')
            *at++ = '\'';
        *at++ = *path;
    }
    *at = '\'';
    return text;
}

/* -d FILE: only the path changes where the config reads token files already,
 * so that its shuffle and split stay. Flat configs mean the file's order. */
tn_status tni_source_set_data(tni_cli *cli, tni_source_flags *source,
                              const char *file, tn_error *err)
{
    if (!*file)
        return tn_fail(err, TN_EINVALID,
                       "-d is empty; give a file or a folder of tokens");
    const char *path = quoted(cli, tni_path_absolute(cli->arena, file));
    if (!source->root)
        TN_TRY(tni_source_open(cli, source, source->config, err));
    const tni_yaml *data = tni_yaml_get(source->root, "data");
    const tni_yaml *rows = data ? tni_yaml_get(data, "train") : NULL;
    const tni_yaml *plugin = rows ? tni_yaml_get(rows, "plugin") : NULL;
    if (plugin && plugin->scalar && strcmp(plugin->scalar, tokens_plugin) == 0)
        tni_set_add(cli, &source->set, "data.train.path=%s", path);
    else
        tni_set_add(cli, &source->set, "data.train={plugin: %s, path: %s%s}",
                    tokens_plugin, path,
                    source->flat ? ", shuffle: false" : "");
    return TN_OK;
}

tn_status tni_recipe_from_flags(tni_cli *cli, const tni_source_flags *flags,
                                uint32_t needs, tni_recipe **recipe,
                                const char **weights, tn_error *err)
{
    tni_flag_list set = {0};
    tni_recipe_request request = {.needs = needs};
    TN_TRY(choose_source(cli, flags, &request.path, weights, err));
    tni_source_flags source = *flags;
    if (!source.root)
        TN_TRY(tni_source_open(cli, &source, request.path, err));
    request.root = source.root;
    /* --set says more of what --backend names */
    TN_TRY(tni_set_flag(cli, &set, "backend", flags->backend, err));
    append(cli, &set, flags->set.at, flags->set.count);
    TN_TRY(tni_set_flag(cli, &set, "quantize", flags->quantize, err));
    request.set = set.at;
    request.set_count = set.count;
    request.communicator = flags->communicator;
    return tni_recipe_load(cli->arena, cli->registry, cli->host, &request,
                           recipe, err);
}
