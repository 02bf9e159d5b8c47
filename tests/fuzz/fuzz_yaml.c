/*
 * fuzz_yaml.c - no text can crash the reader of configs, and whatever it
 * accepts is written and read back as the same tree.
 */
#include "config/config.h"
#include "fuzz.h"

typedef struct options {
    int64_t steps;
    double rate, betas[2];
    int32_t flag, mode;
    const char *name, *path;
    tn_strings words;
} options;

static const tn_option rows[] = {
    TN_OPTION_INT(options, steps, 5, 1, 1000, "an integer"),
    TN_OPTION_FLOAT(options, rate, 0.1, 0, 1, "a float"),
    TN_OPTION_FLOATS(options, betas, 2, "0.9, 0.95", 0, 1, "floats"),
    TN_OPTION_BOOL(options, flag, 1, "a bool"),
    TN_OPTION_ENUM(options, mode, "a|b", 0, "an enum"),
    TN_OPTION_STRING(options, name, NULL, "a text"),
    TN_OPTION_PATH_REQUIRED(options, path, "a path"),
    TN_OPTION_STRINGS(options, words, "texts"),
};
static const tn_option_table table = TN_OPTIONS(options, rows);

static void must(int holds, const char *what, const uint8_t *bytes,
                 size_t count)
{
    if (holds)
        return;
    fprintf(stderr, "%s:\n%.*s\n", what, (int)count, (const char *)bytes);
    abort();
}

static int same_tree(const tni_yaml *a, const tni_yaml *b)
{
    if (a->kind != b->kind || a->count != b->count)
        return 0;
    if (a->kind == TNI_YAML_SCALAR)
        return !strcmp(a->scalar, b->scalar);
    for (size_t i = 0; i < a->count; i++)
        if ((a->kind == TNI_YAML_MAP &&
             strcmp(a->entries[i].key, b->entries[i].key) != 0) ||
            !same_tree(a->entries[i].value, b->entries[i].value))
            return 0;
    return 1;
}

static int survives_writing(tni_arena *arena, const tni_yaml *tree)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    int same = to && tni_yaml_write(tree, to) == TN_OK;
    if (to)
        fclose(to);
    tni_yaml *again = NULL;
    same = same &&
           tni_config_parse(arena, "again", text, bytes, &again, NULL) == TN_OK;
    same = same && same_tree(tree, again);
    free(text);
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    tni_arena *arena = tni_arena_create();
    tni_yaml *tree = NULL;
    tn_error err = {0};
    options o;
    if (tni_config_parse(arena, "fuzz", (const char *)bytes, count, &tree,
                         &err) != TN_OK) {
        must(err.message[0] != 0, "refused without a sentence", bytes, count);
    } else {
        must(survives_writing(arena, tree), "not read back the same", bytes,
             count);
        if (tni_options_fill(arena, &table, tree, "fuzz", NULL, "/base", &o,
                             &err) == TN_OK)
            must(survives_writing(arena, tree), "not resolved the same", bytes,
                 count);
        else
            must(err.message[0] != 0, "refused without a sentence", bytes,
                 count);
    }
    tni_arena_destroy(arena);
    return 0;
}

#ifndef TENON_LIBFUZZER
static const char plain[] = "name: shakespeare\n"
                            "extends: base.yaml # deep merge\n"
                            "seed: 1337\n"
                            "model:\n"
                            "  norm_eps: 1.0e-5\n"
                            "  layers:\n"
                            "    - {arch: transformer, repeat: 4, heads: 4}\n"
                            "data: {train: {plugin: f, path: a/b, s: true}}\n"
                            "optimizer:\n"
                            "  - {match: \"*norm*|*b\", betas: [0.9, 0.95]}\n"
                            "init: {from: null}\n";
static const char odd[] = "? key\n: |\n  literal\n   text\n\n"
                          "'q''uoted': >-\n  folded\n  text\n"
                          "\"e\\u00e9\\t\": [ , {a}, [~], '', ]\n"
                          "...\n";
static const char resolved[] = "steps: 1_000\nrate: 1e-3\nbetas: [0, 1.0]\n"
                               "flag: false\nmode: b\nname: '12'\npath: p\n"
                               "words: [a, \"b c\", 'null', \"\"]\n";
static const char bad[] = "%YAML 1.1\n---\na: &x !!str 1\nb: *x\na: 2\n"
                          "--- second\n\t- tab\n\xff\xfe\n";

int main(void)
{
    static const tn_fuzz_seed seeds[] = {
        {plain, sizeof plain - 1},
        {odd, sizeof odd - 1},
        {resolved, sizeof resolved - 1},
        {bad, sizeof bad - 1},
    };
    return tn_fuzz("yaml", seeds, 4, 100000);
}
#endif
