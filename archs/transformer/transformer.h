/*
 * transformer.h - the options of the transformer layer, for its two files.
 */
#ifndef TRANSFORMER_H
#define TRANSFORMER_H

#include <tenon/arch.h>

typedef struct {
    int64_t num_heads, num_kv_heads, head_dim, sliding_window;
    double rope_theta, partial_rotary_factor, attn_logit_softcapping;
    int32_t qk_norm, attention_bias;
} transformer_options;

static inline int64_t transformer_kv_heads(const transformer_options *o)
{
    return o->num_kv_heads ? o->num_kv_heads : o->num_heads;
}

static inline int64_t transformer_head_size(const transformer_options *o,
                                            int64_t hidden_size)
{
    return o->head_dim ? o->head_dim : hidden_size / o->num_heads;
}

/* huggingface.c */
tn_status transformer_hugging_face(const tn_arch_context *context,
                                   const void *options,
                                   const tn_hf_writer *writer, tn_error *err);

#endif
