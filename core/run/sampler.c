/*
 * sampler.c - the options of a run and a number that is drawn.
 */
#include "run/sampler.h"

#include <tenon/philox.h>

enum { STREAM = 0x73616d70 }; /* "samp": apart from streams of dropout */

tn_status tni_sampler_init(tni_sampler *s, const tni_sampling *o,
                           int64_t vocab_size, tn_error *err)
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
    *s = (tni_sampler){.options = *o, .vocab_size = vocab_size};
    return TN_OK;
}

tn_sample_how tni_sampler_how(tni_sampler *s)
{
    const tni_sampling *o = &s->options;
    const int64_t all = s->vocab_size;
    tn_sample_how how = {.temperature = (float)o->temperature,
                         .top_p = (float)o->top_p,
                         .top_k = (int32_t)(o->top_k < all ? o->top_k : 0),
                         .ids = (int32_t)all};
    if (how.temperature > 0)
        how.u = tn_philox_uniform((uint32_t)o->seed, STREAM, s->draws++, 0);
    return how;
}

tn_status tni_sampler_check(int32_t token, tn_error *err)
{
    if (token >= 0)
        return TN_OK;
    return tn_fail(err, TN_ENONFINITE,
                   "no logit is finite: the weights are damaged or the run "
                   "that made them diverged");
}

tn_status tni_sampler_next(tni_sampler *s, const float *logits, int32_t *token,
                           tn_error *err)
{
    const tn_sample_how how = tni_sampler_how(s);
    *token = tn_sample(logits, &how);
    return tni_sampler_check(*token, err);
}
