/*
 * copies.c - from weights to all that a session has of them.
 *
 *     PARAM   the weights themselves, as far as its plans read them
 *     COPY    bf16 copies, where precision is bf16; behind them those that are
 *             read in 8 or 4 bits
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

/* Of one weight, the numbers [at, at + count). */
static tn_status upload_copies(tni_session *s, const tni_weight *w, int64_t at,
                               const float *from, int64_t count, tn_error *err)
{
    for (int64_t done = 0; done < count; done += CHUNK) {
        const int64_t n = count - done < CHUNK ? count - done : CHUNK;
        uint16_t narrow[CHUNK];
        for (int64_t i = 0; i < n; i++)
            narrow[i] = to_bf16(from[done + i]);
        TN_TRY(tni_session_upload(s, TN_ARENA_COPY,
                                  w->copy_offset + 2 * (at + done), narrow,
                                  n * 2, err));
    }
    return TN_OK;
}

/* ---- blocks ---- */

/* The same. Rows are whole blocks, and nobody uploads parts of rows. */
static tn_status upload_blocks(tni_session *s, const tni_weight *w, int64_t at,
                               const float *from, int64_t count, tn_error *err)
{
    unsigned char blocks[CHUNK * 2];
    for (int64_t done = 0; done < count; done += CHUNK) {
        const int64_t n = count - done < CHUNK ? count - done : CHUNK;
        tni_blocks_encode(w->block_dtype, from + done, n, blocks);
        TN_TRY(tni_session_upload(
            s, TN_ARENA_COPY,
            w->copy_offset + tn_dtype_span(w->block_dtype, at + done), blocks,
            tn_dtype_span(w->block_dtype, n), err));
    }
    return TN_OK;
}

/* ---- all of it ---- */

/* A copy that no plan reads may lie beyond the arena's end. */
static int has_copy(const tni_session *s, const tni_weight *w)
{
    return tni_session_copies(s, w) &&
           w->copy_offset + 2 * w->elements <= s->arena_bytes[TN_ARENA_COPY];
}

/* How many of `count` parameters from `first` on the session has. */
static int64_t held(const tni_session *s, int64_t first, int64_t count)
{
    const int64_t left = s->arena_bytes[TN_ARENA_PARAM] / s->real_bytes - first;
    return left < 0 ? 0 : left < count ? left : count;
}

tn_status tni_session_upload_weights(tni_session *s, int64_t first,
                                     const float *from, int64_t count,
                                     tn_error *err)
{
    const int64_t n = held(s, first, count), end = first + count;
    uint32_t weights;
    const tni_weight *w = tni_model_weights(s->recipe->model, &weights);
    if (n)
        TN_TRY(tni_session_upload_reals(s, TN_ARENA_PARAM,
                                        first * s->real_bytes, from, n, err));
    for (uint32_t i = 0; i < weights; i++, w++) {
        const int64_t w_end = w->offset + w->elements;
        const int64_t low = first > w->offset ? first : w->offset;
        const int64_t high = end < w_end ? end : w_end;
        if (low >= high)
            continue;
        if (w->block_dtype)
            TN_TRY(upload_blocks(s, w, low - w->offset, from + (low - first),
                                 high - low, err));
        else if (has_copy(s, w))
            TN_TRY(upload_copies(s, w, low - w->offset, from + (low - first),
                                 high - low, err));
    }
    return TN_OK;
}
