/*
 * tokenizer.c - text to ids and back.
 */
#include <string.h>
#include <tenon/tokenizer.h>

#include "cli/checks/checks.h"

typedef struct opened {
    const tn_tokenizer *tokenizer;
    void *self;
} opened;

static tn_status open_tokenizer(const tni_subject *s, opened *o, tn_error *err)
{
    const void *options;
    tn_error why = {0};
    o->tokenizer = s->component->vtable;
    if (tni_subject_options(s, &options, &why) != TN_OK ||
        o->tokenizer->open(s->host, options, &o->self, &why) != TN_OK)
        return tn_fail(err, TNI_CHECK_SKIPPED,
                       "it does not open with these options (%s); give them "
                       "with --set NAME=VALUE",
                       why.message);
    return TN_OK;
}

typedef struct ids {
    tni_arena *arena;
    int32_t *at;
    size_t count, capacity;
} ids;

static tn_status take(void *to, const int32_t *at, uint64_t count,
                      tn_error *err)
{
    ids *list = to;
    (void)err;
    for (uint64_t i = 0; i < count; i++)
        *TNI_PUSH(list->arena, list->at, list->count, list->capacity) = at[i];
    return TN_OK;
}

static tn_status check_ids(const opened *o, const ids *list, tn_error *err)
{
    const uint32_t vocab = o->tokenizer->vocab_size(o->self);
    for (size_t i = 0; i < list->count; i++)
        if (list->at[i] < 0 || (uint32_t)list->at[i] >= vocab)
            return tn_fail(err, TN_EINVALID,
                           "encode gives id %d, outside its vocabulary of %u",
                           list->at[i], vocab);
    return TN_OK;
}

static tn_status check_text(const tni_subject *s, const opened *o,
                            const char *text, tn_error *err)
{
    ids list = {.arena = s->arena};
    size_t at = 0;
    TN_TRY(
        o->tokenizer->encode(o->self, text, strlen(text), 0, take, &list, err));
    TN_TRY(check_ids(o, &list, err));
    for (size_t i = 0; i < list.count; i++) {
        const char *bytes;
        uint32_t count;
        TN_TRY(
            o->tokenizer->bytes_of(o->self, list.at[i], &bytes, &count, err));
        if (count > strlen(text) - at || memcmp(text + at, bytes, count))
            return tn_fail(err, TN_EINVALID,
                           "\"%s\" does not come back: id %d, number %zu of "
                           "%zu, stands for other bytes",
                           text, list.at[i], i + 1, list.count);
        at += count;
    }
    if (at != strlen(text))
        return tn_fail(err, TN_EINVALID,
                       "\"%s\" comes back as its first %zu bytes", text, at);
    return TN_OK;
}

static tn_status check_round_trip(const tni_subject *s, tn_error *err)
{
    static const char *const texts[] = {
        "",
        "a",
        "To be, or not to be",
        "  two  spaces\n\nand lines\t",
        "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x94\xa9",
        "1234567890 <|x|>"};
    opened o;
    TN_TRY(open_tokenizer(s, &o, err));
    tn_status status = TN_OK;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && status == TN_OK; i++)
        status = check_text(s, &o, texts[i], err);
    o.tokenizer->close(o.self);
    return status;
}

static tn_status check_outside(const tni_subject *s, tn_error *err)
{
    opened o;
    const char *bytes = NULL;
    uint32_t count = 0;
    tn_error refusal = {0};
    TN_TRY(open_tokenizer(s, &o, err));
    const uint32_t vocab = o.tokenizer->vocab_size(o.self);
    const int refused =
        vocab > 0 &&
        o.tokenizer->bytes_of(o.self, -1, &bytes, &count, &refusal) != TN_OK &&
        o.tokenizer->bytes_of(o.self, (int32_t)vocab, &bytes, &count,
                              &refusal) != TN_OK;
    o.tokenizer->close(o.self);
    if (!refused)
        return tn_fail(err, TN_EINVALID,
                       "bytes_of accepts an id outside its vocabulary of %u",
                       vocab);
    return TN_OK;
}

static const tni_check checks[] = {
    {"gives every text back, byte for byte", check_round_trip, NULL},
    {"refuses ids outside its vocabulary", check_outside, NULL},
};

const tni_check_list tni_checks_tokenizer = TNI_CHECK_LIST(checks);
