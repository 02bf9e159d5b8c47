/*
 * test_flat_config.c - flat config files run as they are, and say what is wrong
 * with them where it stands.
 */
#include "program.h"

#include <sys/stat.h>

/* The sizes of oxidizr's nano model, in its words. */
static const char nano[] = "model:\n"
                           "  name: nano\n"
                           "  hidden_size: 384\n"
                           "  num_layers: 8\n"
                           "  num_heads: 6\n"
                           "  kv_heads: null\n"
                           "  kv_latent_dim: 192\n"
                           "  q_latent_dim: 192\n"
                           "  d_rope: 16\n"
                           "  num_experts: 4\n"
                           "  experts_per_tok: 2\n"
                           "  shared_expert_enabled: true\n"
                           "  intermediate_size: 1536\n"
                           "  mamba_layers: [0, 1, 2, 4, 5, 6]\n"
                           "  mamba2_num_heads: 48\n"
                           "  mamba2_head_dim: 16\n"
                           "  mamba2_state_size: 64\n"
                           "  mamba2_chunk_size: 64\n"
                           "  mamba2_n_groups: 1\n"
                           "  mamba2_conv_kernel: 4\n"
                           "  mamba2_expand: 2\n"
                           "  vocab_size: 128354\n"
                           "  max_seq_len: 512\n"
                           "  rope_theta: 10000.0\n"
                           "trainer:\n"
                           "  target_device: gpu\n"
                           "  learning_rate: 0.0003\n"
                           "  max_steps: 0\n"
                           "  num_epochs: 2\n"
                           "  batch_size: 4\n"
                           "  gradient_accumulation: 2\n"
                           "  checkpoint_dir: ./checkpoints/nano\n"
                           "  log_interval: 10\n"
                           "  save_interval: 100\n"
                           "  load_balance_alpha: 0.01\n"
                           "  group_size: 4\n"
                           "  beta_kl: 0.04\n";

#define MAMBA_LAYERS                                                           \
    "  - arch: mamba2\n"                                                       \
    "    repeat: 3\n"                                                          \
    "    num_heads: 48\n"                                                      \
    "    head_dim: 16\n"                                                       \
    "    state_size: 64\n"                                                     \
    "    chunk_size: 64\n"                                                     \
    "    n_groups: 1\n"                                                        \
    "    conv_kernel: 4\n"                                                     \
    "    expand: 2\n"
/* 384 / 6 is the size of a head without its rotary part. */
#define LATENT_LAYER                                                           \
    "  - arch: mla\n"                                                          \
    "    repeat: 1\n"                                                          \
    "    num_heads: 6\n"                                                       \
    "    q_lora_rank: 192\n"                                                   \
    "    kv_lora_rank: 192\n"                                                  \
    "    qk_nope_head_dim: 64\n"                                               \
    "    qk_rope_head_dim: 16\n"                                               \
    "    v_head_dim: 64\n"                                                     \
    "    rope_theta: 10000.0\n"                                                \
    "    mlp:\n"                                                               \
    "      type: moe\n"                                                        \
    "      num_experts: 4\n"                                                   \
    "      experts_per_token: 2\n"                                             \
    "      shared_experts: 1\n"                                                \
    "      norm_topk_prob: true\n"                                             \
    "      load_balance_alpha: 0.01\n"                                         \
    "      intermediate_size: 1536\n"

static const char nano_translated[] =
    "name: nano\n"
    "model:\n"
    "  vocab_size: 128354\n"
    "  hidden_size: 384\n"
    "  max_seq_len: 512\n"
    "  layers:\n" MAMBA_LAYERS LATENT_LAYER MAMBA_LAYERS LATENT_LAYER
    "optimizer:\n"
    "  plugin: adamw\n"
    "  betas: [0.9, 0.999]\n"
    "  eps: 1.0e-8\n"
    "  weight_decay: 0.01\n"
    "  lr: 0.0003\n"
    "train:\n"
    "  max_steps: 0\n"
    "  epochs: 2\n"
    "  batch_size: 4\n"
    "  grad_accum: 2\n"
    "  log_every: 10\n"
    "checkpoint:\n"
    "  dir: %s/checkpoints/nano\n"
    "  every: 100\n"
    "  keep: 10\n";

/* A model small enough to train here, of both kinds of layer. */
static const char small[] = "model:\n"
                            "  name: small\n"
                            "  hidden_size: 32\n"
                            "  num_layers: 3\n"
                            "  num_heads: 2\n"
                            "  kv_latent_dim: 8\n"
                            "  q_latent_dim: 8\n"
                            "  d_rope: 4\n"
                            "  intermediate_size: 48\n"
                            "  mamba_layers: [0, 2]\n"
                            "  mamba2_num_heads: 4\n"
                            "  mamba2_head_dim: 16\n"
                            "  mamba2_state_size: 8\n"
                            "  vocab_size: 256\n"
                            "  max_seq_len: 16\n"
                            "  rope_theta: 10000.0\n"
                            "trainer:\n"
                            "  learning_rate: 0.01\n"
                            "  max_steps: 0\n"
                            "  num_epochs: 2\n"
                            "  batch_size: 4\n"
                            "  gradient_accumulation: 2\n"
                            "  checkpoint_dir: ./checkpoints/small\n"
                            "  log_interval: 1\n"
                            "  save_interval: 100\n";

static int setup(void **state)
{
    if (program_setup(state) != 0)
        return -1;
    const program *p = *state;
    char models[96];
    snprintf(models, sizeof models, "%s/models", p->folder);
    if (mkdir(models, 0755) != 0)
        return -1;
    program_write(p, "models/nano.yaml", nano);
    program_write(p, "models/small.yaml", small);
    return 0;
}

/* 1000 little-endian ids below 256, none of them zero throughout. */
static void write_tokens(const program *p)
{
    char path[128];
    snprintf(path, sizeof path, "%s/combined.bin", p->folder);
    FILE *to = fopen(path, "wb");
    assert_non_null(to);
    for (uint32_t i = 0; i < 1000; i++) {
        const uint8_t id[4] = {(uint8_t)(i * i % 251), 0, 0, 0};
        fwrite(id, 1, sizeof id, to);
    }
    fclose(to);
}

/* `small` with `line` in place of the line that begins with its key. */
static void write_variant(const program *p, const char *line)
{
    char text[4096] = "";
    const size_t key = strcspn(line, ":") + 1;
    for (const char *at = small, *end; *at; at = end) {
        end = strchr(at, '\n') + 1;
        if (strncmp(at, line, key) != 0)
            strncat(text, at, (size_t)(end - at));
        else
            strcat(strcat(text, line), "\n");
    }
    program_write(p, "models/variant.yaml", text);
}

static void refuses(program *p, const char *line, const char *sentence)
{
    write_variant(p, line);
    if (RUN(p, "config", "show", "models/variant.yaml") == 0)
        fail_msg("%s was accepted", line);
    if (!strstr(p->err, sentence))
        fail_msg("%s: %s", line, p->err);
}

static void warns(program *p, const char *line, const char *sentence)
{
    write_variant(p, line);
    assert_int_equal(RUN(p, "config", "show", "models/variant.yaml"), 0);
    if (!strstr(p->err, sentence))
        fail_msg("%s: %s", line, p->err);
}

static void the_translation_is_what_the_keys_mean(void **state)
{
    program *p = *state;
    char want[8192];
    assert_int_equal(RUN(p, "config", "show", "models/nano.yaml", "--merged"),
                     0);
    snprintf(want, sizeof want, nano_translated, p->folder);
    assert_string_equal(p->out, want);
}

static void keys_without_meaning_are_warned_about(void **state)
{
    program *p = *state;
    RUN(p, "config", "show", "models/nano.yaml", "--merged");
    assert_non_null(
        strstr(p->err, "models/nano.yaml:26:3: trainer.target_device"));
    assert_non_null(
        strstr(p->err, "models/nano.yaml:36:3: trainer.group_size"));
    assert_non_null(strstr(p->err, "models/nano.yaml:37:3: trainer.beta_kl"));
    assert_null(strstr(p->err, "load_balance_alpha"));
    warns(p, "  log_interval: 1\n  bathc_size: 3",
          "variant.yaml:25:3: trainer.bathc_size is ignored: unknown; did you "
          "mean batch_size?");
    warns(p, "  mamba2_state_size: 8\n  mamba_d_state: 16",
          "model.mamba_d_state is ignored");
}

static void it_trains_on_tokens_in_their_order(void **state)
{
    program *p = *state;
    char config[1 << 14];
    write_tokens(p);
    /* an epoch is ceil(1000 / (2 * 16 * 2)) = 16 steps of 64 tokens */
    assert_int_equal(RUN(p, "train", "-f", "models/small.yaml", "-d",
                         "combined.bin", "--batch-size", "2", "--max-steps",
                         "1000", "--headless"),
                     0);
    assert_non_null(strstr(p->out, "\"step\": 32,"));
    assert_null(strstr(p->out, "\"step\": 33,"));
    assert_true(
        program_exists(p, "checkpoints/small/step-00000032/model.safetensors"));
    program_read(p, "checkpoints/small/config.yaml", config, sizeof config);
    assert_non_null(strstr(config, "shuffle: false"));
    assert_non_null(strstr(config, "epochs: 2"));
    assert_non_null(strstr(config, "max_steps: 1000"));
}

static void experts_train_as_well(void **state)
{
    program *p = *state;
    write_tokens(p);
    for (int chosen = 1; chosen <= 2; chosen++) {
        char line[128];
        snprintf(line, sizeof line,
                 "  intermediate_size: 48\n  num_experts: 4\n"
                 "  experts_per_tok: %d",
                 chosen);
        write_variant(p, line);
        assert_int_equal(RUN(p, "train", "-f", "models/variant.yaml", "-d",
                             "combined.bin", "--max-steps", "2"),
                         0);
        assert_non_null(strstr(p->out, "auxiliary_loss"));
    }
}

static void max_steps_is_a_limit_beside_the_epochs(void **state)
{
    program *p = *state;
    write_tokens(p);
    assert_int_equal(RUN(p, "train", "-f", "models/small.yaml", "-d",
                         "combined.bin", "--max-steps", "3"),
                     0);
    assert_true(program_exists(p, "checkpoints/small/step-00000003"));
    /* 2 epochs of ceil(1000 / 128) = 8 */
    assert_int_equal(RUN(p, "train", "-f", "models/small.yaml", "-d",
                         "combined.bin", "--resume", "auto"),
                     0);
    assert_true(program_exists(p, "checkpoints/small/step-00000016"));
}

static void our_words_change_the_translation(void **state)
{
    program *p = *state;
    write_variant(p, "  num_heads: 2\n  kv_heads: 1");
    assert_int_equal(RUN(p, "config", "show", "models/variant.yaml", "--set",
                         "optimizer.lr=0.5", "--set",
                         "model.layers[1].qk_rope_head_dim=6"),
                     0);
    assert_non_null(strstr(p->out, "lr: 0.5"));
    assert_non_null(strstr(p->out, "qk_rope_head_dim: 6"));
    write_variant(p, "  kv_latent_dim: null\n  kv_heads: 1");
    assert_int_equal(RUN(p, "config", "show", "models/variant.yaml"), 0);
    assert_non_null(strstr(p->out, "arch: transformer"));
    assert_non_null(strstr(p->out, "num_kv_heads: 1"));
    write_variant(p, "  rope_theta: 10000.0\nseed: 5");
    assert_int_equal(RUN(p, "config", "show", "models/variant.yaml"), 0);
    assert_non_null(strstr(p->out, "seed: 5"));
}

static void mistakes_are_shown_where_they_stand(void **state)
{
    program *p = *state;
    refuses(p, "  mamba_layers: [0, 3]",
            "models/variant.yaml:10:21: model.mamba_layers: there is no layer "
            "3");
    refuses(p, "  mamba_layers: [0, -1]", "variant.yaml:10:21: ");
    refuses(p, "  mamba_layers: 2", "variant.yaml:10:17: ");
    refuses(p, "  num_heads: 3",
            "variant.yaml:5:14: model.num_heads: 3 does not divide hidden_size "
            "32");
    refuses(p, "  d_rope: null", "model.d_rope: is missing");
    refuses(p, "  d_rope: 5", "variant.yaml:6:18: ");
    refuses(p, "  num_layers: many", "variant.yaml:4:15: model.num_layers");
    refuses(p, "  hidden_size: 0", "variant.yaml:3:16: model.hidden_size");
    refuses(p, "  vocab_size: null", "model.vocab_size: is missing");
    refuses(p, "  intermediate_size: 48\n  num_experts: 2",
            "model.experts_per_tok: is missing");
    refuses(p,
            "  intermediate_size: 48\n  num_experts: 2\n  experts_per_tok: 3",
            "variant.yaml:11:20: model.experts_per_tok: 3 is more than "
            "num_experts 2");
    refuses(p, "  mamba2_num_heads: null", "Mamba-1");
    refuses(p, "  mamba2_head_dim: 16\n  mamba3_enabled: true", "Mamba-3");
    refuses(p, "  mamba2_head_dim: 16\n  mamba3_enabled: yes",
            "variant.yaml:13:19: model.mamba3_enabled: yes is not true or "
            "false");
    refuses(p,
            "  intermediate_size: 48\n  num_experts: 2\n  experts_per_tok: 2\n"
            "  shared_expert_enabled: yes",
            "variant.yaml:12:26: model.shared_expert_enabled: yes is not true "
            "or false");
    refuses(p, "  mamba2_head_dim: 16\n  mamba2_expand: 3",
            "variant.yaml:11:21: model.layers[0]: ");
    refuses(p, "  learning_rate: fast", "variant.yaml:18:18: optimizer.lr");
    refuses(p, "  learning_rate: null", "trainer.learning_rate: is missing");
    refuses(p, "  num_epochs: 0", "train.max_steps: 0");
    refuses(p, "  save_interval: 100\n  max_checkpoints: -1",
            "variant.yaml:26:20: trainer.max_checkpoints");
    refuses(p, "  rope_theta: 10000.0\ntrain: {}",
            "variant.yaml:17:1: train: trainer says this already");
}

#define WITH_MODELS(test)                                                      \
    cmocka_unit_test_setup_teardown(test, setup, program_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MODELS(the_translation_is_what_the_keys_mean),
        WITH_MODELS(keys_without_meaning_are_warned_about),
        WITH_MODELS(it_trains_on_tokens_in_their_order),
        WITH_MODELS(experts_train_as_well),
        WITH_MODELS(max_steps_is_a_limit_beside_the_epochs),
        WITH_MODELS(our_words_change_the_translation),
        WITH_MODELS(mistakes_are_shown_where_they_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
