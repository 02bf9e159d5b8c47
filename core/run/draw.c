/*
 * draw.c - from what a decoder has read to the next token.
 *
 * METRIC holds the logits of all sequences and behind them the tokens; INPUT,
 * behind what pieces read, how each is drawn. Where the backend would have to
 * sort, the host draws from the logits.
 */
#include <string.h>

#include "run/decoder.h"

enum { LIMITS_AT = TNI_DRAW_AT + TNI_DECODER_ROWS * 24 };

static int64_t tokens_at(const tni_decoder *d)
{
    const int64_t bytes = d->rows * d->vocab_size * d->session->real_bytes;
    return (bytes + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
}

static void describe(const tni_decoder *d, tni_graph *g, int64_t rows)
{
    const int64_t logits[2] = {rows, d->vocab_size}, how[2] = {rows, 3},
                  limits[2] = {rows, 2};
    const tn_dtype real = g->builder.dtype;
    const tn_tensor tokens = tn_sample_tokens(
        &g->builder,
        tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_METRIC, 0, real, 2, logits,
                       "logits"),
        tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, TNI_DRAW_AT, real, 2,
                       how, "how"),
        tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, LIMITS_AT, TN_I32, 2,
                       limits, "limits"));
    tn_assign(&g->builder,
              tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_METRIC, tokens_at(d),
                             TN_I32, 1, &rows, "tokens"),
              tokens);
}

static tn_status plan(tni_decoder *d, int64_t rows, uint32_t *plan,
                      tn_error *err)
{
    tni_graph *g = tni_graph_create(d->session->dtype);
    uint32_t id = 0;
    describe(d, g, rows);
    tn_status status = tni_graph_status(g, err);
    if (status == TN_OK && tni_is_native(g, &d->session->device.target)) {
        status = tni_session_plan(d->session, g, "draw", &id, err);
        *plan = id + 1;
    }
    tni_graph_destroy(g);
    return status;
}

tn_status tni_decoder_plan_draws(tni_decoder *d, tn_error *err)
{
    if (d->rows > 1)
        TN_TRY(plan(d, d->rows, &d->draw_together, err));
    return plan(d, 1, &d->draw, err);
}

tn_status tni_decoder_wait(tni_decoder *d, tn_error *err)
{
    return tni_session_wait(d->session, err);
}

tn_status tni_decoder_logits(tni_decoder *d, tn_error *err)
{
    TN_TRY(tni_session_wait(d->session, err));
    return tni_session_download_reals(d->session, d->logits, TN_ARENA_METRIC, 0,
                                      d->rows_read * d->vocab_size, err);
}

/* A sequence without a sampler is drawn from, too, and not looked at. */
static tn_status draw_there(tni_decoder *d, uint32_t plan, int64_t rows,
                            tni_sampler *const *samplers, int32_t *tokens,
                            tn_error *err)
{
    float how[TNI_DECODER_ROWS][3] = {{0}};
    int32_t limits[TNI_DECODER_ROWS][2] = {{0}};
    for (int64_t i = 0; i < rows; i++) {
        if (!samplers[i])
            continue;
        const tn_sample_how h = tni_sampler_how(samplers[i]);
        memcpy(how[i], (float[]){h.temperature, h.top_p, h.u}, sizeof how[i]);
        limits[i][0] = h.top_k;
        limits[i][1] = h.ids;
    }
    TN_TRY(tni_session_upload_reals(d->session, TN_ARENA_INPUT, TNI_DRAW_AT,
                                    how[0], 3 * rows, err));
    TN_TRY(tni_session_upload(d->session, TN_ARENA_INPUT, LIMITS_AT, limits,
                              rows * 8, err));
    TN_TRY(tni_session_start(d->session, plan - 1, err));
    TN_TRY(tni_session_ask(d->session, 0, TN_ARENA_METRIC, tokens_at(d),
                           rows * 4, err));
    TN_TRY(tni_session_take(d->session, 0, tokens, rows * 4, err));
    for (int64_t i = 0; i < rows; i++)
        if (samplers[i])
            TN_TRY(tni_sampler_check(tokens[i], err));
        else
            tokens[i] = -1;
    return TN_OK;
}

tn_status tni_decoder_draw(tni_decoder *d, tni_sampler *sampler, int32_t *token,
                           tn_error *err)
{
    if (d->draw)
        return draw_there(d, d->draw, 1, &sampler, token, err);
    TN_TRY(tni_decoder_logits(d, err));
    return tni_sampler_next(sampler, d->logits, token, err);
}

tn_status tni_decoder_draw_rows(tni_decoder *d, tni_sampler *const *samplers,
                                int32_t *tokens, tn_error *err)
{
    if (d->rows == 1 && samplers[0])
        return tni_decoder_draw(d, samplers[0], tokens, err);
    if (d->draw_together)
        return draw_there(d, d->draw_together, d->rows, samplers, tokens, err);
    TN_TRY(tni_decoder_logits(d, err));
    for (int64_t i = 0; i < d->rows; i++) {
        tokens[i] = -1;
        if (samplers[i])
            TN_TRY(tni_sampler_next(samplers[i], d->logits + i * d->vocab_size,
                                    &tokens[i], err));
    }
    return TN_OK;
}
