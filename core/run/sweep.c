/*
 * sweep.c - from `sweep:` to runs: points, their names and their folders.
 */
#include "run/sweep.h"

#include <string.h>

#include "base/file.h"
#include "config/tree.h"

enum { MOST_RUNS = 10000, NAME_BYTES = 120 };

/* One path and its value. */
typedef struct {
    const char *key;
    const tni_yaml *value;
} setting;

typedef struct {
    setting *at;
    size_t count, capacity;
} settings;

typedef struct {
    tni_arena *arena;
    tni_sweep *sweep;
    const tni_yaml *node; /* `sweep:` */
    const char *pattern;  /* sweep.name, or NULL */
    size_t capacity;      /* of sweep->runs */
    size_t key_capacity;
    tn_error *err;
} maker;

/* ---- values as text on one line ---- */

static const char *flow(tni_arena *arena, const tni_yaml *node);

/* In single quotes where the text means something else bare. */
static const char *flow_scalar(tni_arena *arena, const tni_yaml *node)
{
    const char *text = node->scalar;
    if (!node->quoted && !strpbrk(text, ",[]{}#:'\"&*!|>%@`\n"))
        return text;
    char *quoted = tni_arena_alloc(arena, 2 * strlen(text) + 3), *to = quoted;
    *to++ = '\'';
    for (; *text; *to++ = *text++)
        if (*text == '\'')
            *to++ = '\'';
    *to = '\'';
    return quoted;
}

static const char *flow_entries(tni_arena *arena, const tni_yaml *node)
{
    const char *text = "";
    for (size_t i = 0; i < node->count; i++) {
        const tni_yaml_entry *e = &node->entries[i];
        text = tni_arena_printf(arena, "%s%s%s%s%s", text, i ? ", " : "",
                                e->key ? e->key : "", e->key ? ": " : "",
                                flow(arena, e->value));
    }
    return text;
}

static const char *flow(tni_arena *arena, const tni_yaml *node)
{
    switch (node->kind) {
    case TNI_YAML_LIST:
        return tni_arena_printf(arena, "[%s]", flow_entries(arena, node));
    case TNI_YAML_MAP:
        return tni_arena_printf(arena, "{%s}", flow_entries(arena, node));
    case TNI_YAML_SCALAR:
        return flow_scalar(arena, node);
    default:
        return "null";
    }
}

/* ---- names ---- */

/* Only letters that every shell and file system takes as they are. */
static const char *as_file_name(tni_arena *arena, const char *text)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyz"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=,+-";
    char *name = tni_arena_alloc(arena, NAME_BYTES + 1);
    size_t used = 0;
    for (; *text && used < NAME_BYTES; text++) {
        if (strchr(good, *text))
            name[used++] = *text;
        else if (used && name[used - 1] != '-')
            name[used++] = '-';
    }
    while (used && name[used - 1] == '-')
        used--;
    name[used] = '\0';
    return name;
}

/* "optimizer[0].lr" is "lr" in names. */
static const char *last_part(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

static const tni_yaml *value_of(const settings *point, const char *key,
                                size_t length)
{
    for (size_t i = point->count; i-- > 0;)
        if (strlen(point->at[i].key) == length &&
            !strncmp(point->at[i].key, key, length))
            return point->at[i].value;
    return NULL;
}

static const char *name_of_values(tni_arena *arena, const settings *point)
{
    const char *name = "";
    for (size_t i = 0; i < point->count; i++)
        name = tni_arena_printf(arena, "%s%s%s=%s", name, i ? "," : "",
                                last_part(point->at[i].key),
                                flow(arena, point->at[i].value));
    return name;
}

/* "{optimizer.lr}" becomes the value. */
static tn_status name_by_pattern(const maker *m, const settings *point,
                                 const char **name)
{
    const char *at = m->pattern, *text = "";
    for (const char *open; (open = strchr(at, '{'));
         at = strchr(open, '}') + 1) {
        const size_t length = strcspn(open, "}") - 1;
        const tni_yaml *value = value_of(point, open + 1, length);
        if (!open[length + 1] || !value)
            return tni_yaml_fail(tni_yaml_get(m->node, "name"), m->err,
                                 "sweep.name: {%.*s} is no key that every run "
                                 "of this sweep sets",
                                 (int)length, open + 1);
        text = tni_arena_printf(m->arena, "%s%.*s%s", text, (int)(open - at),
                                at, flow(m->arena, value));
    }
    *name = tni_arena_printf(m->arena, "%s%s", text, at);
    return TN_OK;
}

static tn_status name_run(const maker *m, const settings *point,
                          const char **name)
{
    const tni_yaml *own = value_of(point, "name", 4);
    const char *text = NULL;
    if (m->pattern)
        TN_TRY(name_by_pattern(m, point, &text));
    else
        text =
            own && own->scalar ? own->scalar : name_of_values(m->arena, point);
    *name = as_file_name(m->arena, text);
    if (**name && **name != '.')
        return TN_OK;
    return tni_yaml_fail(m->node, m->err,
                         "sweep: \"%s\" is no name for a run's folder", text);
}

/* ---- runs ---- */

static void add_column(maker *m, const char *key)
{
    tni_sweep *s = m->sweep;
    size_t count = s->key_count;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(s->keys[i], key))
            return;
    if (strcmp(key, "name"))
        *TNI_PUSH(m->arena, s->keys, count, m->key_capacity) = key;
    s->key_count = (uint32_t)count;
}

static tn_status refuse_twins(const maker *m, const char *name)
{
    for (uint32_t i = 0; i < m->sweep->run_count; i++)
        if (!strcmp(m->sweep->runs[i].name, name))
            return tni_yaml_fail(m->node, m->err,
                                 "sweep: two runs are called %s; tell them "
                                 "apart with sweep.name, as \"{seed}\"",
                                 name);
    return TN_OK;
}

static tn_status add_run(maker *m, const settings *point)
{
    tni_sweep_run run = {.set_count = (uint32_t)point->count + 2};
    size_t count = m->sweep->run_count;
    TN_TRY(name_run(m, point, &run.name));
    TN_TRY(refuse_twins(m, run.name));
    if (count == MOST_RUNS)
        return tni_yaml_fail(m->node, m->err,
                             "sweep: more than %d runs; make it several files",
                             MOST_RUNS);
    run.dir = tni_path_join(m->arena, m->sweep->dir, run.name);
    run.set = tni_arena_alloc(m->arena, run.set_count * sizeof *run.set);
    for (size_t i = 0; i < point->count; i++) {
        add_column(m, point->at[i].key);
        run.set[i] = tni_arena_printf(m->arena, "%s=%s", point->at[i].key,
                                      flow(m->arena, point->at[i].value));
    }
    const tni_yaml dir = {
        .kind = TNI_YAML_SCALAR, .quoted = 1, .scalar = run.dir};
    run.set[point->count] = tni_arena_printf(m->arena, "name='%s'", run.name);
    run.set[point->count + 1] =
        tni_arena_printf(m->arena, "checkpoint.dir=%s", flow(m->arena, &dir));
    *TNI_PUSH(m->arena, m->sweep->runs, count, m->capacity) = run;
    m->sweep->run_count = (uint32_t)count;
    return TN_OK;
}

/* What a run is made from, and where, is not one of its values. */
static tn_status check_key(const maker *m, const tni_yaml_entry *e)
{
    static const char *const why[][2] = {
        {"extends", "is read with the file, before its runs are made"},
        {"sweep", "is what makes the runs; they have none"},
        {"checkpoint.dir", "is the sweep's; a run has a folder in it that is "
                           "called as sweep.name says"}};
    for (size_t i = 0; i < sizeof why / sizeof *why; i++) {
        const size_t n = strlen(why[i][0]);
        if (!strncmp(e->key, why[i][0], n) &&
            (!e->key[n] || e->key[n] == '.' || e->key[n] == '['))
            return tni_source_fail(&e->key_source, m->err,
                                   "sweep: %s cannot be swept: it %s", e->key,
                                   why[i][1]);
    }
    return TN_OK;
}

/* Every combination of the grid's values from key `axis` on. */
static tn_status walk_grid(maker *m, const tni_yaml *grid, size_t axis,
                           settings *point)
{
    if (!grid || axis == grid->count)
        return add_run(m, point);
    const tni_yaml_entry *e = &grid->entries[axis];
    TN_TRY(check_key(m, e));
    if (e->value->kind != TNI_YAML_LIST || !e->value->count)
        return tni_yaml_fail(
            e->value, m->err,
            "sweep.grid.%s: is not a list of values, as [1, 2]", e->key);
    for (size_t i = 0; i < e->value->count; i++) {
        *TNI_PUSH(m->arena, point->at, point->count, point->capacity) =
            (setting){e->key, e->value->entries[i].value};
        TN_TRY(walk_grid(m, grid, axis + 1, point));
        point->count--;
    }
    return TN_OK;
}

static tn_status walk_list(maker *m, const tni_yaml *list, const tni_yaml *grid)
{
    if (list->kind != TNI_YAML_LIST || !list->count)
        return tni_yaml_fail(list, m->err,
                             "sweep.list: is not a list of maps, as [{seed: "
                             "1}, {seed: 2}]");
    for (size_t i = 0; i < list->count; i++) {
        const tni_yaml *entry = list->entries[i].value;
        settings point = {0};
        if (entry->kind != TNI_YAML_MAP)
            return tni_yaml_fail(entry, m->err,
                                 "sweep.list[%zu]: is not a map, as {seed: 1}",
                                 i);
        for (size_t k = 0; k < entry->count; k++) {
            TN_TRY(check_key(m, &entry->entries[k]));
            *TNI_PUSH(m->arena, point.at, point.count, point.capacity) =
                (setting){entry->entries[k].key, entry->entries[k].value};
        }
        TN_TRY(walk_grid(m, grid, 0, &point));
    }
    return TN_OK;
}

/* The columns of each run, once all keys are known. */
static void fill_columns(tni_arena *arena, tni_sweep *s)
{
    for (uint32_t r = 0; r < s->run_count; r++) {
        tni_sweep_run *run = &s->runs[r];
        run->values =
            tni_arena_alloc(arena, (s->key_count + 1) * sizeof *run->values);
        for (uint32_t k = 0; k < s->key_count; k++) {
            const size_t length = strlen(s->keys[k]);
            run->values[k] = "";
            for (uint32_t i = 0; i + 2 < run->set_count; i++)
                if (!strncmp(run->set[i], s->keys[k], length) &&
                    run->set[i][length] == '=')
                    run->values[k] = run->set[i] + length + 1;
        }
    }
}

/* ---- the file ---- */

static const char *text_at(const tni_yaml *map, const char *key)
{
    const tni_yaml *node = map ? tni_yaml_get(map, key) : NULL;
    return node && node->kind == TNI_YAML_SCALAR ? node->scalar : NULL;
}

static tn_status read_sections(maker *m)
{
    static const char *const keys[] = {"name", "list", "grid"};
    const tni_yaml *list = tni_yaml_get(m->node, "list");
    const tni_yaml *grid = tni_yaml_get(m->node, "grid");
    settings point = {0};
    TN_TRY(tni_check_keys(m->node, "sweep: ", keys, 3, m->err));
    m->pattern = text_at(m->node, "name");
    if (!m->pattern && tni_yaml_get(m->node, "name"))
        return tni_yaml_fail(
            tni_yaml_get(m->node, "name"), m->err,
            "sweep.name: is no text, as \"lr-{optimizer.lr}\"");
    if (!list && !grid)
        return tni_yaml_fail(m->node, m->err,
                             "sweep: has neither grid nor list; for example "
                             "grid: {optimizer.lr: [1.0e-3, 3.0e-3]}");
    if (grid && grid->kind != TNI_YAML_MAP)
        return tni_yaml_fail(grid, m->err,
                             "sweep.grid: is not a map of lists, as {seed: [1, "
                             "2]}");
    return list ? walk_list(m, list, grid) : walk_grid(m, grid, 0, &point);
}

tn_status tni_sweep_read(tni_arena *arena, const char *path,
                         const tni_yaml *root, tni_sweep *sweep, tn_error *err)
{
    tni_sweep s = {0};
    maker m = {.arena = arena, .sweep = &s, .err = err};
    m.node = tni_yaml_get(root, "sweep");
    if (!m.node || m.node->kind != TNI_YAML_MAP)
        return tni_yaml_fail(m.node ? m.node : root, err,
                             "%s: has no sweep; for example sweep: {grid: "
                             "{optimizer.lr: [1.0e-3, 3.0e-3]}}",
                             path);
    s.name = text_at(root, "name");
    if (!s.name)
        s.name = tni_recipe_name(arena, path);
    const char *dir = text_at(tni_yaml_get(root, "checkpoint"), "dir");
    if (!dir)
        dir = tni_recipe_dir(arena, s.name);
    s.dir = tni_path_join(arena, tni_config_base(arena, path), dir);
    TN_TRY(read_sections(&m));
    fill_columns(arena, &s);
    *sweep = s;
    return TN_OK;
}
