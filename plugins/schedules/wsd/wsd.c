/*
 * wsd.c - warm-up, stable, decay: the peak until shortly before the end.
 *
 * The last D = decay_fraction * S steps of S (rounded, to the nearest) fall in
 * equal steps from 1 to `final`: step S - D - 1 is the last to have 1, step S -
 * 1 the first to have `final`; later ones keep it. Where warm-up and decay
 * meet, the lower one holds. The stable part does not depend on S, so a run can
 * be continued from before its decay.
 *
 * Source: Hu et al. 2024, "MiniCPM", section 4, arXiv:2404.06395; the straight
 * line instead of their exponential: Hägele et al. 2024, arXiv:2405.18392.
 */
#include <math.h>

#include <tenon/schedule.h>

#include "../ramp.h"

typedef struct wsd_options {
    int64_t warmup_steps;
    double decay_fraction;
    double final;
} wsd_options;

static const tn_option options[] = {
    TN_OPTION_INT(wsd_options, warmup_steps, 0, 0, 1e15, TNI_WARMUP_HELP),
    TN_OPTION_FLOAT(wsd_options, decay_fraction, 0.2, 0, 1,
                    "share of all updates that decay, at the end"),
    TN_OPTION_FLOAT(wsd_options, final, 0, 0, 1, TNI_FINAL_HELP),
};

static double wsd_multiplier(const void *options_, int64_t step,
                             int64_t max_steps)
{
    const wsd_options *o = options_;
    const int64_t decay = llround(o->decay_fraction * (double)max_steps);
    const double warm = tni_warmup(step, o->warmup_steps);
    if (decay == 0)
        return warm;
    const double p = tni_progress(step, max_steps - decay - 1, max_steps - 1);
    return fmin(warm, o->final + (1.0 - o->final) * (1.0 - p));
}

TN_SCHEDULE(wsd) = {
    .summary = "a warm-up, the peak, and a straight line down at the end",
    .options = TN_OPTIONS(wsd_options, options),
    .multiplier = wsd_multiplier,
};
