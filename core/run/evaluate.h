/*
 * evaluate.h - mean cross-entropy over the same part of the validation set,
 * every time.
 */
#ifndef TENON_EVALUATE_H
#define TENON_EVALUATE_H

#include "run/ranks.h"

typedef struct tni_evaluator {
    tni_training *training;
    const tni_ranks *ranks; /* that share its rows; NULL: this process alone */
    tni_data data;
    tni_data_cursor start; /* where each evaluation begins */
    tn_batch batch;
    float *nll;        /* of this process's rows of it */
    int32_t *lengths;  /* bytes of text by id; NULL: no tokenizer */
    int64_t batches;   /* of an evaluation */
    int64_t last_rows; /* rows of the last batch that count */
} tni_evaluator;

typedef struct tni_score {
    double loss;          /* nats per token */
    double bits_per_byte; /* 0 where bytes are unknown */
    double tokens;
} tni_score;

/* max_batches 0: the whole set. */
tn_status tni_evaluator_open(tni_training *training,
                             const tn_tokenizer_handle *tokenizer,
                             int64_t max_batches, tni_evaluator *evaluator,
                             tn_error *err);
void tni_evaluator_close(tni_evaluator *evaluator);

/* Allocates nothing. With ranks, the same score on each. */
tn_status tni_evaluate(tni_evaluator *evaluator, tni_score *score,
                       tn_error *err);

/* What a dataset is asked for in this run. */
tn_dataset_request tni_data_request(const tni_recipe *recipe,
                                    const tn_tokenizer_handle *tokenizer);
/* Memory of a batch; tokens NULL where there is none. */
tn_batch tni_batch_create(const tni_recipe *recipe);
void tni_batch_destroy(tn_batch *batch);

#endif
