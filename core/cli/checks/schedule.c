/*
 * schedule.c - multipliers that a run can live with.
 */
#include <math.h>
#include <tenon/schedule.h>

#include "cli/checks/checks.h"

static const int64_t lengths[] = {1, 2, 10, 1000, 100000};

enum { LENGTHS = sizeof lengths / sizeof lengths[0] };

static tn_status check_one(const tn_schedule *schedule, const void *options,
                           int64_t step, int64_t max_steps, tn_error *err)
{
    const double once = schedule->multiplier(options, step, max_steps);
    const double again = schedule->multiplier(options, step, max_steps);
    if (!isfinite(once) || once < 0)
        return tn_fail(err, TN_EINVALID,
                       "step %lld of %lld has the multiplier %g; it must be "
                       "finite and not below 0",
                       (long long)step, (long long)max_steps, once);
    if (once < again || once > again)
        return tn_fail(err, TN_EINVALID,
                       "step %lld of %lld has the multiplier %.17g once and "
                       "%.17g when asked again: it must be pure",
                       (long long)step, (long long)max_steps, once, again);
    return TN_OK;
}

static int accepts(const tn_schedule *schedule, const void *options,
                   int64_t max_steps, tn_error *err)
{
    return !schedule->check ||
           schedule->check(options, max_steps, err) == TN_OK;
}

/* Short runs may be refused by its check; a long one must not be. */
static tn_status check_range(const tni_subject *s, tn_error *err)
{
    const tn_schedule *schedule = s->component->vtable;
    const void *options;
    TN_TRY(tni_subject_options(s, &options, err));
    if (!accepts(schedule, options, lengths[LENGTHS - 1], err))
        return err->status;
    for (int i = 0; i < LENGTHS; i++) {
        tn_error refused = {0};
        if (!accepts(schedule, options, lengths[i], &refused))
            continue;
        for (int64_t step = 0; step < lengths[i]; step++)
            TN_TRY(check_one(schedule, options, step, lengths[i], err));
    }
    return TN_OK;
}

static const tni_check checks[] = {
    {"gives finite multipliers, the same whenever asked", check_range, NULL},
};

const tni_check_list tni_checks_schedule = TNI_CHECK_LIST(checks);
