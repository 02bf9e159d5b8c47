/*
 * tokenizer.c - `tenon tokenizer`: its sub-commands, and how they name one.
 */
#include "cli/tokenizer.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"

/* A path is what exists, or looks like one. */
static int is_path(const char *text)
{
    return tni_path_exists(text) || strpbrk(text, "/.") != NULL;
}

static tni_yaml *map_of(tni_arena *arena, const char *key, const char *value)
{
    tni_yaml *map = tni_yaml_new(arena, TNI_YAML_MAP);
    tni_yaml_put(arena, map, key, tni_yaml_scalar(arena, value));
    return map;
}

static tn_status describe(tni_cli *cli, const char *text, tni_yaml **node,
                          tn_error *err)
{
    if (*text == '{')
        return tni_config_parse(cli->arena, "--tokenizer", text, strlen(text),
                                node, err);
    *node = map_of(cli->arena, "plugin",
                   is_path(text) ? TNI_TOKENIZER_OF_FILES : text);
    if (is_path(text))
        tni_yaml_put(cli->arena, *node, "path",
                     tni_yaml_scalar(cli->arena, text));
    return TN_OK;
}

tn_status tni_tokenizer_use(tni_cli *cli, const tni_tokenizer_flags *flags,
                            tni_use *use, tn_error *err)
{
    tni_yaml *node;
    const tni_reader reader = {.arena = cli->arena,
                               .registry = cli->registry,
                               .host = cli->host,
                               .base = NULL};
    TN_TRY(describe(cli, flags->tokenizer, &node, err));
    if (flags->pattern)
        tni_yaml_put(cli->arena, node, "pattern",
                     tni_yaml_scalar(cli->arena, flags->pattern));
    return tni_use_read(&reader, TN_KIND_TOKENIZER, node, "tokenizer", NULL,
                        use, err);
}

tn_status tni_cli_read_stdin(tni_cli *cli, char **bytes, size_t *count,
                             tn_error *err)
{
    return tni_file_read_from(cli->arena, STDIN_FILENO, "standard input",
                              SIZE_MAX / 4, bytes, count, err);
}

static const tni_command *const parts[] = {
    &tni_command_tokenizer_encode,
    &tni_command_tokenizer_decode,
    &tni_command_tokenizer_train,
    &tni_command_tokenizer_eval,
};

enum { PARTS = sizeof parts / sizeof *parts };

static int run(tni_cli *cli, int argc, char **argv)
{
    int rest;
    for (size_t i = 0; argc && i < PARTS; i++)
        if (!strcmp(strchr(parts[i]->name, ' ') + 1, argv[0]))
            return parts[i]->run(cli, argc - 1, argv + 1);
    const int stop =
        tni_cli_parse(cli, &tni_command_tokenizer, NULL, 0, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    return tni_cli_misuse(&tni_command_tokenizer,
                          "%s: encode, decode, train or eval is possible here",
                          rest ? argv[0] : "nothing");
}

const tni_command tni_command_tokenizer = {
    .name = "tokenizer",
    .summary = "encode and decode text, train a tokenizer, compare some",
    .usage = "encode|decode|train|eval ...\n\n"
             "  `tenon tokenizer encode --help` and so on tell more.",
    .run = run,
};
