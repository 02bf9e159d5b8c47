/*
 * logits.c - `tenon logits`: what a model says, for comparing with others.
 */
#include <errno.h>
#include <stdlib.h>

#include "cli/recipes.h"
#include "run/logits.h"

/* "1,2,3" */
static tn_status read_tokens(tni_cli *cli, const char *text, int32_t **tokens,
                             int64_t *count, tn_error *err)
{
    int32_t *list = NULL;
    size_t n = 0, capacity = 0;
    for (const char *at = text; at && *at;) {
        char *end;
        errno = 0;
        const long token = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || errno || token < 0 ||
            token > INT32_MAX)
            return tn_fail(err, TN_EINVALID,
                           "--tokens: \"%.20s\" is not a token; write ids with "
                           "commas between them: 1,2,3",
                           at);
        *TNI_PUSH(cli->arena, list, n, capacity) = (int32_t)token;
        at = *end ? end + 1 : end;
    }
    if (!n)
        return tn_fail(err, TN_EINVALID, "--tokens: give ids, like 1,2,3");
    *tokens = list;
    *count = (int64_t)n;
    return TN_OK;
}

static tn_status logits(tni_cli *cli, const tni_source_flags *source,
                        const char *ids, const char *path, tn_error *err)
{
    tni_recipe *recipe;
    const char *weights;
    int32_t *tokens = NULL;
    int64_t count = 0;
    float *values;
    TN_TRY(read_tokens(cli, ids, &tokens, &count, err));
    TN_TRY(tni_recipe_from_flags(cli, source, TNI_SKIP_TRAINING, &recipe,
                                 &weights, err));
    TN_TRY(tni_logits(recipe, weights, tokens, count, &values, err));
    const tn_status status = tni_npy_write(
        path, values, count, tni_model_vocab_size(recipe->model), err);
    free(values);
    return status;
}

static int run(tni_cli *cli, int argc, char **argv)
{
    tni_source_flags source = {0};
    const char *tokens = NULL, *path = "logits.npy";
    tn_error err = {0};
    int rest;
    const tni_flag flags[] = {
        TNI_FLAG_MODEL(&source),
        TNI_FLAG_CONFIG(&source),
        TNI_FLAG_WEIGHTS(&source),
        {.name = "tokens",
         .kind = TNI_FLAG_STRING,
         .to = &tokens,
         .value = "1,2,3",
         .help = "the sequence, as ids"},
        {.name = "output",
         .letter = 'o',
         .kind = TNI_FLAG_STRING,
         .to = &path,
         .value = "FILE",
         .help = "float32 (T, V) as .npy; logits.npy"},
        TNI_FLAG_BACKEND(&source),
        TNI_FLAG_QUANTIZE(&source),
        TNI_FLAG_SET(&source),
    };
    const int stop =
        tni_cli_parse(cli, &tni_command_logits, flags,
                      sizeof flags / sizeof *flags, argc, argv, &rest);
    if (stop)
        return stop < 0 ? TNI_EXIT_OK : stop;
    if (rest)
        return tni_cli_misuse(&tni_command_logits, "%s: not expected here",
                              argv[0]);
    return logits(cli, &source, tokens, path, &err) == TN_OK
               ? TNI_EXIT_OK
               : tni_cli_fail(&err);
}

const tni_command tni_command_logits = {
    .name = "logits",
    .summary = "write the logits after each token of a sequence",
    .usage = "(-m CHECKPOINT | -f CONFIG --weights FILE) --tokens 1,2,3 -o "
             "logits.npy\n\n"
             "  Only the `model:` part of a config is needed.",
    .run = run,
};
