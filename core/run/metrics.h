/*
 * metrics.h - what a run reports, and metrics.jsonl in its folder.
 */
#ifndef TENON_METRICS_H
#define TENON_METRICS_H

#include <stdio.h>

#include <tenon/base.h>

#include "base/arena.h"

/* One report: an optimizer step, and an evaluation where there was one. */
typedef struct tni_metrics {
    int64_t step;     /* updates done, this one included */
    double loss;      /* mean cross-entropy of the step, nats per token */
    double auxiliary; /* auxiliary losses per token; 0 where there are none */
    double grad_norm;
    double learning_rate; /* of the first optimizer group */
    double epoch;         /* passes over the training set; 0: it is endless */
    double steps_per_second;
    double tokens_per_second;
    int64_t tokens; /* since the beginning of the run */
    int32_t has_val;
    double val_loss;          /* nats per token */
    double val_bits_per_byte; /* 0 where bytes are unknown */
} tni_metrics;

/* One line of JSON, with the keys of the manual, without a newline. Returns
 * its length; `size` of 1 KiB is enough. Allocates nothing. */
size_t tni_metrics_json(const tni_metrics *metrics, char *to, size_t size);

/* metrics.jsonl, opened for appending. Lines of steps after `step` (of a run
 * that was killed past its last checkpoint) are dropped; step 0 starts anew. */
tn_status tni_metrics_open(const char *dir, int64_t step, FILE **file,
                           tn_error *err);

/* The reports in a run's folder, oldest first, in the arena. */
tn_status tni_metrics_read(tni_arena *arena, const char *dir,
                           tni_metrics **metrics, size_t *count, tn_error *err);

#endif
