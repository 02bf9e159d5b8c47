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
 * Shuffled: an epoch is a permutation of its windows (order.h), and starts at a
 * phase of 0 to seq_len - 1 tokens, so that over the epochs a token is met at
 * every place of a window. To leave room for the phase it has (tokens -
 * seq_len) / seq_len windows, one at least.
 */
#ifndef TENON_WINDOWS_H
#define TENON_WINDOWS_H

#include <tenon/dataset.h>

#include "borders.h"
#include "ids.h"
#include "lengths.h"
#include "order.h"

typedef struct tni_windows {
    const char *path; /* for messages */
    tni_ids ids;
    const tni_borders *borders; /* NULL: rows are not kept to documents */
    int64_t first, count;       /* the part of the ids that is used */
    int64_t batch_size, seq_len;
    tni_order order;
    uint64_t next; /* windows cut so far, over all epochs */
    tni_lengths lengths;
    int32_t *row; /* seq_len + 1 */
} tni_windows;

/* What there is, and what the options say. */
typedef struct tni_windows_source {
    const char *path;
    tni_ids ids;         /* parts are borrowed until fini */
    const double *split; /* [from, to) as fractions of the ids */
    int32_t shuffle;
    const tni_borders *borders; /* borrowed; may be NULL */
} tni_windows_source;

/* On failure there is nothing to give back. */
tn_status tni_windows_init(tni_windows *w, const tni_windows_source *source,
                           const tn_dataset_request *request, tn_error *err);
void tni_windows_fini(tni_windows *w);

/* From split[0] to split[1] of `total`; a sentence where that is empty. */
tn_status tni_split(const char *path, const double split[2], int64_t total,
                    int64_t *first, int64_t *end, tn_error *err);

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
