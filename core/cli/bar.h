/*
 * bar.h - a live line with a bar, and numbers as people read them.
 *
 *     ███████████░░░░░░░░░  1.2GB of 2.1GB  310M tokens  0:18 left
 */
#ifndef TENON_CLI_BAR_H
#define TENON_CLI_BAR_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <tenon/base.h>

double tni_seconds(void); /* of a clock that only goes forward */

/* 31250 -> "31.2k", 1.5e9 -> "1.50G"; both return `to`. */
const char *tni_scaled(double value, char *to, size_t size);
/* 18 -> "0:18", 3700 -> "1:01:40" */
const char *tni_duration(double seconds, char *to, size_t size);

typedef struct tni_bar {
    FILE *to;
    double began, shown;
    int32_t live; /* a line is on the screen */
} tni_bar;

/* Nothing is drawn where `to` is no terminal. */
void tni_bar_init(tni_bar *bar, FILE *to);
/* Draw at most ten times a second; the time left is added where `share` has
 * grown from `first` in this process. */
TN_PRINTF(4, 5)
void tni_bar_draw(tni_bar *bar, double share, double first, const char *format,
                  ...);
void tni_bar_clear(tni_bar *bar);

#endif
