/*
 * shards.c - finding the files, believing no index without looking.
 */
#include "shards.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

enum { PATH_BYTES = 4096 };

typedef struct {
    tni_shards *shards;
    const tn_dataset_request *request;
    int32_t dtype;
} opening;

/* ---- one file ---- */

/* Room for one more file. Parts and files move, so parts find their file again
 * at the end. */
static tn_status make_room(tni_shards *s, tn_error *err)
{
    if (s->count < s->capacity)
        return TN_OK;
    const uint32_t capacity = s->capacity ? 2 * s->capacity : 8;
    void *files = realloc(s->files, capacity * sizeof *s->files);
    if (files)
        s->files = files;
    void *parts = realloc(s->parts, capacity * sizeof *s->parts);
    if (parts)
        s->parts = parts;
    void *paths = realloc(s->paths, capacity * sizeof *s->paths);
    if (paths)
        s->paths = paths;
    if (!files || !parts || !paths)
        return tn_fail(err, TN_ENOMEM, "no memory for %u files of tokens",
                       capacity);
    s->capacity = capacity;
    return TN_OK;
}

static tn_status add_file(tni_shards *s, const char *path, int64_t width,
                          tn_error *err)
{
    TN_TRY(make_room(s, err));
    char *own = strdup(path);
    if (!own)
        return tn_fail(err, TN_ENOMEM, "no memory for %s", path);
    tni_mapped_file *file = &s->files[s->count];
    const tn_status status = tni_mapped_file_open(file, own, err);
    if (status != TN_OK) {
        free(own);
        return status;
    }
    s->paths[s->count] = own;
    s->parts[s->count++] = (tni_ids_part){.path = own,
                                          .at = file->bytes,
                                          .width = width,
                                          .first = s->total,
                                          .count = file->count / width};
    s->total += file->count / width;
    if (file->count % width == 0)
        return TN_OK;
    return tn_fail(err, TN_EFORMAT,
                   "%s: %lld bytes are no whole number of %lld-byte ids; "
                   "is dtype: %s right, and the file complete?",
                   path, (long long)file->count, (long long)width,
                   width == 2 ? "u16" : "u32");
}

static tn_status add_plain(opening *o, const char *path, tn_error *err)
{
    o->shards->unindexed++;
    return add_file(o->shards, path, o->dtype == TNI_DTYPE_U16 ? 2 : 4, err);
}

/* ---- a folder with an index ---- */

static tn_status other_vocabulary(const opening *o, const char *index,
                                  const json_t *root, tn_error *err)
{
    const char *theirs = json_string_value(json_object_get(root, "identity"));
    const char *name = json_string_value(json_object_get(root, "tokenizer"));
    const tn_tokenizer_handle *t = o->request->tokenizer;
    const json_int_t vocab_size =
        json_integer_value(json_object_get(root, "vocab_size"));
    if (!t || !theirs || !TN_HAS(t, identity) || !strcmp(theirs, t->identity))
        return TN_OK;
    return tn_fail(
        err, TN_EREFUSED,
        "%s: its tokens were made with another vocabulary (%s, %lld ids, "
        "%.12s) than the configured tokenizer's (%u ids, %.12s); tokenize the "
        "texts again with it, or configure the one they were made with",
        index, name ? name : "unknown", (long long)vocab_size, theirs,
        t->vtable->vocab_size(t->self), t->identity);
}

static tn_status add_starts(tni_shards *s, const char *path, int64_t first,
                            int64_t count, tn_error *err)
{
    struct stat info;
    tni_mapped_file file;
    if (stat(path, &info) == 0 && info.st_size == 0)
        return TN_OK; /* a shard inside one document */
    TN_TRY(tni_mapped_file_open(&file, path, err));
    const int64_t more = file.count / 8;
    const int64_t have = s->document_count;
    int64_t *starts =
        realloc(s->starts, (size_t)(have + more) * sizeof *starts);
    tn_status status = TN_OK;
    if (!starts)
        status = tn_fail(err, TN_ENOMEM, "%s: no memory for %lld documents",
                         path, (long long)(have + more));
    else
        s->starts = starts;
    for (int64_t i = 0, last = -1; status == TN_OK && i < more; i++) {
        int64_t at;
        memcpy(&at, (const char *)file.bytes + 8 * i, sizeof at);
        if (at <= last || at >= count)
            status = tn_fail(err, TN_EFORMAT,
                             "%s: document %lld starts at %lld, which is not "
                             "between %lld and the shard's %lld tokens",
                             path, (long long)i, (long long)at,
                             (long long)last + 1, (long long)count);
        starts[have + i] = first + at;
        last = at;
    }
    if (status == TN_OK)
        s->document_count += more;
    tni_mapped_file_close(&file);
    return status;
}

/* "shard-00003.bin" of the index, without anything that leads elsewhere. */
static tn_status add_indexed(opening *o, const char *dir, const json_t *shard,
                             int64_t width, tn_error *err)
{
    tni_shards *s = o->shards;
    char path[PATH_BYTES];
    const char *name = json_string_value(json_object_get(shard, "file"));
    const int64_t tokens =
        (int64_t)json_integer_value(json_object_get(shard, "tokens"));
    const size_t n = name ? strlen(name) : 0;
    if (n < 5 || n > 200 || strchr(name, '/') || strcmp(name + n - 4, ".bin"))
        return tn_fail(err, TN_EFORMAT,
                       "%s/index.json: \"%s\" is not the name of a shard", dir,
                       name ? name : "");
    snprintf(path, sizeof path, "%s/%s", dir, name);
    TN_TRY(add_file(s, path, width, err));
    const tni_ids_part *part = &s->parts[s->count - 1];
    if (part->count != tokens)
        return tn_fail(err, TN_EFORMAT,
                       "%s has %lld tokens and index.json says %lld; tokenize "
                       "the texts again",
                       path, (long long)part->count, (long long)tokens);
    s->indexed++;
    snprintf(path, sizeof path, "%s/%.*s.starts", dir, (int)(n - 4), name);
    return add_starts(s, path, part->first, part->count, err);
}

static tn_status add_index(opening *o, const char *dir, const char *index,
                           const json_t *root, tn_error *err)
{
    tni_shards *s = o->shards;
    const char *dtype = json_string_value(json_object_get(root, "dtype"));
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *list = json_object_get(root, "shards");
    const json_t *begin = json_object_get(root, "begin");
    if (!format || strcmp(format, "tenon-tokens") || !dtype ||
        (strcmp(dtype, "u16") && strcmp(dtype, "u32")) ||
        !json_array_size(list))
        return tn_fail(err, TN_EFORMAT, "%s: not an index of token shards",
                       index);
    if (!json_is_true(json_object_get(root, "complete")))
        return tn_fail(err, TN_EFORMAT,
                       "%s: the texts are not all tokenized yet; run the same "
                       "tenon tokenize command again, it goes on",
                       index);
    TN_TRY(other_vocabulary(o, index, root, err));
    const int64_t id = begin ? (int64_t)json_integer_value(begin) : -1;
    s->begin = s->indexed && s->begin != id ? -1 : id;
    for (size_t i = 0; i < json_array_size(list); i++)
        TN_TRY(add_indexed(o, dir, json_array_get(list, i),
                           strcmp(dtype, "u16") ? 4 : 2, err));
    return TN_OK;
}

static tn_status add_index_file(opening *o, const char *dir, const char *index,
                                tn_error *err)
{
    json_error_t why;
    json_t *root = json_load_file(index, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return tn_fail(err, TN_EFORMAT, "%s:%d: %s", index, why.line, why.text);
    const tn_status status = add_index(o, dir, index, root, err);
    json_decref(root);
    return status;
}

/* ---- paths ---- */

static tn_status add_pattern(opening *o, const char *pattern, const char *what,
                             tn_error *err)
{
    glob_t found = {0};
    tn_status status = TN_OK;
    const int failed = glob(pattern, 0, NULL, &found);
    if (failed)
        status =
            tn_fail(err, TN_ENOTFOUND,
                    failed == GLOB_NOMATCH ? "%s: %s" : "%s: cannot list %s",
                    what, failed == GLOB_NOMATCH ? "no file of tokens" : what);
    for (size_t i = 0; status == TN_OK && i < found.gl_pathc; i++)
        status = add_plain(o, found.gl_pathv[i], err);
    globfree(&found);
    return status;
}

static tn_status add_folder(opening *o, const char *dir, tn_error *err)
{
    char path[PATH_BYTES];
    struct stat info;
    snprintf(path, sizeof path, "%s/index.json", dir);
    if (stat(path, &info) == 0)
        return add_index_file(o, dir, path, err);
    snprintf(path, sizeof path, "%s/*.bin", dir);
    return add_pattern(o, path, dir, err);
}

static tn_status add_path(opening *o, const char *path, tn_error *err)
{
    struct stat info;
    const int exists = stat(path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode))
        return add_folder(o, path, err);
    if (!exists && strpbrk(path, "*?["))
        return add_pattern(o, path, path, err);
    return add_plain(o, path, err);
}

/* ---- life ---- */

static tn_status open_all(opening *o, const tn_strings *paths, tn_error *err)
{
    tni_shards *s = o->shards;
    for (uint32_t i = 0; i < paths->count; i++)
        TN_TRY(add_path(o, paths->at[i], err));
    for (uint32_t i = 0; i < s->count; i++)
        s->parts[i].file = &s->files[i];
    return TN_OK;
}

tn_status tni_shards_open(tni_shards *s, const tn_strings *paths, int32_t dtype,
                          const tn_dataset_request *request, tn_error *err)
{
    *s = (tni_shards){.begin = -1};
    opening o = {.shards = s, .request = request, .dtype = dtype};
    const tn_status status = open_all(&o, paths, err);
    if (status != TN_OK)
        tni_shards_close(s);
    return status;
}

void tni_shards_close(tni_shards *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        tni_mapped_file_close(&s->files[i]);
        free(s->paths[i]);
    }
    free(s->files);
    free(s->parts);
    free(s->paths);
    free(s->starts);
    *s = (tni_shards){0};
}
