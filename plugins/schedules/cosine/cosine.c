/*
 * cosine.c - a warm-up, then half a cosine down to `final`.
 *
 * With W warm-up steps of S: step W - 1 has reached 1, step W still has it,
 * and step S - 1, the last, has `final`. Steps past the last keep it.
 *
 * Source: Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts,
 * arXiv:1608.03983.
 */
#include <math.h>

#include <tenon/schedule.h>

#include "../ramp.h"

typedef struct cosine_options {
    int64_t warmup_steps;
    double final;
} cosine_options;

static const tn_option options[] = {
    TN_OPTION_INT(cosine_options, warmup_steps, 0, 0, 1e15, TNI_WARMUP_HELP),
    TN_OPTION_FLOAT(cosine_options, final, 0, 0, 1, TNI_FINAL_HELP),
};

static double cosine_multiplier(const void *options_, int64_t step,
                                int64_t max_steps)
{
    const cosine_options *o = options_;
    if (step < o->warmup_steps)
        return tni_warmup(step, o->warmup_steps);
    const double pi = 3.14159265358979323846;
    const double p = tni_progress(step, o->warmup_steps, max_steps - 1);
    return o->final + (1.0 - o->final) * 0.5 * (1.0 + cos(pi * p));
}

TN_SCHEDULE(cosine) = {
    .summary = "a warm-up, then half a cosine down to `final`",
    .options = TN_OPTIONS(cosine_options, options),
    .multiplier = cosine_multiplier,
};
