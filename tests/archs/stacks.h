/*
 * stacks.h - what tests of training train: every architecture, and two in one
 * stack, by every optimizer.
 */
#ifndef TN_STACKS_H
#define TN_STACKS_H

/* Two layers each; hidden_size is 16. */
static const char *const stacks[] = {
    "model.layers=[{arch: transformer, repeat: 2, num_heads: 2, num_kv_heads: "
    "1, intermediate_size: 24}]",
    "model.layers=[{arch: mla, repeat: 2, num_heads: 2, q_lora_rank: 6, "
    "kv_lora_rank: 5, qk_nope_head_dim: 3, qk_rope_head_dim: 2, v_head_dim: 4, "
    "intermediate_size: 24}]",
    "model.layers=[{arch: mamba2, repeat: 2, num_heads: 4, state_size: 5, "
    "chunk_size: 3}]",
    "model.layers=[{arch: mla, repeat: 2, num_heads: 2, kv_lora_rank: 5, "
    "qk_nope_head_dim: 3, qk_rope_head_dim: 2, v_head_dim: 4, mlp: {type: moe, "
    "num_experts: 4, experts_per_token: 2, shared_experts: 1, "
    "intermediate_size: 9, load_balance_alpha: 0}}]",
    "model.layers=[{arch: mamba2, num_heads: 4, n_groups: 2, state_size: 3, "
    "intermediate_size: 24}, {arch: transformer, num_heads: 2, "
    "intermediate_size: 24}]",
};
enum { STACKS = sizeof stacks / sizeof stacks[0] };

static const char adamw[] = "optimizer={plugin: adamw, lr: 1.0e-2}";
static const char *const optimizers[] = {
    adamw,
    "optimizer={plugin: lion, lr: 1.0e-3}",
    "optimizer=[{match: '*norm*|*embed*|lm_head*|*bias|*conv1d*|*A_log|*.D', "
    "plugin: lion, lr: 1.0e-3}, {match: '*', plugin: muon, lr: 0.02}]",
};
enum { OPTIMIZERS = sizeof optimizers / sizeof optimizers[0] };

#endif
