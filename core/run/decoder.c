/*
 * decoder.c - pieces of a sequence through plans that share its state.
 *
 * INPUT holds tokens, positions and the row whose logits are asked for, each
 * at a fixed place with room for the largest piece; METRIC holds the logits.
 *
 * Several sequences have a row each in every state. Pieces are of row 0; what
 * it has read is copied to others. From then on one plan reads a token of each
 * row and every weight once.
 */
#include "run/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "run/weights.h"

static const int64_t piece[TNI_PIECES] = {256, 64, 16, 4, 1};

enum {
    LARGEST = 256,
    TOKENS_AT = 0,
    POSITIONS_AT = LARGEST * 4,
    LAST_AT = 2 * LARGEST * 4,
    INPUT_BYTES = LAST_AT + TN_ALIGNMENT + TNI_DRAW_BYTES
};
_Static_assert((int)TNI_DRAW_AT == LAST_AT + TN_ALIGNMENT, "draw.c's places");
_Static_assert(TNI_DECODER_ROWS <= (int)LARGEST, "rows have room in INPUT");

static tni_model_io inputs(const tni_decoder *d, tni_graph *g, int64_t rows,
                           int64_t length)
{
    const int64_t shape[2] = {rows, length}, one = 1;
    return (tni_model_io){
        .batch = rows,
        .seq_len = length,
        .tokens = tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, TOKENS_AT,
                                 TN_I32, 2, shape, "tokens"),
        .positions =
            tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, POSITIONS_AT, TN_I32,
                           2, shape, "positions"),
        .last = length > 1 ? tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT,
                                            LAST_AT, TN_I32, 1, &one, "last")
                           : TN_NONE,
        .state_rows = d->rows,
        .state_len = d->capacity,
        .cache_dtype = d->session->is_bf16 ? TN_BF16 : TN_DTYPE_NONE,
    };
}

/* The page of training.c, for reading a piece, or a token of each row. */
static tn_status describe(tni_decoder *d, tni_graph *g, int64_t rows,
                          int64_t length, uint32_t *id, tn_error *err)
{
    char name[32];
    tni_model_out out = {0};
    const int64_t shape[2] = {rows, d->vocab_size};
    const tni_model_io io = inputs(d, g, rows, length);
    tni_model_describe(d->session->recipe->model, g, &io, &out);
    const tn_tensor slot = tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_METRIC, 0,
                                          g->builder.dtype, 2, shape, "logits");
    tn_assign(&g->builder, slot, out.logits);
    snprintf(name, sizeof name, "read %lld", (long long)length);
    TN_TRY(tni_session_narrow(d->session, g, err));
    return tni_session_plan(d->session, g, name, id, err);
}

static tn_status plan(tni_decoder *d, int64_t rows, int64_t length,
                      uint32_t *plan, tn_error *err)
{
    tni_graph *g = tni_graph_create(d->session->dtype);
    uint32_t id = 0;
    const tn_status status = describe(d, g, rows, length, &id, err);
    tni_graph_destroy(g);
    *plan = id + 1;
    return status;
}

static tn_status create(tni_decoder *d, const tni_recipe *recipe,
                        const char *weights, tn_error *err)
{
    const int64_t longest = tni_model_max_seq_len(recipe->model);
    if (d->capacity < 1 || d->capacity > longest)
        return tn_fail(err, TN_EINVALID,
                       "%lld tokens are outside [1, model.max_seq_len %lld]",
                       (long long)d->capacity, (long long)longest);
    if (d->rows < 1 || d->rows > TNI_DECODER_ROWS)
        return tn_fail(err, TN_EINVALID,
                       "%lld sequences at once are outside [1, %d]",
                       (long long)d->rows, TNI_DECODER_ROWS);
    TN_TRY(tni_session_open(recipe, &d->session, err));
    tni_session *s = d->session;
    d->vocab_size = tni_model_vocab_size(recipe->model);
    d->logits = calloc((size_t)(d->rows * d->vocab_size), sizeof *d->logits);
    d->staging = calloc(LARGEST, sizeof *d->staging);
    if (!d->logits || !d->staging)
        return tn_fail(err, TN_ENOMEM, "no memory for %lld logits",
                       (long long)d->vocab_size);
    tni_session_reserve(s, TN_ARENA_INPUT, INPUT_BYTES);
    TN_TRY(plan(d, 1, 1, &d->plan[TNI_PIECES - 1], err));
    if (d->rows > 1)
        TN_TRY(plan(d, d->rows, 1, &d->together, err));
    TN_TRY(tni_decoder_plan_draws(d, err));
    TN_TRY(tni_session_commit(s, err));
    return weights ? tni_weights_load(s, weights, err)
                   : tni_weights_draw(s, err);
}

tn_status tni_decoder_create(const tni_recipe *recipe, const char *weights,
                             int64_t capacity, tni_decoder **decoder,
                             tn_error *err)
{
    return tni_decoder_create_rows(recipe, weights, capacity, 1, decoder, err);
}

tn_status tni_decoder_create_rows(const tni_recipe *recipe, const char *weights,
                                  int64_t capacity, int64_t rows,
                                  tni_decoder **decoder, tn_error *err)
{
    tni_decoder *d = calloc(1, sizeof *d);
    if (!d)
        return tn_fail(err, TN_ENOMEM, "no memory for a decoder");
    d->capacity = capacity;
    d->rows = rows;
    const tn_status status = create(d, recipe, weights, err);
    if (status == TN_OK)
        *decoder = d;
    else
        tni_decoder_destroy(d);
    return status;
}

void tni_decoder_destroy(tni_decoder *d)
{
    if (!d)
        return;
    tni_session_close(d->session);
    free(d->logits);
    free(d->staging);
    free(d);
}

static tn_status read_piece(tni_decoder *d, uint32_t which,
                            const int32_t *tokens, tn_error *err)
{
    const int64_t count = piece[which];
    const int32_t last = (int32_t)count - 1;
    int32_t *positions = d->staging;
    for (int64_t i = 0; i < count; i++)
        positions[i] = (int32_t)(d->position + i);
    if (!d->plan[which])
        TN_TRY(plan(d, 1, count, &d->plan[which], err));
    TN_TRY(tni_session_upload(d->session, TN_ARENA_INPUT, TOKENS_AT, tokens,
                              count * 4, err));
    TN_TRY(tni_session_upload(d->session, TN_ARENA_INPUT, POSITIONS_AT,
                              positions, count * 4, err));
    if (count > 1)
        TN_TRY(tni_session_upload(d->session, TN_ARENA_INPUT, LAST_AT, &last, 4,
                                  err));
    TN_TRY(tni_session_start(d->session, d->plan[which] - 1, err));
    d->rows_read = 1;
    d->position += count;
    return TN_OK;
}

static tn_status check(const tni_decoder *d, const int32_t *tokens,
                       int64_t count, tn_error *err)
{
    if (count > d->capacity - d->position)
        return tn_fail(err, TN_EINVALID,
                       "%lld more tokens do not fit: %lld of %lld are in use",
                       (long long)count, (long long)d->position,
                       (long long)d->capacity);
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= d->vocab_size)
            return tn_fail(err, TN_EINVALID,
                           "token %lld is %d, outside [0, %lld)", (long long)i,
                           tokens[i], (long long)d->vocab_size);
    return TN_OK;
}

tn_status tni_decoder_read(tni_decoder *d, const int32_t *tokens, int64_t count,
                           tn_error *err)
{
    TN_TRY(check(d, tokens, count, err));
    if (!count)
        return TN_OK;
    for (uint32_t which = 0; which < TNI_PIECES; which++)
        for (; count >= piece[which];
             count -= piece[which], tokens += piece[which])
            TN_TRY(read_piece(d, which, tokens, err));
    return TN_OK;
}

/* ---- several sequences ---- */

static tn_status check_row(const tni_decoder *d, int64_t i, int32_t token,
                           tn_error *err)
{
    if (token < -1 || token >= d->vocab_size)
        return tn_fail(err, TN_EINVALID,
                       "token %d of sequence %lld is outside [0, %lld)", token,
                       (long long)i, (long long)d->vocab_size);
    if (token >= 0 && d->row_position[i] >= d->capacity)
        return tn_fail(err, TN_EINVALID,
                       "sequence %lld is full: it has read %lld tokens",
                       (long long)i, (long long)d->capacity);
    return TN_OK;
}

tn_status tni_decoder_read_rows(tni_decoder *d, const int32_t *tokens,
                                tn_error *err)
{
    if (d->rows == 1)
        return tni_decoder_read(d, tokens, 1, err);
    d->row_position[0] = d->position;
    for (int64_t i = 0; i < d->rows; i++) {
        TN_TRY(check_row(d, i, tokens[i], err));
        d->staging[i] = tokens[i] < 0 ? -1 : (int32_t)d->row_position[i];
    }
    TN_TRY(tni_session_upload(d->session, TN_ARENA_INPUT, TOKENS_AT, tokens,
                              d->rows * 4, err));
    TN_TRY(tni_session_upload(d->session, TN_ARENA_INPUT, POSITIONS_AT,
                              d->staging, d->rows * 4, err));
    TN_TRY(tni_session_start(d->session, d->together - 1, err));
    d->rows_read = d->rows;
    for (int64_t i = 0; i < d->rows; i++)
        d->row_position[i] += tokens[i] >= 0;
    d->position = d->row_position[0];
    return TN_OK;
}

/* Row 0 of one state, through the host's memory. */
static tn_status copy_state(tni_decoder *d, const tni_state *state, int64_t row,
                            tn_error *err)
{
    unsigned char part[16384];
    const int64_t bytes = state->bytes / state->rows;
    for (int64_t at = 0; at < bytes; at += (int64_t)sizeof part) {
        const int64_t left = bytes - at;
        const int64_t n =
            left < (int64_t)sizeof part ? left : (int64_t)sizeof part;
        TN_TRY(tni_session_download(d->session, part, TN_ARENA_STATE,
                                    state->offset + at, n, err));
        TN_TRY(tni_session_upload(d->session, TN_ARENA_STATE,
                                  state->offset + row * bytes + at, part, n,
                                  err));
    }
    return TN_OK;
}

tn_status tni_decoder_copy_row(tni_decoder *d, int64_t row, tn_error *err)
{
    uint32_t count;
    int64_t bytes;
    const tni_state *state =
        tni_model_states(d->session->recipe->model, &count, &bytes);
    for (uint32_t i = 0; row > 0 && i < count; i++)
        TN_TRY(copy_state(d, &state[i], row, err));
    d->row_position[row] = d->position;
    return TN_OK;
}

tn_status tni_decoder_reset(tni_decoder *d, tn_error *err)
{
    static const unsigned char zeros[4096];
    const int64_t bytes = d->session->arena_bytes[TN_ARENA_STATE];
    for (int64_t at = 0; at < bytes; at += (int64_t)sizeof zeros) {
        const int64_t left = bytes - at;
        TN_TRY(tni_session_upload(
            d->session, TN_ARENA_STATE, at, zeros,
            left < (int64_t)sizeof zeros ? left : (int64_t)sizeof zeros, err));
    }
    d->position = 0;
    memset(d->row_position, 0, sizeof d->row_position);
    return TN_OK;
}

static int is_recurrent(const tni_decoder *d)
{
    uint32_t count;
    int64_t bytes;
    const tni_state *state =
        tni_model_states(d->session->recipe->model, &count, &bytes);
    for (uint32_t i = 0; i < count; i++)
        if (!state[i].bytes_per_token)
            return 1;
    return 0;
}

/* Rows of a cache behind the position are written before they are seen. */
tn_status tni_decoder_rewind(tni_decoder *d, int64_t position, tn_error *err)
{
    if (position >= d->position)
        return TN_OK;
    if (is_recurrent(d))
        return tni_decoder_reset(d, err);
    d->position = position;
    return TN_OK;
}
