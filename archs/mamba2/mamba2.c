/*
 * mamba2.c - the layer of Mamba-2: a linear recurrence where a transformer has
 * attention.
 *
 *     z, xBC, dt = split(W_in norm(u))
 *     x, B, C    = split(silu(conv(xBC)))       causal, each channel by itself
 *     dt         = softplus(dt + dt_bias)       one step size per head
 *     S_t        = exp(dt A) S_{t-1} + dt x B'  A = -exp(A_log), one per head
 *     y          = S C + D x
 *     out        = u + W_out norm(y silu(z))
 *
 * H heads of size P make the inner width I; a state is P x N; the G groups
 * share B and C among H / G heads. Decoding carries the last K - 1 rows of xBC
 * and S, whatever the length of the sequence.
 *
 * A layer that is given an mlp has it after the mixer, as hybrids do.
 *
 * Source: Dao and Gu 2024, "Transformers are SSMs", arXiv:2405.21060, and the
 * defaults of its state-spaces implementation.
 */
#include "mamba2.h"

#include <math.h>

static const tn_option options[] = {
    TN_OPTION_INT(mamba2_options, num_heads, 0, 0, 65536,
                  "heads; 0: inner width / head_dim"),
    TN_OPTION_INT(mamba2_options, head_dim, 0, 0, 65536,
                  "size of a head; 0: inner width / num_heads, or 64"),
    TN_OPTION_INT(mamba2_options, expand, 2, 0, 1024,
                  "inner width / hidden_size; 0: num_heads * head_dim is the "
                  "inner width"),
    TN_OPTION_INT(mamba2_options, state_size, 128, 1, 65536,
                  "columns of a head's state"),
    TN_OPTION_INT(mamba2_options, n_groups, 1, 1, 65536,
                  "groups of heads that share B and C"),
    TN_OPTION_INT(mamba2_options, conv_kernel, 4, 2, 64,
                  "rows the convolution sees, the current one included"),
    TN_OPTION_INT(mamba2_options, chunk_size, 256, 1, 1 << 20,
                  "steps computed as products; changes no value"),
    TN_OPTION_INT(mamba2_options, norm_groups, 1, 0, 65536,
                  "parts that the gated norm looks at one by one; 0 and 1: the "
                  "inner width at once"),
    TN_OPTION_BOOL(mamba2_options, use_bias, 0,
                   "biases of the in and out projections"),
    TN_OPTION_BOOL(mamba2_options, use_conv_bias, 1, "bias of the convolution"),
    TN_OPTION_FLOAT(mamba2_options, time_step_min, 0.001, 1e-9, 1e3,
                    "least step size that a head starts with"),
    TN_OPTION_FLOAT(mamba2_options, time_step_max, 0.1, 1e-9, 1e3,
                    "largest step size that a head starts with"),
    TN_OPTION_FLOAT(mamba2_options, time_step_floor, 1e-4, 0, 1e3,
                    "and not below this"),
    TN_OPTION_FLOATS(mamba2_options, time_step_limit, 2, "0, .inf", 0, INFINITY,
                     "step sizes are kept within these"),
    TN_OPTION_FLOATS(mamba2_options, a_init_range, 2, "1, 16", 1e-9, 1e9,
                     "-A starts uniformly between these"),
};

mamba2_sizes mamba2_sizes_of(const mamba2_options *o, int64_t hidden_size)
{
    const int64_t inner = o->expand * hidden_size;
    int64_t H = o->num_heads, P = o->head_dim;
    if (!H && !P)
        P = 64;
    if (!H)
        H = inner / P;
    if (!P)
        P = inner / H;
    return (mamba2_sizes){H, P, H * P};
}

/* ---- options no range can refuse ---- */

static tn_status check_sizes(const mamba2_options *o, int64_t hidden_size,
                             tn_error *err)
{
    const mamba2_sizes s = mamba2_sizes_of(o, hidden_size);
    const long long inner = o->expand * hidden_size;
    if (!o->expand && !(o->num_heads && o->head_dim))
        return tn_fail(err, TN_EINVALID,
                       "expand is 0, so the inner width is num_heads * "
                       "head_dim: give both");
    if (o->expand && s.I != inner)
        return tn_fail(
            err, TN_EINVALID,
            "num_heads %lld * head_dim %lld is %lld, but expand %lld * "
            "hidden_size %lld is %lld; change one, or leave out num_heads, "
            "head_dim or (as 0) expand",
            (long long)s.H, (long long)s.P, (long long)s.I,
            (long long)o->expand, (long long)hidden_size, inner);
    if (s.H % o->n_groups)
        return tn_fail(err, TN_EINVALID,
                       "num_heads %lld is not a multiple of n_groups %lld",
                       (long long)s.H, (long long)o->n_groups);
    if (o->norm_groups && s.I % o->norm_groups)
        return tn_fail(err, TN_EINVALID,
                       "the inner width %lld is not a multiple of norm_groups "
                       "%lld",
                       (long long)s.I, (long long)o->norm_groups);
    return TN_OK;
}

static tn_status check_order(const double *range, const char *name,
                             tn_error *err)
{
    if (range[0] <= range[1])
        return TN_OK;
    return tn_fail(err, TN_EINVALID, "%s: %g is above %g", name, range[0],
                   range[1]);
}

static tn_status check(const tn_arch_context *context, const void *given,
                       tn_error *err)
{
    const mamba2_options *o = given;
    const double start[] = {o->time_step_min, o->time_step_max};
    TN_TRY(check_sizes(o, context->hidden_size, err));
    TN_TRY(check_order(start, "time_step_min, time_step_max", err));
    TN_TRY(check_order(o->time_step_limit, "time_step_limit", err));
    return check_order(o->a_init_range, "a_init_range", err);
}

/* ---- the layer ---- */

static tn_init init_between(uint32_t kind, double low, double high)
{
    return (tn_init){kind, 0, low, high};
}

/* xBC (B, T, C) after the convolution over time; PyTorch's first weights */
static tn_tensor conv(tn_layer *l, tn_tensor xBC, const mamba2_options *o)
{
    tn_builder *b = l->b;
    const int64_t C = tn_dim(b, xBC, 2), K = o->conv_kernel;
    const double bound = 1.0 / sqrt((double)K);
    const tn_init init = init_between(TN_INIT_UNIFORM, -bound, bound);
    const tn_tensor w = tn_weight(l, "mamba.conv1d.weight", init, C, 1, K);
    const tn_tensor y = tn_layer_conv1d(l, "conv", xBC, tn_reshape(b, w, C, K));
    if (!o->use_conv_bias)
        return y;
    return tn_add(b, y, tn_weight(l, "mamba.conv1d.bias", init, C));
}

/* softplus(dt + dt_bias) within the limits, (B, T, H). A step of 0, where a row
 * is padded, leaves the state alone. */
static tn_tensor step_sizes(tn_layer *l, tn_tensor dt, const mamba2_options *o)
{
    tn_builder *b = l->b;
    const double low = o->time_step_limit[0], high = o->time_step_limit[1];
    const tn_init init = init_between(
        TN_INIT_SOFTPLUS_INVERSE, fmax(o->time_step_min, o->time_step_floor),
        fmax(o->time_step_max, o->time_step_floor));
    const tn_tensor bias =
        tn_weight(l, "mamba.dt_bias", init, tn_dim(b, dt, 2));
    tn_tensor y = tn_softplus(b, tn_add(b, dt, bias));
    if (low > 0)
        y = tn_at_least(b, y, low);
    if (!isinf(high))
        y = tn_at_most(b, y, high);
    return tn_without_padding(l, y);
}

/* norm(y silu(z)): (B, T, I), each of `parts` stretches by itself */
static tn_tensor gated_norm(tn_layer *l, tn_tensor y, tn_tensor z,
                            int64_t parts)
{
    tn_builder *b = l->b;
    const int64_t B = tn_dim(b, y, 0), T = tn_dim(b, y, 1);
    const int64_t I = tn_dim(b, y, 2);
    const tn_tensor g = tn_mul(b, y, tn_silu(b, z));
    if (parts < 2)
        return tn_layer_norm(l, g, "mamba.norm");
    const tn_tensor w =
        tn_weight(l, "mamba.norm.weight", tn_init_constant(1), I);
    const tn_tensor n = tn_rms_norm(b, tn_reshape(b, g, B, T, parts, I / parts),
                                    tn_fill(b, 1.0, I / parts), l->norm_eps);
    return tn_mul(b, tn_reshape(b, n, B, T, I), w);
}

static tn_tensor mixer(tn_layer *l, tn_tensor n, const mamba2_options *o)
{
    tn_builder *b = l->b;
    const mamba2_sizes s = mamba2_sizes_of(o, l->hidden_size);
    const int64_t B = tn_dim(b, n, 0), T = tn_dim(b, n, 1);
    const int64_t H = s.H, P = s.P, I = s.I, G = o->n_groups, N = o->state_size;
    const int64_t width = I + 2 * G * N;

    const tn_tensor in =
        tn_project(l, n, "mamba.in_proj", I + width + H, o->use_bias);
    const tn_tensor z = tn_slice(b, in, 2, 0, I);
    const tn_tensor xBC = tn_silu(b, conv(l, tn_slice(b, in, 2, I, width), o));
    const tn_tensor dt = step_sizes(l, tn_slice(b, in, 2, I + width, H), o);

    const tn_tensor x = tn_reshape(b, tn_slice(b, xBC, 2, 0, I), B, T, H, P);
    const tn_tensor Bm =
        tn_reshape(b, tn_slice(b, xBC, 2, I, G * N), B, T, G, N);
    const tn_tensor Cm =
        tn_reshape(b, tn_slice(b, xBC, 2, I + G * N, G * N), B, T, G, N);
    const tn_init spread = init_between(TN_INIT_LOG_UNIFORM, o->a_init_range[0],
                                        o->a_init_range[1]);
    const tn_tensor A =
        tn_neg(b, tn_exp(b, tn_weight(l, "mamba.A_log", spread, H)));
    const tn_tensor D = tn_weight(l, "mamba.D", tn_init_constant(1), H);

    tn_tensor y = tn_layer_ssd_scan(l, "ssm", x, dt, A, Bm, Cm, o->chunk_size);
    y = tn_add(b, y, tn_mul(b, tn_reshape(b, D, H, 1), x));
    return tn_project_residual(
        l, gated_norm(l, tn_reshape(b, y, B, T, I), z, o->norm_groups),
        "mamba.out_proj", l->hidden_size, o->use_bias);
}

static tn_tensor forward(tn_layer *l, tn_tensor x, const void *given)
{
    const tn_tensor n = tn_layer_norm(l, x, "input_layernorm");
    const tn_tensor h = tn_add(l->b, x, mixer(l, n, given));
    if (!l->intermediate_size)
        return h;
    const tn_tensor m = tn_layer_norm(l, h, "post_attention_layernorm");
    return tn_add(l->b, h, tn_mlp(l, m));
}

TN_ARCH(mamba2) = {
    .summary = "Mamba-2's state space layer: constant memory when decoding",
    .options = TN_OPTIONS(mamba2_options, options),
    .check = check,
    .forward = forward,
    .hugging_face = mamba2_hugging_face,
    .hf_names = mamba2_hf_names,
    .hf_name_count = 4,
};
