/*
 * config.h - YAML to a tree that remembers where each word stood.
 *
 * Grammar: what libyaml reads, less what configs do not need: one document; no
 * anchors, aliases or tags; a duplicate key is an error. Environment variables
 * are not expanded.
 *
 * Paths. `extends` is relative to the folder of the file that says it. Every
 * other relative path, wherever it was written (the file, one it extends,
 * --set), is relative to one folder: the project of the file that was named on
 * the command line. The project of a file is the folder that holds the nearest
 * `configs` folder around the file (a/configs/pipeline/b.yaml: a), else the
 * file's own folder; links are resolved first. So a config means the same from
 * whatever folder it is run, and can be moved inside configs/.
 */
#ifndef TENON_CONFIG_H
#define TENON_CONFIG_H

#include <tenon/option.h>

#include "base/arena.h"

enum { TNI_YAML_NULL, TNI_YAML_SCALAR, TNI_YAML_LIST, TNI_YAML_MAP };

/* Where a node was written: "configs/nano.yaml", 3, 5; "--set", 0, 0. */
typedef struct tni_source {
    const char *file;
    uint32_t line, column; /* 1-based; 0 where there is none */
} tni_source;

typedef struct tni_yaml tni_yaml;
typedef struct tni_yaml_entry {
    const char *key; /* NULL in lists */
    tni_source key_source;
    tni_yaml *value;
} tni_yaml_entry;

struct tni_yaml {
    uint32_t kind;
    uint32_t quoted; /* a scalar in quotes is a string whatever it looks like */
    const char *scalar; /* its text */
    tni_yaml_entry *entries;
    size_t count, capacity;
    tni_source source;
};

/* Parse a file, follow `extends` (deep merge: maps merge key by key, all else
 * is replaced), apply each "a.b=value" or "layers[0].x=value" of `set` (the
 * value is YAML; missing maps are made, list entries are not). The root is a
 * map, without `extends`. */
tn_status tni_config_load(tni_arena *arena, const char *path,
                          const char *const *set, uint32_t set_count,
                          tni_yaml **root, tn_error *err);

/* The last part alone: apply each of `set` to a tree. */
tn_status tni_config_set(tni_arena *arena, tni_yaml *root,
                         const char *const *set, uint32_t set_count,
                         tn_error *err);

/* Parse text; `name` stands for the file in errors. */
tn_status tni_config_parse(tni_arena *arena, const char *name, const char *text,
                           size_t bytes, tni_yaml **root, tn_error *err);

/* The value under `key`, or NULL. */
tni_yaml *tni_yaml_get(const tni_yaml *map, const char *key);

/* Set or replace a key of a map. */
void tni_yaml_put(tni_arena *arena, tni_yaml *map, const char *key,
                  tni_yaml *value);
tni_yaml *tni_yaml_scalar(tni_arena *arena, const char *text);
tni_yaml *tni_yaml_new(tni_arena *arena, uint32_t kind);
/* All of it anew, with the same places. */
tni_yaml *tni_yaml_copy(tni_arena *arena, const tni_yaml *node);

/* Write a tree as YAML that parses to the same tree. */
tn_status tni_yaml_write(const tni_yaml *root, FILE *to);

/* "file:line:column: " + sentence, as tn_fail with TN_EINVALID. */
TN_PRINTF(3, 4)
tn_status tni_yaml_fail(const tni_yaml *at, tn_error *err, const char *format,
                        ...);

/*
 * options.c: fill a component's options struct from a map by its table.
 *
 * `where` is the dotted path for messages ("optimizer.adamw"). Keys in
 * `reserved` (NULL-ended; "plugin", "arch", "match", "repeat", "mlp") belong
 * to the caller and are skipped. node may be NULL: all defaults. Unknown keys,
 * wrong types, values out of range and missing required options are errors
 * with the key's place, the allowed range and, for a name, a suggestion:
 *     configs/a.yaml:14:9: optimizer.adamw.beta1: 1.5 is outside [0, 1]
 *     configs/a.yaml:9:5: model.layers[0]: unknown key num_head; did you mean
 *     num_heads?
 * Every option's value, defaults included, is written back into `node` (when
 * not NULL), so that a resolved tree reproduces the run. `base` is the folder
 * that relative PATH options are resolved against (NULL: leave them).
 */
tn_status tni_options_fill(tni_arena *arena, const tn_option_table *table,
                           tni_yaml *node, const char *where,
                           const char *const *reserved, const char *base,
                           void *options, tn_error *err);

/* The project folder of a config file (see above), absolute. */
const char *tni_config_base(tni_arena *arena, const char *path);

/* The shortest text that reads back as the same double: "0.1", "1.0e-05". */
const char *tni_float_text(tni_arena *arena, double value);

/* The nearest of `names` to `word` by edit distance, NULL when none is near. */
const char *tni_nearest(const char *word, const char *const *names,
                        size_t count);

#endif
