/*
 * token_writer.c - two files for each shard, under their names when whole.
 */
#include "run/token_writer.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"

enum { PATH_BYTES = 4096, BLOCK = 4096 };

static void put_little(unsigned char *to, uint64_t value, uint32_t width)
{
    for (uint32_t i = 0; i < width; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

tn_status tni_write_ids(FILE *to, const char *path, uint32_t width,
                        const int32_t *ids, size_t count, tn_error *err)
{
    unsigned char raw[BLOCK * 4];
    while (count) {
        const size_t n = count < BLOCK ? count : BLOCK;
        for (size_t i = 0; i < n; i++)
            put_little(raw + i * width, (uint32_t)ids[i], width);
        if (fwrite(raw, width, n, to) != n)
            return tn_fail(err, TN_EIO, "%s: cannot write: %s", path,
                           strerror(errno));
        ids += n;
        count -= n;
    }
    return TN_OK;
}

void tni_token_writer_init(tni_token_writer *w, tni_arena *arena,
                           const char *dir, uint32_t width)
{
    *w = (tni_token_writer){.arena = arena, .dir = dir, .width = width};
}

static void name(const tni_token_writer *w, const char *suffix,
                 char to[PATH_BYTES])
{
    tni_token_shard_path(to, PATH_BYTES, w->dir, w->number, suffix);
}

static tn_status open_one(const tni_token_writer *w, const char *suffix,
                          FILE **file, tn_error *err)
{
    char path[PATH_BYTES];
    name(w, suffix, path);
    *file = fopen(path, "wbe");
    if (*file)
        return TN_OK;
    return tn_fail(err, TN_EIO, "%s: cannot create it: %s", path,
                   strerror(errno));
}

static tn_status open_shard(tni_token_writer *w, tn_error *err)
{
    w->shard = (tni_token_shard){0};
    w->text_bytes = 0;
    TN_TRY(open_one(w, "bin.tmp", &w->ids, err));
    return open_one(w, "starts.tmp", &w->starts, err);
}

tn_status tni_token_writer_put(tni_token_writer *w, const int32_t *ids,
                               size_t count, int begins, uint64_t text_bytes,
                               tn_error *err)
{
    char path[PATH_BYTES];
    if (!w->ids)
        TN_TRY(open_shard(w, err));
    name(w, "bin.tmp", path);
    if (begins && count) {
        unsigned char raw[8];
        put_little(raw, w->shard.tokens, sizeof raw);
        if (fwrite(raw, 1, sizeof raw, w->starts) != sizeof raw)
            return tn_fail(err, TN_EIO, "%s: cannot write: %s", path,
                           strerror(errno));
        w->shard.documents++;
    }
    TN_TRY(tni_write_ids(w->ids, path, w->width, ids, count, err));
    w->shard.tokens += count;
    w->text_bytes += text_bytes;
    return TN_OK;
}

static tn_status close_one(const tni_token_writer *w, FILE **file,
                           const char *temporary, const char *suffix,
                           tn_error *err)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    FILE *closing = *file;
    name(w, temporary, from);
    name(w, suffix, to);
    *file = NULL;
    TN_TRY(tni_file_close_synced(closing, from, err));
    return tni_file_rename(from, to, err);
}

tn_status tni_token_writer_end(tni_token_writer *w, tni_token_index *x,
                               tn_error *err)
{
    TN_TRY(close_one(w, &w->starts, "starts.tmp", "starts", err));
    TN_TRY(close_one(w, &w->ids, "bin.tmp", "bin", err));
    *TNI_PUSH(w->arena, x->shards, x->shard_count, x->shard_capacity) =
        w->shard;
    x->tokens += w->shard.tokens;
    x->documents += w->shard.documents;
    x->text_bytes += w->text_bytes;
    w->number = x->shard_count;
    w->shard = (tni_token_shard){0};
    w->text_bytes = 0;
    return TN_OK;
}

void tni_token_writer_fini(tni_token_writer *w)
{
    char path[PATH_BYTES];
    if (w->ids) {
        fclose(w->ids);
        name(w, "bin.tmp", path);
        remove(path);
    }
    if (w->starts) {
        fclose(w->starts);
        name(w, "starts.tmp", path);
        remove(path);
    }
}
