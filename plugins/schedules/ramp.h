/*
 * ramp.h - the parts that schedules share.
 */
#ifndef TENON_RAMP_H
#define TENON_RAMP_H

#include <stdint.h>

/* The help of the options that every schedule spells the same. */
#define TNI_WARMUP_HELP                                                        \
    "updates over which the multiplier rises to 1: update k of n has k / n"
#define TNI_FINAL_HELP "multiplier of the last update"

/* Rises in steps of 1 / warmup to 1, which update `warmup` (counted from 1)
 * is the first to have. */
static inline double tni_warmup(int64_t step, int64_t warmup)
{
    return step < warmup ? (double)(step + 1) / (double)warmup : 1.0;
}

/* How far a decay has come: 0 at step `first`, 1 at step `last` and after. */
static inline double tni_progress(int64_t step, int64_t first, int64_t last)
{
    if (step >= last)
        return 1.0;
    return step <= first ? 0.0
                         : (double)(step - first) / (double)(last - first);
}

#endif
