/*
 * same_run.c - whether a checkpoint may be gone on from: its model and its
 * optimizers are those of the recipe.
 *
 * Shapes do not tell: twice as many heads, another rope_theta or Lion in
 * AdamW's place find every tensor that they look for. The config that lies in
 * the checkpoint does. What it says nothing of (a version before had no such
 * option) is not compared, and neither are stacks that are written as lists of
 * other lengths, for the same layers can be: there the shapes have to do.
 * Learning rates, schedules, batches and steps may change.
 */
#include <string.h>

#include "base/file.h"
#include "config/tree.h"
#include "run/checkpoint.h"

typedef struct {
    tni_arena *arena;
    const tni_yaml *root; /* of the recipe: for values nobody wrote */
    tn_error *err;
} comparison;

static const char *text_of(const tni_yaml *node)
{
    return node->kind == TNI_YAML_SCALAR ? node->scalar
                                         : tni_yaml_kind_name(node);
}

static tn_status differs(const comparison *c, const char *key,
                         const tni_yaml *then, const tni_yaml *now)
{
    return tni_yaml_fail(now->source.file ? now : c->root, c->err,
                         "%s: is %s, and %s in %s:%u; " TNI_RESUMES_WITH, key,
                         text_of(now), text_of(then), then->source.file,
                         then->source.line);
}

/* "1e4" is 10000. */
static int same_scalar(const tni_yaml *a, const tni_yaml *b)
{
    double x, y;
    return strcmp(a->scalar, b->scalar) == 0 ||
           (tni_number_float(a->scalar, &x) &&
            tni_number_float(b->scalar, &y) && x == y);
}

static tn_status compare(const comparison *c, const char *key,
                         const tni_yaml *then, const tni_yaml *now);

static tn_status compare_maps(const comparison *c, const char *key,
                              const tni_yaml *then, const tni_yaml *now)
{
    for (size_t i = 0; i < now->count; i++) {
        const tni_yaml_entry *e = &now->entries[i];
        const tni_yaml *other = tni_yaml_get(then, e->key);
        if (other)
            TN_TRY(compare(c, tni_arena_printf(c->arena, "%s.%s", key, e->key),
                           other, e->value));
    }
    return TN_OK;
}

static tn_status compare_lists(const comparison *c, const char *key,
                               const tni_yaml *then, const tni_yaml *now)
{
    for (size_t i = 0; now->count == then->count && i < now->count; i++)
        TN_TRY(compare(c, tni_arena_printf(c->arena, "%s[%zu]", key, i),
                       then->entries[i].value, now->entries[i].value));
    return TN_OK;
}

static tn_status compare(const comparison *c, const char *key,
                         const tni_yaml *then, const tni_yaml *now)
{
    if (then->kind != now->kind)
        return differs(c, key, then, now);
    if (now->kind == TNI_YAML_MAP)
        return compare_maps(c, key, then, now);
    if (now->kind == TNI_YAML_LIST)
        return compare_lists(c, key, then, now);
    return now->kind == TNI_YAML_NULL || same_scalar(then, now)
               ? TN_OK
               : differs(c, key, then, now);
}

/* `plugin:` of the first entry whose patterns match a weight's name. */
static const tni_yaml *plugin_for(const tni_yaml *optimizer, const char *weight)
{
    if (optimizer->kind != TNI_YAML_LIST)
        return tni_yaml_get(optimizer, "plugin");
    for (size_t i = 0; i < optimizer->count; i++) {
        const tni_yaml *entry = optimizer->entries[i].value;
        const tni_yaml *match = tni_yaml_get(entry, "match");
        if (!match || !match->scalar || tni_match(match->scalar, weight))
            return tni_yaml_get(entry, "plugin");
    }
    return NULL;
}

static tn_status compare_optimizers(const comparison *c, const tni_model *model,
                                    const tni_yaml *then, const tni_yaml *now)
{
    uint32_t count;
    const tni_weight *w = tni_model_weights(model, &count);
    for (uint32_t i = 0; i < count; i++) {
        const tni_yaml *before = plugin_for(then, w[i].name);
        const tni_yaml *after = plugin_for(now, w[i].name);
        const char *key =
            tni_arena_printf(c->arena, "optimizer of %s", w[i].name);
        if (before && after)
            TN_TRY(compare(c, key, before, after));
    }
    return TN_OK;
}

static tn_status compare_runs(const tni_recipe *r, const comparison *c,
                              const char *path)
{
    tni_yaml *saved;
    TN_TRY(tni_config_load(c->arena, path, NULL, 0, &saved, c->err));
    const tni_yaml *model = tni_yaml_get(saved, "model");
    const tni_yaml *optimizer = tni_yaml_get(saved, "optimizer");
    if (model)
        TN_TRY(compare(c, "model", model, tni_yaml_get(r->root, "model")));
    return optimizer ? compare_optimizers(c, r->model, optimizer,
                                          tni_yaml_get(r->root, "optimizer"))
                     : TN_OK;
}

tn_status tni_checkpoint_is_of(const tni_recipe *r, const char *folder,
                               tn_error *err)
{
    tni_arena *arena = tni_arena_create();
    const comparison c = {.arena = arena, .root = r->root, .err = err};
    const char *path = tni_path_join(arena, folder, "config.yaml");
    const tn_status status =
        tni_path_exists(path) ? compare_runs(r, &c, path) : TN_OK;
    tni_arena_destroy(arena);
    return status;
}
