/*
 * windows.c - which tokens come next, and where a shuffled window lies.
 *
 * The permutation is a Feistel network over the smallest even number of bits
 * that counts the windows, walked until it lands on one of them (Black and
 * Rogaway 2002, "Ciphers with Arbitrary Finite Domains"): at most four steps on
 * average, constant memory, and resuming needs no replay.
 */
#include "windows.h"

#include <stdlib.h>
#include <string.h>

#include <tenon/philox.h>

enum { ROUNDS = 8, PHASE_DRAW = ROUNDS }; /* draws of one (seed, epoch) */

/* ------------------------------------------------------------------------ */
/* Order                                                                      */

static uint32_t draw(const tni_windows *w, uint64_t epoch, uint32_t which,
                     uint32_t word)
{
    const uint32_t key[2] = {(uint32_t)w->seed, (uint32_t)(w->seed >> 32)};
    const uint32_t counter[4] = {word, which, (uint32_t)epoch,
                                 (uint32_t)(epoch >> 32)};
    uint32_t out[4];
    tn_philox(key, counter, out);
    return out[0];
}

/* A bijection of [0, 4^half_bits). */
static uint64_t feistel(const tni_windows *w, uint64_t epoch,
                        uint32_t half_bits, uint64_t value)
{
    const uint32_t mask = (uint32_t)((1ull << half_bits) - 1);
    uint32_t left = (uint32_t)(value >> half_bits) & mask;
    uint32_t right = (uint32_t)value & mask;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        const uint32_t mixed = left ^ (draw(w, epoch, round, right) & mask);
        left = right;
        right = mixed;
    }
    return (uint64_t)left << half_bits | right;
}

static uint64_t permuted(const tni_windows *w, uint64_t epoch, uint64_t index)
{
    const uint64_t count = (uint64_t)w->per_epoch;
    uint32_t half_bits = 1;
    while (half_bits < 31 && 1ull << (2 * half_bits) < count)
        half_bits++;
    do
        index = feistel(w, epoch, half_bits, index);
    while (index >= count);
    return index;
}

static int64_t phase(const tni_windows *w, uint64_t epoch)
{
    int64_t room = w->count - w->per_epoch * w->seq_len; /* phases there are */
    if (room > w->seq_len)
        room = w->seq_len;
    return (int64_t)(draw(w, epoch, PHASE_DRAW, 0) % (uint64_t)room);
}

/* Index in the file of the first token of the n-th window of all. */
static int64_t window_start(const tni_windows *w, uint64_t n)
{
    const uint64_t epoch = n / (uint64_t)w->per_epoch;
    const uint64_t index = n % (uint64_t)w->per_epoch;
    if (!w->shuffle)
        return w->first + (int64_t)index * w->seq_len;
    return w->first + phase(w, epoch) +
           (int64_t)permuted(w, epoch, index) * w->seq_len;
}

/* ------------------------------------------------------------------------ */
/* Batches                                                                    */

static uint32_t token_at(const tni_windows *w, int64_t index)
{
    const unsigned char *at = w->tokens + index * w->width;
    uint16_t narrow;
    uint32_t wide;
    if (w->width == sizeof wide)
        return memcpy(&wide, at, sizeof wide), wide;
    return memcpy(&narrow, at, sizeof narrow), narrow;
}

static tn_status outside_vocabulary(const tni_windows *w, int64_t index,
                                    tn_error *err)
{
    return tn_fail(err, TN_EFORMAT,
                   "%s: token %u at byte %lld is outside the vocabulary of "
                   "%lld ids; check model.vocab_size, and that the file holds "
                   "ids of %lld bytes",
                   w->path, token_at(w, index), (long long)(index * w->width),
                   (long long)w->vocab_size, (long long)w->width);
}

static int64_t text_bytes(const tni_windows *w, uint32_t id)
{
    return id < w->length_count ? w->lengths[id] : 0;
}

/* One row: inputs, targets, and the bytes of text the targets stand for. */
static tn_status cut(const tni_windows *w, int64_t start, int32_t *tokens,
                     int32_t *targets, int64_t *bytes, tn_error *err)
{
    for (int64_t t = 0; t <= w->seq_len; t++) {
        const uint32_t id = token_at(w, start + t);
        if ((int64_t)id >= w->vocab_size)
            return outside_vocabulary(w, start + t, err);
        if (t < w->seq_len)
            tokens[t] = (int32_t)id;
        if (t > 0) {
            targets[t - 1] = (int32_t)id;
            *bytes += text_bytes(w, id);
        }
    }
    return TN_OK;
}

tn_status tni_windows_next(tni_windows *w, tn_batch *batch, tn_error *err)
{
    int64_t bytes = 0;
    for (int64_t row = 0; row < w->batch_size; row++)
        TN_TRY(cut(w, window_start(w, w->next + (uint64_t)row),
                   batch->tokens + row * w->seq_len,
                   batch->targets + row * w->seq_len, &bytes, err));
    batch->bytes = bytes;
    w->next += (uint64_t)w->batch_size;
    return TN_OK;
}

/* ------------------------------------------------------------------------ */
/* Setting up                                                                 */

static tn_status take_split(tni_windows *w, const double split[2],
                            tn_error *err)
{
    if (!(split[0] < split[1]))
        return tn_fail(err, TN_EINVALID,
                       "%s: split [%g, %g] is empty; the first number must be "
                       "below the second",
                       w->path, split[0], split[1]);
    const double total = (double)w->total;
    w->first = (int64_t)(split[0] * total);
    const int64_t end = split[1] < 1.0 ? (int64_t)(split[1] * total) : w->total;
    w->count = end - w->first;
    if (w->count > w->seq_len)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "%s: the split [%g, %g] has %lld of the file's %lld tokens; "
                   "one window needs %lld (seq_len %lld and one more)",
                   w->path, split[0], split[1], (long long)w->count,
                   (long long)w->total, (long long)w->seq_len + 1,
                   (long long)w->seq_len);
}

static int64_t windows_per_epoch(const tni_windows *w)
{
    if (!w->shuffle)
        return (w->count - 1) / w->seq_len;
    const int64_t with_room = (w->count - w->seq_len) / w->seq_len;
    return with_room ? with_room : 1;
}

static tn_status take_lengths(tni_windows *w, const tn_tokenizer_handle *from,
                              tn_error *err)
{
    if (!from)
        return TN_OK;
    const uint32_t count = from->vtable->vocab_size(from->self);
    w->lengths = calloc(count + 1u, sizeof *w->lengths);
    if (!w->lengths)
        return tn_fail(err, TN_ENOMEM, "%s: out of memory for %u token lengths",
                       w->path, count);
    w->length_count = count;
    for (uint32_t id = 0; id < count; id++) {
        const char *bytes;
        TN_TRY(from->vtable->bytes_of(from->self, (int32_t)id, &bytes,
                                      &w->lengths[id], err));
    }
    return TN_OK;
}

tn_status tni_windows_init(tni_windows *w, const tni_windows_source *source,
                           const tn_dataset_request *request, tn_error *err)
{
    *w = (tni_windows){
        .path = source->path,
        .tokens = source->tokens,
        .width = source->width,
        .total = source->total,
        .batch_size = request->batch_size,
        .seq_len = request->seq_len,
        .vocab_size = request->vocab_size,
        .seed = request->seed,
        .shuffle = source->shuffle != 0,
    };
    TN_TRY(take_split(w, source->split, err));
    w->per_epoch = windows_per_epoch(w);
    const tn_status status = take_lengths(w, request->tokenizer, err);
    if (status != TN_OK)
        tni_windows_fini(w);
    return status;
}

void tni_windows_fini(tni_windows *w)
{
    free(w->lengths);
}

void tni_windows_info(const tni_windows *w, tn_dataset_info *info)
{
    info->rows_per_epoch = w->per_epoch;
    info->tokens = w->count;
}

/* ------------------------------------------------------------------------ */
/* Cursor                                                                     */

enum { NEXT, TOTAL, FIRST, COUNT, SEQ_LEN, SHUFFLE, SEED };

void tni_windows_save(const tni_windows *w, tn_cursor *cursor)
{
    *cursor = (tn_cursor){.word = {
                              [NEXT] = w->next,
                              [TOTAL] = (uint64_t)w->total,
                              [FIRST] = (uint64_t)w->first,
                              [COUNT] = (uint64_t)w->count,
                              [SEQ_LEN] = (uint64_t)w->seq_len,
                              [SHUFFLE] = w->shuffle,
                              [SEED] = w->seed,
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
