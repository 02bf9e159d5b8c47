/*
 * interrupt.h - Ctrl-C as a flag that a loop looks at.
 */
#ifndef TENON_CLI_INTERRUPT_H
#define TENON_CLI_INTERRUPT_H

#include <signal.h>

/*
 * From here on the first SIGINT or SIGTERM sets the flag that is returned, to
 * its number. What follows within a second is the same wish sent again and is
 * ignored; a signal after that ends the process at once. A file that grows past
 * a limit of the system (SIGXFSZ) becomes an error of the write.
 */
const volatile sig_atomic_t *tni_interrupt_watch(void);

/* Set the flag as SIGTERM does. */
void tni_interrupt_ask(void);

/* Reports whose reader is gone (SIGPIPE) become an error of the write. */
void tni_interrupt_ignore_pipe(void);

/* Take the flag back, as before the first signal. */
void tni_interrupt_again(void);

#endif
