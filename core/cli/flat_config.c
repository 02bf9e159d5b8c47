/*
 * flat_config.c - oxidizr's flat config files, read as configs of ours.
 *
 *     model:                                model:
 *       num_layers: 8                         layers:
 *       mamba_layers: [0, 1, 2, 4, 5, 6]        - {arch: mamba2, repeat: 3,
 * ...} mamba2_num_heads: 48                    - {arch: mla, mlp: {type: moe}}
 *       kv_latent_dim: 192                      - {arch: mamba2, repeat: 3,
 * ...} num_experts: 4                          - {arch: mla, mlp: {type: moe}}
 *     trainer:                              optimizer: {plugin: adamw, lr: ...}
 *       learning_rate: 0.0003               train: {max_steps: 0, epochs: 2,
 * ...} num_epochs: 2                       checkpoint: {dir: ...}
 *
 * There, one list of numbers says which layers are Mamba-2 and the other keys
 * describe all layers at once; here each layer is described. Values move as
 * they are, with their place in the file, so that what a plugin finds wrong
 * with one is reported where it was written. Other sections of the file
 * (data:, seed: ...) are ours already and stay.
 *
 * The model is the papers', not the other program's departures from them:
 * RMSNorm before each mixer, latent norms, no biases where the papers have
 * none.
 */
#include "cli/flat_config.h"

#include <string.h>

#include "base/file.h"
#include "config/tree.h"

enum {
    MOST_LAYERS = 4096,
    KEEP_ALL = 1000 * 1000 * 1000,
};

typedef struct {
    tni_arena *arena;
    const tni_yaml *model;
    const tni_yaml *trainer; /* NULL: the file only describes a model */
    tn_error *err;
} flat;

/* ---- reading ---- */

/* The value of a key, NULL where it is absent or null. */
static const tni_yaml *value_of(const tni_yaml *map, const char *key)
{
    const tni_yaml *node = map ? tni_yaml_get(map, key) : NULL;
    return node && node->kind != TNI_YAML_NULL ? node : NULL;
}

static tn_status missing(const flat *f, const tni_yaml *map, const char *where,
                         const char *key, const char *why)
{
    return tni_yaml_fail(map, f->err, "%s.%s: is missing%s", where, key, why);
}

/* An integer of at least `least`. */
static tn_status whole(const flat *f, const tni_yaml *node, const char *where,
                       int64_t least, int64_t *value)
{
    int clipped = 0;
    if (node->kind != TNI_YAML_SCALAR || node->quoted ||
        !tni_number_int(node->scalar, value, &clipped) || clipped ||
        *value < least || *value > INT32_MAX)
        return tni_yaml_fail(
            node, f->err, "%s: %s is not an integer in [%lld, %d]", where,
            node->scalar ? node->scalar : tni_yaml_kind_name(node),
            (long long)least, INT32_MAX);
    return TN_OK;
}

/* A key of model: that is true or false, `absent` where it is not there. */
static tn_status model_truth(const flat *f, const char *key, int absent,
                             int *value)
{
    const tni_yaml *node = value_of(f->model, key);
    const char *text =
        node && node->scalar && !node->quoted ? node->scalar : "";
    *value = node ? !strcmp(text, "true") : absent;
    if (!node || *value || !strcmp(text, "false"))
        return TN_OK;
    return tni_yaml_fail(node, f->err, "model.%s: %s is not true or false", key,
                         node->scalar ? node->scalar
                                      : tni_yaml_kind_name(node));
}

/* A key of model: that must be there. */
static tn_status model_size(const flat *f, const char *key, int64_t *value)
{
    const tni_yaml *node = value_of(f->model, key);
    if (!node)
        return missing(f, f->model, "model", key, "");
    return whole(f, node, tni_arena_printf(f->arena, "model.%s", key), 1,
                 value);
}

/* ---- writing ---- */

static tni_yaml *new_map(const flat *f, const tni_yaml *at)
{
    tni_yaml *map = tni_yaml_new(f->arena, TNI_YAML_MAP);
    if (at)
        map->source = at->source;
    return map;
}

/* A value of our own that stands for what `at` says. */
static void say(const flat *f, tni_yaml *map, const char *key, const char *text,
                const tni_yaml *at)
{
    tni_yaml *node = tni_yaml_scalar(f->arena, text);
    if (at)
        node->source = at->source;
    tni_yaml_put(f->arena, map, key, node);
}

static void say_number(const flat *f, tni_yaml *map, const char *key,
                       int64_t value, const tni_yaml *at)
{
    say(f, map, key, tni_arena_printf(f->arena, "%lld", (long long)value), at);
}

/* Another name for the same value, copied: what a table reads it writes to. */
static void move(const flat *f, const tni_yaml *from, const char *key,
                 tni_yaml *to, const char *as)
{
    const tni_yaml *node = value_of(from, key);
    if (node)
        tni_yaml_put(f->arena, to, as, tni_yaml_copy(f->arena, node));
}

/* ---- layers ---- */

static tn_status experts(const flat *f, tni_yaml *mlp)
{
    const tni_yaml *count = value_of(f->model, "num_experts");
    const tni_yaml *chosen = value_of(f->model, "experts_per_tok");
    const tni_yaml *shared = value_of(f->model, "shared_expert_enabled");
    int64_t E, k;
    int shares;
    TN_TRY(model_truth(f, "shared_expert_enabled", 1, &shares));
    TN_TRY(whole(f, count, "model.num_experts", 1, &E));
    if (!chosen)
        return missing(f, count, "model", "experts_per_tok",
                       ", which num_experts needs");
    TN_TRY(whole(f, chosen, "model.experts_per_tok", 1, &k));
    if (k > E)
        return tni_yaml_fail(chosen, f->err,
                             "model.experts_per_tok: %lld is more than "
                             "num_experts %lld",
                             (long long)k, (long long)E);
    say(f, mlp, "type", "moe", count);
    say_number(f, mlp, "num_experts", E, count);
    say_number(f, mlp, "experts_per_token", k, chosen);
    say_number(f, mlp, "shared_experts", shares, shared);
    /* One weight, renormalised, is 1: the router would learn nothing from it */
    say(f, mlp, "norm_topk_prob", k > 1 ? "true" : "false", chosen);
    move(f, f->trainer, "load_balance_alpha", mlp, "load_balance_alpha");
    return TN_OK;
}

static tn_status feed_forward(const flat *f, tni_yaml *layer)
{
    const tni_yaml *size = value_of(f->model, "intermediate_size");
    tni_yaml *mlp = new_map(f, size);
    int64_t C;
    TN_TRY(model_size(f, "hidden_size", &C));
    if (value_of(f->model, "num_experts"))
        TN_TRY(experts(f, mlp));
    else
        say(f, mlp, "type", "gated", size);
    say_number(f, mlp, "intermediate_size", 4 * C, NULL);
    move(f, f->model, "intermediate_size", mlp, "intermediate_size");
    tni_yaml_put(f->arena, layer, "mlp", mlp);
    return TN_OK;
}

static tn_status latent_attention(const flat *f, tni_yaml *layer)
{
    const tni_yaml *heads = value_of(f->model, "num_heads");
    int64_t C, H;
    TN_TRY(model_size(f, "hidden_size", &C));
    TN_TRY(model_size(f, "num_heads", &H));
    if (C % H)
        return tni_yaml_fail(heads, f->err,
                             "model.num_heads: %lld does not divide "
                             "hidden_size %lld",
                             (long long)H, (long long)C);
    if (!value_of(f->model, "d_rope"))
        return missing(f, value_of(f->model, "kv_latent_dim"), "model",
                       "d_rope", ", which kv_latent_dim needs");
    move(f, f->model, "q_latent_dim", layer, "q_lora_rank");
    move(f, f->model, "kv_latent_dim", layer, "kv_lora_rank");
    say_number(f, layer, "qk_nope_head_dim", C / H, heads);
    move(f, f->model, "d_rope", layer, "qk_rope_head_dim");
    say_number(f, layer, "v_head_dim", C / H, heads);
    return TN_OK;
}

static tn_status attention_layer(const flat *f, int64_t repeat, tni_yaml *layer)
{
    const tni_yaml *latent = value_of(f->model, "kv_latent_dim");
    if (!value_of(f->model, "num_heads"))
        return missing(f, f->model, "model", "num_heads", "");
    layer->source = (latent ? latent : value_of(f->model, "num_heads"))->source;
    say(f, layer, "arch", latent ? "mla" : "transformer", latent);
    say_number(f, layer, "repeat", repeat, NULL);
    move(f, f->model, "num_heads", layer, "num_heads");
    if (latent)
        TN_TRY(latent_attention(f, layer));
    else
        move(f, f->model, "kv_heads", layer, "num_kv_heads");
    move(f, f->model, "rope_theta", layer, "rope_theta");
    return feed_forward(f, layer);
}

static tn_status mamba_layer(const flat *f, int64_t repeat, tni_yaml *layer)
{
    static const char *const options[] = {
        "num_heads", "head_dim",    "state_size", "chunk_size",
        "n_groups",  "conv_kernel", "expand"};
    const tni_yaml *list = value_of(f->model, "mamba_layers");
    const tni_yaml *third = value_of(f->model, "mamba3_enabled");
    int is_third;
    TN_TRY(model_truth(f, "mamba3_enabled", 0, &is_third));
    if (is_third)
        return tni_yaml_fail(third, f->err,
                             "model.mamba3_enabled: there is no Mamba-3 here; "
                             "false makes mamba_layers Mamba-2");
    if (!value_of(f->model, "mamba2_num_heads"))
        return tni_yaml_fail(list, f->err,
                             "model.mamba_layers: without mamba2_num_heads "
                             "these layers are Mamba-1, which is not here; "
                             "describe Mamba-2 with mamba2_num_heads, "
                             "mamba2_head_dim, mamba2_state_size ...");
    layer->source = value_of(f->model, "mamba2_num_heads")->source;
    say(f, layer, "arch", "mamba2", list);
    say_number(f, layer, "repeat", repeat, NULL);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        move(f, f->model, tni_arena_printf(f->arena, "mamba2_%s", options[i]),
             layer, options[i]);
    return TN_OK;
}

/* is_mamba[i] for each of the L layers. */
static tn_status which_are_mamba(const flat *f, int64_t L, char *is_mamba)
{
    const tni_yaml *list = value_of(f->model, "mamba_layers");
    if (!list)
        return TN_OK;
    if (list->kind != TNI_YAML_LIST)
        return tni_yaml_fail(list, f->err,
                             "model.mamba_layers: is not a list of layers, as "
                             "[0, 1, 2]");
    for (size_t i = 0; i < list->count; i++) {
        const tni_yaml *entry = list->entries[i].value;
        int64_t index;
        TN_TRY(whole(f, entry, "model.mamba_layers", 0, &index));
        if (index >= L)
            return tni_yaml_fail(entry, f->err,
                                 "model.mamba_layers: there is no layer %lld; "
                                 "the %lld of num_layers count from 0",
                                 (long long)index, (long long)L);
        is_mamba[index] = 1;
    }
    return TN_OK;
}

/* Neighbours of one kind become one entry with `repeat`. */
static tn_status layers(const flat *f, tni_yaml *list)
{
    int64_t L;
    TN_TRY(model_size(f, "num_layers", &L));
    if (L > MOST_LAYERS)
        return tni_yaml_fail(value_of(f->model, "num_layers"), f->err,
                             "model.num_layers: %lld is outside [1, %d]",
                             (long long)L, MOST_LAYERS);
    char *is_mamba = tni_arena_alloc(f->arena, (size_t)L);
    TN_TRY(which_are_mamba(f, L, is_mamba));
    for (int64_t i = 0, end; i < L; i = end) {
        for (end = i + 1; end < L && is_mamba[end] == is_mamba[i];)
            end++;
        tni_yaml *layer = new_map(f, NULL);
        TN_TRY(is_mamba[i] ? mamba_layer(f, end - i, layer)
                           : attention_layer(f, end - i, layer));
        tni_yaml_add(f->arena, list, (tni_yaml_entry){.value = layer});
    }
    return TN_OK;
}

/* ---- sections ---- */

static tn_status model_section(const flat *f, tni_yaml *root)
{
    static const char *const same[] = {"vocab_size", "hidden_size",
                                       "max_seq_len"};
    tni_yaml *model = new_map(f, f->model);
    tni_yaml *list = tni_yaml_new(f->arena, TNI_YAML_LIST);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        if (!value_of(f->model, same[i]))
            return missing(f, f->model, "model", same[i], "");
        move(f, f->model, same[i], model, same[i]);
    }
    TN_TRY(layers(f, list));
    tni_yaml_put(f->arena, model, "layers", list);
    move(f, f->model, "name", root, "name");
    tni_yaml_put(f->arena, root, "model", model);
    return TN_OK;
}

/* AdamW as it is there: one group, with its decay on everything. */
static tn_status optimizer_section(const flat *f, tni_yaml *root)
{
    static const char text[] = "{plugin: adamw, betas: [0.9, 0.999], "
                               "eps: 1.0e-8, weight_decay: 0.01}";
    tni_yaml *optimizer = NULL;
    if (!value_of(f->trainer, "learning_rate"))
        return missing(f, f->trainer, "trainer", "learning_rate", "");
    TN_TRY(tni_config_parse(f->arena, "optimizer", text, sizeof text - 1,
                            &optimizer, f->err));
    optimizer->source = f->trainer->source;
    move(f, f->trainer, "learning_rate", optimizer, "lr");
    tni_yaml_put(f->arena, root, "optimizer", optimizer);
    return TN_OK;
}

static tn_status train_section(const flat *f, tni_yaml *root)
{
    tni_yaml *train = new_map(f, f->trainer);
    if (!value_of(f->trainer, "max_steps") &&
        !value_of(f->trainer, "num_epochs"))
        return missing(f, f->trainer, "trainer", "max_steps",
                       ", and so is num_epochs; give one");
    say(f, train, "max_steps", "0", NULL);
    move(f, f->trainer, "max_steps", train, "max_steps");
    move(f, f->trainer, "num_epochs", train, "epochs");
    move(f, f->trainer, "batch_size", train, "batch_size");
    move(f, f->trainer, "gradient_accumulation", train, "grad_accum");
    move(f, f->trainer, "log_interval", train, "log_every");
    tni_yaml_put(f->arena, root, "train", train);
    return TN_OK;
}

/* Its folder is relative to where the command is run, and 0 keeps all. */
static tn_status checkpoint_section(const flat *f, tni_yaml *root)
{
    const tni_yaml *dir = value_of(f->trainer, "checkpoint_dir");
    const tni_yaml *keep = value_of(f->trainer, "max_checkpoints");
    tni_yaml *checkpoint = new_map(f, f->trainer);
    int64_t count = 10;
    if (keep)
        TN_TRY(whole(f, keep, "trainer.max_checkpoints", 0, &count));
    if (dir && dir->scalar)
        say(f, checkpoint, "dir",
            tni_path_join(f->arena, tni_path_absolute(f->arena, "."),
                          dir->scalar + 2 * !strncmp(dir->scalar, "./", 2)),
            dir);
    else
        move(f, f->trainer, "checkpoint_dir", checkpoint, "dir");
    move(f, f->trainer, "save_interval", checkpoint, "every");
    say_number(f, checkpoint, "keep", count ? count : KEEP_ALL, keep);
    tni_yaml_put(f->arena, root, "checkpoint", checkpoint);
    return TN_OK;
}

static tn_status trainer_sections(const flat *f, tni_yaml *root)
{
    if (!f->trainer)
        return TN_OK;
    if (f->trainer->kind != TNI_YAML_MAP)
        return tni_yaml_fail(f->trainer, f->err,
                             "trainer: is %s, not a map of options",
                             tni_yaml_kind_name(f->trainer));
    TN_TRY(optimizer_section(f, root));
    TN_TRY(train_section(f, root));
    return checkpoint_section(f, root);
}

/* What the file says in our own words stays. */
static tn_status own_sections(const flat *f, const tni_yaml *from,
                              tni_yaml *root)
{
    for (size_t i = 0; i < from->count; i++) {
        const tni_yaml_entry *e = &from->entries[i];
        if (!strcmp(e->key, "model") || !strcmp(e->key, "trainer"))
            continue;
        if (f->trainer && strcmp(e->key, "name") && tni_yaml_find(root, e->key))
            return tni_source_fail(&e->key_source, f->err,
                                   "%s: trainer says this already; remove one",
                                   e->key);
        if (!tni_yaml_find(root, e->key))
            tni_yaml_add(f->arena, root, *e);
    }
    return TN_OK;
}

/* ---- */

int tni_flat_config_is(const tni_yaml *root)
{
    const tni_yaml *model = tni_yaml_get(root, "model");
    return model && tni_yaml_get(model, "num_layers") &&
           !tni_yaml_get(model, "layers");
}

tn_status tni_flat_config_translate(tni_arena *arena, const tn_host *host,
                                    const tni_yaml *from, tni_yaml **root,
                                    tn_error *err)
{
    const flat f = {arena, tni_yaml_get(from, "model"),
                    value_of(from, "trainer"), err};
    tni_yaml *translated = new_map(&f, from);
    TN_TRY(model_section(&f, translated));
    TN_TRY(trainer_sections(&f, translated));
    TN_TRY(own_sections(&f, from, translated));
    tni_flat_config_warn(host, from);
    *root = translated;
    return TN_OK;
}
