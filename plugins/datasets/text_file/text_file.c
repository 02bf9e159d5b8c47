/*
 * text_file.c - a dataset of plain text, tokenized when it is opened.
 *
 * For texts that fit in memory: the ids take two bytes each where the
 * vocabulary allows it, else four. Tokenize larger ones once, into a file of
 * ids. Windows, shuffling and the cursor: ../windows.h.
 */
#include <stdlib.h>
#include <string.h>

#include <tenon/dataset.h>

#include "../mapped_file.h"
#include "../windows.h"

typedef struct text_file_options {
    const char *path;
    int32_t shuffle;
    int32_t reserved;
    double split[2];
} text_file_options;

static const tn_option options[] = {
    TN_OPTION_PATH_REQUIRED(text_file_options, path, "the text"),
    TN_OPTION_BOOL(text_file_options, shuffle, 1,
                   "a seeded permutation of the windows in each epoch; false: "
                   "file order"),
    TN_OPTION_FLOATS(text_file_options, split, 2, "0, 1", 0, 1,
                     "the part of the tokens to use: from and to, as "
                     "fractions"),
};

typedef struct text_file {
    const char *path;
    unsigned char *ids;
    int64_t width, count, capacity; /* of ids: bytes each, how many, room */
    int64_t vocab_size;
    tni_ids_part part;
    tni_windows windows;
} text_file;

/* ------------------------------------------------------------------------ */
/* Text to ids                                                                */

static tn_status make_room(text_file *self, int64_t more, tn_error *err)
{
    int64_t capacity = self->capacity ? self->capacity : 4096;
    while (capacity < self->count + more)
        capacity *= 2;
    if (capacity == self->capacity)
        return TN_OK;
    unsigned char *ids = realloc(self->ids, (size_t)(capacity * self->width));
    if (!ids)
        return tn_fail(err, TN_ENOMEM,
                       "%s: out of memory after %lld tokens; tokenize it into "
                       "a file first (tenon tokenize)",
                       self->path, (long long)self->count);
    self->ids = ids;
    self->capacity = capacity;
    return TN_OK;
}

static tn_status take_ids(void *to, const int32_t *ids, uint64_t count,
                          tn_error *err)
{
    text_file *self = to;
    TN_TRY(make_room(self, (int64_t)count, err));
    for (uint64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= self->vocab_size)
            return tn_fail(err, TN_EINVALID,
                           "%s: the tokenizer gives id %d, outside the model's "
                           "vocabulary of %lld; raise model.vocab_size",
                           self->path, ids[i], (long long)self->vocab_size);
        memcpy(self->ids + self->count++ * self->width, &ids[i],
               (size_t)self->width);
    }
    return TN_OK;
}

static tn_status tokenize(text_file *self, const tn_tokenizer_handle *tokenizer,
                          tn_error *err)
{
    tni_mapped_file text;
    TN_TRY(tni_mapped_file_open(&text, self->path, err));
    const tn_status status =
        tokenizer->vtable->encode(tokenizer->self, text.bytes,
                                  (uint64_t)text.count, 0, take_ids, self, err);
    tni_mapped_file_close(&text);
    return status;
}

/* ------------------------------------------------------------------------ */

static tn_status fill(text_file *self, const text_file_options *o,
                      const tn_dataset_request *request, tn_error *err)
{
    if (!request->tokenizer)
        return tn_fail(err, TN_EINVALID,
                       "%s: a text needs a tokenizer; add one to the config, "
                       "as in \"tokenizer: {plugin: NAME}\"",
                       o->path);
    self->path = o->path;
    self->vocab_size = request->vocab_size;
    self->width = request->vocab_size <= 65536 ? 2 : 4;
    TN_TRY(tokenize(self, request->tokenizer, err));
    self->part = (tni_ids_part){.path = o->path,
                                .at = self->ids,
                                .width = self->width,
                                .count = self->count};
    const tni_windows_source source = {
        .path = o->path,
        .ids = {.parts = &self->part, .part_count = 1, .total = self->count},
        .split = o->split,
        .shuffle = o->shuffle,
    };
    return tni_windows_init(&self->windows, &source, request, err);
}

static tn_status text_file_open(const tn_host *host,
                                const tn_dataset_request *request,
                                const void *options_, void **self_,
                                tn_error *err)
{
    (void)host;
    const text_file_options *o = options_;
    text_file *self = calloc(1, sizeof *self);
    if (!self)
        return tn_fail(err, TN_ENOMEM, "%s: out of memory", o->path);
    const tn_status status = fill(self, o, request, err);
    if (status == TN_OK) {
        *self_ = self;
        return TN_OK;
    }
    free(self->ids);
    free(self);
    return status;
}

static void text_file_close(void *self_)
{
    text_file *self = self_;
    tni_windows_fini(&self->windows);
    free(self->ids);
    free(self);
}

static void text_file_info(const void *self, tn_dataset_info *info)
{
    tni_windows_info(&((const text_file *)self)->windows, info);
}

static tn_status text_file_next(void *self, tn_batch *batch, tn_error *err)
{
    return tni_windows_next(&((text_file *)self)->windows, batch, err);
}

static void text_file_save(const void *self, tn_cursor *cursor)
{
    tni_windows_save(&((const text_file *)self)->windows, cursor);
}

static tn_status text_file_restore(void *self, const tn_cursor *cursor,
                                   tn_error *err)
{
    return tni_windows_restore(&((text_file *)self)->windows, cursor, err);
}

TN_DATASET(text_file) = {
    .summary = "windows of a plain text, through the configured tokenizer",
    .options = TN_OPTIONS(text_file_options, options),
    .open = text_file_open,
    .close = text_file_close,
    .info = text_file_info,
    .next = text_file_next,
    .save = text_file_save,
    .restore = text_file_restore,
};
