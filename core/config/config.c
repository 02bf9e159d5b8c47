/*
 * config.c - one tree from a file, what it extends, and --set.
 *
 * The base is read first, then each file that extends it is laid over: maps
 * merge key by key, everything else is replaced. So an experiment is a file
 * with the lines that differ. Last come the words of the command line.
 */
#include "config/tree.h"

#include <ctype.h>
#include <string.h>

#include "base/file.h"

enum {
    MAX_FILE_BYTES = 4 * 1024 * 1024,
    MAX_EXTENDS = 32,
    MAX_PATH_PARTS = 60,
};

/* ------------------------------------------------------------------------ */
/* Merging                                                                    */

static tni_yaml *merged(tni_arena *arena, tni_yaml *under, tni_yaml *over)
{
    if (under->kind != TNI_YAML_MAP || over->kind != TNI_YAML_MAP)
        return over;
    for (size_t i = 0; i < over->count; i++) {
        const tni_yaml_entry *e = &over->entries[i];
        tni_yaml_entry *old = tni_yaml_find(under, e->key);
        if (old)
            *old = (tni_yaml_entry){e->key, e->key_source,
                                    merged(arena, old->value, e->value)};
        else
            tni_yaml_add(arena, under, *e);
    }
    under->source = over->source;
    return under;
}

/* ------------------------------------------------------------------------ */
/* Files and extends                                                          */

/* The files being read, each extending the next: a circle shows up here. */
typedef struct chain {
    const char *path; /* as written, for messages */
    const char *real;
    const struct chain *extended_by;
    uint32_t length;
} chain;

static tn_status load_file(tni_arena *arena, const chain *at, tni_yaml **root,
                           tn_error *err);

static int is_being_read(const chain *at, const char *real)
{
    for (; at; at = at->extended_by)
        if (!strcmp(at->real, real))
            return 1;
    return 0;
}

static tn_status load_extended(tni_arena *arena, const chain *by,
                               const tni_yaml *extends, tni_yaml **root,
                               tn_error *err)
{
    if (extends->kind != TNI_YAML_SCALAR)
        return tni_yaml_fail(extends, err,
                             "extends takes the path of one file, not %s",
                             tni_yaml_kind_name(extends));
    const char *path = tni_path_join(arena, tni_path_dirname(arena, by->path),
                                     extends->scalar);
    if (!tni_path_exists(path))
        return tni_yaml_fail(extends, err,
                             "extends: there is no file %s (the path is "
                             "relative to the folder of the file that says it)",
                             path);
    const chain at = {path, tni_path_absolute(arena, path), by, by->length + 1};
    if (is_being_read(by, at.real))
        return tni_yaml_fail(extends, err,
                             "extends goes in a circle: %s is already being "
                             "read",
                             path);
    if (at.length > MAX_EXTENDS)
        return tni_yaml_fail(extends, err,
                             "extends is deeper than %d files, the most it "
                             "may be",
                             MAX_EXTENDS);
    return load_file(arena, &at, root, err);
}

static tn_status read_file(tni_arena *arena, const char *path, tni_yaml **root,
                           tn_error *err)
{
    char *text;
    size_t bytes;
    TN_TRY(tni_file_read(arena, path, MAX_FILE_BYTES, &text, &bytes, err));
    TN_TRY(tni_config_parse(arena, path, text, bytes, root, err));
    if ((*root)->kind == TNI_YAML_MAP)
        return TN_OK;
    return tni_yaml_fail(*root, err,
                         "a config is a map of keys (\"model:\", \"train:\" "
                         "...), this file holds %s",
                         tni_yaml_kind_name(*root));
}

static tn_status load_file(tni_arena *arena, const chain *at, tni_yaml **root,
                           tn_error *err)
{
    tni_yaml *tree = NULL, *under = NULL;
    TN_TRY(read_file(arena, at->path, &tree, err));
    *root = tree;
    const tni_yaml *extends = tni_yaml_get(tree, "extends");
    tni_yaml_remove(tree, "extends");
    if (!extends || extends->kind == TNI_YAML_NULL)
        return TN_OK;
    TN_TRY(load_extended(arena, at, extends, &under, err));
    *root = merged(arena, under, tree);
    return TN_OK;
}

/* ------------------------------------------------------------------------ */
/* --set model.layers[0].num_heads=4                                          */

typedef struct setter {
    tni_arena *arena;
    const char *argument; /* all of it, for messages */
    const char *rest;     /* of the path, not yet walked */
    const char *end;      /* of the path: the '=' */
    tn_error *err;
} setter;

static const tni_source set_source = {"--set", 0, 0};

/* The part of the path that has been walked, for messages. */
static const char *walked(const setter *s)
{
    const int length = (int)(s->rest - s->argument);
    return length ? tni_arena_printf(s->arena, "%.*s", length, s->argument)
                  : "the config";
}

static tn_status malformed(const setter *s)
{
    return tn_fail(s->err, TN_EINVALID,
                   "--set %.200s: write it as key=value, the key like "
                   "train.max_steps or model.layers[0].num_heads",
                   s->argument);
}

/* `optimizer: adamw` is short for a map with that plugin. */
static int is_plugin_name(const tni_yaml *node)
{
    const char *c = node->kind == TNI_YAML_SCALAR ? node->scalar : "";
    if (!isalpha((unsigned char)*c))
        return 0;
    while (isalnum((unsigned char)*c) || *c == '_' || *c == '-')
        c++;
    return *c == '\0';
}

static void write_out(setter *s, tni_yaml *node)
{
    tni_yaml *name = tni_yaml_new(s->arena, TNI_YAML_SCALAR);
    *name = *node;
    node->kind = TNI_YAML_MAP;
    node->scalar = NULL;
    tni_yaml_put(s->arena, node, "plugin", name);
}

/* The slot of `key` in *node, which becomes a map if it is nothing yet. */
static tn_status step_key(setter *s, tni_yaml *node, const char *key,
                          const char *before, tni_yaml ***slot)
{
    if (node->kind == TNI_YAML_NULL)
        node->kind = TNI_YAML_MAP;
    if (is_plugin_name(node))
        write_out(s, node);
    if (node->kind != TNI_YAML_MAP)
        return tn_fail(
            s->err, TN_EINVALID, "--set %.200s: %s is %s, not a map%s",
            s->argument, before, tni_yaml_kind_name(node),
            node->kind == TNI_YAML_LIST ? "; name the entry, the first is [0]"
                                        : "");
    if (!tni_yaml_find(node, key)) {
        tni_yaml *nothing = tni_yaml_new(s->arena, TNI_YAML_NULL);
        nothing->source = set_source;
        tni_yaml_put(s->arena, node, key, nothing);
    }
    *slot = &tni_yaml_find(node, key)->value;
    return TN_OK;
}

static tn_status step_index(setter *s, tni_yaml *node, uint64_t index,
                            const char *before, tni_yaml ***slot)
{
    if (node->kind != TNI_YAML_LIST)
        return tn_fail(s->err, TN_EINVALID,
                       "--set %.200s: %s is %s, not a list", s->argument,
                       before, tni_yaml_kind_name(node));
    if (index >= node->count)
        return tn_fail(
            s->err, TN_EINVALID,
            "--set %.200s: %s has %zu entries, the first is [0]; there "
            "is no [%llu]",
            s->argument, before, node->count, (unsigned long long)index);
    *slot = &node->entries[index].value;
    return TN_OK;
}

/* "[12]" at s->rest: its number, walked past. */
static int take_index(setter *s, uint64_t *index)
{
    const char *c = s->rest + 1;
    *index = 0;
    for (; *c >= '0' && *c <= '9' && *index < UINT32_MAX; c++)
        *index = 10 * *index + (uint64_t)(*c - '0');
    if (*c != ']' || c == s->rest + 1)
        return 0;
    s->rest = c + 1;
    return 1;
}

/* A word at s->rest (a '.' before it is walked past), NULL where there is
 * none. */
static const char *take_key(setter *s, int is_first)
{
    if (!is_first && *s->rest++ != '.')
        return NULL;
    const size_t length = strcspn(s->rest, ".[]=");
    const char *key =
        length ? tni_arena_printf(s->arena, "%.*s", (int)length, s->rest)
               : NULL;
    s->rest += length;
    return key;
}

static tn_status step(setter *s, int is_first, tni_yaml *node, tni_yaml ***slot)
{
    const char *before = walked(s);
    if (*s->rest == '[') {
        uint64_t index;
        if (!take_index(s, &index))
            return malformed(s);
        return step_index(s, node, index, before, slot);
    }
    const char *key = take_key(s, is_first);
    return key ? step_key(s, node, key, before, slot) : malformed(s);
}

static void mark_as_set(tni_yaml *node)
{
    node->source = set_source;
    for (size_t i = 0; i < node->count; i++) {
        node->entries[i].key_source = set_source;
        mark_as_set(node->entries[i].value);
    }
}

static tn_status set_one(tni_arena *arena, tni_yaml *root, const char *argument,
                         tn_error *err)
{
    const char *equals = strchr(argument, '=');
    setter s = {arena, argument, argument, equals, err};
    if (!equals || equals == argument)
        return malformed(&s);
    tn_error why = {0};
    tni_yaml *value = NULL, *node = root, **slot = NULL;
    if (strcspn(argument, ".[=") == 7 && !memcmp(argument, "extends", 7))
        return tn_fail(err, TN_EINVALID,
                       "--set %.200s: what a config extends is read with it, "
                       "before this; say extends in a file",
                       argument);
    if (tni_config_parse(arena, "the value", equals + 1, strlen(equals + 1),
                         &value, &why) != TN_OK)
        return tn_fail(err, TN_EINVALID, "--set %.200s: %s", argument,
                       why.message);
    mark_as_set(value);
    for (int parts = 0; s.rest < s.end; parts++) {
        if (parts == MAX_PATH_PARTS)
            return malformed(&s);
        TN_TRY(step(&s, parts == 0, node, &slot));
        node = *slot;
    }
    *slot = value;
    return TN_OK;
}

/* ------------------------------------------------------------------------ */

tn_status tni_config_load(tni_arena *arena, const char *path,
                          const char *const *set, uint32_t set_count,
                          tni_yaml **root, tn_error *err)
{
    const chain first = {.path = path, .real = tni_path_absolute(arena, path)};
    tni_yaml *tree = NULL;
    TN_TRY(load_file(arena, &first, &tree, err));
    TN_TRY(tni_config_set(arena, tree, set, set_count, err));
    *root = tree;
    return TN_OK;
}

tn_status tni_config_set(tni_arena *arena, tni_yaml *root,
                         const char *const *set, uint32_t set_count,
                         tn_error *err)
{
    for (uint32_t i = 0; i < set_count; i++)
        TN_TRY(set_one(arena, root, set[i], err));
    return TN_OK;
}

const char *tni_config_base(tni_arena *arena, const char *path)
{
    const char *folder =
        tni_path_absolute(arena, tni_path_dirname(arena, path));
    for (const char *up = folder; up[0] == '/' && up[1];
         up = tni_path_dirname(arena, up))
        if (!strcmp(tni_path_basename(arena, up), "configs"))
            return tni_path_dirname(arena, up);
    return folder;
}
