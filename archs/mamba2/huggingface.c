/*
 * huggingface.c - a stack of these layers is Mamba2ForCausalLM.
 *
 * Its weights have other names there. Its gated norm looks at each of n_groups
 * parts (transformers 5; before, at the whole width), so norm_groups must be
 * n_groups.
 */
#include "mamba2.h"

#include <math.h>

const tn_hf_name mamba2_hf_names[4] = {
    {"model.embed_tokens.", "backbone.embeddings."},
    {"model.norm.", "backbone.norm_f."},
    {"model.layers.*.input_layernorm.", "backbone.layers.*.norm."},
    {"model.layers.*.mamba.", "backbone.layers.*.mixer."},
};

/* The first reason why these options have no counterpart, or NULL. */
static const char *why_not(const tn_arch_context *context,
                           const mamba2_options *o)
{
    const mamba2_sizes s = mamba2_sizes_of(o, context->hidden_size);
    const int64_t parts = o->norm_groups ? o->norm_groups : 1;
    if (context->mlp_type)
        return "its layers have an mlp";
    if (s.I % context->hidden_size)
        return "num_heads * head_dim is not a multiple of hidden_size";
    if (parts != o->n_groups)
        return "norm_groups is n_groups there";
    if (o->time_step_limit[0] > 0 && isinf(o->time_step_limit[1]))
        return "time_step_limit without an upper end";
    return NULL;
}

tn_status mamba2_hugging_face(const tn_arch_context *context, const void *given,
                              const tn_hf_writer *w, tn_error *err)
{
    const mamba2_options *o = given;
    const mamba2_sizes s = mamba2_sizes_of(o, context->hidden_size);
    const char *reason = why_not(context, o);
    if (reason)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "no Hugging Face form of mamba2: %s", reason);
    w->string(w->to, "architectures", "Mamba2ForCausalLM");
    w->string(w->to, "model_type", "mamba2");
    w->number(w->to, "num_heads", (double)s.H);
    w->number(w->to, "head_dim", (double)s.P);
    w->number(w->to, "expand", (double)(s.I / context->hidden_size));
    w->number(w->to, "state_size", (double)o->state_size);
    w->number(w->to, "n_groups", (double)o->n_groups);
    w->number(w->to, "conv_kernel", (double)o->conv_kernel);
    w->number(w->to, "chunk_size", (double)o->chunk_size);
    w->boolean(w->to, "use_bias", o->use_bias);
    w->boolean(w->to, "use_conv_bias", o->use_conv_bias);
    w->real(w->to, "layer_norm_epsilon", context->norm_eps);
    w->real(w->to, "time_step_min", o->time_step_min);
    w->real(w->to, "time_step_max", o->time_step_max);
    w->real(w->to, "time_step_floor", o->time_step_floor);
    if (!isinf(o->time_step_limit[1])) /* JSON has no infinity; no limit is
                                          what absence means */
        w->reals(w->to, "time_step_limit", o->time_step_limit, 2);
    w->null(w->to, "pad_token_id");
    return TN_OK;
}
