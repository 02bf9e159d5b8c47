/*
 * config_rig.h - a folder of small files, and trees to compare.
 */
#ifndef CONFIG_RIG_H
#define CONFIG_RIG_H

#include "base/file.h"
#include "config/config.h"
#include "tn_test.h"

#include <sys/stat.h>
#include <unistd.h>

typedef struct rig {
    tni_arena *arena;
    char *folder;
} rig;

static inline int rig_set_up(void **state)
{
    rig *r = calloc(1, sizeof *r);
    char folder[] = "/tmp/tenon_config_XXXXXX";
    if (!r || !mkdtemp(folder))
        return -1;
    r->arena = tni_arena_create();
    r->folder = tni_path_absolute(r->arena, folder);
    *state = r;
    return 0;
}

static inline int rig_tear_down(void **state)
{
    rig *r = *state;
    const tn_status status = tni_folder_remove(r->folder, NULL);
    tni_arena_destroy(r->arena);
    free(r);
    return status;
}

#define RIG_TEST(name)                                                         \
    cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

/* Write `text` to `name` (folders made) in the rig's folder; its path. */
static inline const char *rig_file(rig *r, const char *name, const char *text)
{
    const char *path = tni_path_join(r->arena, r->folder, name);
    tn_assert_ok(tni_folder_make(tni_path_dirname(r->arena, path), NULL));
    tn_assert_ok(tni_file_replace(path, text, strlen(text), NULL));
    return path;
}

static inline tni_yaml *rig_parse(rig *r, const char *text)
{
    tni_yaml *root = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(
        tni_config_parse(r->arena, "a.yaml", text, strlen(text), &root, &err),
        err);
    return root;
}

/* The tree as its writer spells it. */
static inline const char *rig_text(rig *r, const tni_yaml *root)
{
    char *memory = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&memory, &bytes);
    assert_non_null(to);
    tn_assert_ok(tni_yaml_write(root, to));
    assert_int_equal(fclose(to), 0);
    const char *text = tni_arena_strdup(r->arena, memory);
    free(memory);
    return text;
}

/* Same kinds, texts, keys and order. Quotes and places may differ. */
static inline int same_tree(const tni_yaml *a, const tni_yaml *b)
{
    if (a->kind != b->kind || a->count != b->count)
        return 0;
    if (a->kind == TNI_YAML_SCALAR)
        return !strcmp(a->scalar, b->scalar);
    for (size_t i = 0; i < a->count; i++) {
        if (a->kind == TNI_YAML_MAP &&
            strcmp(a->entries[i].key, b->entries[i].key) != 0)
            return 0;
        if (!same_tree(a->entries[i].value, b->entries[i].value))
            return 0;
    }
    return 1;
}

#endif
