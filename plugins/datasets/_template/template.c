/*
 * template.c - a dataset that counts: a text every model can learn.
 *
 * Row r of the whole run starts at a token and counts on by a stride, both
 * drawn from (seed, r), modulo the vocabulary:
 *
 *     seed 1, row 0:   17 20 23 26 29 ...
 *
 * Where it stands is one number, the next row: everything a dataset hands out
 * must follow from its options, the seed and its cursor, so that a resumed run
 * sees what an uninterrupted one would have seen.
 */
#include <stdlib.h>

#include <tenon/dataset.h>
#include <tenon/philox.h>

typedef struct {
    int64_t max_stride;
} template_options;

static const tn_option options[] = {
    TN_OPTION_INT(template_options, max_stride, 3, 1, 1000,
                  "rows count on by 1 to this many"),
};

typedef struct counting {
    int64_t batch_size, seq_len, vocab_size, max_stride;
    uint64_t seed;
    uint64_t next_row;
} counting;

static tn_status counting_open(const tn_host *host,
                               const tn_dataset_request *request,
                               const void *given, void **self_, tn_error *err)
{
    const template_options *o = given;
    counting *self = calloc(1, sizeof *self);
    (void)host;
    if (!self)
        return tn_fail(err, TN_ENOMEM, "out of memory");
    *self = (counting){.batch_size = request->batch_size,
                       .seq_len = request->seq_len,
                       .vocab_size = request->vocab_size,
                       .max_stride = o->max_stride,
                       .seed = request->seed};
    *self_ = self;
    return TN_OK;
}

static void counting_close(void *self)
{
    free(self);
}

static void counting_info(const void *self, tn_dataset_info *info)
{
    (void)self;
    info->rows_per_epoch = 0; /* endless */
    info->tokens = 0;
}

static void fill_row(const counting *self, uint64_t row, int32_t *tokens,
                     int32_t *targets)
{
    const uint32_t key[2] = {(uint32_t)self->seed,
                             (uint32_t)(self->seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)row, (uint32_t)(row >> 32), 0, 0};
    uint32_t draw[4];
    tn_philox(key, counter, draw);
    const int64_t start = draw[0] % self->vocab_size;
    const int64_t stride = 1 + draw[1] % self->max_stride;
    for (int64_t t = 0; t < self->seq_len; t++) {
        tokens[t] = (int32_t)((start + t * stride) % self->vocab_size);
        targets[t] = (int32_t)((start + (t + 1) * stride) % self->vocab_size);
    }
}

static tn_status counting_next(void *self_, tn_batch *batch, tn_error *err)
{
    counting *self = self_;
    (void)err;
    for (int64_t r = 0; r < self->batch_size; r++) {
        const int64_t at = r * self->seq_len;
        fill_row(self, self->next_row++, batch->tokens + at,
                 batch->targets + at);
    }
    batch->bytes = 0; /* these tokens stand for no text */
    return TN_OK;
}

static void counting_save(const void *self, tn_cursor *cursor)
{
    *cursor = (tn_cursor){{((const counting *)self)->next_row}};
}

static tn_status counting_restore(void *self, const tn_cursor *cursor,
                                  tn_error *err)
{
    (void)err;
    ((counting *)self)->next_row = cursor->word[0];
    return TN_OK;
}

TN_DATASET(template) = {
    .summary = "rows that count on by a stride, modulo the vocabulary",
    .options = TN_OPTIONS(template_options, options),
    .open = counting_open,
    .close = counting_close,
    .info = counting_info,
    .next = counting_next,
    .save = counting_save,
    .restore = counting_restore,
};
