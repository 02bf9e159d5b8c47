/*
 * plugin_rig.h - a plugin as the program gets it: found by the registry, its
 * options filled from YAML, in a folder of its own.
 */
#ifndef PLUGIN_RIG_H
#define PLUGIN_RIG_H

#include "base/file.h"
#include "config/config.h"
#include "plugin/host.h"
#include "plugin/registry.h"
#include "tn_test.h"

typedef struct rig {
    tni_arena *arena;
    tn_host *host;
    tni_registry *registry;
    char *folder;
} rig;

static inline int rig_set_up(void **state)
{
    rig *r = calloc(1, sizeof *r);
    char folder[] = "/tmp/tenon_plugin_XXXXXX";
    if (!r || !mkdtemp(folder))
        return -1;
    r->arena = tni_arena_create();
    r->host = tni_host_create();
    r->registry = tni_registry_create(r->host);
    r->folder = tni_path_absolute(r->arena, folder);
    *state = r;
    return 0;
}

static inline int rig_tear_down(void **state)
{
    rig *r = *state;
    const tn_status status = tni_folder_remove(r->folder, NULL);
    tni_registry_destroy(r->registry);
    tni_host_destroy(r->host);
    tni_arena_destroy(r->arena);
    free(r);
    return status;
}

#define RIG_TEST(name)                                                         \
    cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

static inline const void *rig_vtable(rig *r, tn_kind kind, const char *name)
{
    const tn_component *component = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(
        tni_registry_find(r->registry, kind, name, &component, &err), err);
    return tni_component_vtable(r->registry, component);
}

/* The options struct of a component, from YAML; relative paths start from the
 * rig's folder. */
static inline const void *rig_options(rig *r, const void *vtable,
                                      const char *yaml)
{
    const tn_component_head *head = vtable;
    void *options = tni_arena_alloc(r->arena, head->options.size + 1u);
    tni_yaml *node = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_config_parse(r->arena, "test.yaml", yaml, strlen(yaml),
                                      &node, &err),
                     err);
    tn_assert_ok_err(tni_options_fill(r->arena, &head->options, node, "test",
                                      NULL, r->folder, options, &err),
                     err);
    return options;
}

static inline const char *rig_file(rig *r, const char *name, const void *bytes,
                                   size_t count)
{
    const char *path = tni_path_join(r->arena, r->folder, name);
    tn_assert_ok(tni_file_replace(path, bytes, count, NULL));
    return path;
}

#endif
