/*
 * template.c - a decoder layer that mixes time by a gated causal convolution.
 *
 *     u = W_in n,  n = norm(x)                         what flows
 *     c_t = sum over i < width of k_i u_(t-width+1+i)  each channel its own k
 *     h = x + W_out (silu(W_gate n) * c)
 *     y = h + mlp(norm(h))
 *
 * B batch, T time, C hidden size. Weights are (out, in); k is (C, width).
 *
 * This is where your layer starts: replace the convolution by your idea. What
 * looks back in time keeps a state for decoding: tn_layer_conv1d does, tn_cache
 * for keys and values, tn_load and tn_store for all else.
 */
#include <tenon/arch.h>

typedef struct {
    int64_t width;
} template_options;

static const tn_option options[] = {
    TN_OPTION_INT(template_options, width, 4, 2, 64,
                  "tokens a row sees, itself included"),
};

/* u (B, T, C) -> (B, T, C). What was before this call's first row is kept from
 * call to call; training has none, and none from one document to the next. */
static tn_tensor convolve(tn_layer *l, tn_tensor u, int64_t width)
{
    const tn_init init = tn_init_normal(0.3);
    const tn_tensor k =
        tn_weight(l, "conv.weight", init, l->hidden_size, width);
    return tn_layer_conv1d(l, "conv", u, k);
}

static tn_tensor forward(tn_layer *l, tn_tensor x, const void *given)
{
    const template_options *o = given;
    const int64_t C = l->hidden_size;

    const tn_tensor n = tn_layer_norm(l, x, "input_layernorm");
    const tn_tensor gate = tn_silu(l->b, tn_project(l, n, "gate_proj", C, 0));
    const tn_tensor c =
        convolve(l, tn_project(l, n, "in_proj", C, 0), o->width);
    const tn_tensor out =
        tn_project_residual(l, tn_mul(l->b, gate, c), "out_proj", C, 0);
    const tn_tensor h = tn_add(l->b, x, out);

    const tn_tensor m = tn_layer_norm(l, h, "post_attention_layernorm");
    return tn_add(l->b, h, tn_mlp(l, m));
}

TN_ARCH(template) = {
    .summary = "gated causal convolution, then an mlp",
    .options = TN_OPTIONS(template_options, options),
    .forward = forward,
};
