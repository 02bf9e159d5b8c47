/*
 * pipeline.c - reading a pipeline, and checking it before anything runs.
 */
#include "run/pipeline.h"

#include <string.h>

#include "base/file.h"

/* ---- words ---- */

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* The next word of *at into the arena; NULL at the end. */
static tn_status next_word(tni_arena *arena, const tni_pipeline_stage *stage,
                           const char **at, const char **word, tn_error *err)
{
    const char *from = *at;
    char quote = '\0';
    while (is_space(*from))
        from++;
    char *to = tni_arena_alloc(arena, strlen(from) + 1), *end = to;
    *word = *from ? to : NULL;
    for (; *from && (quote || !is_space(*from)); from++) {
        if (quote ? *from == quote : *from == '\'' || *from == '"')
            quote = quote ? '\0' : *from;
        else
            *end++ = *from;
    }
    *at = from;
    if (quote)
        return tn_fail(err, TN_EINVALID,
                       "stage %s: command: a %c is opened and not closed",
                       stage->name, quote);
    return TN_OK;
}

tn_status tni_pipeline_words(tni_arena *arena, const tni_pipeline_stage *stage,
                             const char *const **words, size_t *count,
                             tn_error *err)
{
    const char **list = NULL, *at = stage->command, *word;
    size_t n = 0, capacity = 0;
    for (;;) {
        TN_TRY(next_word(arena, stage, &at, &word, err));
        if (!word)
            break;
        *TNI_PUSH(arena, list, n, capacity) = word;
    }
    if (!n)
        return tn_fail(err, TN_EINVALID, "stage %s: command: it is empty",
                       stage->name);
    *words = list;
    *count = n;
    return TN_OK;
}

/* ---- reading ---- */

typedef struct {
    const char *name, *dir;
} top_options;

#define OPTIONAL_PATH(type, field, help)                                       \
    TN_OPTION_ROW_(type, field, TN_OPTION_KIND_PATH, 0, 0, NULL, 0, 0, 0, help)

static const tn_option top_table[] = {
    TN_OPTION_STRING(top_options, name, NULL, "name of the pipeline"),
    OPTIONAL_PATH(top_options, dir, "where records and report.md go"),
};

static const tn_option stage_table[] = {
    TN_OPTION_STRING(tni_pipeline_stage, name, NULL,
                     "what the stage is called"),
    TN_OPTION_STRING(tni_pipeline_stage, command, NULL,
                     "a command of tenon with its arguments"),
    OPTIONAL_PATH(tni_pipeline_stage, config, "a config to train"),
    TN_OPTION_STRINGS(tni_pipeline_stage, set,
                      "changes of the config: KEY=VALUE"),
};

static const tn_option sample_table[] = {
    TN_OPTION_STRING(tni_pipeline_sample, stage, NULL, "whose model speaks"),
    TN_OPTION_STRING(tni_pipeline_sample, prompt, NULL, "text to go on from"),
    TN_OPTION_STRING(tni_pipeline_sample, chat, NULL, "a question to answer"),
    TN_OPTION_INT(tni_pipeline_sample, max_tokens, 120, 1, 1e9,
                  "how many to make"),
    TN_OPTION_FLOAT(tni_pipeline_sample, temperature, 0, 0, 100,
                    "0 takes the likeliest token"),
};

static const tn_option_table top = TN_OPTIONS(top_options, top_table);
static const tn_option_table stages =
    TN_OPTIONS(tni_pipeline_stage, stage_table);
static const tn_option_table samples =
    TN_OPTIONS(tni_pipeline_sample, sample_table);

static const tni_pipeline_stage *find_stage(const tni_pipeline *p,
                                            const char *name)
{
    for (uint32_t i = 0; name && i < p->stage_count; i++)
        if (strcmp(p->stages[i].name, name) == 0)
            return &p->stages[i];
    return NULL;
}

static int is_name(const char *text)
{
    return text && *text &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") ==
               strlen(text);
}

static tn_status read_stage(tni_pipeline *p, tni_yaml *node, tn_error *err)
{
    const char *where =
        tni_arena_printf(p->reader.arena, "stages[%u]", p->stage_count);
    tni_pipeline_stage s = {0};
    if (node->kind != TNI_YAML_MAP)
        return tni_yaml_fail(node, err,
                             "%s: a map with name: and command: or config: is "
                             "expected",
                             where);
    TN_TRY(tni_options_fill(p->reader.arena, &stages, node, where, NULL,
                            p->reader.base, &s, err));
    if (!is_name(s.name))
        return tni_yaml_fail(node, err,
                             "%s.name: letters a to z, digits, - and _ are "
                             "expected",
                             where);
    if (find_stage(p, s.name))
        return tni_yaml_fail(node, err, "%s.name: there is a stage %s already",
                             where, s.name);
    if (!s.command == !s.config)
        return tni_yaml_fail(
            node, err, "%s: either command: or config: is expected", where);
    if (s.command && s.set.count)
        return tni_yaml_fail(node, err,
                             "%s.set: changes a config; a command has its "
                             "--set among its words",
                             where);
    p->stages[p->stage_count++] = s;
    return TN_OK;
}

static tn_status read_sample(tni_pipeline *p, tni_yaml *node, tn_error *err)
{
    const char *where =
        tni_arena_printf(p->reader.arena, "samples[%u]", p->sample_count);
    tni_pipeline_sample s = {0};
    if (node->kind != TNI_YAML_MAP)
        return tni_yaml_fail(node, err,
                             "%s: a map with stage: and prompt: or chat: is "
                             "expected",
                             where);
    TN_TRY(tni_options_fill(p->reader.arena, &samples, node, where, NULL,
                            p->reader.base, &s, err));
    const tni_pipeline_stage *stage = find_stage(p, s.stage);
    if (!stage || !stage->config)
        return tni_yaml_fail(node, err,
                             "%s.stage: %s is no stage that trains a config",
                             where, s.stage ? s.stage : "(nothing)");
    if (!s.prompt == !s.chat)
        return tni_yaml_fail(node, err,
                             "%s: either prompt: or chat: is expected", where);
    p->samples[p->sample_count++] = s;
    return TN_OK;
}

static tn_status read_lists(tni_pipeline *p, const tni_yaml *root,
                            tn_error *err)
{
    tni_arena *arena = p->reader.arena;
    const tni_yaml *list = tni_yaml_get(root, "stages");
    const tni_yaml *said = tni_yaml_get(root, "samples");
    if (!list || list->kind != TNI_YAML_LIST || !list->count)
        return tni_yaml_fail(list ? list : root, err,
                             "stages: a list of stages is expected");
    p->stages = tni_arena_alloc(arena, list->count * sizeof *p->stages);
    for (size_t i = 0; i < list->count; i++)
        TN_TRY(read_stage(p, list->entries[i].value, err));
    if (!said || said->kind == TNI_YAML_NULL)
        return TN_OK;
    if (said->kind != TNI_YAML_LIST)
        return tni_yaml_fail(said, err, "samples: a list is expected");
    p->samples = tni_arena_alloc(arena, (said->count + 1) * sizeof *p->samples);
    for (size_t i = 0; i < said->count; i++)
        TN_TRY(read_sample(p, said->entries[i].value, err));
    return TN_OK;
}

const char *tni_pipeline_path(const tni_pipeline *p, const char *name)
{
    char *path = tni_path_join(p->reader.arena, p->reader.base, name);
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = '\0';
    return path;
}

/* What follows -o, as a path; NULL where nothing does. */
static const char *output_of(const tni_pipeline *p, const char *const *words,
                             size_t count)
{
    static const char equals[] = "--output=";
    const char *name = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!strncmp(words[i], equals, strlen(equals)))
            name = words[i] + strlen(equals);
        else if (i && (!strcmp(words[i - 1], "-o") ||
                       !strcmp(words[i - 1], "--output")))
            name = words[i];
    }
    return name ? tni_pipeline_path(p, name) : NULL;
}

static tn_status check_command(const tni_pipeline *p, tni_pipeline_stage *s,
                               tn_error *err)
{
    const char *const *words;
    size_t count;
    TN_TRY(tni_pipeline_words(p->reader.arena, s, &words, &count, err));
    if (strcmp(words[0], "run") == 0)
        return tn_fail(err, TN_EINVALID,
                       "stage %s: command: run: a stage is no pipeline, which "
                       "could be this one; write its stages here",
                       s->name);
    s->output = output_of(p, words, count);
    return TN_OK;
}

/* What is wrong is said before the first stage takes an hour. */
static tn_status check_stages(const tni_pipeline *p, tn_error *err)
{
    for (uint32_t i = 0; i < p->stage_count; i++) {
        tni_pipeline_stage *s = &p->stages[i];
        tni_recipe *recipe;
        if (s->command) {
            TN_TRY(check_command(p, s, err));
        } else {
            TN_TRY(tni_pipeline_recipe(p, s, TNI_NEED_MODEL, &recipe, err));
            s->output = tni_pipeline_path(p, recipe->checkpoint.dir);
        }
    }
    return TN_OK;
}

/* A null is as good as nothing. */
static void put_default(tni_arena *arena, tni_yaml *root, const char *key,
                        const char *text)
{
    const tni_yaml *node = tni_yaml_get(root, key);
    if (!node || node->kind == TNI_YAML_NULL)
        tni_yaml_put(arena, root, key, tni_yaml_scalar(arena, text));
}

tn_status tni_pipeline_read(const tni_reader *reader, const char *path,
                            const tni_yaml *root_, tni_pipeline *pipeline,
                            tn_error *err)
{
    static const char *const lists[] = {"stages", "samples", NULL};
    tni_arena *arena = reader->arena;
    tni_yaml *root = tni_yaml_copy(arena, root_);
    tni_pipeline p = {.reader = *reader};
    top_options o = {0};
    p.reader.base = tni_config_base(arena, path);
    const char *name = tni_recipe_name(arena, path);
    put_default(arena, root, "name", name);
    put_default(arena, root, "dir", tni_recipe_dir(arena, name));
    TN_TRY(tni_options_fill(arena, &top, root, "pipeline", lists, p.reader.base,
                            &o, err));
    p.name = o.name;
    p.dir = tni_pipeline_path(&p, o.dir);
    TN_TRY(read_lists(&p, root, err));
    TN_TRY(check_stages(&p, err));
    *pipeline = p;
    return TN_OK;
}

tn_status tni_pipeline_recipe(const tni_pipeline *p,
                              const tni_pipeline_stage *stage, uint32_t needs,
                              tni_recipe **recipe, tn_error *err)
{
    tn_error why = {0};
    const tni_recipe_request request = {.path = stage->config,
                                        .set = stage->set.at,
                                        .set_count = stage->set.count,
                                        .needs = needs};
    if (tni_recipe_load(p->reader.arena, p->reader.registry, p->reader.host,
                        &request, recipe, &why) == TN_OK)
        return TN_OK;
    return tn_fail(err, why.status, "stage %s: %s", stage->name, why.message);
}
