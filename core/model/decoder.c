/*
 * decoder.c - the stack, described: embedding, layers, final norm, head.
 *
 *     x = embed_tokens[tokens]                   (B, T, C)
 *     x = layer_i(x)            for every i      (B, T, C)
 *     h = rms_norm(x)
 *     loss:    cross-entropy of cap(h W^T) at targets, logits never stored
 *     logits:  cap(h W^T), of the rows asked for
 *
 * The first description, made when the model is created, declares the weights;
 * every later one finds them by name.
 */
#include "model/stack.h"

#include "graph/passes.h"

static tn_tensor stack_weight(tni_model *model, tni_graph *g, const char *name,
                              uint32_t rank, int64_t rows, int64_t cols,
                              tn_init init, tn_here here)
{
    const tni_weight want = {.name = name,
                             .rank = rank,
                             .shape = {rows, cols},
                             .init = init,
                             .here = here};
    return tni_weight_use(model, g, &want);
}

static tn_tensor embedding(tni_model *model, tni_graph *g)
{
    const tni_model_options *o = &model->options;
    return stack_weight(model, g, "model.embed_tokens.weight", 2, o->vocab_size,
                        o->hidden_size, tn_init_normal(0), TN_HERE);
}

static tn_tensor final_norm(tni_model *model, tni_graph *g, tn_tensor x)
{
    const tni_model_options *o = &model->options;
    const tn_tensor weight =
        stack_weight(model, g, "model.norm.weight", 1, o->hidden_size, 0,
                     tn_init_constant(1), TN_HERE);
    return tn_rms_norm(&g->builder, x, weight, o->norm_eps);
}

/* (V, C) */
static tn_tensor head(tni_model *model, tni_graph *g, tn_tensor embed)
{
    const tni_model_options *o = &model->options;
    if (o->tie_embeddings)
        return embed;
    return stack_weight(model, g, "lm_head.weight", 2, o->vocab_size,
                        o->hidden_size, tn_init_normal(0), TN_HERE);
}

static tn_tensor layers(tni_scope *s, tn_tensor x, tn_tensor *layer_out)
{
    tni_model *model = s->model;
    for (uint32_t i = 0; i < model->layer_count; i++) {
        x = tni_layer_describe(s, i, x);
        layer_out[i] = x;
        if (!tn_is_none(x))
            tn_set_name(&s->g->builder, x,
                        tni_arena_printf(s->g->arena, "layers.%u", i));
    }
    return x;
}

/* 1 for each target that is not -1, (B, T) */
static tn_tensor counted(tn_builder *b, tn_tensor targets)
{
    return tn_not(b,
                  tn_with_constant_at(b, TN_MAP_LT, targets, 0.0, 0, TN_HERE));
}

static tn_tensor sum_of_all(tn_builder *b, tn_tensor x)
{
    return tn_reshape(b, tn_sum(b, x, tn_all_axes(b, x)), 1);
}

tn_tensor tni_count_targets(tn_builder *b, tn_tensor targets)
{
    return sum_of_all(b, counted(b, targets));
}

/* Loss or logits of the residual stream x (B, T, C). */
static void predict(tni_scope *s, tn_tensor x, tn_tensor embed,
                    tni_model_out *out)
{
    const tni_model_io *io = s->io;
    tn_builder *b = &s->g->builder;
    const double cap = s->model->options.final_logit_softcap;
    tn_tensor rows = tn_reshape(b, x, io->batch * io->seq_len,
                                s->model->options.hidden_size);
    if (!tn_is_none(io->last))
        rows = tn_gather_rows(b, rows, io->last);
    const tn_tensor h = final_norm(s->model, s->g, rows);
    const tn_tensor w = head(s->model, s->g, embed);
    if (!tn_is_none(io->targets)) {
        const tn_tensor targets =
            tn_reshape(b, io->targets, io->batch * io->seq_len);
        out->nll = tn_linear_cross_entropy(b, h, w, targets, cap);
        return;
    }
    const tn_tensor logits = tn_linear(b, h, w);
    out->logits = cap > 0 ? tn_softcap(b, logits, cap) : logits;
}

static int io_is_whole(tn_builder *b, const tni_model_io *io)
{
    if (tn_is_none(io->tokens))
        tn_builder_fail(b, "a description needs tokens");
    else if (!io->training && tn_is_none(io->positions))
        tn_builder_fail(b, "a description for decoding needs positions");
    else if (!tn_is_none(io->last) && !tn_is_none(io->targets))
        tn_builder_fail(b, "targets and last exclude each other");
    return !b->failed;
}

void tni_model_describe(tni_model *model, tni_graph *g, const tni_model_io *io,
                        tni_model_out *out)
{
    tni_scope scope = {.model = model, .g = g, .io = io};
    tn_tensor *layer_out =
        tni_arena_alloc(g->arena, model->layer_count * sizeof *layer_out);
    *out = (tni_model_out){.layer_out = layer_out};
    if (!io_is_whole(&g->builder, io))
        return;
    tni_weights_begin(model);
    if (!io->training)
        model->state_count = 0, model->state_bytes = 0;

    const tn_tensor embed = embedding(model, g);
    const tn_tensor x = tn_gather_rows(&g->builder, embed, io->tokens);
    predict(&scope, layers(&scope, x, layer_out), embed, out);
    if (!tn_is_none(scope.auxiliary))
        out->auxiliary = sum_of_all(
            &g->builder, tn_mul(&g->builder, counted(&g->builder, io->targets),
                                scope.auxiliary));
}

/* ---- the model itself ---- */

/* Describe a training step of one sequence, to learn the weights. */
static tn_status learn_weights(tni_model *model, tn_error *err)
{
    tni_graph *g = tni_graph_create(TN_F32);
    const int64_t shape[2] = {1, model->options.max_seq_len};
    const tni_model_io io = {
        .batch = shape[0],
        .seq_len = shape[1],
        .training = 1,
        .tokens = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_I32, 2,
                                 shape, "tokens"),
        .targets = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_I32, 2,
                                  shape, "targets"),
        .rng = tni_graph_leaf(g, TN_OP_SCALAR, TN_ARENA_SCALAR, 0, TN_I32, 1,
                              &(const int64_t){2}, "rng"),
    };
    tni_model_out out;
    model->learning = 1;
    tni_model_describe(model, g, &io, &out);
    model->learning = 0;
    const tn_status status = tni_graph_status(g, err);
    for (size_t i = 0; status == TN_OK && i < model->weight_count; i++)
        model->weights[i].copied = tni_copied_for(g, model->params[i]);
    tni_graph_destroy(g);
    return status;
}

tn_status tni_model_create(tni_arena *arena, tni_registry *registry,
                           tni_yaml *node, tni_model **model, tn_error *err)
{
    tni_model *made = tni_arena_alloc(arena, sizeof *made);
    made->arena = arena;
    made->registry = registry;
    TN_TRY(tni_model_read(made, node, err));
    TN_TRY(learn_weights(made, err));
    tni_model_layout(made, NULL, 1, NULL, NULL);
    tni_model_find_their_names(made);
    *model = made;
    return TN_OK;
}

int64_t tni_model_vocab_size(const tni_model *model)
{
    return model->options.vocab_size;
}

int64_t tni_model_hidden_size(const tni_model *model)
{
    return model->options.hidden_size;
}

int64_t tni_model_max_seq_len(const tni_model *model)
{
    return model->options.max_seq_len;
}

uint32_t tni_model_layer_count(const tni_model *model)
{
    return (uint32_t)model->layer_count;
}

const tni_state *tni_model_states(const tni_model *model, uint32_t *count,
                                  int64_t *bytes)
{
    *count = (uint32_t)model->state_count;
    *bytes = model->state_bytes;
    return model->states;
}
