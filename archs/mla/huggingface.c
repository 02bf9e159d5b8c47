/*
 * huggingface.c - which DeepSeek a stack of these layers is.
 *
 *     gated mlp    V3, all of whose layers are dense: every one is among the
 *                  first_k_dense_replace
 *     experts      V2, whose router is the softmax that ours is
 *
 * The core has written what all decoders share, experts included; weights
 * already have these models' names.
 */
#include "mla.h"

#include <math.h>

/* The first reason why these options have no counterpart, or NULL. */
static const char *why_not(const tn_arch_context *context, const mla_options *o)
{
    const double eps =
        o->latent_norm_eps > 0 ? o->latent_norm_eps : context->norm_eps;
    const int experts = context->num_experts > 0;
    if (!experts && (!context->mlp_type || strcmp(context->mlp_type, "gated")))
        return "its mlp is not gated";
    if (experts && !context->shared_experts)
        return "experts without shared_experts";
    if (experts && context->norm_topk_prob)
        return "norm_topk_prob";
    if (experts && !o->rope_interleave)
        return "experts without rope_interleave";
    if (fabs(eps - 1e-6) > 1e-12)
        return "latent_norm_eps is 1e-6 there";
    return NULL;
}

/* What V3 has beside experts, without any. */
static void write_v3(const tn_arch_context *context, const mla_options *o,
                     const tn_hf_writer *w)
{
    w->string(w->to, "architectures", "DeepseekV3ForCausalLM");
    w->string(w->to, "model_type", "deepseek_v3");
    w->boolean(w->to, "rope_interleave", o->rope_interleave);
    w->number(w->to, "first_k_dense_replace", (double)context->layer_count);
    w->number(w->to, "num_nextn_predict_layers", 0);
}

static void write_v2(const tn_hf_writer *w)
{
    w->string(w->to, "architectures", "DeepseekV2ForCausalLM");
    w->string(w->to, "model_type", "deepseek_v2");
    w->string(w->to, "topk_method", "greedy");
    w->real(w->to, "routed_scaling_factor", 1);
    w->number(w->to, "first_k_dense_replace", 0);
}

tn_status mla_hugging_face(const tn_arch_context *context, const void *given,
                           const tn_hf_writer *w, tn_error *err)
{
    const mla_options *o = given;
    const char *reason = why_not(context, o);
    if (reason)
        return tn_fail(err, TN_EUNSUPPORTED, "no Hugging Face form of mla: %s",
                       reason);
    if (context->num_experts)
        write_v2(w);
    else
        write_v3(context, o, w);
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
    w->boolean(w->to, "attention_bias", o->attention_bias);
    return TN_OK;
}
