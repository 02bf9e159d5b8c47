/*
 * child.c - fork, listen, wait.
 */
#define _GNU_SOURCE /* pipe2 */
#include "plugin/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE = 42 }; /* the exit status of a body that returned */

/* Signals end the child whatever handlers were inherited or installed by a
 * sanitizer: the parent reports them. */
static void be_child(int fd, tni_child_body body, void *argument,
                     uint32_t seconds)
{
    static const int deadly[] = {SIGSEGV, SIGBUS,  SIGILL, SIGFPE,
                                 SIGABRT, SIGALRM, SIGTERM};
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        signal(deadly[i], SIG_DFL);
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere >= 0)
        dup2(nowhere, STDOUT_FILENO);
    alarm(seconds);
    body(fd, argument);
    _exit(DONE);
}

static const char *read_all(tni_arena *arena, int fd)
{
    char *text = NULL, part[4096];
    size_t count = 0, capacity = 0;
    for (;;) {
        const ssize_t n = read(fd, part, sizeof part);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            *TNI_PUSH(arena, text, count, capacity) = part[i];
    }
    *TNI_PUSH(arena, text, count, capacity) = '\0';
    return text;
}

static const char *how_it_ended(tni_arena *arena, pid_t child, uint32_t seconds)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return "cannot be waited for";
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        return tni_arena_printf(arena, "did not answer within %u seconds",
                                seconds);
    if (WIFSIGNALED(status))
        return tni_arena_printf(arena, "crashed (signal %d)", WTERMSIG(status));
    if (WEXITSTATUS(status) != DONE)
        return tni_arena_printf(arena, "ended the program (exit status %d)",
                                WEXITSTATUS(status));
    return NULL;
}

const char *tni_child_run(tni_arena *arena, tni_child_body body, void *argument,
                          uint32_t seconds, const char **failure)
{
    int ends[2];
    *failure = NULL;
    if (pipe2(ends, O_CLOEXEC)) {
        *failure = tni_arena_printf(arena, "no pipe: %s", strerror(errno));
        return "";
    }
    fflush(NULL); /* or the child writes it again */
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        be_child(ends[1], body, argument, seconds);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        *failure = tni_arena_printf(arena, "no process: %s", strerror(errno));
        return "";
    }
    const char *text = read_all(arena, ends[0]);
    close(ends[0]);
    *failure = how_it_ended(arena, child, seconds);
    return text;
}
