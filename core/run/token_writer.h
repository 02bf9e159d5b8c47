/*
 * token_writer.h - ids into the shard that is being made.
 */
#ifndef TENON_TOKEN_WRITER_H
#define TENON_TOKEN_WRITER_H

#include <stdio.h>

#include "run/token_index.h"

typedef struct tni_token_writer {
    tni_arena *arena;
    const char *dir;
    uint32_t width;
    FILE *ids, *starts; /* of shard-NNNNN.bin.tmp and .starts.tmp */
    size_t number;      /* of the shard they belong to */
    tni_token_shard shard;
    uint64_t text_bytes;
} tni_token_writer;

void tni_token_writer_init(tni_token_writer *writer, tni_arena *arena,
                           const char *dir, uint32_t width);
/* A shard that was not ended is removed. */
void tni_token_writer_fini(tni_token_writer *writer);

tn_status tni_token_writer_put(tni_token_writer *writer, const int32_t *ids,
                               size_t count, int begins, uint64_t text_bytes,
                               tn_error *err);

/* Close the shard under its name and count it in `index`. */
tn_status tni_token_writer_end(tni_token_writer *writer, tni_token_index *index,
                               tn_error *err);

/* Little-endian ids of `width` bytes. */
tn_status tni_write_ids(FILE *to, const char *path, uint32_t width,
                        const int32_t *ids, size_t count, tn_error *err);

#endif
