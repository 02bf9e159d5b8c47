/*
 * huggingface.c - which of Hugging Face's models a stack of these layers is.
 *
 *     qk_norm            Qwen3ForCausalLM
 *     and experts        Qwen3MoeForCausalLM
 *     sliding_window     MistralForCausalLM
 *     none of these      LlamaForCausalLM
 *
 * The core has written what all decoders share; weights already have these
 * models' names.
 */
#include "transformer.h"

/* The first reason why these options have no counterpart, or NULL. */
static const char *why_not(const tn_arch_context *context,
                           const transformer_options *o)
{
    const int experts = context->num_experts > 0;
    if (!experts && (!context->mlp_type || strcmp(context->mlp_type, "gated")))
        return "its mlp is not gated";
    if (experts && (!o->qk_norm || o->sliding_window))
        return "experts without qk_norm, or with sliding_window";
    if (context->shared_experts)
        return "shared_experts";
    if (context->hidden_size % o->num_heads)
        return "hidden_size is not a multiple of num_heads";
    if (o->attn_logit_softcapping > 0)
        return "attn_logit_softcapping";
    if (o->partial_rotary_factor < 1)
        return "partial_rotary_factor";
    if (o->sliding_window && o->attention_bias && !o->qk_norm)
        return "sliding_window together with attention_bias";
    return NULL;
}

tn_status transformer_hugging_face(const tn_arch_context *context,
                                   const void *given, const tn_hf_writer *w,
                                   tn_error *err)
{
    const transformer_options *o = given;
    const char *reason = why_not(context, o);
    if (reason)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "no Hugging Face form of transformer: %s", reason);
    const int experts = context->num_experts > 0;
    const int qwen = o->qk_norm, mistral = !qwen && o->sliding_window;
    w->string(w->to, "architectures",
              experts   ? "Qwen3MoeForCausalLM"
              : qwen    ? "Qwen3ForCausalLM"
              : mistral ? "MistralForCausalLM"
                        : "LlamaForCausalLM");
    w->string(w->to, "model_type",
              experts   ? "qwen3_moe"
              : qwen    ? "qwen3"
              : mistral ? "mistral"
                        : "llama");
    w->number(w->to, "num_attention_heads", (double)o->num_heads);
    w->number(w->to, "num_key_value_heads", (double)transformer_kv_heads(o));
    w->number(w->to, "head_dim",
              (double)transformer_head_size(o, context->hidden_size));
    w->number(w->to, "rope_theta", o->rope_theta);
    w->boolean(w->to, "attention_bias", o->attention_bias);
    w->boolean(w->to, "mlp_bias", 0);
    if (!o->sliding_window)
        return TN_OK;
    w->number(w->to, "sliding_window", (double)o->sliding_window);
    if (qwen) {
        w->boolean(w->to, "use_sliding_window", 1);
        w->number(w->to, "max_window_layers", 0);
    }
    return TN_OK;
}
