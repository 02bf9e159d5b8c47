/*
 * train.h - the training loop.
 *
 * It prints nothing: what happens is told to an observer. Inside the loop
 * nothing is allocated, looked up by name or decided.
 */
#ifndef TENON_TRAIN_H
#define TENON_TRAIN_H

#include <signal.h>

#include "run/checkpoint.h"
#include "run/metrics.h"

/* What is known before step 1. */
typedef struct tni_train_start {
    int64_t step; /* of the checkpoint taken up; 0: from the beginning */
    int64_t max_steps;
    const char *resumed_from; /* NULL: from the beginning */
    int64_t parameters;
    int64_t tokens_per_step;
    double flops_per_token; /* forward and backward */
    int64_t memory_bytes;   /* of all arenas */
    const char *backend, *device;
    uint32_t processes; /* that train together */
    const char *dir;
} tni_train_start;

/* Any member may be NULL. */
typedef struct tni_train_observer {
    void *to;
    void (*start)(void *to, const tni_train_start *start);
    void (*step)(void *to, const tni_metrics *metrics);   /* every step */
    void (*report)(void *to, const tni_metrics *metrics); /* every log_every,
                                                  and with each evaluation */
    void (*saved)(void *to, const char *path, int64_t step);
} tni_train_observer;

typedef struct tni_train_request {
    const tni_recipe *recipe;
    const char *resume; /* NULL: from the beginning; "auto"; a checkpoint */
    const volatile sig_atomic_t *stop; /* not 0: finish the step and save */
    const tni_train_observer *observer;
} tni_train_request;

/*
 * Train to the recipe's max_steps. TN_EINTERRUPTED after `stop`, with a
 * checkpoint saved; TN_ENONFINITE with the step, the first layer that went
 * wrong and the last good checkpoint.
 */
tn_status tni_train(const tni_train_request *request, tn_error *err);

#endif
