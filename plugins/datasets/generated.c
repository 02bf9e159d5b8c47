/*
 * generated.c - the part of a dataset that is the same whatever its rows are.
 */
#include "generated.h"

#include <stdlib.h>
#include <string.h>

tn_status tni_generated_init(tni_generated *g, int64_t rows, int32_t shuffle,
                             const tn_dataset_request *request, tn_error *err)
{
    g->batch_size = request->batch_size;
    g->seq_len = request->seq_len;
    g->vocab_size = request->vocab_size;
    g->order = (tni_order){.seed = request->seed,
                           .count = (uint64_t)rows,
                           .shuffle = shuffle != 0};
    g->row = malloc((size_t)(g->seq_len + 1) * sizeof *g->row);
    if (!g->row)
        return tn_fail(err, TN_ENOMEM, "no memory for a row of %lld tokens",
                       (long long)g->seq_len);
    return TN_OK;
}

void tni_generated_fini(tni_generated *g)
{
    free(g->row);
}

void tni_generated_info(const void *self, tn_dataset_info *info)
{
    const tni_generated *g = self;
    info->rows_per_epoch = (int64_t)g->order.count;
    info->tokens = (int64_t)g->order.count * g->seq_len;
}

tn_status tni_generated_next(void *self, tn_batch *batch, tn_error *err)
{
    tni_generated *g = self;
    const size_t size = (size_t)g->seq_len * sizeof *g->row;
    (void)err;
    for (int64_t row = 0; row < g->batch_size; row++) {
        g->make(g, tni_order_at(&g->order, g->next++), g->row, g->seq_len + 1);
        memcpy(batch->tokens + row * g->seq_len, g->row, size);
        memcpy(batch->targets + row * g->seq_len, g->row + 1, size);
    }
    batch->bytes = 0;
    return TN_OK;
}

enum { NEXT, ROWS, SEQ_LEN, SHUFFLE, SEED, VOCABULARY };

void tni_generated_save(const void *self, tn_cursor *cursor)
{
    const tni_generated *g = self;
    *cursor = (tn_cursor){.word = {
                              [NEXT] = g->next,
                              [ROWS] = g->order.count,
                              [SEQ_LEN] = (uint64_t)g->seq_len,
                              [SHUFFLE] = g->order.shuffle,
                              [SEED] = g->order.seed,
                              [VOCABULARY] = (uint64_t)g->vocab_size,
                          }};
}

tn_status tni_generated_restore(void *self, const tn_cursor *cursor,
                                tn_error *err)
{
    static const char *const what[] = {
        [ROWS] = "rows",
        [SEQ_LEN] = "seq_len",
        [SHUFFLE] = "shuffle",
        [SEED] = "seed",
        [VOCABULARY] = "model.vocab_size",
    };
    tni_generated *g = self;
    tn_cursor now;
    tni_generated_save(g, &now);
    for (int i = ROWS; i <= VOCABULARY; i++)
        if (now.word[i] != cursor->word[i])
            return tn_fail(err, TN_EINVALID,
                           "data: %s was %llu when the run was saved and is "
                           "%llu now; resume with what it was, or start a new "
                           "run",
                           what[i], (unsigned long long)cursor->word[i],
                           (unsigned long long)now.word[i]);
    g->next = cursor->word[NEXT];
    return TN_OK;
}
