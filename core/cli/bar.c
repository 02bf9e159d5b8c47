/*
 * bar.c - one line that is drawn again and again.
 */
#include "cli/bar.h"

#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/term.h"

enum { CELLS = 20 };

double tni_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *tni_scaled(double value, char *to, size_t size)
{
    static const char *const unit[] = {"", "k", "M", "G", "T", "P"};
    int u = 0;
    while (value >= 1000.0 && u < 5) {
        value /= 1000.0;
        u++;
    }
    snprintf(to, size,
             value >= 100 || !u ? "%.0f%s"
             : value >= 10      ? "%.1f%s"
                                : "%.2f%s",
             value, unit[u]);
    return to;
}

const char *tni_duration(double seconds, char *to, size_t size)
{
    const long s = (long)fmin(fmax(seconds, 0), 3.6e8);
    if (s >= 3600)
        snprintf(to, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(to, size, "%ld:%02ld", s / 60, s % 60);
    return to;
}

void tni_bar_init(tni_bar *bar, FILE *to)
{
    *bar =
        (tni_bar){.to = isatty(fileno(to)) ? to : NULL, .began = tni_seconds()};
}

static void draw_cells(char *to, double share)
{
    const int full = (int)(fmin(fmax(share, 0), 1) * CELLS + 0.5);
    for (int i = 0; i < CELLS; i++) {
        memcpy(to, i < full ? "\u2588" : "\u2591", 3);
        to += 3;
    }
    *to = '\0';
}

void tni_bar_draw(tni_bar *bar, double share, double first, const char *format,
                  ...)
{
    char cells[3 * CELLS + 1], text[256], left[24];
    const double now = tni_seconds();
    if (!bar->to || now - bar->shown < 0.1)
        return;
    bar->shown = now;
    draw_cells(cells, share);
    va_list args;
    va_start(args, format);
    const int used = vsnprintf(text, sizeof text - 40, format, args);
    va_end(args);
    if (used > 0 && used < (int)sizeof text - 40 && share > first)
        snprintf(
            text + used, sizeof text - (size_t)used, "  %s left",
            tni_duration((now - bar->began) * (1 - share) / (share - first),
                         left, sizeof left));
    /* a line that wraps cannot be taken back */
    const int room = (int)tni_term_width(bar->to) - CELLS - 3;
    fprintf(bar->to, "\r\033[K%s  %.*s", cells, room > 0 ? room : 0, text);
    fflush(bar->to);
    bar->live = 1;
}

void tni_bar_clear(tni_bar *bar)
{
    if (bar->live) {
        fputs("\r\033[K", bar->to);
        fflush(bar->to);
    }
    bar->live = 0;
}
