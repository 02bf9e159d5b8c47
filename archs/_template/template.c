/*
 * template.c - a decoder layer that mixes time by a gated causal convolution.
 *
 *     u = W_in n,  n = norm(x)                        what flows
 *     c_t = sum over i < width of k_i * u_(t-i)       each channel its own k
 *     h = x + W_out (silu(W_gate n) * c)
 *     y = h + mlp(norm(h))
 *
 * B batch, T time, C hidden size. Weights are (out, in); k is (width, C).
 *
 * This is where your layer starts: replace the convolution with your idea, and
 * keep the four lines of state if it looks back in time.
 */
#include <tenon/arch.h>

typedef struct {
    int64_t width;
} template_options;

static const tn_option options[] = {
    TN_OPTION_INT(template_options, width, 4, 2, 64,
                  "tokens a row sees, itself included"),
};

/* u (B, T, C) with the width - 1 rows before it: (B, width - 1 + T, C). They
 * are zeros in training, and what the last call stored when decoding. */
static tn_tensor with_past(tn_layer *l, tn_tensor u, int64_t width)
{
    const int64_t B = tn_dim(l->b, u, 0), T = tn_dim(l->b, u, 1);
    const int64_t C = tn_dim(l->b, u, 2), P = width - 1;
    tn_tensor past = tn_load(l, "past", B, P, C);
    if (tn_is_none(past))
        past = tn_fill(l->b, 0.0, B, P, C);
    const tn_tensor all = tn_concat(l->b, 1, past, u);
    tn_store(l, "past", tn_slice(l->b, all, 1, T, P));
    return all;
}

static tn_tensor convolve(tn_layer *l, tn_tensor u, int64_t width)
{
    tn_builder *b = l->b;
    const int64_t T = tn_dim(b, u, 1);
    const tn_tensor k =
        tn_weight(l, "conv.weight", tn_init_normal(0.3), width, l->hidden_size);
    const tn_tensor all = with_past(l, u, width);
    tn_tensor sum = TN_NONE;
    for (int64_t i = 0; i < width; i++) {
        const tn_tensor row = tn_slice(b, k, 0, i, 1); /* (1, C) */
        const tn_tensor back = tn_slice(b, all, 1, width - 1 - i, T);
        const tn_tensor term = tn_mul(b, back, row);
        sum = i ? tn_add(b, sum, term) : term;
    }
    return sum;
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
