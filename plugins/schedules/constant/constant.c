/*
 * constant.c - a warm-up, then 1 for ever.
 */
#include <tenon/schedule.h>

#include "../ramp.h"

typedef struct constant_options {
    int64_t warmup_steps;
} constant_options;

static const tn_option options[] = {
    TN_OPTION_INT(constant_options, warmup_steps, 0, 0, 1e15, TNI_WARMUP_HELP),
};

static double constant_multiplier(const void *options_, int64_t step,
                                  int64_t max_steps)
{
    (void)max_steps;
    const constant_options *o = options_;
    return tni_warmup(step, o->warmup_steps);
}

TN_SCHEDULE(constant) = {
    .summary = "a warm-up, then the peak learning rate",
    .options = TN_OPTIONS(constant_options, options),
    .multiplier = constant_multiplier,
};
