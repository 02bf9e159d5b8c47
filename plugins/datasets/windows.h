/*
 * windows.h - a long row of tokens, cut into training windows.
 *
 * A window is seq_len + 1 tokens: the first seq_len are the inputs, the same
 * shifted by one the targets; so neighbouring windows share one token. Rows of
 * a batch are consecutive windows of an endless sequence of epochs.
 *
 * In order: window i starts at token i * seq_len of the split; an epoch has
 * (tokens - 1) / seq_len of them.
 *
 * Shuffled: an epoch is a permutation of its windows, and starts at a phase of
 * 0 to seq_len - 1 tokens, so that over the epochs a token is met at every
 * place of a window. To leave room for the phase it has (tokens - seq_len) /
 * seq_len windows, one at least. Permutation and phase are functions of (seed,
 * epoch) alone: nothing is stored, and the place in the sequence is one number.
 */
#ifndef TENON_WINDOWS_H
#define TENON_WINDOWS_H

#include <tenon/dataset.h>

typedef struct tni_windows {
    /* the file: `total` little-endian ids of `width` bytes (2 or 4) */
    const char *path;
    const unsigned char *tokens;
    int64_t width, total;
    /* the part of it that is used */
    int64_t first, count;
    int64_t batch_size, seq_len, vocab_size;
    int64_t per_epoch;
    uint64_t seed;
    uint64_t shuffle;
    uint64_t next;     /* windows cut so far, over all epochs */
    uint32_t *lengths; /* bytes of text of each id; NULL without tokenizer */
    uint32_t length_count;
} tni_windows;

/* What the file holds, and what the options say. */
typedef struct tni_windows_source {
    const char *path;
    const void *tokens; /* borrowed until fini */
    int64_t width, total;
    const double *split; /* [from, to) as fractions of the file */
    int32_t shuffle;
} tni_windows_source;

tn_status tni_windows_init(tni_windows *w, const tni_windows_source *source,
                           const tn_dataset_request *request, tn_error *err);
void tni_windows_fini(tni_windows *w);

void tni_windows_info(const tni_windows *w, tn_dataset_info *info);

/* The next batch. An id outside the vocabulary is refused with its place in
 * the file; the sequence then stays where it was. */
tn_status tni_windows_next(tni_windows *w, tn_batch *batch, tn_error *err);

/* The cursor says which order it is a place in, so that it is refused where
 * the file, the split, seq_len, shuffle or the seed are others. */
void tni_windows_save(const tni_windows *w, tn_cursor *cursor);
tn_status tni_windows_restore(tni_windows *w, const tn_cursor *cursor,
                              tn_error *err);

#endif
