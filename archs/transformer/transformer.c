/*
 * transformer.c - the decoder layer of Llama.
 *
 *     h = x + W_o attention(rope(W_q n), rope(W_k n), W_v n),  n = norm(x)
 *     y = h + mlp(norm(h))
 *
 * B batch, T time, S keys seen so far, C hidden size, H query heads, G key and
 * value heads (H a multiple of G: each serves H/G query heads), D head size.
 *
 * Options turn it into its relatives: qk_norm is Qwen3's, sliding_window
 * Mistral's, attn_logit_softcapping Gemma 2's, partial_rotary_factor
 * GPT-NeoX's.
 *
 * Sources: Touvron et al. 2023, arXiv:2302.13971; Ainslie et al. 2023 (grouped
 * queries), arXiv:2305.13245; Su et al. 2021 (rope), arXiv:2104.09864.
 */
#include "transformer.h"

#include <math.h>

static const tn_option options[] = {
    TN_OPTION_INT_REQUIRED(transformer_options, num_heads, 1, 65536,
                           "query heads"),
    TN_OPTION_INT(transformer_options, num_kv_heads, 0, 0, 65536,
                  "key and value heads; 0: as many as query heads"),
    TN_OPTION_INT(transformer_options, head_dim, 0, 0, 65536,
                  "size of a head; 0: hidden_size / num_heads"),
    TN_OPTION_FLOAT(transformer_options, rope_theta, 10000, 1, INFINITY,
                    "base of the rotary angles"),
    TN_OPTION_FLOAT(transformer_options, partial_rotary_factor, 1, 0, 1,
                    "share of a head that turns with position"),
    TN_OPTION_INT(transformer_options, sliding_window, 0, 0, INT32_MAX,
                  "keys a query sees, itself included; 0: all before it"),
    TN_OPTION_BOOL(transformer_options, qk_norm, 0,
                   "rms norm of each query and key head"),
    TN_OPTION_FLOAT(transformer_options, attn_logit_softcapping, 0, 0, INFINITY,
                    "scores become cap * tanh(score / cap); 0: not"),
    TN_OPTION_BOOL(transformer_options, attention_bias, 0,
                   "biases of the q, k, v and o projections"),
};

/* Leading elements of a head that turn. */
static int64_t rotary_size(const transformer_options *o, int64_t head)
{
    return llround(o->partial_rotary_factor * (double)head);
}

static tn_status check(const tn_arch_context *context, const void *given,
                       tn_error *err)
{
    const transformer_options *o = given;
    const long long H = o->num_heads, G = transformer_kv_heads(o);
    const long long C = context->hidden_size;
    const long long R = rotary_size(o, transformer_head_size(o, C));
    if (!o->head_dim && C % H)
        return tn_fail(err, TN_EINVALID,
                       "hidden_size %lld is not a multiple of num_heads %lld; "
                       "change one or give head_dim",
                       C, H);
    if (H % G)
        return tn_fail(err, TN_EINVALID,
                       "num_heads %lld is not a multiple of num_kv_heads %lld",
                       H, G);
    if (R % 2)
        return tn_fail(err, TN_EINVALID,
                       "rope turns pairs, but %lld elements of a head are to "
                       "turn: make head_dim * partial_rotary_factor even",
                       R);
    return TN_OK;
}

/* A projection of n as heads: (B, T, C) -> (B, T, heads, D). */
static tn_tensor heads(tn_layer *l, tn_tensor n, const char *name,
                       int64_t count, int64_t D, int bias)
{
    const int64_t B = tn_dim(l->b, n, 0), T = tn_dim(l->b, n, 1);
    return tn_reshape(l->b, tn_project(l, n, name, count * D, bias), B, T,
                      count, D);
}

/* Queries or keys by their position, each head normed before if the layer does
 * so. */
static tn_tensor turn(tn_layer *l, tn_tensor x, const char *norm,
                      const transformer_options *o)
{
    const int64_t R = rotary_size(o, tn_dim(l->b, x, -1));
    if (o->qk_norm)
        x = tn_layer_norm(l, x, norm);
    if (!R)
        return x;
    return tn_rope(l->b, x, l->positions, .theta = o->rope_theta, .dims = R);
}

static tn_tensor attention(tn_layer *l, tn_tensor n,
                           const transformer_options *o)
{
    tn_builder *b = l->b;
    const int64_t B = tn_dim(b, n, 0), T = tn_dim(b, n, 1);
    const int64_t H = o->num_heads, G = transformer_kv_heads(o);
    const int64_t D = transformer_head_size(o, l->hidden_size);
    const int bias = o->attention_bias;

    tn_tensor q = heads(l, n, "self_attn.q_proj", H, D, bias);
    tn_tensor k = heads(l, n, "self_attn.k_proj", G, D, bias);
    tn_tensor v = heads(l, n, "self_attn.v_proj", G, D, bias);
    q = turn(l, q, "self_attn.q_norm", o);
    k = turn(l, k, "self_attn.k_norm", o);
    k = tn_cache(l, "k", k); /* (B, S, G, D) */
    v = tn_cache(l, "v", v);

    const tn_tensor y =
        tn_layer_attention(l, q, k, v, .window = o->sliding_window,
                           .softcap = o->attn_logit_softcapping);
    return tn_project_residual(l, tn_reshape(b, y, B, T, H * D),
                               "self_attn.o_proj", l->hidden_size, bias);
}

static tn_tensor forward(tn_layer *l, tn_tensor x, const void *given)
{
    const tn_tensor n = tn_layer_norm(l, x, "input_layernorm");
    const tn_tensor h = tn_add(l->b, x, attention(l, n, given));
    const tn_tensor m = tn_layer_norm(l, h, "post_attention_layernorm");
    return tn_add(l->b, h, tn_mlp(l, m));
}

TN_ARCH(transformer) = {
    .summary = "Llama's layer: grouped-query attention with rope, then an mlp",
    .options = TN_OPTIONS(transformer_options, options),
    .check = check,
    .forward = forward,
    .hugging_face = transformer_hugging_face,
};
