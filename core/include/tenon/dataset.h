/*
 * dataset.h - where batches of tokens come from.
 *
 * A dataset fills batches in an order that depends on its options and seed
 * alone, and can save and restore its place in that order, so that a resumed
 * run sees what an uninterrupted one would have seen. It knows no model.
 */
#ifndef TENON_DATASET_H
#define TENON_DATASET_H

#include <tenon/tokenizer.h>

TN_BEGIN_DECLS

typedef struct tn_dataset_request {
    uint32_t struct_size;
    uint32_t reserved;
    int64_t batch_size; /* rows of each batch */
    int64_t seq_len;    /* tokens of each row */
    int64_t vocab_size; /* tokens outside it are refused with file and offset */
    uint64_t seed;
    const tn_tokenizer_handle *tokenizer; /* NULL where none is configured */
} tn_dataset_request;

/* (batch_size, seq_len), row-major; the caller owns the memory. */
typedef struct tn_batch {
    uint32_t struct_size;
    uint32_t reserved;
    int32_t *tokens;
    int32_t *targets; /* the next token; -1: do not train on this one */
    int64_t bytes;    /* out: bytes of text the trained targets stand for; 0
                         where unknown */
    /* Since ABI 1.2. Which tokens of a row are of one document: neighbours with
     * the same number, whatever it is. All 0 when it comes; NULL where nobody
     * asks (tn_batch_segments). */
    int32_t *segments;
} tn_batch;

/* NULL where the program is older than the member, too. */
static inline int32_t *tn_batch_segments(const tn_batch *batch)
{
    return TN_HAS(batch, segments) ? batch->segments : NULL;
}

typedef struct tn_dataset_info {
    uint32_t struct_size;
    uint32_t reserved;
    int64_t rows_per_epoch; /* windows; 0 for an endless stream */
    int64_t tokens;         /* in the split that was asked for, without those
                               that no row ever holds */
} tn_dataset_info;

/* Where a dataset is: small, plain, and the same on every machine. */
enum { TN_CURSOR_WORDS = 8 };
typedef struct tn_cursor {
    uint64_t word[TN_CURSOR_WORDS];
} tn_cursor;

typedef struct tn_dataset {
    TN_COMPONENT_HEAD;
    tn_status (*open)(const tn_host *host, const tn_dataset_request *request,
                      const void *options, void **self, tn_error *err);
    void (*close)(void *self);
    void (*info)(const void *self, tn_dataset_info *info);
    /* The next batch; an epoch follows the last. Allocates nothing. */
    tn_status (*next)(void *self, tn_batch *batch, tn_error *err);
    void (*save)(const void *self, tn_cursor *cursor);
    tn_status (*restore)(void *self, const tn_cursor *cursor, tn_error *err);
    /* Since ABI 1.2; may be NULL. 1: with these options, batches fill segments,
     * and no token may see one of another document. Asked before any dataset is
     * open, since plans depend on it. */
    uint32_t (*segments)(const void *options);
} tn_dataset;

#define TN_DATASET(id) TN_SINGLE_(DATASET, tn_dataset, id)

TN_END_DECLS
#endif
