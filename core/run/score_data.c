/*
 * score_data.c - a dataset's loss, and its bits per byte.
 */
#include "run/score.h"

#include <math.h>
#include <stdlib.h>

#include "run/evaluate.h"
#include "run/tally.h"

typedef struct {
    tni_scorer *scorer;
    const tni_score_request *request;
    tni_data data;
    tn_batch batch;
    tni_tally tally;
    int32_t *length;            /* bytes of text by id; NULL: no tokenizer */
    int64_t batches, last_rows; /* to score; rows of the last that count */
} scoring;

/* The rows of one epoch, each once. */
static tn_status set_extent(scoring *n, tn_error *err)
{
    const int64_t rows = n->scorer->batch_size;
    const int64_t epoch = n->data.info.rows_per_epoch;
    const int64_t whole = (epoch + rows - 1) / rows;
    const int64_t most = n->request->max_batches;
    if (!epoch && !most)
        return tn_fail(err, TN_EINVALID,
                       "%s never ends; say how many batches to take with "
                       "--max-batches N",
                       n->request->mixture->name);
    n->batches = epoch && (!most || most >= whole) ? whole : most;
    n->last_rows = n->batches == whole ? epoch - (whole - 1) * rows : rows;
    return TN_OK;
}

static tn_status open(scoring *n, tn_error *err)
{
    const tni_recipe *r = n->scorer->session->recipe;
    const tn_dataset_request request =
        tni_data_request(r, n->request->tokenizer);
    TN_TRY(tni_data_open(r->reader.host, n->request->mixture, &request, 0,
                         &n->data, err));
    n->batch = tni_batch_create(r);
    if (!n->batch.tokens)
        return tn_fail(err, TN_ENOMEM, "no memory for a batch");
    TN_TRY(tni_tally_lengths(n->request->tokenizer, request.vocab_size,
                             &n->length, err));
    return set_extent(n, err);
}

static tn_status score_batch(scoring *n, tni_data_score *score, tn_error *err)
{
    const tni_score_request *q = n->request;
    const int64_t T = n->scorer->seq_len;
    const int last = score->batches + 1 == n->batches;
    if (q->stop && *q->stop)
        return tn_fail(err, TN_EINTERRUPTED, "interrupted");
    TN_TRY(tni_data_next(&n->data, &n->batch, err));
    TN_TRY(tni_scorer_run(n->scorer, T, n->batch.tokens, n->batch.targets,
                          n->batch.segments, err));
    tni_tally_add(&n->tally, n->length, n->batch.targets, n->scorer->nll,
                  (last ? n->last_rows : n->scorer->batch_size) * T);
    score->batches++;
    if (q->progress)
        q->progress(q->to, (double)score->batches / (double)n->batches);
    return TN_OK;
}

static tn_status run(scoring *n, tni_data_score *score, tn_error *err)
{
    TN_TRY(open(n, err));
    while (score->batches < n->batches)
        TN_TRY(score_batch(n, score, err));
    score->tokens = n->tally.tokens;
    score->bytes = n->tally.bytes;
    if (!(score->tokens > 0))
        return tn_fail(err, TN_EINVALID, "%s: nothing in it has a target",
                       n->request->mixture->name);
    score->loss = n->tally.nats / score->tokens;
    TN_TRY(tni_score_check(n->request->mixture->name, score->loss, err));
    score->perplexity = exp(score->loss);
    score->bits_per_byte = tni_tally_bits_per_byte(&n->tally);
    return TN_OK;
}

tn_status tni_score_data(tni_scorer *scorer, const tni_score_request *request,
                         tni_data_score *score, tn_error *err)
{
    scoring n = {.scorer = scorer, .request = request};
    *score = (tni_data_score){0};
    const tn_status status = run(&n, score, err);
    tni_batch_destroy(&n.batch);
    tni_data_close(&n.data);
    free(n.length);
    return status;
}
