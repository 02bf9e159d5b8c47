/*
 * interrupt.c - the one place where this program handles signals.
 */
#include "cli/interrupt.h"

#include <string.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

const volatile sig_atomic_t *tni_interrupt_watch(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = (int)(SA_RESETHAND | SA_RESTART);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN);
    return &interrupted;
}

void tni_interrupt_again(void)
{
    interrupted = 0;
    tni_interrupt_watch();
}
