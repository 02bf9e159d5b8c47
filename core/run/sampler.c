/*
 * sampler.c - cut, weigh, draw.
 */
#include "run/sampler.h"

#include <math.h>
#include <stdlib.h>

#include <tenon/philox.h>

enum { STREAM = 0x73616d70 }; /* "samp": apart from streams of dropout */

static tn_status check(const tni_sampling *o, tn_error *err)
{
    if (!(o->temperature >= 0) || !isfinite(o->temperature))
        return tn_fail(err, TN_EINVALID,
                       "temperature %g is outside [0, infinity)",
                       o->temperature);
    if (o->top_k < 0)
        return tn_fail(err, TN_EINVALID, "top-k %lld is negative; 0 means all",
                       (long long)o->top_k);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return tn_fail(err, TN_EINVALID, "top-p %g is outside (0, 1]",
                       o->top_p);
    return TN_OK;
}

tn_status tni_sampler_init(tni_sampler *s, const tni_sampling *options,
                           int64_t vocab_size, tn_error *err)
{
    TN_TRY(check(options, err));
    tni_sampler made = {.options = *options, .vocab_size = vocab_size};
    made.candidates = calloc((size_t)vocab_size, sizeof *made.candidates);
    made.weights = calloc((size_t)vocab_size, sizeof *made.weights);
    if (!made.candidates || !made.weights) {
        tni_sampler_fini(&made);
        return tn_fail(err, TN_ENOMEM, "no memory to sample from %lld tokens",
                       (long long)vocab_size);
    }
    *s = made;
    return TN_OK;
}

void tni_sampler_fini(tni_sampler *s)
{
    free(s->candidates);
    free(s->weights);
    *s = (tni_sampler){0};
}

static int likelier_first(const void *a, const void *b)
{
    const tni_candidate_token *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Finite logits as candidates, the likeliest at [0]. */
static int64_t gather(tni_sampler *s, const float *logits)
{
    int64_t count = 0, best = 0;
    for (int64_t i = 0; i < s->vocab_size; i++) {
        if (!isfinite(logits[i]))
            continue;
        s->candidates[count] = (tni_candidate_token){(int32_t)i, logits[i]};
        if (logits[i] > s->candidates[best].logit)
            best = count;
        count++;
    }
    if (count) {
        const tni_candidate_token first = s->candidates[0];
        s->candidates[0] = s->candidates[best];
        s->candidates[best] = first;
    }
    return count;
}

/* The sum of weights, exp of logits against the largest. */
static double weigh(tni_sampler *s, int64_t count)
{
    double sum = 0.0;
    for (int64_t i = 0; i < count; i++) {
        const double above =
            (double)s->candidates[i].logit - (double)s->candidates[0].logit;
        s->weights[i] = exp(above / s->options.temperature);
        sum += s->weights[i];
    }
    return sum;
}

/* How many of the sorted candidates reach top_p of `sum`. */
static int64_t nucleus(const tni_sampler *s, int64_t count, double *sum)
{
    const double enough = s->options.top_p * *sum;
    double reached = 0.0;
    for (int64_t i = 0; i < count; i++) {
        reached += s->weights[i];
        if (reached >= enough) {
            *sum = reached;
            return i + 1;
        }
    }
    return count;
}

tn_status tni_sampler_next(tni_sampler *s, const float *logits, int32_t *token,
                           tn_error *err)
{
    const tni_sampling *o = &s->options;
    int64_t count = gather(s, logits);
    if (!count)
        return tn_fail(err, TN_ENONFINITE,
                       "no logit is finite: the weights are damaged or the "
                       "run that made them diverged");
    if (o->temperature > 0 && (o->top_k || o->top_p < 1)) {
        qsort(s->candidates, (size_t)count, sizeof *s->candidates,
              likelier_first);
        count = o->top_k && o->top_k < count ? o->top_k : count;
    }
    *token = s->candidates[0].id;
    if (o->temperature <= 0)
        return TN_OK;

    double sum = weigh(s, count);
    if (o->top_p < 1)
        count = nucleus(s, count, &sum);
    double left = sum * (double)tn_philox_uniform((uint32_t)o->seed, STREAM,
                                                  s->draws++, 0);
    for (int64_t i = 0; i < count; i++) {
        *token = s->candidates[i].id;
        left -= s->weights[i];
        if (left < 0)
            break;
    }
    return TN_OK;
}
