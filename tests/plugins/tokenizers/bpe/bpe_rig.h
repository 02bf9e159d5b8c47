/*
 * bpe_rig.h - the tokenizer bpe as the program has it, and lists of ids.
 */
#ifndef BPE_RIG_H
#define BPE_RIG_H

#include <sys/stat.h>
#include <tenon/tokenizer.h>

#include "../../plugin_rig.h"

typedef struct ids {
    int32_t *at;
    size_t count, capacity;
} ids;

static inline tn_status ids_take(void *to, const int32_t *at, uint64_t count,
                                 tn_error *err)
{
    ids *list = to;
    (void)err;
    if (list->count + count > list->capacity) {
        list->capacity = 2 * (list->count + count);
        list->at = realloc(list->at, list->capacity * sizeof *list->at);
        assert_non_null(list->at);
    }
    memcpy(list->at + list->count, at, count * sizeof *at);
    list->count += count;
    return TN_OK;
}

typedef struct bpe {
    const tn_tokenizer *vtable;
    void *self;
} bpe;

static inline tn_status bpe_try(rig *r, const char *options, bpe *t,
                                tn_error *err)
{
    t->vtable = rig_vtable(r, TN_KIND_TOKENIZER, "bpe");
    return t->vtable->open(r->host, rig_options(r, t->vtable, options),
                           &t->self, err);
}

static inline bpe bpe_open(rig *r, const char *options)
{
    bpe t;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(bpe_try(r, options, &t, &err), err);
    return t;
}

static inline void bpe_close(bpe *t)
{
    t->vtable->close(t->self);
}

/* A path in this folder of the tests, or below the shared data. */
static inline const char *bpe_fixture(rig *r, const char *name)
{
    return tni_arena_printf(r->arena, "%s/tests/plugins/tokenizers/bpe/%s",
                            getenv("TENON_SOURCE"), name);
}
static inline const char *bpe_shared(rig *r, const char *name)
{
    return tni_arena_printf(r->arena, "%s/../shared/data/%s",
                            getenv("TENON_SOURCE"), name);
}

/* Skip the test, with a reason, where the real data is not there. */
#define NEEDS_SHARED(r, name)                                                  \
    do {                                                                       \
        if (access(bpe_shared((r), (name)), R_OK) != 0) {                      \
            print_message("skipped: %s is not there\n",                        \
                          bpe_shared((r), (name)));                            \
            skip();                                                            \
        }                                                                      \
    } while (0)

/* The ids of a text; the caller frees list.at. */
static inline ids bpe_encode(const bpe *t, const void *text, size_t bytes,
                             int special)
{
    ids list = {0};
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(t->vtable->encode(t->self, text, bytes, (uint32_t)special,
                                       ids_take, &list, &err),
                     err);
    return list;
}

/* What the ids stand for together is the text. */
static inline void assert_decodes(const bpe *t, const ids *list,
                                  const void *text, size_t bytes)
{
    size_t at = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *piece = NULL;
        uint32_t count = 0;
        tn_assert_ok(
            t->vtable->bytes_of(t->self, list->at[i], &piece, &count, NULL));
        assert_true(count <= bytes - at);
        assert_memory_equal(piece, (const char *)text + at, count);
        at += count;
    }
    assert_int_equal(at, bytes);
}

/* "1 2 3" */
static inline const char *ids_text(rig *r, const ids *list)
{
    const char *text = "";
    for (size_t i = 0; i < list->count; i++)
        text = tni_arena_printf(r->arena, "%s%s%d", text, i ? " " : "",
                                list->at[i]);
    return text;
}

static inline void assert_ids_(rig *r, const bpe *t, const char *text,
                               int special, const char *want)
{
    ids list = bpe_encode(t, text, strlen(text), special);
    assert_string_equal(ids_text(r, &list), want);
    free(list.at);
}
#define assert_ids(r, t, text, want) assert_ids_(r, t, text, 0, want)
#define assert_special_ids(r, t, text, want) assert_ids_(r, t, text, 1, want)

#endif
