/*
 * ranks_file.h - `.tiktoken` files: a token in base64 and its id per line.
 *
 *     IQ== 0
 *     Ig== 1
 *
 * They say nothing of special tokens or of how text is split; for OpenAI's own
 * vocabularies that is known, and they are told by their size.
 */
#ifndef TENON_BPE_RANKS_FILE_H
#define TENON_BPE_RANKS_FILE_H

#include "vocabulary.h"

/* Add every token of the file's text to `v`. Errors carry file:line. */
tn_status tni_ranks_read(tni_vocabulary *v, const char *text, size_t bytes,
                         tn_error *err);

/* A vocabulary of OpenAI's. */
typedef struct tni_known_special {
    const char *text;
    int32_t id;
} tni_known_special;
typedef struct tni_known_ranks {
    const char *name;
    const char *pattern; /* a name split.h knows */
    size_t size;
    tni_known_special special[6];
} tni_known_ranks;

/* By name, or by what has been read; NULL where it is none of them. */
const tni_known_ranks *tni_known_ranks_named(const char *name);
const tni_known_ranks *tni_known_ranks_of(const tni_vocabulary *v);

#endif
