/*
 * flat_keys.c - every key of oxidizr's flat dialect, and what to say of those
 * that mean nothing here.
 */
#include "cli/flat_config.h"

#include <string.h>

/* Every key of the dialect; `ignored` says why one means nothing here. */
typedef struct {
    const char *name, *ignored;
} flat_key;

static const char only_mamba1[] = "it describes Mamba-1";
static const char only_mamba3[] = "it describes Mamba-3";
static const char only_rl[] = "it belongs to reinforcement learning";

static const flat_key model_keys[] = {
    {"name", NULL},
    {"hidden_size", NULL},
    {"num_layers", NULL},
    {"num_heads", NULL},
    {"kv_heads", NULL},
    {"kv_latent_dim", NULL},
    {"q_latent_dim", NULL},
    {"d_rope", NULL},
    {"num_experts", NULL},
    {"experts_per_tok", NULL},
    {"shared_expert_enabled", NULL},
    {"intermediate_size", NULL},
    {"mamba_layers", NULL},
    {"mamba2_num_heads", NULL},
    {"mamba2_head_dim", NULL},
    {"mamba2_state_size", NULL},
    {"mamba2_chunk_size", NULL},
    {"mamba2_n_groups", NULL},
    {"mamba2_conv_kernel", NULL},
    {"mamba2_expand", NULL},
    {"mamba3_enabled", NULL},
    {"mamba3_complex_rope", only_mamba3},
    {"mamba3_mimo_rank", only_mamba3},
    {"mamba3_use_conv", only_mamba3},
    {"mamba_d_state", only_mamba1},
    {"mamba_d_conv", only_mamba1},
    {"mamba_expand", only_mamba1},
    {"vocab_size", NULL},
    {"max_seq_len", NULL},
    {"rope_theta", NULL},
    {"dtype", "activations are f32 unless precision says otherwise"},
};

static const flat_key trainer_keys[] = {
    {"learning_rate", NULL},
    {"batch_size", NULL},
    {"max_steps", NULL},
    {"num_epochs", NULL},
    {"gradient_accumulation", NULL},
    {"checkpoint_dir", NULL},
    {"max_checkpoints", NULL},
    {"log_interval", NULL},
    {"save_interval", NULL},
    {"load_balance_alpha", NULL},
    {"target_device", "the best device is taken unless backend says otherwise"},
    {"distributed", "one process trains"},
    {"group_size", only_rl},
    {"beta_kl", only_rl},
};

enum {
    MODEL_KEYS = sizeof model_keys / sizeof model_keys[0],
    TRAINER_KEYS = sizeof trainer_keys / sizeof trainer_keys[0],
};

static void warn(const tn_host *host, const tni_yaml_entry *e,
                 const char *where, const char *why, const char *near)
{
    const tni_source *s = &e->key_source;
    host->log(host, TN_LOG_WARNING, "%s:%u:%u: %s.%s is ignored: %s%s%s",
              s->file, s->line, s->column, where, e->key, why, near ? near : "",
              near ? "?" : "");
}

static void warn_of_keys(const tn_host *host, const tni_yaml *map,
                         const char *where, const flat_key *keys, size_t count)
{
    const char *names[MODEL_KEYS + TRAINER_KEYS];
    for (size_t k = 0; k < count; k++)
        names[k] = keys[k].name;
    for (size_t i = 0; i < map->count; i++) {
        const tni_yaml_entry *e = &map->entries[i];
        size_t k = 0;
        while (k < count && strcmp(e->key, keys[k].name))
            k++;
        if (k == count) {
            const char *near = tni_nearest(e->key, names, count);
            warn(host, e, where,
                 near ? "unknown; did you mean " : "nothing has this name",
                 near);
        } else if (keys[k].ignored && e->value->kind != TNI_YAML_NULL) {
            warn(host, e, where, keys[k].ignored, NULL);
        }
    }
}

void tni_flat_config_warn(const tn_host *host, const tni_yaml *from)
{
    const tni_yaml *trainer = tni_yaml_get(from, "trainer");
    warn_of_keys(host, tni_yaml_get(from, "model"), "model", model_keys,
                 MODEL_KEYS);
    if (trainer)
        warn_of_keys(host, trainer, "trainer", trainer_keys, TRAINER_KEYS);
}
