/*
 * component.c - from a node of the config to a vtable with its options.
 */
#include "run/component.h"

#include <string.h>

enum { MOST_RESERVED = 8 };

/* `tokenizer: byte` says the same as `tokenizer: {plugin: byte}`. */
static void spell_out(tni_arena *arena, tni_yaml *node)
{
    if (node->kind != TNI_YAML_SCALAR)
        return;
    tni_yaml *name = tni_yaml_scalar(arena, node->scalar);
    name->source = node->source;
    tni_yaml *map = tni_yaml_new(arena, TNI_YAML_MAP);
    map->source = node->source;
    *node = *map;
    tni_yaml_put(arena, node, "plugin", name);
}

static tn_status find(const tni_reader *reader, const tni_yaml *plugin,
                      const char *where, tni_use *use, tn_error *err)
{
    const tn_component *component;
    tn_error why = {0};
    if (tni_registry_find(reader->registry, use->kind, plugin->scalar,
                          &component, &why) != TN_OK)
        return tni_yaml_fail(plugin, err, "%s: %s", where, why.message);
    use->name = component->name;
    use->vtable = tni_component_vtable(reader->registry, component);
    return TN_OK;
}

tn_status tni_use_read(const tni_reader *reader, tn_kind kind, tni_yaml *node,
                       const char *where, const char *const *reserved,
                       tni_use *use, tn_error *err)
{
    const char *skip[MOST_RESERVED + 2] = {"plugin"};
    for (size_t i = 0; reserved && reserved[i] && i < MOST_RESERVED; i++)
        skip[i + 1] = reserved[i];

    spell_out(reader->arena, node);
    if (node->kind != TNI_YAML_MAP)
        return tni_yaml_fail(node, err,
                             "%s: expected the name of a %s or a map with "
                             "plugin: NAME and its options",
                             where, tni_kind_name(kind));
    const tni_yaml *plugin = tni_yaml_get(node, "plugin");
    if (!plugin || plugin->kind != TNI_YAML_SCALAR)
        return tni_yaml_fail(node, err,
                             "%s: plugin: NAME is missing (which %s)", where,
                             tni_kind_name(kind));

    tni_use found = {.kind = kind};
    TN_TRY(find(reader, plugin, where, &found, err));
    const tn_option_table *table =
        &((const tn_component_head *)found.vtable)->options;
    void *options = tni_arena_alloc(reader->arena, (size_t)table->size + 1);
    TN_TRY(tni_options_fill(reader->arena, table, node, where, skip,
                            reader->base, options, err));
    found.options = options;
    *use = found;
    return TN_OK;
}

tn_status tni_check_keys(const tni_yaml *map, const char *where,
                         const char *const *names, size_t count, tn_error *err)
{
    for (size_t i = 0; i < map->count; i++) {
        const char *key = map->entries[i].key;
        size_t n = 0;
        while (n < count && strcmp(names[n], key) != 0)
            n++;
        if (n < count)
            continue;
        const tni_yaml at = {.source = map->entries[i].key_source};
        const char *near = tni_nearest(key, names, count);
        return tni_yaml_fail(&at, err, "%sunknown key %s%s%s%s", where, key,
                             near ? "; did you mean " : "", near ? near : "",
                             near ? "?" : "");
    }
    return TN_OK;
}
