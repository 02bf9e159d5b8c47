/*
 * token_index.h - index.json in a folder of token shards.
 *
 *     data/web/
 *         index.json            what follows, as JSON
 *         shard-00000.bin       ids, little-endian u16 or u32, nothing else
 *         shard-00000.starts    where in it documents start: u64 each
 *         shard-00001.bin ...
 *
 * The shards in order are one row of tokens; a document may go on in the next
 * shard. While the folder is being made "complete" is false and "next" says
 * where in the sources to go on.
 */
#ifndef TENON_TOKEN_INDEX_H
#define TENON_TOKEN_INDEX_H

#include "base/arena.h"
#include "run/text_reader.h"

typedef struct tni_token_shard {
    uint64_t tokens, documents;
} tni_token_shard;

typedef struct tni_token_source {
    const char *path;
    uint64_t bytes;
    uint64_t modified_ns; /* since 1970; 0: not known */
} tni_token_source;

typedef struct tni_token_index {
    /* what the tokens depend on */
    uint32_t width; /* bytes of an id: 2 or 4 */
    uint32_t vocab_size;
    const char *tokenizer; /* name */
    const char *identity;  /* of the vocabulary */
    int64_t begin;         /* id before each document, -1: none */
    const char *field;     /* of JSON lines */
    uint64_t shard_tokens;
    const tni_token_source *sources;
    size_t source_count;
    /* how far it is */
    int complete;
    uint64_t tokens, documents, text_bytes;
    tni_token_shard *shards;
    size_t shard_count, shard_capacity;
    tni_text_place next;
} tni_token_index;

tn_status tni_token_index_write(const tni_token_index *index, const char *dir,
                                tn_error *err);

/* TN_ENOTFOUND (err is left alone) where `dir` has none. */
tn_status tni_token_index_read(tni_arena *arena, const char *dir,
                               tni_token_index *index, tn_error *err);

/* Refuse, with what differs, where `was` was made from other texts or in
 * another way than `now` would be. */
tn_status tni_token_index_same(const tni_token_index *was,
                               const tni_token_index *now, const char *dir,
                               tn_error *err);

/* "dir/shard-00012.bin" */
void tni_token_shard_path(char *to, size_t size, const char *dir, size_t shard,
                          const char *suffix);

#endif
