/*
 * blocks.c - which weights are read in 8 or 4 bits, and where those lie.
 *
 * A weight is read as blocks if everything that reads it can (quantise.c), in
 * training's description, which scoring runs, and in decoding's. Its rows have
 * to be whole blocks: where they are not of 256 numbers but of 32, Q8_0 takes
 * the place of Q4_K, as in llama.cpp. Norms, convolutions and what is computed
 * with otherwise stay as they are.
 */
#include "graph/passes.h"
#include "model/stack.h"

/* One token, as training reads it or as decoding does. */
static void describe(tni_model *model, tni_graph *g, int training)
{
    static const int64_t one[2] = {1, 1};
    tni_model_io io = {.batch = 1,
                       .seq_len = 1,
                       .state_len = 1,
                       .training = (uint32_t)training};
    tni_model_out out;
    io.tokens = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_I32, 2,
                               one, "tokens");
    if (training)
        io.targets = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_I32,
                                    2, one, "targets");
    else
        io.positions = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_I32,
                                      2, one, "positions");
    tni_model_describe(model, g, &io, &out);
}

/* Only matrices are worth it: a model has few other numbers. */
static void set_dtypes(tni_model *model, const tni_graph *g, tn_dtype dtype)
{
    for (size_t i = 0; i < model->weight_count; i++) {
        tni_weight *w = &model->weights[i];
        if (w->rank >= 2)
            w->block_dtype =
                tni_reads_blocks(g, model->params[i], dtype)     ? dtype
                : tni_reads_blocks(g, model->params[i], TN_Q8_0) ? TN_Q8_0
                                                                 : 0;
    }
}

static void drop_others(tni_model *model, const tni_graph *g)
{
    for (size_t i = 0; i < model->weight_count; i++) {
        tni_weight *w = &model->weights[i];
        if (w->block_dtype && !tn_is_none(model->params[i]) &&
            !tni_reads_blocks(g, model->params[i], w->block_dtype))
            w->block_dtype = TN_DTYPE_NONE;
    }
}

static tn_status choose(tni_model *model, tn_dtype dtype, tn_error *err)
{
    for (int training = 1; training >= 0; training--) {
        tni_graph *g = tni_graph_create(TN_F32);
        describe(model, g, training);
        const tn_status status = tni_graph_status(g, err);
        if (status == TN_OK && training)
            set_dtypes(model, g, dtype);
        else if (status == TN_OK)
            drop_others(model, g);
        tni_graph_destroy(g);
        TN_TRY(status);
    }
    return TN_OK;
}

static int64_t aligned(int64_t bytes)
{
    return (bytes + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
}

tn_status tni_model_quantise(tni_model *model, tn_dtype dtype, int has_bf16,
                             tni_block_log *log, void *to, tn_error *err)
{
    TN_TRY(choose(model, dtype, err));
    tni_model_layout(model, NULL, 1, NULL, NULL);
    int64_t at = has_bf16 ? model->copy_bytes : 0;
    for (size_t i = 0; i < model->weight_count; i++) {
        tni_weight *w = &model->weights[i];
        if (w->block_dtype) {
            w->copy_offset = at;
            at = aligned(at + tn_dtype_span(w->block_dtype, w->elements));
        }
        if (w->block_dtype != dtype && w->copied)
            log(to, w);
    }
    return TN_OK;
}

int64_t tni_model_matrix_bytes(const tni_model *model, int64_t real_bytes,
                               int has_bf16)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < model->weight_count; i++) {
        const tni_weight *w = &model->weights[i];
        if (!tni_weight_is_multiplied(model, w))
            continue;
        bytes += w->block_dtype ? tn_dtype_span(w->block_dtype, w->elements)
                 : has_bf16 && w->copied ? 2 * w->elements
                                         : real_bytes * w->elements;
    }
    return bytes;
}
