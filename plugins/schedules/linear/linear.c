/*
 * linear.c - a warm-up, then a straight line down to `final`.
 *
 * With W warm-up steps of S: step W - 1 has reached 1, step W still has it,
 * and step S - 1, the last, has `final`. Steps past the last keep it.
 */
#include <tenon/schedule.h>

#include "../ramp.h"

typedef struct linear_options {
    int64_t warmup_steps;
    double final;
} linear_options;

static const tn_option options[] = {
    TN_OPTION_INT(linear_options, warmup_steps, 0, 0, 1e15, TNI_WARMUP_HELP),
    TN_OPTION_FLOAT(linear_options, final, 0, 0, 1, TNI_FINAL_HELP),
};

static double linear_multiplier(const void *options_, int64_t step,
                                int64_t max_steps)
{
    const linear_options *o = options_;
    if (step < o->warmup_steps)
        return tni_warmup(step, o->warmup_steps);
    const double p = tni_progress(step, o->warmup_steps, max_steps - 1);
    return o->final + (1.0 - o->final) * (1.0 - p);
}

TN_SCHEDULE(linear) = {
    .summary = "a warm-up, then a straight line down to `final`",
    .options = TN_OPTIONS(linear_options, options),
    .multiplier = linear_multiplier,
};
