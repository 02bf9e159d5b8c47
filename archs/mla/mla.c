/*
 * mla.c - multi-head latent attention, the decoder layer of DeepSeek-V2 and V3.
 *
 *     c        = norm(W_kva x)[:R]            the latent: all a token keeps
 *     r        = rope(W_kva x)[R:]            one rotary key for all heads
 *     [k v]_h  = W_kvb,h c                    per head, from the latent
 *     q_h      = [W_q,h x, rope(W_qr,h x)]    or from a latent of its own
 *     y_h      = attention(q_h, [k_h r], v_h), scale 1/sqrt(N + P)
 *
 * N, P and E are the head sizes qk_nope_head_dim, qk_rope_head_dim and
 * v_head_dim, R is kv_lora_rank, H the heads.
 *
 * Decoding absorbs W_kvb into the query and the output, since
 * q' (W_k c) = (W_k' q)' c and sum p (W_v c) = W_v (sum p c): attention then
 * runs over [c r] itself, one head of R + P values per token for all H query
 * heads, and that is the whole cache.
 *
 * Sources: DeepSeek-AI 2024, "DeepSeek-V2", section 2.1, arXiv:2405.04434;
 * "DeepSeek-V3", arXiv:2412.19437.
 */
#include "mla.h"

#include <math.h>

static const tn_option options[] = {
    TN_OPTION_INT_REQUIRED(mla_options, num_heads, 1, 65536, "query heads"),
    TN_OPTION_INT(mla_options, q_lora_rank, 0, 0, 1 << 20,
                  "size of the queries' latent; 0: straight from x"),
    TN_OPTION_INT_REQUIRED(mla_options, kv_lora_rank, 1, 1 << 20,
                           "size of the latent that keys and values share"),
    TN_OPTION_INT_REQUIRED(mla_options, qk_nope_head_dim, 1, 65536,
                           "elements of a query and key that do not turn"),
    TN_OPTION_INT_REQUIRED(mla_options, qk_rope_head_dim, 2, 65536,
                           "elements that turn with position; even"),
    TN_OPTION_INT_REQUIRED(mla_options, v_head_dim, 1, 65536,
                           "elements of a value head"),
    TN_OPTION_FLOAT(mla_options, rope_theta, 10000, 1, INFINITY,
                    "base of the rotary angles"),
    TN_OPTION_BOOL(mla_options, rope_interleave, 0,
                   "rotary pairs lie side by side, as DeepSeek stores them"),
    TN_OPTION_FLOAT(mla_options, latent_norm_eps, 0, 0, 1,
                    "of the latents' norms; 0: the model's norm_eps"),
    TN_OPTION_BOOL(mla_options, attention_bias, 0,
                   "biases of the down projections and of o_proj"),
};

static tn_status check(const tn_arch_context *context, const void *given,
                       tn_error *err)
{
    const mla_options *o = given;
    (void)context;
    if (o->qk_rope_head_dim % 2)
        return tn_fail(err, TN_EINVALID,
                       "qk_rope_head_dim %lld is odd; rope turns pairs",
                       (long long)o->qk_rope_head_dim);
    return TN_OK;
}

static tn_tensor latent_norm(tn_layer *l, tn_tensor x, const char *name,
                             const mla_options *o)
{
    const tn_tensor w =
        tn_weight(l, name, tn_init_constant(1), tn_dim(l->b, x, -1));
    return tn_rms_norm(
        l->b, x, w, o->latent_norm_eps > 0 ? o->latent_norm_eps : l->norm_eps);
}

static tn_tensor turn(tn_layer *l, tn_tensor x, const mla_options *o)
{
    return tn_rope(l->b, x, l->positions, .theta = o->rope_theta,
                   .interleaved = (uint32_t)o->rope_interleave);
}

/* The queries' halves: nope (B, T, H, N) and rope (B, T, H, P), turned. */
static void queries(tn_layer *l, tn_tensor n, const mla_options *o,
                    tn_tensor *nope, tn_tensor *rope)
{
    tn_builder *b = l->b;
    const int64_t B = tn_dim(b, n, 0), T = tn_dim(b, n, 1), H = o->num_heads;
    const int64_t N = o->qk_nope_head_dim, P = o->qk_rope_head_dim;
    tn_tensor q;
    if (o->q_lora_rank) {
        q = tn_project(l, n, "self_attn.q_a_proj", o->q_lora_rank,
                       o->attention_bias);
        q = latent_norm(l, q, "self_attn.q_a_layernorm.weight", o);
        q = tn_project(l, q, "self_attn.q_b_proj", H * (N + P), 0);
    } else {
        q = tn_project(l, n, "self_attn.q_proj", H * (N + P), 0);
    }
    q = tn_reshape(b, q, B, T, H, N + P);
    *nope = tn_slice(b, q, 3, 0, N);
    *rope = turn(l, tn_slice(b, q, 3, N, P), o);
}

/* Every key and value formed from the latents: (B, T, H, E). */
static tn_tensor attend(tn_layer *l, tn_tensor q_nope, tn_tensor q_rope,
                        tn_tensor c, tn_tensor r, tn_tensor W,
                        const mla_options *o)
{
    tn_builder *b = l->b;
    const int64_t B = tn_dim(b, c, 0), T = tn_dim(b, c, 1), H = o->num_heads;
    const int64_t N = o->qk_nope_head_dim, P = o->qk_rope_head_dim,
                  E = o->v_head_dim;
    const tn_tensor kv = tn_reshape(b, tn_linear(b, c, W), B, T, H, N + E);
    const tn_tensor k = tn_concat(b, 3, tn_slice(b, kv, 3, 0, N),
                                  tn_broadcast(b, r, B, T, H, P));
    return tn_layer_attention(l, tn_concat(b, 3, q_nope, q_rope), k,
                              tn_slice(b, kv, 3, N, E),
                              .scale = 1.0 / sqrt((double)(N + P)));
}

/* x (B, T, H, I) times a matrix of each head (H, I, O): (B, T, H, O). */
static tn_tensor per_head(tn_builder *b, tn_tensor x, tn_tensor matrices)
{
    const tn_tensor y = tn_matmul(b, tn_permute(b, x, 0, 2, 1, 3), matrices);
    return tn_permute(b, y, 0, 2, 1, 3);
}

/* The same value from the cached [c r] alone. */
static tn_tensor attend_absorbed(tn_layer *l, tn_tensor q_nope,
                                 tn_tensor q_rope, tn_tensor c, tn_tensor r,
                                 tn_tensor W, const mla_options *o)
{
    tn_builder *b = l->b;
    const int64_t B = tn_dim(b, c, 0), T = tn_dim(b, c, 1);
    const int64_t N = o->qk_nope_head_dim, P = o->qk_rope_head_dim,
                  E = o->v_head_dim, R = o->kv_lora_rank;
    const tn_tensor W_heads = tn_reshape(b, W, o->num_heads, N + E, R);
    const tn_tensor W_k = tn_slice(b, W_heads, 1, 0, N);
    const tn_tensor W_v = tn_slice(b, W_heads, 1, N, E);

    const tn_tensor row = tn_concat(b, 3, tn_reshape(b, c, B, T, 1, R), r);
    const tn_tensor cache = tn_cache(l, "latent", row); /* (B, S, 1, R + P) */
    const tn_tensor q = tn_concat(b, 3, per_head(b, q_nope, W_k), q_rope);
    const tn_tensor y =
        tn_layer_attention(l, q, cache, tn_slice(b, cache, 3, 0, R),
                           .scale = 1.0 / sqrt((double)(N + P)));
    return per_head(b, y, tn_transpose(b, W_v));
}

static tn_tensor attention(tn_layer *l, tn_tensor n, const mla_options *o)
{
    tn_builder *b = l->b;
    const int64_t B = tn_dim(b, n, 0), T = tn_dim(b, n, 1), H = o->num_heads;
    const int64_t N = o->qk_nope_head_dim, P = o->qk_rope_head_dim,
                  E = o->v_head_dim, R = o->kv_lora_rank;
    tn_tensor q_nope, q_rope;
    queries(l, n, o, &q_nope, &q_rope);

    const tn_tensor kv = tn_project(l, n, "self_attn.kv_a_proj_with_mqa", R + P,
                                    o->attention_bias);
    const tn_tensor c = latent_norm(l, tn_slice(b, kv, 2, 0, R),
                                    "self_attn.kv_a_layernorm.weight", o);
    const tn_tensor r =
        turn(l, tn_reshape(b, tn_slice(b, kv, 2, R, P), B, T, 1, P), o);
    const tn_tensor W = tn_weight(l, "self_attn.kv_b_proj.weight",
                                  tn_init_normal(0), H * (N + E), R);

    const tn_tensor y = l->training
                            ? attend(l, q_nope, q_rope, c, r, W, o)
                            : attend_absorbed(l, q_nope, q_rope, c, r, W, o);
    return tn_project_residual(l, tn_reshape(b, y, B, T, H * E),
                               "self_attn.o_proj", l->hidden_size,
                               o->attention_bias);
}

static tn_tensor forward(tn_layer *l, tn_tensor x, const void *given)
{
    const tn_tensor n = tn_layer_norm(l, x, "input_layernorm");
    const tn_tensor h = tn_add(l->b, x, attention(l, n, given));
    const tn_tensor m = tn_layer_norm(l, h, "post_attention_layernorm");
    return tn_add(l->b, h, tn_mlp(l, m));
}

TN_ARCH(mla) = {
    .summary = "DeepSeek's latent attention: a small shared cache, then an mlp",
    .options = TN_OPTIONS(mla_options, options),
    .check = check,
    .forward = forward,
    .hugging_face = mla_hugging_face,
};
