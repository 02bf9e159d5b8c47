/*
 * encode.c - from text to ids.
 *
 *     text      cut at special tokens, where they are allowed
 *     runs      of UTF-8; what is not is a piece by itself
 *     pieces    by the split stages, one after the other
 *     ids       the cache, else the whole piece as a token, else merges
 *
 * The cache belongs to the call, as all memory of encoding does, so that any
 * number of threads may encode at once; between calls it waits in the model.
 */
#include "cache.h"
#include "merge.h"
#include "model.h"
#include "utf8.h"

enum {
    BUFFER = 4096,
    CACHE_FROM = 1 << 14, /* bytes: what encodes less needs no cache */
};

typedef struct tni_encoder {
    struct tni_encoder *next;
    const tni_model *model;
    const char *end; /* of readable text, for loads of 32 bytes */
    tn_token_sink sink;
    void *to;
    tn_error *err;
    tni_merger merger;
    size_t count;
    int32_t id[BUFFER];
    uint64_t seen;    /* bytes of all calls */
    tni_cache *cache; /* NULL: none yet, or no memory for one */
} tni_encoder;

/* ---- ids out ---- */

static tn_status flush(tni_encoder *e)
{
    const size_t count = e->count;
    e->count = 0;
    return count ? e->sink(e->to, e->id, count, e->err) : TN_OK;
}

static tn_status put_many(tni_encoder *e, const int32_t *id, size_t count)
{
    if (e->count + count > BUFFER)
        TN_TRY(flush(e));
    if (count > BUFFER)
        return e->sink(e->to, id, count, e->err);
    memcpy(e->id + e->count, id, count * sizeof *id);
    e->count += count;
    return TN_OK;
}

/* ---- a piece ---- */

/* The piece's ids into e->merger.id. */
static tn_status look_up(tni_encoder *e, const char *piece, size_t bytes,
                         size_t *count)
{
    const tni_vocabulary *v = &e->model->vocabulary;
    const int32_t whole =
        v->whole_first ? tni_vocabulary_find(v, piece, bytes) : TNI_NO_TOKEN;
    if (whole == TNI_NO_TOKEN)
        return tni_merge(v, &e->merger, piece, bytes, count, e->err);
    if (!tni_grow(&e->merger.id, &e->merger.id_capacity, 1,
                  sizeof *e->merger.id))
        return tni_no_memory("encoding", e->err);
    e->merger.id[0] = whole;
    *count = 1;
    return TN_OK;
}

static inline void make_key(const tni_encoder *e, const char *piece,
                            size_t bytes, tni_cache_key *key)
{
    char padded[TNI_CACHED_BYTES + 1] = {0};
    if ((size_t)(e->end - piece) < sizeof padded) {
        memcpy(padded, piece, bytes);
        piece = padded;
    }
    tni_cache_key_of(piece, bytes, key);
}

static tn_status put_new(tni_encoder *e, const char *piece, size_t bytes,
                         const tni_cache_key *key)
{
    size_t count = 0;
    TN_TRY(look_up(e, piece, bytes, &count));
    if (key && count <= TNI_CACHED_IDS)
        tni_cache_put(e->cache, key, e->merger.id, count);
    return put_many(e, e->merger.id, count);
}

static tn_status put_piece(tni_encoder *e, const char *piece, size_t bytes)
{
    tni_cache_key key;
    if (bytes > TNI_CACHED_BYTES || !e->cache)
        return put_new(e, piece, bytes, NULL);
    make_key(e, piece, bytes, &key);
    if (e->count + TNI_CACHED_IDS > BUFFER)
        TN_TRY(flush(e));
    const uint32_t known = tni_cache_get(e->cache, &key, e->id + e->count);
    e->count += known;
    return known ? TN_OK : put_new(e, piece, bytes, &key);
}

/* ---- text to pieces ---- */

static tn_status gave_up(const tni_encoder *e, const char *at, const char *end)
{
    return tn_fail(e->err, TN_EUNSUPPORTED,
                   "the split pattern gave up on a text of %zu bytes that "
                   "begins \"%.*s\"; it backtracks too much",
                   (size_t)(end - at), end - at < 20 ? (int)(end - at) : 20,
                   at);
}

/* Through the stages from `stage` on; valid UTF-8. */
static tn_status cut(tni_encoder *e, uint32_t stage, const char *at,
                     const char *end)
{
    if (stage == e->model->stage_count)
        return put_piece(e, at, (size_t)(end - at));
    while (at < end) {
        const char *stop = tni_split(&e->model->stage[stage], at, end);
        if (!stop)
            return gave_up(e, at, end);
        TN_TRY(cut(e, stage + 1, at, stop));
        at = stop;
    }
    return TN_OK;
}

/* Without special tokens in it. */
static tn_status put_text(tni_encoder *e, const char *at, const char *end)
{
    while (at < end) {
        int valid;
        const char *stop = tni_utf8_run(at, end, &valid);
        TN_TRY(valid ? cut(e, 0, at, stop)
                     : put_piece(e, at, (size_t)(stop - at)));
        at = stop;
    }
    return TN_OK;
}

/* ---- special tokens ---- */

/* The longest special token that begins at `at`. */
static const tni_special *special_at(const tni_model *m, const char *at,
                                     const char *end, uint32_t allowed)
{
    for (size_t i = 0; i < m->vocabulary.special_count; i++) {
        const tni_special *s = &m->vocabulary.special[i];
        if ((allowed || s->always) && s->count <= (size_t)(end - at) &&
            !memcmp(s->text, at, s->count))
            return s;
    }
    return NULL;
}

/* The next special token from `at` on; *where is its place, or the end. */
static const tni_special *next_special(const tni_model *m, const char *at,
                                       const char *end, uint32_t allowed,
                                       const char **where)
{
    const uint8_t least = allowed ? 1 : 2;
    for (; at < end; at++) {
        if (m->begins_special[(unsigned char)*at] < least)
            continue;
        const tni_special *found = special_at(m, at, end, allowed);
        *where = at;
        if (found)
            return found;
    }
    *where = end;
    return NULL;
}

static tn_status put_all(tni_encoder *e, const char *at, const char *end,
                         uint32_t allowed)
{
    while (at < end) {
        const char *stop;
        const tni_special *special =
            next_special(e->model, at, end, allowed, &stop);
        TN_TRY(put_text(e, at, stop));
        if (special)
            TN_TRY(put_many(e, &special->id, 1));
        at = stop + (special ? special->count : 0);
    }
    return flush(e);
}

/* ---- text that is not UTF-8 ---- */

/* A copy with U+FFFD for each thing that is no character; the caller frees. */
static tn_status replace_invalid(const char *at, const char *end, char **copy,
                                 size_t *bytes, tn_error *err)
{
    size_t capacity = 0, used = 0;
    char *to = NULL;
    while (at < end) {
        const char *bad = tni_utf8_invalid(at, end);
        const size_t good = (size_t)(bad - at);
        if (!tni_grow(&to, &capacity, used + good + 3, 1)) {
            free(to);
            return tni_no_memory("encoding", err);
        }
        memcpy(to + used, at, good);
        used += good;
        at = bad;
        if (bad == end)
            break;
        memcpy(to + used, "\xef\xbf\xbd", 3);
        used += 3;
        at = tni_utf8_skip_invalid(bad, end);
    }
    *copy = to;
    *bytes = used;
    return TN_OK;
}

static tn_status put_checked(tni_encoder *e, const char *text, uint64_t bytes,
                             uint32_t allowed)
{
    char *copy = NULL;
    size_t copied = 0;
    const char *end = text + bytes;
    const int32_t invalid = e->model->invalid;
    const char *bad =
        invalid == TNI_INVALID_BYTES ? end : tni_utf8_invalid(text, end);
    if (bad == end)
        return put_all(e, text, end, allowed);
    if (invalid == TNI_INVALID_REFUSE)
        return tn_fail(e->err, TN_EINVALID,
                       "the text is not UTF-8: byte %zu is 0x%02x; invalid: "
                       "replace or bytes would take it",
                       (size_t)(bad - text), (unsigned)(unsigned char)*bad);
    TN_TRY(replace_invalid(text, end, &copy, &copied, e->err));
    e->end = copy + copied;
    const tn_status status = put_all(e, copy, copy + copied, allowed);
    free(copy);
    return status;
}

/* ---- memory ---- */

static tni_encoder *take_encoder(tni_model *model)
{
    pthread_mutex_lock(&model->lock);
    tni_encoder *e = model->idle;
    if (e)
        model->idle = e->next;
    pthread_mutex_unlock(&model->lock);
    return e ? e : calloc(1, sizeof *e);
}

static void return_encoder(tni_model *model, tni_encoder *e)
{
    pthread_mutex_lock(&model->lock);
    e->next = model->idle;
    model->idle = e;
    pthread_mutex_unlock(&model->lock);
}

tn_status tni_model_encode(tni_model *model, const char *text, uint64_t bytes,
                           uint32_t allow_special, tn_token_sink sink, void *to,
                           tn_error *err)
{
    tni_encoder *e = take_encoder(model);
    if (!e)
        return tni_no_memory("encoding", err);
    e->model = model;
    e->end = text + bytes;
    e->sink = sink;
    e->to = to;
    e->err = err;
    e->count = 0;
    e->seen += bytes;
    if (!e->cache && e->seen >= CACHE_FROM)
        e->cache = tni_table_alloc(sizeof *e->cache);
    const tn_status status = put_checked(e, text, bytes, allow_special);
    return_encoder(model, e);
    return status;
}

/* ---- the model ---- */

void tni_model_init(tni_model *model, const char *path)
{
    *model = (tni_model){0};
    tni_vocabulary_init(&model->vocabulary, path);
    pthread_mutex_init(&model->lock, NULL);
}

void tni_model_fini(tni_model *model)
{
    while (model->idle) {
        tni_encoder *next = model->idle->next;
        tni_merger_fini(&model->idle->merger);
        free(model->idle->cache);
        free(model->idle);
        model->idle = next;
    }
    for (uint32_t i = 0; i < model->stage_count; i++)
        tni_splitter_close(&model->stage[i]);
    tni_vocabulary_fini(&model->vocabulary);
    pthread_mutex_destroy(&model->lock);
}

tn_status tni_model_add_stage(tni_model *model, const char *pattern,
                              tn_error *err)
{
    if (model->stage_count == TNI_MAX_STAGES)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "%s: more than %d split patterns one after the other",
                       model->vocabulary.path, TNI_MAX_STAGES);
    TN_TRY(tni_splitter_open(&model->stage[model->stage_count], pattern, err));
    model->stage_count++;
    return TN_OK;
}

void tni_model_ready(tni_model *model)
{
    for (size_t i = 0; i < model->vocabulary.special_count; i++) {
        const tni_special *s = &model->vocabulary.special[i];
        uint8_t *begins = &model->begins_special[(unsigned char)*s->text];
        if (*begins < 2)
            *begins = s->always ? 2 : 1;
    }
}
