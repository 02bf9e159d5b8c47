/*
 * huggingface.c - a stack of these layers is DeepSeek-V3 without experts.
 *
 * Every layer is among the first_k_dense_replace ones, so no expert exists.
 * The core has written what all decoders share; weights already have this
 * model's names.
 */
#include "mla.h"

#include <math.h>

/* The first reason why these options have no counterpart, or NULL. */
static const char *why_not(const tn_arch_context *context, const mla_options *o)
{
    if (!context->mlp_type || strcmp(context->mlp_type, "gated"))
        return "its mlp is not gated";
    if (fabs(o->latent_norm_eps - 1e-6) > 1e-12)
        return "latent_norm_eps is 1e-6 there";
    return NULL;
}

tn_status mla_hugging_face(const tn_arch_context *context, const void *given,
                           const tn_hf_writer *w, tn_error *err)
{
    const mla_options *o = given;
    const char *reason = why_not(context, o);
    if (reason)
        return tn_fail(err, TN_EUNSUPPORTED, "no Hugging Face form of mla: %s",
                       reason);
    w->string(w->to, "architectures", "DeepseekV3ForCausalLM");
    w->string(w->to, "model_type", "deepseek_v3");
    w->number(w->to, "num_attention_heads", (double)o->num_heads);
    w->number(w->to, "num_key_value_heads", (double)o->num_heads);
    if (o->q_lora_rank)
        w->number(w->to, "q_lora_rank", (double)o->q_lora_rank);
    else
        w->null(w->to, "q_lora_rank");
    w->number(w->to, "kv_lora_rank", (double)o->kv_lora_rank);
    w->number(w->to, "qk_nope_head_dim", (double)o->qk_nope_head_dim);
    w->number(w->to, "qk_rope_head_dim", (double)o->qk_rope_head_dim);
    w->number(w->to, "v_head_dim", (double)o->v_head_dim);
    w->number(w->to, "rope_theta", o->rope_theta);
    w->boolean(w->to, "rope_interleave", o->rope_interleave);
    w->boolean(w->to, "attention_bias", o->attention_bias);
    w->number(w->to, "first_k_dense_replace", (double)context->layer_count);
    w->number(w->to, "num_nextn_predict_layers", 0);
    return TN_OK;
}
