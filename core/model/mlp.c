/*
 * mlp.c - the feed-forward parts a layer may have: one row each.
 *
 *     gated   down(act(gate(x)) * up(x))     Shazeer 2020, arXiv:2002.05202
 *     plain   down(act(up(x)))
 *     moe     the best few of many gated ones: moe.c
 *
 * A kind is a row of `types`: its name, its options and its description.
 * Weights are named as in Hugging Face's Llama: mlp.gate_proj, mlp.up_proj,
 * mlp.down_proj.
 */
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

static const struct {
    const char *name, *hugging_face;
    tn_tensor (*describe)(tn_builder *b, tn_tensor x);
} activations[] = {
    [TNI_SILU] = {"silu", "silu", silu},
    [TNI_GELU] = {"gelu", "gelu", gelu},
    [TNI_GELU_TANH] = {"gelu_tanh", "gelu_pytorch_tanh", gelu_tanh},
    [TNI_RELU2] = {"relu2", "relu2", relu2},
};

tn_tensor tni_activate(tn_builder *b, tn_tensor x, int32_t activation)
{
    return activations[activation].describe(b, x);
}

/* ---- kinds ---- */

tn_tensor tni_gated_mlp(tn_layer *l, tn_tensor x, const char *prefix,
                        int64_t intermediate_size, int32_t activation)
{
    char gate_name[64], up_name[64], down_name[64];
    snprintf(gate_name, sizeof gate_name, "%s.gate_proj", prefix);
    snprintf(up_name, sizeof up_name, "%s.up_proj", prefix);
    snprintf(down_name, sizeof down_name, "%s.down_proj", prefix);
    const tn_tensor gate = tn_project(l, x, gate_name, intermediate_size, 0);
    const tn_tensor up = tn_project(l, x, up_name, intermediate_size, 0);
    const tn_tensor h = tn_mul(l->b, tni_activate(l->b, gate, activation), up);
    return tn_project_residual(l, h, down_name, l->hidden_size, 0);
}

static tn_tensor gated(tn_layer *l, tn_tensor x, const void *options)
{
    const tni_mlp_options *o = options;
    return tni_gated_mlp(l, x, "mlp", o->intermediate_size, o->activation);
}

static tn_tensor plain(tn_layer *l, tn_tensor x, const void *options)
{
    const tni_mlp_options *o = options;
    const tn_tensor up =
        tn_project(l, x, "mlp.up_proj", o->intermediate_size, 0);
    const tn_tensor h = tni_activate(l->b, up, o->activation);
    return tn_project_residual(l, h, "mlp.down_proj", l->hidden_size, 0);
}

static const tn_option gated_options[] = {
    TNI_MLP_OPTIONS(tni_mlp_options, TNI_SILU)};
static const tn_option plain_options[] = {
    TNI_MLP_OPTIONS(tni_mlp_options, TNI_GELU)};

static const tni_mlp_type gated_type = {
    .name = "gated",
    .options = TN_OPTIONS(tni_mlp_options, gated_options),
    .forward = gated,
};
static const tni_mlp_type plain_type = {
    .name = "plain",
    .options = TN_OPTIONS(tni_mlp_options, plain_options),
    .forward = plain,
};

static const tni_mlp_type *const types[] = {
    &gated_type,
    &plain_type,
    &tni_moe_type,
};

enum { TYPE_COUNT = sizeof types / sizeof types[0] };

/* ---- reading ---- */

static tn_status unknown_type(const tni_yaml *type, const char *where,
                              tn_error *err)
{
    const char *names[TYPE_COUNT];
    char list[256] = "";
    for (size_t i = 0, used = 0; i < TYPE_COUNT; i++) {
        names[i] = types[i]->name;
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
        type = tni_yaml_scalar(arena, types[0]->name);
        tni_yaml_put(arena, node, "type", type);
    }
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (type->kind == TNI_YAML_SCALAR &&
            !strcmp(type->scalar, types[i]->name)) {
            *found = types[i];
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
    if (type->check)
        TN_TRY(type->check(node, where, options, err));
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
