/*
 * mlp.c - the feed-forward parts a layer may have: one row each.
 *
 *     gated   down(act(gate(x)) * up(x))     Shazeer 2020, arXiv:2002.05202
 *     plain   down(act(up(x)))
 *
 * A kind is a row of `types`: its name, its options and its description.
 * Weights are named as in Hugging Face's Llama: mlp.gate_proj, mlp.up_proj,
 * mlp.down_proj.
 */
#include <math.h>

#include "model/stack.h"

/* ---- activations ---- */

static tn_tensor silu(tn_builder *b, tn_tensor x)
{
    return tn_silu(b, x);
}

static tn_tensor gelu(tn_builder *b, tn_tensor x)
{
    return tn_gelu(b, x);
}

static tn_tensor gelu_tanh(tn_builder *b, tn_tensor x)
{
    return tn_gelu_tanh(b, x);
}

/* So et al. 2021, "Primer", arXiv:2109.08668 */
static tn_tensor relu2(tn_builder *b, tn_tensor x)
{
    return tn_square(b, tn_relu(b, x));
}

enum { SILU, GELU, GELU_TANH, RELU2 };

#define ACTIVATION_NAMES "silu|gelu|gelu_tanh|relu2"

static const struct {
    const char *name, *hugging_face;
    tn_tensor (*describe)(tn_builder *b, tn_tensor x);
} activations[] = {
    [SILU] = {"silu", "silu", silu},
    [GELU] = {"gelu", "gelu", gelu},
    [GELU_TANH] = {"gelu_tanh", "gelu_pytorch_tanh", gelu_tanh},
    [RELU2] = {"relu2", "relu2", relu2},
};

static tn_tensor activate(tn_builder *b, tn_tensor x, const tni_mlp_options *o)
{
    return activations[o->activation].describe(b, x);
}

/* ---- kinds ---- */

static tn_tensor gated(tn_layer *l, tn_tensor x, const void *options)
{
    const tni_mlp_options *o = options;
    const int64_t I = o->intermediate_size;
    const tn_tensor gate = tn_project(l, x, "mlp.gate_proj", I, 0);
    const tn_tensor up = tn_project(l, x, "mlp.up_proj", I, 0);
    const tn_tensor h = tn_mul(l->b, activate(l->b, gate, o), up);
    return tn_project_residual(l, h, "mlp.down_proj", l->hidden_size, 0);
}

static tn_tensor plain(tn_layer *l, tn_tensor x, const void *options)
{
    const tni_mlp_options *o = options;
    const tn_tensor up =
        tn_project(l, x, "mlp.up_proj", o->intermediate_size, 0);
    const tn_tensor h = activate(l->b, up, o);
    return tn_project_residual(l, h, "mlp.down_proj", l->hidden_size, 0);
}

#define COMMON_OPTIONS(activation_)                                            \
    TN_OPTION_INT_REQUIRED(tni_mlp_options, intermediate_size, 1, 1 << 24,     \
                           "width between the projections"),                   \
        TN_OPTION_ENUM(tni_mlp_options, activation, ACTIVATION_NAMES,          \
                       activation_, "what stands between the projections")

static const tn_option gated_options[] = {COMMON_OPTIONS(SILU)};
static const tn_option plain_options[] = {COMMON_OPTIONS(GELU)};

static const tni_mlp_type types[] = {
    {"gated", TN_OPTIONS(tni_mlp_options, gated_options), gated},
    {"plain", TN_OPTIONS(tni_mlp_options, plain_options), plain},
};

enum { TYPE_COUNT = sizeof types / sizeof types[0] };

/* ---- reading ---- */

static tn_status unknown_type(const tni_yaml *type, const char *where,
                              tn_error *err)
{
    const char *names[TYPE_COUNT];
    char list[256] = "";
    for (size_t i = 0, used = 0; i < TYPE_COUNT; i++) {
        names[i] = types[i].name;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s",
                                 i ? ", " : "", names[i]);
    }
    const char *word = type->scalar ? type->scalar : "";
    const char *near = tni_nearest(word, names, TYPE_COUNT);
    return tni_yaml_fail(type, err, "%s.type: '%s' is none of %s%s%s%s", where,
                         word, list, near ? "; did you mean " : "",
                         near ? near : "", near ? "?" : "");
}

static tn_status find_type(tni_arena *arena, tni_yaml *node, const char *where,
                           const tni_mlp_type **found, tn_error *err)
{
    tni_yaml *type = tni_yaml_get(node, "type");
    if (!type) {
        type = tni_yaml_scalar(arena, types[0].name);
        tni_yaml_put(arena, node, "type", type);
    }
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (type->kind == TNI_YAML_SCALAR &&
            !strcmp(type->scalar, types[i].name)) {
            *found = &types[i];
            return TN_OK;
        }
    }
    return unknown_type(type, where, err);
}

tn_status tni_mlp_read(tni_arena *arena, tni_yaml *node, const char *where,
                       tni_mlp *mlp, tn_error *err)
{
    static const char *const reserved[] = {"type", NULL};
    const tni_mlp_type *type = NULL;
    TN_TRY(find_type(arena, node, where, &type, err));
    void *options = tni_arena_alloc(arena, type->options.size);
    TN_TRY(tni_options_fill(arena, &type->options, node, where, reserved, NULL,
                            options, err));
    *mlp = (tni_mlp){type, options};
    return TN_OK;
}

const char *tni_mlp_activation(const tni_mlp *mlp)
{
    return mlp->type ? activations[mlp->options->activation].name : NULL;
}

const char *tni_mlp_hugging_face_activation(const tni_mlp *mlp)
{
    return mlp->type ? activations[mlp->options->activation].hugging_face
                     : NULL;
}
