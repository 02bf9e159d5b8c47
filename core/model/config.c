/*
 * config.c - `model:` to a list of layers.
 *
 *     layers:
 *       - {arch: transformer, repeat: 4, num_heads: 4, intermediate_size: 344}
 *       - repeat: 2
 *         layers:
 *           - {arch: mamba2, repeat: 3}
 *           - {arch: mla, ...}
 *
 * An entry is a layer or a group of entries, either may be repeated, and what
 * is repeated shares one reading: a stack is this list unrolled. The keys arch,
 * repeat, intermediate_size and mlp are the core's, all others the
 * architecture's own. `intermediate_size` on a layer is short for
 * `mlp: {intermediate_size: ...}`, which is how the resolved config has it.
 */
#include <math.h>

#include "config/tree.h"
#include "model/stack.h"

enum { MAX_DEPTH = 8 };

static const tn_option model_options[] = {
    TN_OPTION_INT_REQUIRED(tni_model_options, vocab_size, 1, INT32_MAX,
                           "number of tokens"),
    TN_OPTION_INT_REQUIRED(tni_model_options, hidden_size, 1, 1 << 20,
                           "width of the residual stream"),
    TN_OPTION_INT(tni_model_options, max_seq_len, 1024, 1, INT32_MAX,
                  "longest sequence the model is meant for"),
    TN_OPTION_BOOL(tni_model_options, tie_embeddings, 0,
                   "the head is the embedding"),
    TN_OPTION_FLOAT(tni_model_options, norm_eps, 1e-5, 0, 1,
                    "added to the mean square in norms"),
    TN_OPTION_FLOAT(tni_model_options, initializer_range, 0.02, 0, 1,
                    "standard deviation of initial weights"),
    TN_OPTION_FLOAT(tni_model_options, final_logit_softcap, 0, 0, INFINITY,
                    "logits become cap * tanh(logit / cap); 0: not"),
};
static const tn_option_table model_table =
    TN_OPTIONS(tni_model_options, model_options);

/* The core's keys of an entry of `layers:`. */
typedef struct entry_options {
    const char *arch;
    int64_t repeat;
} entry_options;

static const tn_option entry_rows[] = {
    TN_OPTION_STRING(entry_options, arch, NULL, "architecture of the layer"),
    TN_OPTION_INT(entry_options, repeat, 1, 1, TNI_MAX_LAYERS,
                  "how often it stands in the stack"),
};
static const tn_option_table entry_table =
    TN_OPTIONS(entry_options, entry_rows);

/* Only arch and repeat of `entry`, so that a table can read them alone. */
static tn_status read_entry(tni_arena *arena, const tni_yaml *entry,
                            const char *where, entry_options *options,
                            tn_error *err)
{
    tni_yaml *own = tni_yaml_new(arena, TNI_YAML_MAP);
    own->source = entry->source;
    for (size_t i = 0; i < sizeof entry_rows / sizeof entry_rows[0]; i++) {
        const tni_yaml_entry *e = tni_yaml_find(entry, entry_rows[i].name);
        if (e)
            tni_yaml_add(arena, own, *e);
    }
    return tni_options_fill(arena, &entry_table, own, where, NULL, NULL,
                            options, err);
}

/* ---- one layer ---- */

/* Prefix a plugin's or the registry's sentence with its place in the config. */
static tn_status at_place(const tni_yaml *at, const char *where,
                          const tn_error *inner, tn_error *err)
{
    const tni_source *s = &at->source;
    if (!s->line)
        return tn_fail(err, inner->status, "%s: %s", where, inner->message);
    return tn_fail(err, inner->status, "%s:%u:%u: %s: %s", s->file, s->line,
                   s->column, where, inner->message);
}

/* The same for sentences that begin with a place of their own. */
static const char *place_of(tni_arena *arena, const tni_yaml *at,
                            const char *where)
{
    const tni_source *s = &at->source;
    if (!s->line)
        return where;
    return tni_arena_printf(arena, "%s (%s:%u:%u)", where, s->file, s->line,
                            s->column);
}

/* Move the layer's own intermediate_size into its mlp. */
static tn_status expand_shorthand(tni_arena *arena, tni_yaml *layer,
                                  const char *where, tn_error *err)
{
    tni_yaml_entry *size = tni_yaml_find(layer, "intermediate_size");
    if (!size)
        return TN_OK;
    tni_yaml *mlp = tni_yaml_get(layer, "mlp");
    if (mlp && mlp->kind == TNI_YAML_MAP &&
        tni_yaml_find(mlp, "intermediate_size"))
        return tni_yaml_fail(size->value, err,
                             "%s: intermediate_size stands here and in mlp; "
                             "remove one",
                             where);
    const tni_yaml_entry moved = *size;
    tni_yaml_remove(layer, moved.key);
    if (!mlp || mlp->kind == TNI_YAML_NULL) {
        mlp = tni_yaml_new(arena, TNI_YAML_MAP);
        mlp->source = moved.key_source;
        tni_yaml_put(arena, layer, "mlp", mlp);
    }
    if (mlp->kind == TNI_YAML_MAP)
        tni_yaml_add(arena, mlp, moved);
    return TN_OK;
}

static tn_status read_mlp(tni_arena *arena, tni_yaml *layer, const char *where,
                          tni_mlp *mlp, tn_error *err)
{
    TN_TRY(expand_shorthand(arena, layer, where, err));
    tni_yaml *node = tni_yaml_get(layer, "mlp");
    if (!node || node->kind == TNI_YAML_NULL)
        return TN_OK;
    if (node->kind != TNI_YAML_MAP)
        return tni_yaml_fail(node, err,
                             "%s.mlp: is not a map; write mlp: {type: gated, "
                             "intermediate_size: ...}",
                             where);
    return tni_mlp_read(arena, node, tni_arena_printf(arena, "%s.mlp", where),
                        mlp, err);
}

static tn_status find_arch(tni_model *model, const tni_yaml *layer,
                           tni_layer_spec *spec, tn_error *err)
{
    const tn_component *component = NULL;
    tn_error inner = {0};
    if (!spec->arch_name)
        return tni_yaml_fail(layer, err,
                             "%s: names no architecture; add arch: NAME",
                             spec->where);
    if (tni_registry_find(model->registry, TN_KIND_ARCH, spec->arch_name,
                          &component, &inner) != TN_OK)
        return at_place(tni_yaml_get(layer, "arch"), spec->where, &inner, err);
    spec->arch = tni_component_vtable(model->registry, component);
    if (!spec->arch->forward)
        return tni_yaml_fail(tni_yaml_get(layer, "arch"), err,
                             "%s: architecture %s has no forward function",
                             spec->where, spec->arch_name);
    return TN_OK;
}

tn_arch_context tni_model_context(const tni_model *model,
                                  const tni_layer_spec *spec)
{
    tn_arch_context context = {
        .struct_size = sizeof(tn_arch_context),
        .hidden_size = model->options.hidden_size,
        .max_seq_len = model->options.max_seq_len,
        .mlp_type = spec->mlp.type ? spec->mlp.type->name : NULL,
        .mlp_activation = tni_mlp_activation(&spec->mlp),
        .norm_eps = model->options.norm_eps,
    };
    if (spec->mlp.type && spec->mlp.type->tell)
        spec->mlp.type->tell(spec->mlp.options, &context);
    return context;
}

static tn_status read_options(tni_model *model, tni_yaml *layer,
                              tni_layer_spec *spec, tn_error *err)
{
    static const char *const reserved[] = {"arch", "repeat", "mlp",
                                           "intermediate_size", NULL};
    const tn_option_table *table = &spec->arch->options;
    void *options = tni_arena_alloc(model->arena, table->size);
    TN_TRY(tni_options_fill(model->arena, table, layer, spec->where, reserved,
                            NULL, options, err));
    spec->options = options;
    if (!spec->arch->check)
        return TN_OK;
    const tn_arch_context context = tni_model_context(model, spec);
    tn_error inner = {0};
    if (spec->arch->check(&context, options, &inner) != TN_OK)
        return at_place(layer, spec->where, &inner, err);
    return TN_OK;
}

static tn_status read_layer(tni_model *model, tni_yaml *layer,
                            const char *where, const char *arch_name,
                            tn_error *err)
{
    tni_layer_spec *spec = tni_arena_alloc(model->arena, sizeof *spec);
    *spec = (tni_layer_spec){.arch_name = arch_name,
                             .where = where,
                             .place = place_of(model->arena, layer, where)};
    TN_TRY(find_arch(model, layer, spec, err));
    TN_TRY(read_mlp(model->arena, layer, where, &spec->mlp, err));
    TN_TRY(read_options(model, layer, spec, err));
    *TNI_PUSH(model->arena, model->layers, model->layer_count,
              model->layer_capacity) = spec;
    return TN_OK;
}

/* ---- the list ---- */

static tn_status read_list(tni_model *model, tni_yaml *list, const char *where,
                           int depth, tn_error *err);

/* Layers `first` and after, `times` in all. */
static tn_status repeat_layers(tni_model *model, const tni_yaml *entry,
                               const char *where, size_t first, int64_t times,
                               tn_error *err)
{
    const size_t length = model->layer_count - first;
    if (first + length * (size_t)times > TNI_MAX_LAYERS)
        return tni_yaml_fail(entry, err,
                             "%s: the stack grows to %zu layers; at most %d "
                             "are supported",
                             where, first + length * (size_t)times,
                             TNI_MAX_LAYERS);
    for (int64_t t = 1; t < times; t++)
        for (size_t i = 0; i < length; i++) {
            const tni_layer_spec *spec = model->layers[first + i];
            *TNI_PUSH(model->arena, model->layers, model->layer_count,
                      model->layer_capacity) = spec;
        }
    return TN_OK;
}

static tn_status read_group(tni_model *model, tni_yaml *group,
                            const char *where, int depth, tn_error *err)
{
    for (size_t i = 0; i < group->count; i++) {
        const char *key = group->entries[i].key;
        if (strcmp(key, "layers") && strcmp(key, "repeat"))
            return tni_source_fail(&group->entries[i].key_source, err,
                                   "%s: unknown key %s; a group of layers has "
                                   "only repeat and layers",
                                   where, key);
    }
    return read_list(model, tni_yaml_get(group, "layers"),
                     tni_arena_printf(model->arena, "%s.layers", where),
                     depth + 1, err);
}

static tn_status read_list(tni_model *model, tni_yaml *list, const char *where,
                           int depth, tn_error *err)
{
    if (list->kind != TNI_YAML_LIST || list->count == 0)
        return tni_yaml_fail(list, err,
                             "%s: is not a list of layers; write %s: [{arch: "
                             "NAME, repeat: N, ...}]",
                             where, where);
    if (depth > MAX_DEPTH)
        return tni_yaml_fail(list, err, "%s: groups are nested deeper than %d",
                             where, MAX_DEPTH);
    for (size_t i = 0; i < list->count; i++) {
        tni_yaml *entry = list->entries[i].value;
        const char *at = tni_arena_printf(model->arena, "%s[%zu]", where, i);
        const size_t first = model->layer_count;
        entry_options options = {0};
        if (entry->kind != TNI_YAML_MAP)
            return tni_yaml_fail(
                entry, err, "%s: is not a layer; write {arch: NAME, ...}", at);
        TN_TRY(read_entry(model->arena, entry, at, &options, err));
        if (tni_yaml_get(entry, "layers"))
            TN_TRY(read_group(model, entry, at, depth, err));
        else
            TN_TRY(read_layer(model, entry, at, options.arch, err));
        TN_TRY(repeat_layers(model, entry, at, first, options.repeat, err));
    }
    return TN_OK;
}

tn_status tni_model_read(tni_model *model, tni_yaml *node, tn_error *err)
{
    static const char *const reserved[] = {"layers", NULL};
    if (!node)
        return tn_fail(err, TN_EINVALID,
                       "model: is missing; a config needs model: {vocab_size: "
                       "..., hidden_size: ..., layers: [...]}");
    if (node->kind != TNI_YAML_MAP)
        return tni_yaml_fail(node, err, "model: is not a map");
    TN_TRY(tni_options_fill(model->arena, &model_table, node, "model", reserved,
                            NULL, &model->options, err));
    tni_yaml *layers = tni_yaml_get(node, "layers");
    if (!layers)
        return tni_yaml_fail(node, err,
                             "model: has no layers; add layers: [{arch: NAME, "
                             "repeat: N, ...}]");
    return read_list(model, layers, "model.layers", 0, err);
}
