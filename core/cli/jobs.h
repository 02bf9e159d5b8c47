/*
 * jobs.h - other `tenon` processes, a few at a time.
 */
#ifndef TENON_CLI_JOBS_H
#define TENON_CLI_JOBS_H

#include <signal.h>

#include "cli/command.h"

typedef struct tni_job {
    const char *const *words; /* "tenon", its arguments, NULL */
    const char *log; /* where its stderr is added; stdout is lost */
    int started;
    int status; /* its exit status, 128 + signal where one ended it */
    long pid;
    double seconds;
} tni_job;

/* Told once a job has ended. */
typedef void (*tni_job_ended)(void *to, const tni_job *job);

/*
 * Run them in order, `at_once` at a time, each with its share of the cores.
 * After `stop` no more are started, and those that run are asked to save and
 * end; so they are where this process dies.
 */
tn_status tni_jobs_run(tni_job *jobs, uint32_t count, uint32_t at_once,
                       const volatile sig_atomic_t *stop, tni_job_ended ended,
                       void *to, tn_error *err);

#endif
