/*
 * shards.h - files of token ids as one row, with where documents start.
 *
 * A path is a file of ids, a pattern of a shell, a folder of .bin files, or a
 * folder with the index.json that `tenon tokenize` writes: then the index says
 * how wide the ids are, where documents start, and which vocabulary the ids
 * belong to.
 */
#ifndef TENON_SHARDS_H
#define TENON_SHARDS_H

#include <tenon/dataset.h>

#include "ids.h"

typedef struct tni_shards {
    tni_mapped_file *files;
    tni_ids_part *parts;
    char **paths; /* owned */
    uint32_t count, capacity;
    int64_t total;   /* ids */
    int64_t begin;   /* the id each document starts with, -1: none */
    int64_t *starts; /* of documents, ascending; NULL: not known */
    int64_t document_count, document_capacity;
    uint32_t indexed, unindexed; /* files with and without an index */
} tni_shards;

enum { TNI_DTYPE_AUTO, TNI_DTYPE_U32, TNI_DTYPE_U16 };

/* dtype: what the ids of files without an index are. Refused: what is missing,
 * empty, no whole number of ids, half written, or made with another vocabulary
 * than the request's tokenizer has. On failure there is nothing to close. */
tn_status tni_shards_open(tni_shards *shards, const tn_strings *paths,
                          int32_t dtype, const tn_dataset_request *request,
                          tn_error *err);
void tni_shards_close(tni_shards *shards);

#endif
