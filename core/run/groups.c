/*
 * groups.c - which optimizer updates which parameter.
 *
 *     optimizer:
 *       - {match: "*norm*|*embed*", plugin: adamw, lr: 1.0e-3}
 *       - {match: "*", plugin: muon, lr: 0.02}
 *
 * The first entry whose patterns match a parameter's name wins. The slab is
 * then ordered by groups, so that an element-wise optimizer updates its whole
 * stretch as one node.
 */
#include <string.h>

#include "run/recipe.h"

/* One pattern, up to `end`, against the whole of name. */
static int match_one(const char *pattern, const char *end, const char *name)
{
    const char *star = NULL, *retry = NULL;
    for (;;) {
        if (pattern < end && *pattern == '*') {
            star = pattern++;
            retry = name;
        } else if (pattern < end && *name && *pattern == *name) {
            pattern++;
            name++;
        } else if (pattern == end && !*name) {
            return 1;
        } else if (star && *retry) {
            pattern = star + 1;
            name = ++retry;
        } else {
            return 0;
        }
    }
}

int tni_match(const char *patterns, const char *name)
{
    for (const char *from = patterns;; from++) {
        const char *end = strchr(from, '|');
        if (!end)
            end = from + strlen(from);
        if (match_one(from, end, name))
            return 1;
        if (!*end)
            return 0;
        from = end;
    }
}

/* Every optimizer declares `lr` as a float; a group also needs it here. */
static tn_status read_lr(const tni_use *use, const tni_yaml *node, double *lr,
                         tn_error *err)
{
    const tn_option_table *t =
        &((const tn_component_head *)use->vtable)->options;
    for (uint32_t i = 0; i < t->count; i++) {
        const tn_option *o =
            (const tn_option *)((const char *)t->at + (size_t)i * t->stride);
        if (strcmp(o->name, "lr") != 0 || o->kind != TN_OPTION_KIND_FLOAT)
            continue;
        memcpy(lr, (const char *)use->options + o->offset, sizeof *lr);
        return TN_OK;
    }
    return tni_yaml_fail(node, err,
                         "optimizer %s declares no option lr, which every "
                         "optimizer must (TN_OPTION_LR)",
                         use->name);
}

static tn_status read_group(tni_recipe *r, tni_yaml *node, const char *where,
                            tni_group *group, tn_error *err)
{
    static const char *const reserved[] = {"match", NULL};
    TN_TRY(tni_use_read(&r->reader, TN_KIND_OPTIMIZER, node, where, reserved,
                        &group->optimizer, err));
    const tn_optimizer *o = group->optimizer.vtable;
    if (o->state_count > TN_OPTIMIZER_MAX_STATE)
        return tni_yaml_fail(node, err,
                             "%s: optimizer %s keeps %u states, at most %d are "
                             "possible",
                             where, group->optimizer.name, o->state_count,
                             TN_OPTIMIZER_MAX_STATE);
    const tni_yaml *match = tni_yaml_get(node, "match");
    if (match && match->kind != TNI_YAML_SCALAR)
        return tni_yaml_fail(match, err, "%s.match: expected a pattern", where);
    group->match = match ? match->scalar : "*";
    return read_lr(&group->optimizer, node, &group->lr, err);
}

static tn_status read_groups(tni_recipe *r, tni_yaml *node, tn_error *err)
{
    const int single = node->kind != TNI_YAML_LIST;
    const size_t count = single ? 1 : node->count;
    if (!count)
        return tni_yaml_fail(node, err, "optimizer: the list is empty");
    r->groups = tni_arena_alloc(r->reader.arena, count * sizeof *r->groups);
    r->group_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        const char *where =
            single ? "optimizer"
                   : tni_arena_printf(r->reader.arena, "optimizer[%zu]", i);
        TN_TRY(read_group(r, single ? node : node->entries[i].value, where,
                          &r->groups[i], err));
    }
    return TN_OK;
}

/* A per-matrix optimizer updates matrices and stacks of them: not vectors, nor
 * a convolution's taps, whose three axes are none. */
static tn_status check_rank(const tni_group *group, const tni_weight *w,
                            const tni_yaml *node, tn_error *err)
{
    const tn_optimizer *o = group->optimizer.vtable;
    const uint32_t rank = w->rank - (tni_weight_is_stack(w) ? 1 : 0);
    if (!o->per_matrix || rank == 2)
        return TN_OK;
    return tni_yaml_fail(node, err,
                         "optimizer %s updates matrices, but its pattern "
                         "\"%s\" gives it %s, which has %u ax%s; match it in "
                         "an earlier entry with another optimizer",
                         group->optimizer.name, group->match, w->name, rank,
                         rank == 1 ? "is" : "es");
}

static tn_status assign_weight(tni_recipe *r, const tni_weight *w,
                               const tni_yaml *node, uint32_t *group_of,
                               tn_error *err)
{
    for (uint32_t g = 0; g < r->group_count; g++) {
        if (!tni_match(r->groups[g].match, w->name))
            continue;
        *group_of = g;
        r->groups[g].weights++;
        return check_rank(&r->groups[g], w, node, err);
    }
    return tni_yaml_fail(node, err,
                         "optimizer: no entry matches the parameter %s; end "
                         "the list with match: \"*\"",
                         w->name);
}

static void lay_out(tni_recipe *r, const uint32_t *group_of)
{
    int64_t *first =
        tni_arena_alloc(r->reader.arena, r->group_count * sizeof *first);
    int64_t *elements =
        tni_arena_alloc(r->reader.arena, r->group_count * sizeof *elements);
    tni_model_layout(r->model, group_of, r->group_count, first, elements);
    for (uint32_t g = 0; g < r->group_count; g++) {
        r->groups[g].first = first[g];
        r->groups[g].elements = elements[g];
    }
}

tn_status tni_groups_read(tni_recipe *r, tni_yaml *node, tn_error *err)
{
    uint32_t count;
    const tni_weight *weights = tni_model_weights(r->model, &count);
    uint32_t *group_of =
        tni_arena_alloc(r->reader.arena, count * sizeof *group_of);

    TN_TRY(read_groups(r, node, err));
    for (uint32_t i = 0; i < count; i++)
        TN_TRY(assign_weight(r, &weights[i], node, &group_of[i], err));
    for (uint32_t g = 0; g < r->group_count; g++)
        if (!r->groups[g].weights)
            r->reader.host->log(r->reader.host, TN_LOG_WARNING,
                                "optimizer: match \"%s\" (%s) holds no "
                                "parameter of this model",
                                r->groups[g].match,
                                r->groups[g].optimizer.name);
    lay_out(r, group_of);
    r->group_of = group_of;
    return TN_OK;
}
