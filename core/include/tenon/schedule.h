/*
 * schedule.h - step number to a multiplier of the learning rate.
 */
#ifndef TENON_SCHEDULE_H
#define TENON_SCHEDULE_H

#include <tenon/plugin.h>

TN_BEGIN_DECLS

typedef struct tn_schedule {
    TN_COMPONENT_HEAD;
    /* May be NULL: refuses options no range can express. */
    tn_status (*check)(const void *options, int64_t max_steps, tn_error *err);
    /* step: 0 for the first update, max_steps - 1 for the last. Pure. */
    double (*multiplier)(const void *options, int64_t step, int64_t max_steps);
} tn_schedule;

#define TN_SCHEDULE(id) TN_SINGLE_(SCHEDULE, tn_schedule, id)

TN_END_DECLS
#endif
