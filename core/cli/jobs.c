/*
 * jobs.c - fork, exec, wait.
 *
 * A job is a process group of its own: Ctrl-C reaches this process only, which
 * passes it on once. A second one would make a job end without saving.
 */
#define _GNU_SOURCE /* sched_setaffinity */
#include "cli/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 20 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- in the child ---- */

/* The slot-th of `slots` equal parts of the cores this process may use. */
static void take_cores(uint32_t slot, uint32_t slots)
{
    cpu_set_t all, mine;
    CPU_ZERO(&mine);
    if (slots < 2 || sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    const uint32_t cores = (uint32_t)CPU_COUNT(&all);
    if (slots > cores)
        return;
    for (uint32_t core = 0, seen = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &all) && seen++ * slots / cores == slot)
            CPU_SET(core, &mine);
    sched_setaffinity(0, sizeof mine, &mine);
}

_Noreturn static void become(const tni_job *job, int log, uint32_t slot,
                             uint32_t slots)
{
    const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGINT);
    dup2(nowhere, STDIN_FILENO);
    dup2(nowhere, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    take_cores(slot, slots);
    execv("/proc/self/exe", (char *const *)job->words);
    fprintf(stderr, "tenon: cannot start itself: %s\n", strerror(errno));
    _exit(127);
}

/* ---- in the parent ---- */

typedef struct {
    tni_job **running; /* by slot */
    uint32_t slots;
    tni_job_ended ended;
    void *to;
    tn_error *err;
} crew;

static tn_status start(const crew *c, uint32_t slot, tni_job *job)
{
    const int log =
        open(job->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log < 0)
        return tn_fail(c->err, TN_EIO, "%s: cannot open: %s", job->log,
                       strerror(errno));
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0)
        become(job, log, slot, c->slots);
    close(log);
    if (child < 0)
        return tn_fail(c->err, TN_EIO, "cannot start a process: %s",
                       strerror(errno));
    job->pid = (long)child;
    job->seconds = now();
    job->started = 1;
    c->running[slot] = job;
    return TN_OK;
}

/* Jobs that have ended leave their slots; how many run on. */
static uint32_t collect(const crew *c)
{
    uint32_t left = 0;
    for (uint32_t slot = 0; slot < c->slots; slot++) {
        tni_job *job = c->running[slot];
        int status;
        if (!job)
            continue;
        const pid_t got = waitpid((pid_t)job->pid, &status, WNOHANG);
        if (got == 0 || (got < 0 && errno == EINTR)) {
            left++;
            continue;
        }
        job->status = got < 0             ? 127
                      : WIFEXITED(status) ? WEXITSTATUS(status)
                                          : 128 + WTERMSIG(status);
        job->seconds = now() - job->seconds;
        c->running[slot] = NULL;
        c->ended(c->to, job);
    }
    return left;
}

static void ask_to_end(const crew *c)
{
    for (uint32_t slot = 0; slot < c->slots; slot++)
        if (c->running[slot])
            kill((pid_t)c->running[slot]->pid, SIGINT);
}

static void pause_a_moment(void)
{
    const struct timespec moment = {0, LOOK_EVERY_MS * 1000 * 1000};
    nanosleep(&moment, NULL);
}

static tn_status work(const crew *c, tni_job *jobs, uint32_t count,
                      const volatile sig_atomic_t *stop)
{
    tn_status status = TN_OK;
    uint32_t next = 0;
    int asked = 0;
    for (;;) {
        const uint32_t running = collect(c);
        const int stopping = *stop || status != TN_OK;
        for (uint32_t slot = 0; slot < c->slots && !stopping; slot++)
            if (!c->running[slot] && next < count && status == TN_OK)
                status = start(c, slot, &jobs[next++]);
        if (!running && (stopping || next == count) && !collect(c))
            return status;
        if (stopping && !asked++)
            ask_to_end(c);
        pause_a_moment();
    }
}

tn_status tni_jobs_run(tni_job *jobs, uint32_t count, uint32_t at_once,
                       const volatile sig_atomic_t *stop, tni_job_ended ended,
                       void *to, tn_error *err)
{
    tni_arena *arena = tni_arena_create();
    crew c = {.slots = at_once, .ended = ended, .to = to, .err = err};
    c.running = tni_arena_alloc(arena, at_once * sizeof(tni_job *));
    const tn_status status = work(&c, jobs, count, stop);
    tni_arena_destroy(arena);
    return status;
}
