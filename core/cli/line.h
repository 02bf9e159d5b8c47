/*
 * line.h - what a person types, line by line.
 *
 * Editing is the terminal's own: it works on every terminal, over ssh and with
 * a screen reader, and `rlwrap` adds a history for those who want one. Told
 * that text is UTF-8, it erases whole characters. A line that ends with a
 * backslash goes on with the next.
 */
#ifndef TENON_CLI_LINE_H
#define TENON_CLI_LINE_H

#include <signal.h>
#include <stddef.h>

enum { TNI_LINE_READ, TNI_LINE_END, TNI_LINE_INTERRUPTED };

typedef struct tni_lines {
    const volatile sig_atomic_t *stop; /* of tni_interrupt_watch */
    char *text;                        /* the last line; a 0 follows it */
    size_t bytes, capacity;
    char ahead[4096]; /* read from the terminal, [from, to) not yet used */
    size_t from, to;
} tni_lines;

/* Ask on stderr, wait on stdin. TNI_LINE_INTERRUPTED as soon as *stop is set,
 * and nothing of the line is left then; TNI_LINE_END at the end of input, or
 * where there is no memory for the line. */
int tni_line_read(tni_lines *lines, const char *prompt);
void tni_lines_free(tni_lines *lines);

#endif
