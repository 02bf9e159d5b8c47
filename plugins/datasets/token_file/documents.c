/*
 * documents.c - packing documents, reading row by row.
 */
#include "documents.h"

#include <stdlib.h>
#include <string.h>

#include "../windows.h"

/* ---- rows ---- */

static int64_t document_end(const tni_documents *d, int64_t document)
{
    const tni_shards *s = d->shards;
    return document + 1 < s->document_count ? s->starts[document + 1]
                                            : s->total;
}

/* One document into a row, from `at` on. */
static tn_status put(const tni_documents *d, uint32_t piece, int32_t *tokens,
                     int32_t *targets, tn_error *err)
{
    const int64_t document = d->first + piece;
    const int64_t n = d->length[piece], from = d->shards->starts[document];
    TN_TRY(tni_ids_read(&d->ids, from, n, tokens, err));
    memcpy(targets, tokens + 1, (size_t)(n - 1) * sizeof *targets);
    targets[n - 1] = (int32_t)d->shards->begin;
    if (from + n < document_end(d, document))
        return tni_ids_read(&d->ids, from + n, 1, targets + n - 1, err);
    return TN_OK;
}

static tn_status fill(tni_documents *d, int32_t *tokens, int32_t *targets,
                      int32_t *segments, tn_error *err)
{
    const int32_t padding =
        d->shards->begin > 0 ? (int32_t)d->shards->begin : 0;
    uint32_t count;
    const uint32_t *piece = tni_packed_rows_next(&d->rows, &count);
    int64_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        TN_TRY(put(d, piece[i], tokens + at, targets + at, err));
        tni_packed_number(segments, at, at + d->length[piece[i]], i);
        at += d->length[piece[i]];
    }
    tni_packed_number(segments, at, d->seq_len, count);
    for (; at < d->seq_len; at++) {
        tokens[at] = padding;
        targets[at] = -1;
    }
    return TN_OK;
}

static tn_status fill_batch(tni_documents *d, tn_batch *batch, tn_error *err)
{
    int32_t *segments = d->segments ? tn_batch_segments(batch) : NULL;
    for (int64_t row = 0; row < d->batch_size; row++) {
        const int64_t at = row * d->seq_len;
        TN_TRY(fill(d, batch->tokens + at, batch->targets + at,
                    segments ? segments + at : NULL, err));
    }
    return TN_OK;
}

tn_status tni_documents_next(tni_documents *d, tn_batch *batch, tn_error *err)
{
    const uint64_t before = d->rows.next;
    const tn_status status = fill_batch(d, batch, err);
    if (status != TN_OK)
        tni_packed_rows_seek(&d->rows, before);
    else
        batch->bytes = tni_lengths_sum(&d->lengths, batch->targets,
                                       d->batch_size * d->seq_len);
    return status;
}

/* ---- packing ---- */

/* Documents that begin between two tokens. */
static void take_documents(tni_documents *d, int64_t from, int64_t end)
{
    const tni_shards *s = d->shards;
    while (d->first < s->document_count && s->starts[d->first] < from)
        d->first++;
    while (d->first + d->count < s->document_count &&
           s->starts[d->first + d->count] < end)
        d->count++;
}

/* What rows take of each document; `all`: the tokens in them. */
static tn_status measure(tni_documents *d, int64_t *all, tn_error *err)
{
    if (d->count > UINT32_MAX - 2)
        return tn_fail(err, TN_EINVALID,
                       "%s: %lld documents are more than packing: "
                       "document_start can count; split the data or use "
                       "packing: window",
                       d->path, (long long)d->count);
    d->length = calloc((size_t)d->count + 1, sizeof *d->length);
    if (!d->length)
        return tn_fail(err, TN_ENOMEM, "%s: no memory for %lld documents",
                       d->path, (long long)d->count);
    for (int64_t i = 0; i < d->count; i++) {
        const int64_t n =
            document_end(d, d->first + i) - d->shards->starts[d->first + i];
        const int64_t taken = n < d->seq_len ? n : d->seq_len;
        d->length[i] = n > 1 ? (uint32_t)taken : 0;
        d->tokens += d->length[i];
        *all += n;
    }
    return TN_OK;
}

static void tell(const tni_documents *d, int64_t all, const tn_host *host)
{
    const double room = (double)d->rows.rows * (double)d->seq_len;
    host->log(host, TN_LOG_INFO,
              "%s: %lld documents in %u rows of %lld tokens: %.1f%% padding, "
              "%.1f%% of the tokens cut off documents longer than a row",
              d->path, (long long)d->count, d->rows.rows, (long long)d->seq_len,
              100.0 * (1.0 - (double)d->tokens / room),
              100.0 * (1.0 - (double)d->tokens / (double)all));
}

static tn_status init(tni_documents *d, const double split[2], int32_t shuffle,
                      const tn_host *host, const tn_dataset_request *request,
                      tn_error *err)
{
    const tni_shards *s = d->shards;
    int64_t from = 0, end = 0, all = 0;
    if (!s->starts || s->unindexed)
        return tn_fail(err, TN_EINVALID,
                       "%s: packing: document_start needs to know where "
                       "documents start; make a folder of tokens with an "
                       "index by tenon tokenize, or use packing: window",
                       d->path);
    TN_TRY(tni_split(d->path, split, s->total, &from, &end, err));
    take_documents(d, from, end);
    TN_TRY(measure(d, &all, err));
    if (!d->tokens)
        return tn_fail(err, TN_EINVALID,
                       "%s: no document of two tokens or more begins in the "
                       "split [%g, %g]",
                       d->path, split[0], split[1]);
    TN_TRY(tni_packed_rows_init(&d->rows, d->length, (uint32_t)d->count,
                                (uint32_t)d->seq_len, 0, shuffle, request->seed,
                                err));
    tell(d, all, host);
    return tni_lengths_init(&d->lengths, d->path, request->tokenizer, err);
}

tn_status tni_documents_init(tni_documents *d, const char *path,
                             const tni_shards *shards, const double split[2],
                             int32_t shuffle, const tn_host *host,
                             const tn_dataset_request *request, tn_error *err)
{
    *d = (tni_documents){
        .path = path,
        .shards = shards,
        .ids = {.parts = shards->parts,
                .part_count = shards->count,
                .total = shards->total,
                .vocab_size = request->vocab_size},
        .batch_size = request->batch_size,
        .seq_len = request->seq_len,
    };
    const tn_status status = init(d, split, shuffle, host, request, err);
    if (status != TN_OK)
        tni_documents_fini(d);
    return status;
}

void tni_documents_fini(tni_documents *d)
{
    tni_lengths_fini(&d->lengths);
    tni_packed_rows_fini(&d->rows);
    free(d->length);
    d->length = NULL;
}

void tni_documents_info(const tni_documents *d, tn_dataset_info *info)
{
    info->rows_per_epoch = d->rows.rows;
    info->tokens = d->tokens;
}

/* ---- cursor ---- */

enum { NEXT, TOTAL, FIRST, COUNT, SEQ_LEN, SHUFFLE, SEED, PACKED };

void tni_documents_save(const tni_documents *d, tn_cursor *cursor)
{
    *cursor = (tn_cursor){.word = {
                              [NEXT] = d->rows.next,
                              [TOTAL] = (uint64_t)d->shards->total,
                              [FIRST] = (uint64_t)d->first,
                              [COUNT] = (uint64_t)d->count,
                              [SEQ_LEN] = (uint64_t)d->seq_len,
                              [SHUFFLE] = (uint64_t)d->rows.shuffle,
                              [SEED] = d->rows.seed,
                              [PACKED] = 1,
                          }};
}

tn_status tni_documents_restore(tni_documents *d, const tn_cursor *cursor,
                                tn_error *err)
{
    static const char *const what[] = {
        [TOTAL] = "tokens in the files",
        [FIRST] = "first document of the split",
        [COUNT] = "documents in the split",
        [SEQ_LEN] = "seq_len",
        [SHUFFLE] = "shuffle",
        [SEED] = "seed",
        [PACKED] = "packing",
    };
    tn_cursor now;
    tni_documents_save(d, &now);
    for (int i = TOTAL; i <= PACKED; i++)
        if (now.word[i] != cursor->word[i])
            return tn_fail(err, TN_EINVALID,
                           "%s: %s was %llu when the run was saved and is %llu "
                           "now; resume with what it was, or start a new run",
                           d->path, what[i],
                           (unsigned long long)cursor->word[i],
                           (unsigned long long)now.word[i]);
    tni_packed_rows_seek(&d->rows, cursor->word[NEXT]);
    return TN_OK;
}
