/*
 * prepare.h - texts become a folder of token shards.
 *
 * The result depends on the texts and the settings alone, not on the number of
 * threads, nor on how often the work was interrupted and taken up again:
 * finished shards are kept, the index says where the next one begins.
 */
#ifndef TENON_PREPARE_H
#define TENON_PREPARE_H

#include <signal.h>

#include <tenon/tokenizer.h>

#include "run/token_index.h"

typedef struct tni_prepare_progress {
    uint64_t read_bytes, all_bytes; /* of the files as they lie */
    uint64_t text_bytes, documents, tokens;
    size_t shards;
} tni_prepare_progress;

typedef struct tni_prepare_request {
    const tn_host *host;
    const tn_tokenizer_handle *tokenizer;
    const char *tokenizer_name;
    const char *const *paths; /* files, patterns, folders */
    size_t path_count;
    const char *dir;
    const char *field;     /* of JSON lines, "text" */
    const char *begin;     /* special token before each document; NULL: the
                              vocabulary's own; "none" */
    uint32_t width;        /* bytes of an id: 2 or 4; 0: what it needs */
    uint64_t shard_tokens; /* a shard is closed once it has as many */
    uint32_t threads;      /* 0: one per core */
    const volatile sig_atomic_t *stop;
    void (*progress)(void *to, const tni_prepare_progress *progress);
    void *to;
} tni_prepare_request;

/*
 * `index` receives what lies in the folder then, in the arena. TN_EINTERRUPTED
 * after `stop`: the same request goes on. TN_EREFUSED where the folder holds
 * tokens of other texts or settings. A folder that is complete is left as it
 * is.
 */
tn_status tni_prepare(tni_arena *arena, const tni_prepare_request *request,
                      tni_token_index *index, tn_error *err);

#endif
