/*
 * token_file.c - a dataset of raw token ids, mapped into memory.
 *
 * The file is little-endian u32 or u16 ids and nothing else: no header. It may
 * be larger than memory; only the pages of the windows in use are read. Ids are
 * checked as they are cut, which costs nothing beside reading them. Windows,
 * shuffling and the cursor: ../windows.h.
 */
#include <stdlib.h>

#include <tenon/dataset.h>

#include "../mapped_file.h"
#include "../windows.h"

typedef struct token_file_options {
    const char *path;
    int32_t dtype;
    int32_t shuffle;
    double split[2];
} token_file_options;

enum { U32, U16 };

static const tn_option options[] = {
    TN_OPTION_PATH_REQUIRED(token_file_options, path, "the file of token ids"),
    TN_OPTION_ENUM(token_file_options, dtype, "u32|u16", U32,
                   "type of the ids, little-endian"),
    TN_OPTION_BOOL(token_file_options, shuffle, 1,
                   "a seeded permutation of the windows in each epoch; false: "
                   "file order"),
    TN_OPTION_FLOATS(token_file_options, split, 2, "0, 1", 0, 1,
                     "the part of the file to use: from and to, as fractions"),
};

typedef struct token_file {
    tni_mapped_file file;
    tni_windows windows;
} token_file;

static tn_status cut_windows(token_file *self, const token_file_options *o,
                             const tn_dataset_request *request, tn_error *err)
{
    const int64_t width = o->dtype == U16 ? 2 : 4;
    if (self->file.count % width != 0)
        return tn_fail(err, TN_EFORMAT,
                       "%s: %lld bytes are no whole number of %lld-byte ids; "
                       "is dtype: %s right, and the file complete?",
                       o->path, (long long)self->file.count, (long long)width,
                       o->dtype == U16 ? "u16" : "u32");
    const tni_windows_source source = {
        .path = o->path,
        .tokens = self->file.bytes,
        .width = width,
        .total = self->file.count / width,
        .split = o->split,
        .shuffle = o->shuffle,
    };
    return tni_windows_init(&self->windows, &source, request, err);
}

static tn_status token_file_open(const tn_host *host,
                                 const tn_dataset_request *request,
                                 const void *options_, void **self_,
                                 tn_error *err)
{
    (void)host;
    const token_file_options *o = options_;
    token_file *self = calloc(1, sizeof *self);
    if (!self)
        return tn_fail(err, TN_ENOMEM, "%s: out of memory", o->path);
    tn_status status = tni_mapped_file_open(&self->file, o->path, err);
    if (status == TN_OK) {
        status = cut_windows(self, o, request, err);
        if (status == TN_OK) {
            *self_ = self;
            return TN_OK;
        }
        tni_mapped_file_close(&self->file);
    }
    free(self);
    return status;
}

static void token_file_close(void *self_)
{
    token_file *self = self_;
    tni_windows_fini(&self->windows);
    tni_mapped_file_close(&self->file);
    free(self);
}

static void token_file_info(const void *self, tn_dataset_info *info)
{
    tni_windows_info(&((const token_file *)self)->windows, info);
}

static tn_status token_file_next(void *self_, tn_batch *batch, tn_error *err)
{
    token_file *self = self_;
    TN_TRY(tni_mapped_file_check(&self->file, err));
    return tni_windows_next(&self->windows, batch, err);
}

static void token_file_save(const void *self, tn_cursor *cursor)
{
    tni_windows_save(&((const token_file *)self)->windows, cursor);
}

static tn_status token_file_restore(void *self, const tn_cursor *cursor,
                                    tn_error *err)
{
    return tni_windows_restore(&((token_file *)self)->windows, cursor, err);
}

TN_DATASET(token_file) = {
    .summary = "windows of a raw file of u32 or u16 token ids",
    .options = TN_OPTIONS(token_file_options, options),
    .open = token_file_open,
    .close = token_file_close,
    .info = token_file_info,
    .next = token_file_next,
    .save = token_file_save,
    .restore = token_file_restore,
};
