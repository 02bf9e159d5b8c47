/*
 * windows.c - where the next window lies, and its cutting.
 */
#include "windows.h"

#include <stdlib.h>
#include <string.h>

static int64_t phase(const tni_windows *w, uint64_t epoch)
{
    const int64_t per_epoch = (int64_t)w->order.count;
    int64_t room = w->count - per_epoch * w->seq_len; /* phases there are */
    if (room > w->seq_len)
        room = w->seq_len;
    return (int64_t)(tni_order_draw(&w->order, epoch) % (uint64_t)room);
}

/* Place in the ids of the first token of the n-th window of all. */
static int64_t window_start(const tni_windows *w, uint64_t n)
{
    const int64_t index = (int64_t)tni_order_at(&w->order, n);
    const int64_t start = w->first + index * w->seq_len;
    return w->order.shuffle ? start + phase(w, n / w->order.count) : start;
}

/* One row: inputs, targets, and the bytes of text the targets stand for. */
static tn_status cut(const tni_windows *w, int64_t start, int32_t *tokens,
                     int32_t *targets, int64_t *bytes, tn_error *err)
{
    const size_t size = (size_t)w->seq_len * sizeof *tokens;
    TN_TRY(tni_ids_read(&w->ids, start, w->seq_len + 1, w->row, err));
    memcpy(tokens, w->row, size);
    memcpy(targets, w->row + 1, size);
    *bytes += tni_lengths_sum(&w->lengths, targets, w->seq_len);
    return TN_OK;
}

tn_status tni_windows_next(tni_windows *w, tn_batch *batch, tn_error *err)
{
    int32_t *segments = w->borders ? tn_batch_segments(batch) : NULL;
    int64_t bytes = 0;
    for (int64_t row = 0; row < w->batch_size; row++) {
        const int64_t start = window_start(w, w->next + (uint64_t)row);
        const int64_t at = row * w->seq_len;
        TN_TRY(cut(w, start, batch->tokens + at, batch->targets + at, &bytes,
                   err));
        if (segments)
            tni_borders_number(w->borders, start, batch->tokens + at,
                               w->seq_len, segments + at);
    }
    batch->bytes = bytes;
    w->next += (uint64_t)w->batch_size;
    return TN_OK;
}

/* ------------------------------------------------------------------------ */
/* Setting up                                                                 */

tn_status tni_split(const char *path, const double split[2], int64_t total,
                    int64_t *first, int64_t *end, tn_error *err)
{
    if (!(split[0] < split[1]))
        return tn_fail(err, TN_EINVALID,
                       "%s: split [%g, %g] is empty; the first number must be "
                       "below the second",
                       path, split[0], split[1]);
    *first = (int64_t)(split[0] * (double)total);
    *end = split[1] < 1.0 ? (int64_t)(split[1] * (double)total) : total;
    return TN_OK;
}

static tn_status take_split(tni_windows *w, const double split[2],
                            tn_error *err)
{
    int64_t end = 0;
    TN_TRY(tni_split(w->path, split, w->ids.total, &w->first, &end, err));
    w->count = end - w->first;
    if (w->count > w->seq_len)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "%s: the split [%g, %g] has %lld of the file's %lld tokens; "
                   "one window needs %lld (seq_len %lld and one more)",
                   w->path, split[0], split[1], (long long)w->count,
                   (long long)w->ids.total, (long long)w->seq_len + 1,
                   (long long)w->seq_len);
}

static uint64_t windows_per_epoch(const tni_windows *w)
{
    if (!w->order.shuffle)
        return (uint64_t)((w->count - 1) / w->seq_len);
    const int64_t with_room = (w->count - w->seq_len) / w->seq_len;
    return with_room ? (uint64_t)with_room : 1;
}

static tn_status init(tni_windows *w, const tni_windows_source *source,
                      const tn_dataset_request *request, tn_error *err)
{
    TN_TRY(take_split(w, source->split, err));
    w->order.count = windows_per_epoch(w);
    w->row = malloc((size_t)(w->seq_len + 1) * sizeof *w->row);
    if (!w->row)
        return tn_fail(err, TN_ENOMEM, "%s: no memory for a row of %lld tokens",
                       w->path, (long long)w->seq_len);
    return tni_lengths_init(&w->lengths, w->path, request->tokenizer, err);
}

tn_status tni_windows_init(tni_windows *w, const tni_windows_source *source,
                           const tn_dataset_request *request, tn_error *err)
{
    *w = (tni_windows){
        .path = source->path,
        .ids = source->ids,
        .borders = source->borders,
        .batch_size = request->batch_size,
        .seq_len = request->seq_len,
        .order = {.seed = request->seed, .shuffle = source->shuffle != 0},
    };
    w->ids.vocab_size = request->vocab_size;
    const tn_status status = init(w, source, request, err);
    if (status != TN_OK)
        tni_windows_fini(w);
    return status;
}

void tni_windows_fini(tni_windows *w)
{
    tni_lengths_fini(&w->lengths);
    free(w->row);
    w->row = NULL;
}

void tni_windows_info(const tni_windows *w, tn_dataset_info *info)
{
    info->rows_per_epoch = (int64_t)w->order.count;
    info->tokens = w->count;
}

/* ------------------------------------------------------------------------ */
/* Cursor                                                                     */

enum { NEXT, TOTAL, FIRST, COUNT, SEQ_LEN, SHUFFLE, SEED };

void tni_windows_save(const tni_windows *w, tn_cursor *cursor)
{
    *cursor = (tn_cursor){.word = {
                              [NEXT] = w->next,
                              [TOTAL] = (uint64_t)w->ids.total,
                              [FIRST] = (uint64_t)w->first,
                              [COUNT] = (uint64_t)w->count,
                              [SEQ_LEN] = (uint64_t)w->seq_len,
                              [SHUFFLE] = w->order.shuffle,
                              [SEED] = w->order.seed,
                          }};
}

tn_status tni_windows_restore(tni_windows *w, const tn_cursor *cursor,
                              tn_error *err)
{
    static const char *const what[] = {
        [TOTAL] = "tokens in the file",  [FIRST] = "first token of the split",
        [COUNT] = "tokens in the split", [SEQ_LEN] = "seq_len",
        [SHUFFLE] = "shuffle",           [SEED] = "seed",
    };
    tn_cursor now;
    tni_windows_save(w, &now);
    for (int i = TOTAL; i <= SEED; i++)
        if (now.word[i] != cursor->word[i])
            return tn_fail(err, TN_EINVALID,
                           "%s: %s was %llu when the run was saved and is %llu "
                           "now; resume with what it was, or start a new run",
                           w->path, what[i],
                           (unsigned long long)cursor->word[i],
                           (unsigned long long)now.word[i]);
    w->next = cursor->word[NEXT];
    return TN_OK;
}
