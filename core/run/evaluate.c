/*
 * evaluate.c - the validation loss.
 *
 * Each evaluation starts at the same cursor, so that two of them differ only by
 * the weights. Over a whole set the last batch is filled up from its beginning;
 * those rows are masked.
 */
#include "run/evaluate.h"

#include <math.h>
#include <stdlib.h>

tn_dataset_request tni_data_request(const tni_recipe *r,
                                    const tn_tokenizer_handle *tokenizer)
{
    return (tn_dataset_request){
        .struct_size = sizeof(tn_dataset_request),
        .batch_size = r->train.batch_size,
        .seq_len = r->train.seq_len,
        .vocab_size = tni_model_vocab_size(r->model),
        .seed = (uint64_t)r->seed,
        .tokenizer = tokenizer->vtable ? tokenizer : NULL,
    };
}

tn_batch tni_batch_create(const tni_recipe *r)
{
    const size_t count = (size_t)(r->train.batch_size * r->train.seq_len);
    tn_batch batch = {.struct_size = sizeof batch};
    batch.tokens = calloc(3 * count, sizeof *batch.tokens);
    batch.targets = batch.tokens ? batch.tokens + count : NULL;
    batch.segments = batch.tokens ? batch.targets + count : NULL;
    return batch;
}

void tni_batch_destroy(tn_batch *batch)
{
    free(batch->tokens);
    *batch = (tn_batch){0};
}

/* How many batches, and how much of the last one. */
static void set_extent(tni_evaluator *e, int64_t max_batches)
{
    const int64_t rows = e->training->recipe->train.batch_size;
    const int64_t windows = e->data.info.rows_per_epoch;
    const int64_t whole = (windows + rows - 1) / rows;
    e->batches = max_batches;
    e->last_rows = rows;
    if (windows && (!max_batches || max_batches >= whole)) {
        e->batches = whole;
        e->last_rows = windows - (whole - 1) * rows;
    }
}

tn_status tni_evaluator_open(tni_training *t,
                             const tn_tokenizer_handle *tokenizer,
                             int64_t max_batches, tni_evaluator *evaluator,
                             tn_error *err)
{
    const tni_recipe *r = t->recipe;
    const tn_dataset_request request = tni_data_request(r, tokenizer);
    tni_evaluator e = {.training = t};
    TN_TRY(
        tni_data_open(r->reader.host, &r->val_data, &request, 0, &e.data, err));
    e.batch = tni_batch_create(r);
    if (!e.batch.tokens) {
        tni_evaluator_close(&e);
        return tn_fail(err, TN_ENOMEM, "no memory for a validation batch");
    }
    set_extent(&e, max_batches);
    if (!e.batches) {
        tni_evaluator_close(&e);
        return tn_fail(err, TN_EINVALID,
                       "train.eval_batches: 0 asks for the whole validation "
                       "set, but %s never ends; give a number",
                       r->val_data.name);
    }
    tni_data_save(&e.data, &e.start);
    *evaluator = e;
    return TN_OK;
}

void tni_evaluator_close(tni_evaluator *e)
{
    tni_batch_destroy(&e->batch);
    tni_data_close(&e->data);
}

static void mask_rows_from(tni_evaluator *e, int64_t first)
{
    const tni_train_options *o = &e->training->recipe->train;
    for (int64_t i = first * o->seq_len; i < o->batch_size * o->seq_len; i++)
        e->batch.targets[i] = -1;
}

tn_status tni_evaluate(tni_evaluator *e, tni_score *score, tn_error *err)
{
    const int64_t rows = e->training->recipe->train.batch_size;
    double both[2] = {0.0, 0.0}, bytes = 0.0; /* cross-entropy and targets */
    TN_TRY(tni_data_restore(&e->data, &e->start, err));
    for (int64_t i = 0; i < e->batches; i++) {
        const int64_t count = i + 1 < e->batches ? rows : e->last_rows;
        double sum, tokens;
        TN_TRY(tni_data_next(&e->data, &e->batch, err));
        mask_rows_from(e, count);
        TN_TRY(tni_training_score(e->training, &e->batch, &sum, &tokens, err));
        both[0] += sum;
        both[1] += tokens;
        /* rows of a batch stand for about the same number of bytes each */
        bytes += (double)e->batch.bytes * (double)count / (double)rows;
    }
    if (e->ranks)
        TN_TRY(tni_ranks_sum(e->ranks, both, 2, err));
    *score =
        (tni_score){.loss = both[1] > 0 ? both[0] / both[1] : (double)NAN,
                    .bits_per_byte = bytes > 0 ? both[0] / bytes / M_LN2 : 0,
                    .tokens = both[1]};
    return TN_OK;
}
