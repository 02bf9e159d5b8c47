/*
 * score.h - what a model thinks of given tokens: a forward pass without
 * gradients, optimizer state or a cache.
 *
 * Rows of one batch have one length; each power of two from 32 up to the
 * longest is a plan of its own, compiled when it is first needed, so that short
 * rows cost what short rows cost.
 */
#ifndef TENON_SCORE_H
#define TENON_SCORE_H

#include <signal.h>

#include "run/session.h"

enum { TNI_SCORER_PLANS = 16 };

typedef struct tni_scorer {
    tni_session *session;
    int64_t batch_size, seq_len;     /* most rows and tokens at once */
    int apart;                       /* documents of a row are kept apart */
    uint32_t plan[TNI_SCORER_PLANS]; /* + 1; 0: not compiled */
    int32_t *firsts;                 /* (B, T) */
    float *nll; /* (B, T) of the last batch, nats; 0 where a target is -1 */
} tni_scorer;

tn_status tni_scorer_create(const tni_recipe *recipe, const char *weights,
                            int64_t batch_size, int64_t seq_len, int apart,
                            tni_scorer **scorer, tn_error *err);
void tni_scorer_destroy(tni_scorer *scorer); /* NULL is fine */

/* The length of rows that a row of `tokens` is padded to. */
int64_t tni_scorer_length(const tni_scorer *scorer, int64_t tokens);

/* batch_size rows of `length`, one that tni_scorer_length gives; segments may
 * be NULL. Only nll is changed. */
tn_status tni_scorer_run(tni_scorer *scorer, int64_t length,
                         const int32_t *tokens, const int32_t *targets,
                         const int32_t *segments, tn_error *err);

/* TN_ENONFINITE where `loss`, over what `what` names, is no number: such a
 * model has no score. */
tn_status tni_score_check(const char *what, double loss, tn_error *err);

/* ---- score_data.c ---- */

/* One dataset's sums (tally.h), and what they come to. */
typedef struct tni_data_score {
    double tokens, bytes;
    double loss, perplexity; /* nats per token, and its exp */
    double bits_per_byte;    /* 0 without a tokenizer */
    int64_t batches;
} tni_data_score;

typedef struct tni_score_request {
    const tn_tokenizer_handle *tokenizer; /* vtable NULL: none */
    const tni_mixture *mixture;
    int64_t max_batches;               /* 0: the whole set, which must end */
    const volatile sig_atomic_t *stop; /* TN_EINTERRUPTED where not 0; NULL */
    void (*progress)(void *to, double share); /* may be NULL */
    void *to;
} tni_score_request;

/* The recipe's train.batch_size and seq_len must be those of the scorer. */
tn_status tni_score_data(tni_scorer *scorer, const tni_score_request *request,
                         tni_data_score *score, tn_error *err);

#endif
