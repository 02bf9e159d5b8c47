/*
 * terminal.h - the program at a terminal, and somebody who types.
 */
#ifndef TN_TERMINAL_H
#define TN_TERMINAL_H

#include "program.h"

#include <poll.h>
#include <sys/ioctl.h>

typedef struct terminal {
    pid_t child;
    int fd;
    char seen[1 << 18]; /* all that was on the screen, echoes included */
    size_t used, from;  /* what terminal_expect has not passed yet: from here */
} terminal;

static inline void terminal_become(const char *name, const char *out)
{
    setsid();
    const int fd = open(name, O_RDWR);
    ioctl(fd, TIOCSCTTY, 0);
    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    if (out)
        program_redirect(out, STDOUT_FILENO);
}

/* Start `tenon` with the NULL-ended words in the folder, on a terminal; `out`
 * NULL, or a file of the folder for stdout. */
static inline terminal *terminal_start(const program *p, const char *out,
                                       const char *const *words)
{
    terminal *t = calloc(1, sizeof *t);
    const char *argv[64] = {"tenon"}, *binary = getenv("TENON_BINARY");
    assert_true(t && binary);
    for (int i = 0; words[i]; i++)
        argv[i + 1] = words[i];
    t->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(t->fd >= 0);
    assert_int_equal(grantpt(t->fd), 0);
    assert_int_equal(unlockpt(t->fd), 0);
    const char *name = ptsname(t->fd);
    t->child = fork();
    assert_true(t->child >= 0);
    if (t->child)
        return t;
    if (chdir(p->folder) != 0)
        _exit(99);
    terminal_become(name, out);
    execv(binary, (char *const *)argv);
    _exit(98);
}

#define TERMINAL(p, ...)                                                       \
    terminal_start((p), NULL, (const char *const[]){__VA_ARGS__, NULL})

/* Read what is there, or comes within the time; 0: nothing more will come. */
static inline int terminal_read(terminal *t, int ms)
{
    struct pollfd look = {.fd = t->fd, .events = POLLIN};
    assert_true(t->used + 1 < sizeof t->seen);
    if (poll(&look, 1, ms) == 0)
        return 0;
    const ssize_t count =
        read(t->fd, t->seen + t->used, sizeof t->seen - 1 - t->used);
    if (count <= 0)
        return 0; /* the other side is closed */
    t->used += (size_t)count;
    t->seen[t->used] = '\0';
    return 1;
}

/* Wait until the text has come, after what was expected before. */
static inline void terminal_expect(terminal *t, const char *text)
{
    const char *found;
    while (!(found = strstr(t->seen + t->from, text)))
        if (!terminal_read(t, 60000))
            fail_msg("\"%s\" never came; the screen:\n%s", text, t->seen);
    t->from = (size_t)(found - t->seen) + strlen(text);
}

static inline void terminal_type(const terminal *t, const char *text)
{
    const size_t count = strlen(text);
    assert_int_equal(write(t->fd, text, count), (ssize_t)count);
}

/* Its exit status, or 128 + the signal that ended it. */
static inline int terminal_end(terminal *t)
{
    int status;
    while (terminal_read(t, 60000))
        ;
    assert_int_equal(waitpid(t->child, &status, 0), t->child);
    close(t->fd);
    free(t);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
