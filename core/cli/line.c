/*
 * line.c - waiting for a key and for Ctrl-C at once.
 *
 * A signal that comes between looking at the flag and going to sleep would be
 * slept through. So signals are blocked except while pselect sleeps.
 */
#include "cli/line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <termios.h>
#include <unistd.h>

/* Backspace takes a character, not a byte of it. */
static void expect_utf8(void)
{
#ifdef IUTF8
    struct termios t;
    if (tcgetattr(STDIN_FILENO, &t) != 0 || (t.c_iflag & IUTF8))
        return;
    t.c_iflag |= IUTF8;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
#endif
}

/* 0: interrupted. */
static int wait_for_input(const volatile sig_atomic_t *stop)
{
    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigprocmask(SIG_BLOCK, &ours, &before);
    int ready = 0;
    while (!*stop && !ready) {
        fd_set input;
        FD_ZERO(&input);
        FD_SET(STDIN_FILENO, &input);
        ready =
            pselect(STDIN_FILENO + 1, &input, NULL, NULL, NULL, &before) >= 0 ||
            errno != EINTR;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ready;
}

static int append(tni_lines *l, const char *from, size_t count)
{
    if (l->capacity - l->bytes < count + 1) {
        const size_t capacity = 2 * (l->bytes + count) + 256;
        char *larger = realloc(l->text, capacity);
        if (!larger)
            return 0;
        l->text = larger;
        l->capacity = capacity;
    }
    memcpy(l->text + l->bytes, from, count);
    l->bytes += count;
    l->text[l->bytes] = '\0';
    return 1;
}

static int fill(tni_lines *l)
{
    l->from = l->to = 0;
    if (!wait_for_input(l->stop))
        return TNI_LINE_INTERRUPTED;
    const ssize_t count = read(STDIN_FILENO, l->ahead, sizeof l->ahead);
    l->to = count > 0 ? (size_t)count : 0;
    return count > 0 ? TNI_LINE_READ : TNI_LINE_END;
}

/* Up to the end of the line, without it. */
static int read_rest(tni_lines *l)
{
    for (;;) {
        const char *from = l->ahead + l->from;
        const size_t there = l->to - l->from;
        const char *end = memchr(from, '\n', there);
        const size_t count = end ? (size_t)(end - from) : there;
        if (!append(l, from, count))
            return TNI_LINE_END;
        l->from += count + (end != NULL);
        if (end)
            return TNI_LINE_READ;
        const int status = fill(l);
        if (status == TNI_LINE_END && l->bytes)
            return TNI_LINE_READ; /* a line that the end of input ends */
        if (status != TNI_LINE_READ)
            return status;
    }
}

int tni_line_read(tni_lines *l, const char *prompt)
{
    int status, goes_on;
    expect_utf8();
    l->bytes = 0;
    fputs(prompt, stderr);
    do {
        fflush(stderr);
        status = read_rest(l);
        goes_on = status == TNI_LINE_READ && l->bytes &&
                  l->text[l->bytes - 1] == '\\';
        if (goes_on) {
            l->text[l->bytes - 1] = '\n';
            fputs("... ", stderr);
        }
    } while (goes_on);
    return status;
}

void tni_lines_free(tni_lines *l)
{
    free(l->text);
    *l = (tni_lines){0};
}
