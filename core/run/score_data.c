/*
 * score_data.c - a dataset's loss, and its bits per byte.
 *
 * Sums over all targets, divided once: rows of different lengths and a last
 * batch that is not full count for what they hold. Bits per byte compares
 * models with different vocabularies: nats of the targets that stand for text,
 * by the bytes of that text; markers are neither.
 */
#include "run/score.h"

#include <math.h>
#include <stdlib.h>

#include "run/evaluate.h"

typedef struct {
    tni_scorer *scorer;
    const tni_score_request *request;
    tni_data data;
    tn_batch batch;
    int32_t *length; /* bytes of text by id; NULL: no tokenizer */
    int64_t vocab_size;
    int64_t batches, last_rows; /* to score; rows of the last that count */
} scoring;

static tn_status measure_ids(scoring *n, tn_error *err)
{
    const tn_tokenizer_handle *t = n->request->tokenizer;
    if (!t->vtable)
        return TN_OK;
    n->length = calloc((size_t)n->vocab_size, sizeof *n->length);
    if (!n->length)
        return tn_fail(err, TN_ENOMEM, "no memory for %lld lengths",
                       (long long)n->vocab_size);
    const int64_t known = (int64_t)t->vtable->vocab_size(t->self);
    for (int64_t id = 0; id < known && id < n->vocab_size; id++) {
        const char *bytes;
        uint32_t count = 0;
        TN_TRY(t->vtable->bytes_of(t->self, (int32_t)id, &bytes, &count, err));
        n->length[id] = (int32_t)count;
    }
    return TN_OK;
}

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
    n->vocab_size = request.vocab_size;
    TN_TRY(tni_data_open(r->reader.host, n->request->mixture, &request, 0,
                         &n->data, err));
    n->batch = tni_batch_create(r);
    if (!n->batch.tokens)
        return tn_fail(err, TN_ENOMEM, "no memory for a batch");
    TN_TRY(measure_ids(n, err));
    return set_extent(n, err);
}

static void add(const scoring *n, int64_t count, tni_data_score *score)
{
    for (int64_t i = 0; i < count; i++) {
        const int32_t target = n->batch.targets[i];
        const double nats = (double)n->scorer->nll[i];
        if (target < 0)
            continue;
        score->nats += nats;
        score->tokens += 1;
        if (n->length && n->length[target]) {
            score->text_nats += nats;
            score->bytes += n->length[target];
        }
    }
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
    add(n, (last ? n->last_rows : n->scorer->batch_size) * T, score);
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
    if (!(score->tokens > 0))
        return tn_fail(err, TN_EINVALID, "%s: nothing in it has a target",
                       n->request->mixture->name);
    score->loss = score->nats / score->tokens;
    TN_TRY(tni_score_check(n->request->mixture->name, score->loss, err));
    score->perplexity = exp(score->loss);
    if (score->bytes > 0)
        score->bits_per_byte = score->text_nats / score->bytes / M_LN2;
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
