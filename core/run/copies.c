/*
 * copies.c - from weights to all that a session has of them.
 *
 *     PARAM   the weights themselves, as far as its plans read them
 *     COPY    bf16 copies, where precision is bf16, at the same elements;
 *             behind them those that are read in 8 or 4 bits
 */
#include <string.h>

#include "base/blocks.h"
#include "run/session.h"

enum { CHUNK = 2048 }; /* numbers converted at a time, on the stack */

/* ---- bf16 ---- */

/* To nearest even; NaN stays NaN. */
static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static tn_status upload_copies(tni_session *s, int64_t first, const float *from,
                               int64_t count, tn_error *err)
{
    for (int64_t done = 0; done < count; done += CHUNK) {
        const int64_t n = count - done < CHUNK ? count - done : CHUNK;
        uint16_t narrow[CHUNK];
        for (int64_t i = 0; i < n; i++)
            narrow[i] = to_bf16(from[done + i]);
        TN_TRY(tni_session_upload(s, TN_ARENA_COPY, (first + done) * 2, narrow,
                                  n * 2, err));
    }
    return TN_OK;
}

/* How many of `count` elements from `first` on an arena has. */
static int64_t held(const tni_session *s, tn_arena arena, int64_t element_bytes,
                    int64_t first, int64_t count)
{
    const int64_t left = s->arena_bytes[arena] / element_bytes - first;
    return left < 0 ? 0 : left < count ? left : count;
}

/* The bf16 copies among them: what is read as blocks has none. */
static int64_t before_blocks(const tni_session *s, int64_t first, int64_t count)
{
    const int64_t copies = held(s, TN_ARENA_COPY, 2, first, count);
    const int64_t left = tni_model_first_block(s->recipe->model) - first;
    return left < 0 ? 0 : left < copies ? left : copies;
}

/* ---- blocks ---- */

/* Of one weight, the numbers [first, first + count) of the slab. */
static tn_status upload_part(tni_session *s, const tni_weight *w, int64_t first,
                             const float *from, int64_t count, tn_error *err)
{
    unsigned char blocks[CHUNK * 2];
    for (int64_t done = 0; done < count; done += CHUNK) {
        const int64_t n = count - done < CHUNK ? count - done : CHUNK;
        const int64_t at = first - w->offset + done;
        tni_blocks_encode(w->block_dtype, from + done, n, blocks);
        TN_TRY(tni_session_upload(
            s, TN_ARENA_COPY,
            w->block_offset + tn_dtype_span(w->block_dtype, at), blocks,
            tn_dtype_span(w->block_dtype, n), err));
    }
    return TN_OK;
}

/* Rows are whole blocks, and nobody uploads parts of rows. */
static tn_status upload_blocks(tni_session *s, int64_t first, const float *from,
                               int64_t count, tn_error *err)
{
    uint32_t weights;
    const tni_weight *w = tni_model_weights(s->recipe->model, &weights);
    for (uint32_t i = 0; i < weights; i++, w++) {
        const int64_t low = first > w->offset ? first : w->offset;
        const int64_t end = first + count, w_end = w->offset + w->elements;
        const int64_t high = end < w_end ? end : w_end;
        if (w->block_dtype && low < high)
            TN_TRY(
                upload_part(s, w, low, from + (low - first), high - low, err));
    }
    return TN_OK;
}

tn_status tni_session_upload_weights(tni_session *s, int64_t first,
                                     const float *from, int64_t count,
                                     tn_error *err)
{
    const int64_t n = held(s, TN_ARENA_PARAM, s->real_bytes, first, count);
    if (n)
        TN_TRY(tni_session_upload_reals(s, TN_ARENA_PARAM,
                                        first * s->real_bytes, from, n, err));
    if (s->is_bf16)
        TN_TRY(
            upload_copies(s, first, from, before_blocks(s, first, count), err));
    return upload_blocks(s, first, from, count, err);
}
