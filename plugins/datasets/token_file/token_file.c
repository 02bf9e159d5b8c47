/*
 * token_file.c - a dataset of raw token ids, mapped into memory.
 *
 * A file is little-endian u32 or u16 ids and nothing else: no header. Several
 * of them, or the shards that `tenon tokenize` writes, are one row of tokens.
 * They may be larger than memory; only the pages of the windows in use are
 * read. Ids are checked as they are cut, which costs nothing beside reading
 * them. Windows, shuffling and the cursor: ../windows.h; rows that begin with
 * documents: documents.h; where documents begin in windows: ../borders.h.
 */
#include <stdlib.h>

#include <tenon/dataset.h>

#include "../shards.h"
#include "../windows.h"
#include "documents.h"

typedef struct token_file_options {
    tn_strings path;
    double split[2];
    int32_t dtype;
    int32_t shuffle;
    int32_t packing;
    int32_t segments;
    int64_t document_token;
} token_file_options;

enum { WINDOW, DOCUMENT_START };

static const tn_option options[] = {
    TN_OPTION_PATHS_REQUIRED(token_file_options, path,
                             "token ids: a file, a folder of tenon tokenize, a "
                             "pattern, or a list of these"),
    TN_OPTION_ENUM(token_file_options, dtype, "auto|u32|u16", TNI_DTYPE_AUTO,
                   "type of the ids, little-endian; auto: what the folder's "
                   "index says, u32 without one"),
    TN_OPTION_ENUM(token_file_options, packing, "window|document_start", WINDOW,
                   "a row is: any stretch of the tokens; documents from their "
                   "start, best fit, no target across their borders"),
    TN_OPTION_BOOL(token_file_options, segments, 0,
                   "documents that share a row do not see each other; the "
                   "folder's index, or document_token, says where they begin"),
    TN_OPTION_INT(token_file_options, document_token, -1, -1, INT32_MAX,
                  "with packing: window, the id that begins each document in "
                  "files without an index; -1: ask the index"),
    TN_OPTION_BOOL(token_file_options, shuffle, 1,
                   "a seeded permutation of the windows in each epoch; false: "
                   "file order"),
    TN_OPTION_FLOATS(token_file_options, split, 2, "0, 1", 0, 1,
                     "the part of the tokens to use: from and to, as "
                     "fractions"),
};

typedef struct token_file {
    tni_shards shards;
    int32_t packing;
    int32_t reserved;
    tni_borders borders;
    tni_windows windows;
    tni_documents documents;
} token_file;

/* Where documents begin in windows: an id that the user names is believed
 * before an index is. */
static tn_status find_borders(token_file *self, const token_file_options *o,
                              int64_t vocab_size, const tni_borders **borders,
                              tn_error *err)
{
    const tni_shards *s = &self->shards;
    *borders = o->segments ? &self->borders : NULL;
    self->borders.token = o->document_token;
    if (o->document_token >= vocab_size)
        return tn_fail(err, TN_EINVALID,
                       "%s: document_token: %lld is outside the vocabulary of "
                       "%lld ids",
                       o->path.at[0], (long long)o->document_token,
                       (long long)vocab_size);
    if (!o->segments || o->document_token >= 0)
        return TN_OK;
    if (!s->starts || s->unindexed)
        return tn_fail(err, TN_EINVALID,
                       "%s: segments: true needs to know where documents "
                       "start; give document_token: ID, make a folder of "
                       "tokens with an index by tenon tokenize, or set "
                       "segments: false",
                       o->path.at[0]);
    self->borders.starts = s->starts;
    self->borders.count = s->document_count;
    return TN_OK;
}

static tn_status make_rows(token_file *self, const token_file_options *o,
                           const tn_host *host,
                           const tn_dataset_request *request, tn_error *err)
{
    const tni_shards *s = &self->shards;
    tni_windows_source source = {
        .path = o->path.at[0],
        .ids = {.parts = s->parts, .part_count = s->count, .total = s->total},
        .split = o->split,
        .shuffle = o->shuffle,
    };
    self->packing = o->packing;
    if (o->packing == WINDOW) {
        TN_TRY(
            find_borders(self, o, request->vocab_size, &source.borders, err));
        return tni_windows_init(&self->windows, &source, request, err);
    }
    TN_TRY(tni_documents_init(&self->documents, o->path.at[0], s, o->split,
                              o->shuffle, host, request, err));
    self->documents.segments = o->segments;
    return TN_OK;
}

static tn_status open_files(token_file *self, const token_file_options *o,
                            const tn_host *host,
                            const tn_dataset_request *request, tn_error *err)
{
    TN_TRY(tni_shards_open(&self->shards, &o->path, o->dtype, request, err));
    const tn_status status = make_rows(self, o, host, request, err);
    if (status != TN_OK)
        tni_shards_close(&self->shards);
    return status;
}

static tn_status token_file_open(const tn_host *host,
                                 const tn_dataset_request *request,
                                 const void *options_, void **self_,
                                 tn_error *err)
{
    token_file *self = calloc(1, sizeof *self);
    if (!self)
        return tn_fail(err, TN_ENOMEM, "no memory for a file of tokens");
    const tn_status status = open_files(self, options_, host, request, err);
    if (status == TN_OK)
        *self_ = self;
    else
        free(self);
    return status;
}

static void token_file_close(void *self_)
{
    token_file *self = self_;
    tni_windows_fini(&self->windows);
    tni_documents_fini(&self->documents);
    tni_shards_close(&self->shards);
    free(self);
}

static void token_file_info(const void *self_, tn_dataset_info *info)
{
    const token_file *self = self_;
    if (self->packing == WINDOW)
        tni_windows_info(&self->windows, info);
    else
        tni_documents_info(&self->documents, info);
}

static tn_status token_file_next(void *self_, tn_batch *batch, tn_error *err)
{
    token_file *self = self_;
    return self->packing == WINDOW
               ? tni_windows_next(&self->windows, batch, err)
               : tni_documents_next(&self->documents, batch, err);
}

static void token_file_save(const void *self_, tn_cursor *cursor)
{
    const token_file *self = self_;
    if (self->packing == WINDOW)
        tni_windows_save(&self->windows, cursor);
    else
        tni_documents_save(&self->documents, cursor);
}

static tn_status token_file_restore(void *self_, const tn_cursor *cursor,
                                    tn_error *err)
{
    token_file *self = self_;
    return self->packing == WINDOW
               ? tni_windows_restore(&self->windows, cursor, err)
               : tni_documents_restore(&self->documents, cursor, err);
}

static uint32_t token_file_segments(const void *options_)
{
    const token_file_options *o = options_;
    return o->segments != 0;
}

TN_DATASET(token_file) = {
    .summary = "rows of a file or shards of u32 or u16 token ids",
    .options = TN_OPTIONS(token_file_options, options),
    .open = token_file_open,
    .close = token_file_close,
    .info = token_file_info,
    .next = token_file_next,
    .save = token_file_save,
    .restore = token_file_restore,
    .segments = token_file_segments,
};
