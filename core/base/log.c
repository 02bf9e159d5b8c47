/*
 * log.c - "tenon: warning: ..." on stderr, coloured only where a person looks.
 */
#include "base/log.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { LINE_BYTES = 2048 };

typedef struct look {
    const char *label, *colour;
} look;

static const look looks[] = {
    [TN_LOG_DEBUG] = {"debug: ", "\033[2m"},
    [TN_LOG_INFO] = {"", ""},
    [TN_LOG_WARNING] = {"warning: ", "\033[33m"},
    [TN_LOG_ERROR] = {"error: ", "\033[31m"},
};

static _Atomic int32_t threshold = TN_LOG_INFO;

void tni_log_set_level(int32_t least)
{
    atomic_store(&threshold, least);
}

/* https://no-color.org: any value that is not empty switches colour off. */
static int wants_colour(void)
{
    const char *no_colour = getenv("NO_COLOR");
    return isatty(STDERR_FILENO) && !(no_colour && no_colour[0]);
}

TN_PRINTF(2, 0)
static void write_line(int32_t level, const char *format, va_list args)
{
    if (level < atomic_load(&threshold))
        return;
    if (level < TN_LOG_DEBUG || level > TN_LOG_ERROR)
        level = TN_LOG_ERROR;
    char text[LINE_BYTES];
    vsnprintf(text, sizeof text, format, args);
    const look *l = &looks[level];
    const int colour = l->colour[0] && wants_colour();
    fprintf(stderr, "tenon: %s%s%s%s\n", colour ? l->colour : "", l->label,
            colour ? "\033[0m" : "", text);
}

void tni_log(int32_t level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(level, format, args);
    va_end(args);
}

void tni_host_log(const tn_host *host, int32_t level, const char *format, ...)
{
    (void)host;
    va_list args;
    va_start(args, format);
    write_line(level, format, args);
    va_end(args);
}
