/*
 * interrupt.c - the one place where this program handles signals.
 */
#include "cli/interrupt.h"

#include <string.h>
#include <time.h>

enum { ECHO_SECONDS = 1 };

static volatile sig_atomic_t interrupted;
static struct timespec first; /* when */

static double seconds_since(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then->tv_sec) +
           1e-9 * (double)(now.tv_nsec - then->tv_nsec);
}

static void ask(int number)
{
    clock_gettime(CLOCK_MONOTONIC, &first);
    interrupted = number;
}

/* timeout(1), a terminal and a job's manager signal a process and its group at
 * once: what follows at once is the same wish. */
static void on_signal(int number)
{
    if (!interrupted) {
        ask(number);
    } else if (seconds_since(&first) > ECHO_SECONDS) {
        signal(number, SIG_DFL);
        raise(number); /* when this handler returns */
    }
}

const volatile sig_atomic_t *tni_interrupt_watch(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = (int)SA_RESTART;
    sigaddset(&action.sa_mask, SIGINT);
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN);
    return &interrupted;
}

void tni_interrupt_ask(void)
{
    if (!interrupted)
        ask(SIGTERM);
}

void tni_interrupt_ignore_pipe(void)
{
    signal(SIGPIPE, SIG_IGN);
}

void tni_interrupt_again(void)
{
    interrupted = 0;
}
