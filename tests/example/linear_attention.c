/*
 * linear_attention.c - attention without a softmax: a sum that runs over time.
 *
 *     S_t = sum over s <= t of phi(k_s) [v_s 1]'        phi(x) = elu(x) + 1
 *     o_t = phi(q_t)' S_t, its first D elements divided by its last
 *
 * Training forms every S_t at once; decoding carries the newest one. Source:
 * Katharopoulos et al. 2020, "Transformers are RNNs", arXiv:2006.16236, eq. 9.
 */
#include <tenon/arch.h>

typedef struct {
    int64_t num_heads;
} linear_attention_options;

static const tn_option options[] = {
    TN_OPTION_INT_REQUIRED(linear_attention_options, num_heads, 1, 1024,
                           "heads; hidden_size is a multiple of it"),
};

static tn_status check(const tn_arch_context *context, const void *options_,
                       tn_error *err)
{
    const linear_attention_options *o = options_;
    if (context->hidden_size % o->num_heads == 0)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "num_heads: %lld does not divide hidden_size %lld",
                   (long long)o->num_heads, (long long)context->hidden_size);
}

/* elu(x) + 1 */
static tn_tensor phi(tn_builder *b, tn_tensor x)
{
    return tn_add(b, tn_exp(b, tn_at_most(b, x, 0)), tn_at_least(b, x, 0));
}

/* x (B, T, ...) summed over time up to each row, from call to call. */
static tn_tensor running_sum(tn_layer *l, const char *name, tn_tensor x)
{
    const tn_tensor_info i = tn_info(l->b, x);
    const tn_tensor before =
        tn_load(l, name, i.shape[0], 1, i.shape[2], i.shape[3], i.shape[4]);
    tn_tensor sum = tn_cumsum(l->b, x, .axis = 1);
    if (!tn_is_none(before))
        sum = tn_add(l->b, sum, before);
    tn_store(l, name, tn_slice(l->b, sum, 1, i.shape[1] - 1, 1));
    return sum;
}

static tn_tensor forward(tn_layer *l, tn_tensor x, const void *options_)
{
    const linear_attention_options *o = options_;
    tn_builder *b = l->b;
    const int64_t B = tn_dim(b, x, 0), T = tn_dim(b, x, 1);
    const int64_t H = o->num_heads, C = l->hidden_size, D = C / H;

    const tn_tensor h = tn_layer_norm(l, x, "input_layernorm");
    tn_tensor q = tn_project(l, h, "self_attn.q_proj", C, 0);
    tn_tensor k = tn_project(l, h, "self_attn.k_proj", C, 0);
    tn_tensor v = tn_project(l, h, "self_attn.v_proj", C, 0);

    q = phi(b, tn_reshape(b, q, B, T, H, 1, D));
    k = tn_without_padding(l, phi(b, k));
    k = tn_reshape(b, k, B, T, H, D, 1);
    v = tn_concat(b, 4, tn_reshape(b, v, B, T, H, 1, D),
                  tn_fill(b, 1.0, B, T, H, 1, 1));

    const tn_tensor S = running_sum(l, "S", tn_mul(b, k, v));
    const tn_tensor y = tn_matmul(b, q, S); /* (B, T, H, 1, D + 1) */
    const tn_tensor mixed =
        tn_div(b, tn_slice(b, y, 4, 0, D), tn_slice(b, y, 4, D, 1));

    const tn_tensor after =
        tn_add(b, x,
               tn_project_residual(l, tn_reshape(b, mixed, B, T, C),
                                   "self_attn.o_proj", C, 0));
    return tn_add(
        b, after,
        tn_mlp(l, tn_layer_norm(l, after, "post_attention_layernorm")));
}

TN_ARCH(linear_attention) = {
    .summary = "attention as a running sum of outer products",
    .options = TN_OPTIONS(linear_attention_options, options),
    .check = check,
    .forward = forward,
};
