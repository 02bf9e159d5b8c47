/*
 * mla.h - the options of the mla layer, and its Hugging Face form.
 */
#ifndef MLA_H
#define MLA_H

#include <tenon/arch.h>

typedef struct mla_options {
    int64_t num_heads, q_lora_rank, kv_lora_rank;
    int64_t qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
    double rope_theta, latent_norm_eps;
    int32_t rope_interleave, attention_bias;
} mla_options;

tn_status mla_hugging_face(const tn_arch_context *context, const void *given,
                           const tn_hf_writer *writer, tn_error *err);

#endif
