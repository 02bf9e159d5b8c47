/*
 * tree.c - nodes of a config: making, finding, replacing, and saying where.
 */
#include "config/tree.h"

#include <string.h>

tni_yaml *tni_yaml_new(tni_arena *arena, uint32_t kind)
{
    tni_yaml *node = tni_arena_alloc(arena, sizeof *node);
    node->kind = kind;
    return node;
}

tni_yaml *tni_yaml_scalar(tni_arena *arena, const char *text)
{
    tni_yaml *node = tni_yaml_new(arena, TNI_YAML_SCALAR);
    node->scalar = tni_arena_strdup(arena, text);
    return node;
}

tni_yaml *tni_yaml_copy(tni_arena *arena, const tni_yaml *node)
{
    tni_yaml *copy = tni_arena_copy(arena, node, sizeof *node);
    copy->entries = NULL;
    copy->count = copy->capacity = 0;
    for (size_t i = 0; i < node->count; i++) {
        tni_yaml_entry entry = node->entries[i];
        entry.value = tni_yaml_copy(arena, entry.value);
        tni_yaml_add(arena, copy, entry);
    }
    return copy;
}

tni_yaml_entry *tni_yaml_find(const tni_yaml *map, const char *key)
{
    if (map->kind != TNI_YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (!strcmp(map->entries[i].key, key))
            return &map->entries[i];
    return NULL;
}

tni_yaml *tni_yaml_get(const tni_yaml *map, const char *key)
{
    const tni_yaml_entry *entry = tni_yaml_find(map, key);
    return entry ? entry->value : NULL;
}

void tni_yaml_add(tni_arena *arena, tni_yaml *parent, tni_yaml_entry entry)
{
    *TNI_PUSH(arena, parent->entries, parent->count, parent->capacity) = entry;
}

void tni_yaml_put(tni_arena *arena, tni_yaml *map, const char *key,
                  tni_yaml *value)
{
    tni_yaml_entry *entry = tni_yaml_find(map, key);
    if (entry)
        entry->value = value;
    else
        tni_yaml_add(arena, map,
                     (tni_yaml_entry){.key = tni_arena_strdup(arena, key),
                                      .key_source = value->source,
                                      .value = value});
}

void tni_yaml_remove(tni_yaml *map, const char *key)
{
    tni_yaml_entry *entry = tni_yaml_find(map, key);
    if (!entry)
        return;
    const size_t after = (size_t)(map->entries + map->count - (entry + 1));
    memmove(entry, entry + 1, after * sizeof *entry);
    map->count--;
}

const char *tni_yaml_kind_name(const tni_yaml *node)
{
    static const char *const names[] = {
        [TNI_YAML_NULL] = "nothing",
        [TNI_YAML_SCALAR] = "a single value",
        [TNI_YAML_LIST] = "a list",
        [TNI_YAML_MAP] = "a map",
    };
    return names[node->kind];
}

static tn_status vfail_at(const tni_source *at, tn_error *err,
                          const char *format, va_list args)
{
    tn_error sentence = {0};
    tn_vfail(&sentence, TN_EINVALID, format, args);
    if (at->file && at->line)
        return tn_fail(err, TN_EINVALID, "%s:%u:%u: %s", at->file, at->line,
                       at->column, sentence.message);
    if (at->file)
        return tn_fail(err, TN_EINVALID, "%s: %s", at->file, sentence.message);
    return tn_fail(err, TN_EINVALID, "%s", sentence.message);
}

tn_status tni_source_fail(const tni_source *at, tn_error *err,
                          const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const tn_status status = vfail_at(at, err, format, args);
    va_end(args);
    return status;
}

tn_status tni_yaml_fail(const tni_yaml *at, tn_error *err, const char *format,
                        ...)
{
    static const tni_source nowhere;
    va_list args;
    va_start(args, format);
    const tn_status status =
        vfail_at(at ? &at->source : &nowhere, err, format, args);
    va_end(args);
    return status;
}
