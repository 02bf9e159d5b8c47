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

#include "run/tally.h"

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

static tn_status open(tni_evaluator *e, const tn_tokenizer_handle *tokenizer,
                      int64_t max_batches, tn_error *err)
{
    const tni_recipe *r = e->training->recipe;
    const tn_dataset_request request = tni_data_request(r, tokenizer);
    TN_TRY(tni_data_open(r->reader.host, &r->val_data, &request, 0, &e->data,
                         err));
    e->batch = tni_batch_create(r);
    e->nll = malloc((size_t)(tni_recipe_rows(r) * r->train.seq_len) *
                    sizeof *e->nll);
    if (!e->batch.tokens || !e->nll)
        return tn_fail(err, TN_ENOMEM, "no memory for a validation batch");
    TN_TRY(tni_tally_lengths(tokenizer, request.vocab_size, &e->lengths, err));
    set_extent(e, max_batches);
    if (!e->batches)
        return tn_fail(err, TN_EINVALID,
                       "train.eval_batches: 0 asks for the whole validation "
                       "set, but %s never ends; give a number",
                       r->val_data.name);
    tni_data_save(&e->data, &e->start);
    return TN_OK;
}

tn_status tni_evaluator_open(tni_training *t,
                             const tn_tokenizer_handle *tokenizer,
                             int64_t max_batches, tni_evaluator *evaluator,
                             tn_error *err)
{
    tni_evaluator e = {.training = t};
    const tn_status status = open(&e, tokenizer, max_batches, err);
    if (status != TN_OK)
        tni_evaluator_close(&e);
    else
        *evaluator = e;
    return status;
}

void tni_evaluator_close(tni_evaluator *e)
{
    tni_batch_destroy(&e->batch);
    tni_data_close(&e->data);
    free(e->nll);
    free(e->lengths);
}

static void mask_rows_from(tni_evaluator *e, int64_t first)
{
    const tni_train_options *o = &e->training->recipe->train;
    for (int64_t i = first * o->seq_len; i < o->batch_size * o->seq_len; i++)
        e->batch.targets[i] = -1;
}

/* The rows of this process. */
static tn_status score_batch(tni_evaluator *e, tni_tally *tally, tn_error *err)
{
    const tni_recipe *r = e->training->recipe;
    const int64_t T = r->train.seq_len;
    TN_TRY(tni_training_score(e->training, &e->batch, e->nll, err));
    tni_tally_add(tally, e->lengths,
                  e->batch.targets + tni_recipe_first_row(r) * T, e->nll,
                  tni_recipe_rows(r) * T);
    return TN_OK;
}

static tn_status sum_over_ranks(const tni_ranks *ranks, tni_tally *t,
                                tn_error *err)
{
    double all[] = {t->nats, t->tokens, t->text_nats, t->bytes};
    TN_TRY(tni_ranks_sum(ranks, all, 4, err));
    *t = (tni_tally){all[0], all[1], all[2], all[3]};
    return TN_OK;
}

tn_status tni_evaluate(tni_evaluator *e, tni_score *score, tn_error *err)
{
    tni_tally tally = {0};
    TN_TRY(tni_data_restore(&e->data, &e->start, err));
    for (int64_t i = 0; i < e->batches; i++) {
        TN_TRY(tni_data_next(&e->data, &e->batch, err));
        if (i + 1 == e->batches)
            mask_rows_from(e, e->last_rows);
        TN_TRY(score_batch(e, &tally, err));
    }
    if (e->ranks)
        TN_TRY(sum_over_ranks(e->ranks, &tally, err));
    *score = (tni_score){.loss = tally.tokens > 0 ? tally.nats / tally.tokens
                                                  : (double)NAN,
                         .bits_per_byte = tni_tally_bits_per_byte(&tally),
                         .tokens = tally.tokens};
    return TN_OK;
}
