/*
 * prepare.c - read a batch of pieces, tokenize them on all threads, write them
 * in order.
 *
 *     open()    the list of texts, an index to go on from, the tokenizer's
 *               document start
 *     gather()  a few megabytes of pieces
 *     encode()  each thread takes the next piece that nobody has
 *     write()   the ids, in the order of the pieces
 */
#include "run/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "run/component.h"
#include "run/text_paths.h"
#include "run/token_writer.h"

enum { BATCH_PIECES = 1024, BATCH_BYTES = 8 << 20, KEPT_IDS = 1 << 14 };

typedef struct {
    size_t text, bytes; /* in work.text */
    int begins, json;
    tni_text_place after;
    const char *path; /* of its file; with its line for messages */
    int32_t *ids;     /* what became of it */
    size_t count, capacity;
    uint64_t text_bytes;
    tn_status status;
    tn_error why;
} piece;

typedef struct {
    const tni_prepare_request *request;
    tni_token_index index;
    const char *const *paths;
    size_t path_count;
    uint64_t all_bytes;
    int lock;
    tni_text_reader reader;
    tni_token_writer writer;
    piece *pieces;
    size_t piece_count;
    char *text;
    size_t text_count, text_capacity;
    atomic_size_t taken;
} work;

/* ---- one piece ---- */

static tn_status take_ids(void *to, const int32_t *ids, uint64_t count,
                          tn_error *err)
{
    piece *p = to;
    while (p->capacity - p->count < count) {
        const size_t capacity = p->capacity ? 2 * p->capacity : 256;
        int32_t *larger = realloc(p->ids, capacity * sizeof *larger);
        if (!larger)
            return tn_fail(err, TN_ENOMEM, "no memory for %zu tokens",
                           capacity);
        p->ids = larger;
        p->capacity = capacity;
    }
    memcpy(p->ids + p->count, ids, count * sizeof *ids);
    p->count += count;
    return TN_OK;
}

static tn_status encode_text(const work *w, piece *p, const char *text,
                             size_t bytes, tn_error *err)
{
    const tn_tokenizer_handle *t = w->request->tokenizer;
    p->text_bytes = bytes;
    if (p->begins && w->index.begin >= 0 && bytes) {
        const int32_t begin = (int32_t)w->index.begin;
        TN_TRY(take_ids(p, &begin, 1, err));
    }
    return t->vtable->encode(t->self, text, bytes, 0, take_ids, p, err);
}

/* The field of a line of JSON. */
static tn_status encode_line(const work *w, piece *p, const char *line,
                             tn_error *err)
{
    const tni_text_piece read = {
        .text = line, .bytes = p->bytes, .json = 1, .after = p->after};
    const char *text;
    size_t bytes;
    json_t *root;
    tn_status status = tni_text_field(&read, p->path, w->request->field, &root,
                                      &text, &bytes, err);
    if (status == TN_OK)
        status = encode_text(w, p, text, bytes, err);
    json_decref(root);
    return status;
}

static void encode_piece(const work *w, piece *p)
{
    const char *text = w->text + p->text;
    p->count = 0;
    p->why = (tn_error){0};
    p->status = p->json ? encode_line(w, p, text, &p->why)
                        : encode_text(w, p, text, p->bytes, &p->why);
}

static void encode_some(void *argument, uint32_t index, uint32_t count)
{
    work *w = argument;
    (void)index;
    (void)count;
    for (;;) {
        const size_t i = atomic_fetch_add(&w->taken, 1);
        if (i >= w->piece_count)
            return;
        encode_piece(w, &w->pieces[i]);
    }
}

/* ---- a batch ---- */

static tn_status keep_text(work *w, const char *text, size_t bytes,
                           tn_error *err)
{
    while (w->text_capacity - w->text_count < bytes) {
        const size_t capacity =
            w->text_capacity ? 2 * w->text_capacity : 2 * BATCH_BYTES;
        char *larger = realloc(w->text, capacity);
        if (!larger)
            return tn_fail(err, TN_ENOMEM, "no memory for %zu bytes of text",
                           capacity);
        w->text = larger;
        w->text_capacity = capacity;
    }
    memcpy(w->text + w->text_count, text, bytes);
    w->text_count += bytes;
    return TN_OK;
}

static tn_status gather(work *w, tn_error *err)
{
    w->piece_count = w->text_count = 0;
    while (w->piece_count < BATCH_PIECES && w->text_count < BATCH_BYTES) {
        tni_text_piece read;
        const tn_status status = tni_text_reader_next(&w->reader, &read, err);
        if (status == TN_EEND)
            break;
        if (status != TN_OK)
            return status;
        piece *p = &w->pieces[w->piece_count++];
        p->text = w->text_count;
        p->bytes = read.bytes;
        p->begins = read.begins;
        p->json = read.json;
        p->after = read.after;
        p->path = w->paths[read.after.file];
        TN_TRY(keep_text(w, read.text, read.bytes, err));
    }
    return TN_OK;
}

static void encode(work *w)
{
    const tn_host *host = w->request->host;
    tn_pool *pool = host->pool(host, w->request->threads);
    atomic_store(&w->taken, 0);
    if (pool && w->piece_count > 1)
        host->pool_run(pool, encode_some, w);
    else
        encode_some(w, 0, 1);
}

/* A finished shard goes into the index, with where the next one begins. */
static tn_status end_shard(work *w, const tni_text_place *next, tn_error *err)
{
    TN_TRY(tni_token_writer_end(&w->writer, &w->index, err));
    w->index.next = *next;
    return tni_token_index_write(&w->index, w->request->dir, err);
}

/* A long document must not leave its memory with every place it ever took. */
static void release(piece *p)
{
    if (p->capacity <= KEPT_IDS)
        return;
    free(p->ids);
    p->ids = NULL;
    p->capacity = 0;
}

static tn_status write_pieces(work *w, tn_error *err)
{
    for (size_t i = 0; i < w->piece_count; i++) {
        piece *p = &w->pieces[i];
        if (p->status != TN_OK)
            return tn_fail(err, p->status, "%s", p->why.message);
        TN_TRY(tni_token_writer_put(&w->writer, p->ids, p->count, p->begins,
                                    p->text_bytes, err));
        if (w->writer.shard.tokens >= w->index.shard_tokens)
            TN_TRY(end_shard(w, &p->after, err));
        release(p);
    }
    return TN_OK;
}

/* ---- the whole ---- */

static void tell(const work *w)
{
    const tni_prepare_request *r = w->request;
    const tni_token_writer *t = &w->writer;
    const tni_prepare_progress progress = {
        .read_bytes = tni_text_reader_consumed(&w->reader),
        .all_bytes = w->all_bytes,
        .text_bytes = w->index.text_bytes + t->text_bytes,
        .documents = w->index.documents + t->shard.documents,
        .tokens = w->index.tokens + t->shard.tokens,
        .shards = w->index.shard_count,
    };
    if (r->progress)
        r->progress(r->to, &progress);
}

static tn_status loop(work *w, tn_error *err)
{
    const volatile sig_atomic_t *stop = w->request->stop;
    tell(w);
    for (;;) {
        TN_TRY(gather(w, err));
        if (!w->piece_count)
            break;
        if (stop && *stop)
            return tn_fail(err, TN_EINTERRUPTED,
                           "interrupted after %zu whole shards of %s; the same "
                           "command goes on",
                           w->index.shard_count, w->request->dir);
        encode(w);
        TN_TRY(write_pieces(w, err));
        tell(w);
    }
    w->index.complete = 1;
    if (w->writer.shard.tokens)
        return end_shard(w, &w->index.next, err);
    if (!w->index.tokens)
        return tn_fail(err, TN_EFORMAT, "%s: there is no text in it",
                       w->request->paths[0]);
    return tni_token_index_write(&w->index, w->request->dir, err);
}

/* ---- beginning ---- */

/* The id before each document: the one asked for, else what the vocabulary
 * has for it. */
static tn_status find_begin(const tni_prepare_request *r, int64_t *begin,
                            tn_error *err)
{
    const tn_tokenizer_handle *t = r->tokenizer;
    *begin = -1;
    if (r->begin && strcmp(r->begin, "none") == 0)
        return TN_OK;
    if (r->begin) {
        *begin = t->vtable->special(t->self, r->begin);
        return *begin >= 0 ? TN_OK
                           : tn_fail(err, TN_EINVALID,
                                     "--begin %s: the tokenizer %s has no such "
                                     "special token",
                                     r->begin, r->tokenizer_name);
    }
    *begin = tni_tokenizer_begin(t);
    return TN_OK;
}

static tn_status find_width(const tni_prepare_request *r, uint32_t vocab_size,
                            uint32_t *width, tn_error *err)
{
    *width = r->width ? r->width : vocab_size <= 1u << 16 ? 2 : 4;
    if (*width == 2 && vocab_size > 1u << 16)
        return tn_fail(err, TN_EINVALID,
                       "--dtype u16 holds ids below 65536, the tokenizer has "
                       "%u; use u32",
                       vocab_size);
    return TN_OK;
}

static tn_status list_sources(tni_arena *arena, work *w, tn_error *err)
{
    const tni_prepare_request *r = w->request;
    TN_TRY(tni_text_paths(arena, r->paths, r->path_count, &w->paths,
                          &w->path_count, err));
    tni_token_source *sources =
        tni_arena_alloc(arena, w->path_count * sizeof *sources);
    for (size_t i = 0; i < w->path_count; i++) {
        struct stat info;
        if (stat(w->paths[i], &info) != 0)
            return tn_fail(err, errno == ENOENT ? TN_ENOTFOUND : TN_EIO,
                           "cannot open %s: %s", w->paths[i], strerror(errno));
        sources[i] = (tni_token_source){
            .path = w->paths[i],
            .bytes = (uint64_t)info.st_size,
            .modified_ns = (uint64_t)info.st_mtim.tv_sec * 1000000000u +
                           (uint64_t)info.st_mtim.tv_nsec};
        w->all_bytes += sources[i].bytes;
    }
    w->index.sources = sources;
    w->index.source_count = w->path_count;
    return TN_OK;
}

static tn_status describe(tni_arena *arena, work *w, tn_error *err)
{
    const tni_prepare_request *r = w->request;
    tni_token_index *x = &w->index;
    const tn_tokenizer_handle *t = r->tokenizer;
    *x = (tni_token_index){.vocab_size = t->vtable->vocab_size(t->self),
                           .tokenizer =
                               tni_arena_strdup(arena, r->tokenizer_name),
                           .identity = tni_arena_strdup(arena, t->identity),
                           .field = tni_arena_strdup(arena, r->field),
                           .shard_tokens = r->shard_tokens};
    TN_TRY(find_width(r, x->vocab_size, &x->width, err));
    TN_TRY(find_begin(r, &x->begin, err));
    return list_sources(arena, w, err);
}

static tn_status lock_folder(work *w, tn_error *err)
{
    const char *dir = w->request->dir;
    TN_TRY(tni_folder_make(dir, err));
    w->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->lock < 0)
        return tn_fail(err, TN_EIO, "%s: cannot open the folder: %s", dir,
                       strerror(errno));
    if (flock(w->lock, LOCK_EX | LOCK_NB) != 0)
        return tn_fail(err, TN_EREFUSED,
                       "%s: another process is writing tokens into it", dir);
    return TN_OK;
}

/* What an earlier call has done of it. */
static tn_status take_up(tni_arena *arena, work *w, tn_error *err)
{
    tni_token_index was;
    const tn_status status =
        tni_token_index_read(arena, w->request->dir, &was, err);
    if (status == TN_ENOTFOUND)
        return TN_OK;
    if (status != TN_OK)
        return status;
    TN_TRY(tni_token_index_same(&was, &w->index, w->request->dir, err));
    w->index = was;
    return TN_OK;
}

static tn_status open_work(tni_arena *arena, work *w, tn_error *err)
{
    TN_TRY(describe(arena, w, err));
    TN_TRY(lock_folder(w, err));
    TN_TRY(take_up(arena, w, err));
    if (w->index.complete)
        return TN_OK;
    w->pieces = calloc(BATCH_PIECES, sizeof *w->pieces);
    if (!w->pieces)
        return tn_fail(err, TN_ENOMEM, "no memory to tokenize");
    tni_text_reader_init(&w->reader, w->paths, w->path_count);
    tni_token_writer_init(&w->writer, arena, w->request->dir, w->index.width);
    w->writer.number = w->index.shard_count;
    TN_TRY(tni_text_reader_seek(&w->reader, &w->index.next, err));
    for (uint64_t i = 0; i < w->index.next.file && i < w->path_count; i++)
        w->reader.consumed += w->index.sources[i].bytes;
    return loop(w, err);
}

static void close_work(work *w)
{
    tni_token_writer_fini(&w->writer);
    tni_text_reader_fini(&w->reader);
    for (size_t i = 0; w->pieces && i < BATCH_PIECES; i++)
        free(w->pieces[i].ids);
    free(w->pieces);
    free(w->text);
    if (w->lock >= 0)
        close(w->lock);
}

tn_status tni_prepare(tni_arena *arena, const tni_prepare_request *request,
                      tni_token_index *index, tn_error *err)
{
    work w = {.request = request, .lock = -1};
    const tn_status status = open_work(arena, &w, err);
    close_work(&w);
    if (status == TN_OK)
        *index = w.index;
    return status;
}
