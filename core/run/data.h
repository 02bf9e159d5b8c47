/*
 * data.h - where a run's batches come from: one dataset, or several of them
 * mixed row by row, read ahead by a thread.
 *
 *     data:
 *       train:
 *         - {plugin: token_file, path: data/web, weight: 3}
 *         - {plugin: sft, path: data/chat.jsonl}
 *
 * Which dataset gives row n of a mixture is a function of the seed and n alone,
 * drawn in proportion to the weights, so that a place in it is n and the place
 * in each dataset. Every dataset goes through its epochs at its own pace: the
 * mixture never ends.
 */
#ifndef TENON_DATA_H
#define TENON_DATA_H

#include "run/component.h"

enum { TNI_MIXTURE_MOST = 16 };

/* `data.train` or `data.val` as read. */
typedef struct tni_mixture {
    const char *name; /* for messages; NULL: the config has none */
    uint32_t count;
    tni_use use[TNI_MIXTURE_MOST];
    double below[TNI_MIXTURE_MOST]; /* a draw in [0, 1) below it: this one or an
                                       earlier one */
} tni_mixture;

/* A place in the order of batches. */
typedef struct tni_data_cursor {
    uint64_t rows; /* handed out so far; a mixture's alone */
    uint32_t count;
    tn_cursor at[TNI_MIXTURE_MOST];
} tni_data_cursor;

typedef struct tni_source_of_rows {
    const tn_dataset *vtable;
    void *self;
} tni_source_of_rows;

struct tni_ahead;

typedef struct tni_data {
    const tni_mixture *mixture;
    tni_source_of_rows source[TNI_MIXTURE_MOST];
    uint32_t count;
    uint64_t seed, rows;
    int64_t batch_size, seq_len;
    tn_dataset_info info;    /* of a mixture: endless, tokens of all */
    struct tni_ahead *ahead; /* NULL: batches are made when asked for */
} tni_data;

/* A map, or a list of maps with weights; `where` is "data.train". */
tn_status tni_mixture_read(const tni_reader *reader, tni_yaml *node,
                           const char *where, tni_mixture *mixture,
                           tn_error *err);

/* 1 where one of them keeps documents apart; rows of the others are one
 * document each then. */
int tni_mixture_has_segments(const tni_mixture *mixture);

/* `ahead` batches are made before they are asked for; the datasets are then
 * called by a thread of their own. The mixture outlives the data. */
tn_status tni_data_open(const tn_host *host, const tni_mixture *mixture,
                        const tn_dataset_request *request, int64_t ahead,
                        tni_data *data, tn_error *err);
void tni_data_close(tni_data *data);

/* The next batch. Allocates nothing, but the first call may start the thread.
 */
tn_status tni_data_next(tni_data *data, tn_batch *batch, tn_error *err);

/* The place of the batch that tni_data_next gives next, however many have been
 * made ahead. */
void tni_data_save(const tni_data *data, tni_data_cursor *cursor);
tn_status tni_data_restore(tni_data *data, const tni_data_cursor *cursor,
                           tn_error *err);

/* ---- ahead.c ---- */

typedef struct tni_ahead tni_ahead;

/* Room for `batches`; nothing runs yet. */
tn_status tni_ahead_create(tni_data *data, int64_t batches, tn_error *err);
void tni_ahead_destroy(tni_ahead *ahead); /* NULL is fine */
/* Throw away what was made; the thread is gone when this returns. */
void tni_ahead_stop(tni_ahead *ahead);
tn_status tni_ahead_next(tni_data *data, tn_batch *batch, tn_error *err);
/* 0: nothing was made ahead, the datasets stand where the run does. */
int tni_ahead_place(const tni_ahead *ahead, tni_data_cursor *cursor);

/* ---- data.c, for ahead.c: both on the datasets themselves ---- */

tn_status tni_data_make(tni_data *data, tn_batch *batch, tn_error *err);
void tni_data_stand(const tni_data *data, tni_data_cursor *cursor);

#endif
