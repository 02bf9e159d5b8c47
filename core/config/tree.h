/*
 * tree.h - what the files of this folder share and nobody else needs.
 */
#ifndef TENON_CONFIG_TREE_H
#define TENON_CONFIG_TREE_H

#include "config/config.h"

/* The entry of `key`, NULL where there is none or `map` is no map. */
tni_yaml_entry *tni_yaml_find(const tni_yaml *map, const char *key);

/* Append to a list or map; duplicates are the caller's business. */
void tni_yaml_add(tni_arena *arena, tni_yaml *parent, tni_yaml_entry entry);
void tni_yaml_remove(tni_yaml *map, const char *key);

/* "a list", "a single value" ... for sentences. */
const char *tni_yaml_kind_name(const tni_yaml *node);

/* Whether an unquoted scalar of this text is a null. */
int tni_yaml_reads_as_null(const char *text);

/* "file:line:column: " + sentence, as tn_fail with TN_EINVALID. */
TN_PRINTF(3, 4)
tn_status tni_source_fail(const tni_source *at, tn_error *err,
                          const char *format, ...);

/*
 * Numbers as configs write them; 0 where `text` is none. Underscores may stand
 * between digits. Integers are decimal; one outside int64 becomes the nearest
 * with *clipped = 1. Floats take integers, exponents, .inf and -.inf.
 */
int tni_number_int(const char *text, int64_t *value, int *clipped);
int tni_number_float(const char *text, double *value);

#endif
