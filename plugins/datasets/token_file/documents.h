/*
 * documents.h - rows that begin where documents begin.
 *
 * Whole documents are packed into rows (../packed_rows.h); one that is longer
 * than a row gives its beginning. No target crosses from one document into the
 * next: the last token of a document predicts the token that all documents
 * begin with, where there is one, and nothing otherwise. What is left of a row
 * is padding without targets. Batches that ask for segments are told which
 * tokens are of one document; padding is one more.
 */
#ifndef TENON_DOCUMENTS_H
#define TENON_DOCUMENTS_H

#include "../lengths.h"
#include "../packed_rows.h"
#include "../shards.h"

typedef struct tni_documents {
    const char *path; /* for messages */
    const tni_shards *shards;
    tni_ids ids;
    int64_t first, count; /* documents of the split */
    int64_t tokens;       /* of them in rows */
    int64_t batch_size, seq_len;
    uint32_t *length; /* what a row takes of each; 0: nothing to learn in it */
    tni_packed_rows rows;
    tni_lengths lengths;
    int32_t segments; /* fill them */
    int32_t reserved;
} tni_documents;

tn_status tni_documents_init(tni_documents *d, const char *path,
                             const tni_shards *shards, const double split[2],
                             int32_t shuffle, const tn_host *host,
                             const tn_dataset_request *request, tn_error *err);
void tni_documents_fini(tni_documents *d);
void tni_documents_info(const tni_documents *d, tn_dataset_info *info);
tn_status tni_documents_next(tni_documents *d, tn_batch *batch, tn_error *err);
void tni_documents_save(const tni_documents *d, tn_cursor *cursor);
tn_status tni_documents_restore(tni_documents *d, const tn_cursor *cursor,
                                tn_error *err);

#endif
