/*
 * words.c - counting the pieces of a text, on all threads.
 *
 * Documents are copied into a batch as segments of some 256 KB; then all
 * threads take segments and count into tables of their own, which are added up
 * at the end. A long document is cut where no piece can lie across: in
 * "x y", letters or digits of ASCII, every family of patterns begins a piece at
 * the space.
 */
#include "words.h"

#include <stdatomic.h>

#include "utf8.h"

/* ---- a table of words ---- */

static int add_slots(tni_words *w)
{
    const size_t slots = tni_table_slots(w->count + 1);
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return 0;
    for (size_t i = 0; i < w->count; i++) {
        size_t at = w->word[i].tag & (slots - 1);
        while (slot[at])
            at = (at + 1) & (slots - 1);
        slot[at] = (uint32_t)i + 1;
    }
    free(w->slot);
    w->slot = slot;
    w->slot_count = slots;
    return 1;
}

static int append(tni_words *w, const tni_word *word, const char *piece)
{
    if (w->count == UINT32_MAX - 1 ||
        !tni_grow(&w->word, &w->capacity, w->count + 1, sizeof *w->word) ||
        !tni_grow(&w->bytes, &w->byte_capacity, w->byte_count + word->size, 1))
        return 0;
    memcpy(w->bytes + w->byte_count, piece, word->size);
    w->byte_count += word->size;
    w->word[w->count++] = *word;
    return 1;
}

int tni_words_add(tni_words *w, const char *piece, size_t size, int64_t count)
{
    const uint32_t tag = (uint32_t)tni_hash_bytes(piece, size);
    if (2 * w->count >= w->slot_count && !add_slots(w))
        return 0;
    size_t at = tag & (w->slot_count - 1);
    for (; w->slot[at]; at = (at + 1) & (w->slot_count - 1)) {
        tni_word *word = &w->word[w->slot[at] - 1];
        if (word->tag == tag && word->size == size &&
            !memcmp(w->bytes + word->at, piece, size)) {
            word->count += count;
            return 1;
        }
    }
    const tni_word word = {w->byte_count, (uint32_t)size, tag, count};
    if (!append(w, &word, piece))
        return 0;
    w->slot[at] = (uint32_t)w->count;
    return 1;
}

void tni_words_fini(tni_words *w)
{
    free(w->bytes);
    free(w->word);
    free(w->slot);
    *w = (tni_words){0};
}

/* ---- a batch of text ---- */

enum {
    SEGMENT = 256 << 10,
    BATCH = 16 << 20,
};

typedef struct segment {
    size_t at, size;
} segment;

typedef struct counting {
    const tn_tokenizer_training *how;
    const tni_splitter *splitter;
    const char *rest, *end; /* of the document at hand */
    char *text;
    size_t size, capacity;
    segment *segment;
    size_t segment_count, segment_capacity;
    atomic_size_t next;
    tni_words *each; /* of every thread */
    uint32_t thread_count;
    atomic_int failed;
} counting;

static int is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9');
}

/* The end of a part of [at, end) of about SEGMENT bytes. */
static const char *cut_document(const tni_splitter *s, const char *at,
                                const char *end)
{
    if (s->family == TNI_REGEX || end - at <= SEGMENT)
        return end;
    for (const char *stop = at + SEGMENT; stop + 1 < end; stop++)
        if (*stop == ' ' && is_plain(stop[-1]) && is_plain(stop[1]))
            return stop;
    return end;
}

static tn_status add_segment(counting *c, tn_error *err)
{
    const char *stop = cut_document(c->splitter, c->rest, c->end);
    const size_t size = (size_t)(stop - c->rest);
    if (!tni_grow(&c->text, &c->capacity, c->size + size, 1) ||
        !tni_grow(&c->segment, &c->segment_capacity, c->segment_count + 1,
                  sizeof *c->segment))
        return tni_no_memory("training", err);
    memcpy(c->text + c->size, c->rest, size);
    c->segment[c->segment_count++] = (segment){c->size, size};
    c->size += size;
    c->rest = stop;
    return TN_OK;
}

/* Segments of some documents; none at the end of the last. */
static tn_status fill_batch(counting *c, tn_error *err)
{
    c->size = c->segment_count = 0;
    while (c->size < BATCH) {
        uint64_t bytes = 0;
        if (c->rest == c->end) {
            TN_TRY(c->how->next(c->how->from, &c->rest, &bytes, err));
            if (bytes == 0) {
                c->rest = c->end = NULL;
                break;
            }
            c->end = c->rest + bytes;
        }
        TN_TRY(add_segment(c, err));
    }
    return TN_OK;
}

/* ---- counting ---- */

static int count_segment(const tni_splitter *s, tni_words *words,
                         const char *at, const char *end)
{
    while (at < end) {
        int valid;
        const char *run = tni_utf8_run(at, end, &valid);
        while (at < run) {
            const char *stop = valid ? tni_split(s, at, run) : run;
            if (!stop || !tni_words_add(words, at, (size_t)(stop - at), 1))
                return 0;
            at = stop;
        }
    }
    return 1;
}

static void count_batch(void *argument, uint32_t index, uint32_t threads)
{
    counting *c = argument;
    (void)threads;
    for (;;) {
        const size_t i = atomic_fetch_add(&c->next, 1);
        if (i >= c->segment_count || atomic_load(&c->failed))
            return;
        const char *at = c->text + c->segment[i].at;
        if (!count_segment(c->splitter, &c->each[index], at,
                           at + c->segment[i].size))
            atomic_store(&c->failed, 1);
    }
}

static int add_up(tni_words *to, const tni_words *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const tni_word *w = &from->word[i];
        if (!tni_words_add(to, from->bytes + w->at, w->size, w->count))
            return 0;
    }
    return 1;
}

static tn_status count_all(const tn_host *host, tn_pool *pool, counting *c,
                           tn_error *err)
{
    for (;;) {
        TN_TRY(fill_batch(c, err));
        if (!c->segment_count)
            return TN_OK;
        atomic_store(&c->next, 0);
        if (pool)
            host->pool_run(pool, count_batch, c);
        else
            count_batch(c, 0, 1);
        if (atomic_load(&c->failed))
            return tn_fail(err, TN_ENOMEM,
                           "training: out of memory, or the split pattern gave "
                           "up on a long text");
        if (c->how->progress &&
            c->how->progress(c->how->from, "counting words", -1))
            return tn_fail(err, TN_EINTERRUPTED, "training was interrupted");
    }
}

tn_status tni_words_count(const tn_host *host, const tni_splitter *splitter,
                          const tn_tokenizer_training *how, tni_words *words,
                          tn_error *err)
{
    counting c = {.how = how, .splitter = splitter, .thread_count = 1};
    tn_pool *pool = host ? host->pool(host, 0) : NULL;
    if (pool)
        c.thread_count = host->pool_count(pool);
    c.each = calloc(c.thread_count, sizeof *c.each);
    tn_status status = c.each ? count_all(host, pool, &c, err)
                              : tni_no_memory("training", err);
    for (uint32_t i = 0; c.each && i < c.thread_count; i++) {
        if (status == TN_OK && !add_up(words, &c.each[i]))
            status = tni_no_memory("training", err);
        tni_words_fini(&c.each[i]);
    }
    free(c.each);
    free(c.text);
    free(c.segment);
    return status;
}
