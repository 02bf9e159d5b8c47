/*
 * progress.h - how a training run looks from outside: a live line with a log
 * above it on a terminal, JSON lines anywhere else.
 */
#ifndef TENON_CLI_PROGRESS_H
#define TENON_CLI_PROGRESS_H

#include "cli/command.h"
#include "run/train.h"

typedef struct tni_progress_view {
    const tn_host *host;
    int32_t headless; /* JSON lines on stdout, messages to the log */
    int64_t max_steps;
    int64_t first_step;  /* of this process */
    double began, shown; /* seconds; when it started, was last drawn */
    int32_t started;     /* of several processes, the first one only */
    int32_t live;        /* a live line is on the screen */
    int32_t lost;        /* stdout cannot be written */
} tni_progress_view;

void tni_progress_view_init(tni_progress_view *view, const tni_cli *cli,
                            int headless);

/* The view as an observer of tni_train. */
tni_train_observer tni_progress_observer(tni_progress_view *view);

/* Take the live line away before anything else is printed. */
void tni_progress_clear(tni_progress_view *view);

#endif
