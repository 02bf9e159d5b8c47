/*
 * tokenizer.h - text to ids and back.
 */
#ifndef TENON_TOKENIZER_H
#define TENON_TOKENIZER_H

#include <tenon/plugin.h>

TN_BEGIN_DECLS

/* Receives ids or bytes in pieces, in order. */
typedef tn_status (*tn_token_sink)(void *to, const int32_t *ids, uint64_t count,
                                   tn_error *err);

/* What a tokenizer learns from. */
typedef struct tn_tokenizer_training {
    uint32_t struct_size;
    uint32_t reserved;
    int64_t vocab_size; /* special tokens included */
    void *from;         /* goes to both functions */
    /* The next document, lent until the next call; *bytes 0 past the last. */
    tn_status (*next)(void *from, const char **text, uint64_t *bytes,
                      tn_error *err);
    /* Called often: what is being done, and how much of it, 0 to 1 (below 0:
     * the caller knows, who has counted what `next` gave). Not 0: stop, with
     * TN_EINTERRUPTED. May be NULL. */
    int32_t (*progress)(void *from, const char *doing, double share);
} tn_tokenizer_training;

typedef struct tn_tokenizer {
    TN_COMPONENT_HEAD;
    tn_status (*open)(const tn_host *host, const void *options, void **self,
                      tn_error *err);
    void (*close)(void *self);
    uint32_t (*vocab_size)(const void *self);

    /* Ids of `bytes` (any bytes, not only UTF-8) into sink. allow_special: a
     * special token's text becomes its id instead of ordinary ids. Several
     * threads may encode with one tokenizer at once. */
    tn_status (*encode)(const void *self, const char *text, uint64_t bytes,
                        uint32_t allow_special, tn_token_sink sink, void *to,
                        tn_error *err);

    /* The bytes one id stands for, owned by the tokenizer; *count 0 for a
     * special token. TN_EINVALID outside the vocabulary. */
    tn_status (*bytes_of)(const void *self, int32_t id, const char **bytes,
                          uint32_t *count, tn_error *err);

    /* Id of a special token by its text, -1 where there is none. */
    int32_t (*special)(const void *self, const char *text);

    /* The special tokens one by one, `index` from 0: text (owned by the
     * tokenizer) and id. TN_EEND past the last. NULL: there are none. */
    tn_status (*special_at)(const void *self, uint32_t index, const char **text,
                            int32_t *id);

    /* Learn a vocabulary and write it where `open` with the same options finds
     * it. The same documents give the same vocabulary, whatever the number of
     * threads. NULL: cannot be trained. */
    tn_status (*train)(const tn_host *host, const void *options,
                       const tn_tokenizer_training *how, tn_error *err);
} tn_tokenizer;

/* An opened tokenizer as other plugins receive it. */
typedef struct tn_tokenizer_handle {
    uint32_t struct_size;
    uint32_t reserved;
    const tn_tokenizer *vtable;
    void *self;
    /* Hexadecimal digits, the same for two tokenizers exactly where every id
     * means the same to both; NULL where unknown (test TN_HAS). */
    const char *identity;
} tn_tokenizer_handle;

#define TN_TOKENIZER(id) TN_SINGLE_(TOKENIZER, tn_tokenizer, id)

TN_END_DECLS
#endif
