/*
 * sampler.h - from logits to the next token.
 *
 * temperature 0 takes the most likely token. Otherwise logits / temperature
 * are cut to the top_k most likely, then to the smallest set whose probability
 * reaches top_p, and one is drawn: tenon/sample.h says how, to the last bit.
 * The draw number i of a seed is the same on every machine.
 */
#ifndef TENON_SAMPLER_H
#define TENON_SAMPLER_H

#include <tenon/sample.h>

typedef struct tni_sampling {
    double temperature; /* >= 0 */
    int64_t top_k;      /* 0: all */
    double top_p;       /* (0, 1]; 1: all */
    uint64_t seed;
} tni_sampling;

typedef struct tni_sampler {
    tni_sampling options;
    int64_t vocab_size;
    uint32_t draws;
} tni_sampler;

/* TN_EINVALID where an option is out of range. */
tn_status tni_sampler_init(tni_sampler *sampler, const tni_sampling *options,
                           int64_t vocab_size, tn_error *err);

/* How the next token is drawn. */
tn_sample_how tni_sampler_how(tni_sampler *sampler);

/* TN_ENONFINITE where a draw came to -1: no logit is finite. */
tn_status tni_sampler_check(int32_t token, tn_error *err);

/* A token of the first vocab_size logits. Ties: the lower id. */
tn_status tni_sampler_next(tni_sampler *sampler, const float *logits,
                           int32_t *token, tn_error *err);

#endif
