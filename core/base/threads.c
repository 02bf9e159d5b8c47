/*
 * threads.c - one pool, parallel regions, barriers; on futexes.
 *
 * The workload: a run of a plan is one region of some hundred steps with a
 * barrier between most of them, a few microseconds apart, on a machine that
 * may be shared. So a thread that waits spins for as long as such a gap lasts
 * and then sleeps in the kernel: the short wait costs no system call, the long
 * one no processor.
 *
 * Both waits are the same thing: wait until a 32-bit word is no longer what it
 * was (`await`). Region: the caller counts `epoch` up and the sleepers wake.
 * Barrier: the last to arrive counts `phase` up. Who changes a word looks at
 * its count of sleepers first, so that waking costs nothing while all spin.
 */
#define _GNU_SOURCE /* sched_getaffinity */
#include "base/threads.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SPIN_PAUSES = 1000, /* 20 to 60 microseconds on the processors of today */
    MAX_THREADS = 1024,
    CACHE_LINE = 64,
};

/* A word to wait on, alone on its cache line. */
typedef struct signal {
    _Alignas(CACHE_LINE) _Atomic uint32_t word;
    _Atomic uint32_t sleepers;
} signal;

typedef struct worker {
    tn_pool *pool;
    uint32_t index;
    pthread_t thread;
} worker;

struct tn_pool {
    signal epoch; /* regions begun */
    signal phase; /* barriers passed, the one that ends a region included */
    _Alignas(CACHE_LINE) _Atomic uint32_t arrived;
    uint32_t count;
    tn_pool_body body; /* NULL: the region that tells threads to leave */
    void *argument;
    worker workers[]; /* workers[0] is the caller and has no thread */
};

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL,
            0);
}

/* Return once s->word differs from `old`. */
static void await(signal *s, uint32_t old)
{
    for (int i = 0; i < SPIN_PAUSES; i++) {
        if (atomic_load_explicit(&s->word, memory_order_acquire) != old)
            return;
        pause_briefly();
    }
    atomic_fetch_add(&s->sleepers, 1);
    while (atomic_load(&s->word) == old)
        futex(&s->word, FUTEX_WAIT, old);
    atomic_fetch_sub(&s->sleepers, 1);
}

static void announce(signal *s)
{
    atomic_fetch_add(&s->word, 1);
    if (atomic_load(&s->sleepers))
        futex(&s->word, FUTEX_WAKE, INT32_MAX);
}

void tni_pool_barrier(tn_pool *pool)
{
    if (pool->count == 1)
        return;
    const uint32_t phase = atomic_load(&pool->phase.word);
    if (atomic_fetch_add(&pool->arrived, 1) + 1 < pool->count) {
        await(&pool->phase, phase);
        return;
    }
    atomic_store(&pool->arrived, 0);
    announce(&pool->phase);
}

static void *work(void *argument)
{
    const worker *self = argument;
    tn_pool *pool = self->pool;
    for (uint32_t epoch = 0;; epoch++) {
        await(&pool->epoch, epoch);
        if (!pool->body)
            return NULL;
        pool->body(pool->argument, self->index, pool->count);
        tni_pool_barrier(pool);
    }
}

void tni_pool_run(tn_pool *pool, tn_pool_body body, void *argument)
{
    pool->body = body;
    pool->argument = argument;
    announce(&pool->epoch);
    body(argument, 0, pool->count);
    tni_pool_barrier(pool);
}

uint32_t tni_pool_count(const tn_pool *pool)
{
    return pool->count;
}

/* Start threads 1 .. count-1; pool->count is how many there are, the caller
 * included, whether or not all could be started. */
static int start_workers(tn_pool *pool, uint32_t count)
{
    for (pool->count = 1; pool->count < count; pool->count++) {
        worker *w = &pool->workers[pool->count];
        *w = (worker){.pool = pool, .index = pool->count};
        const int failed = pthread_create(&w->thread, NULL, work, w);
        if (failed)
            return failed;
    }
    return 0;
}

tn_status tni_pool_create(uint32_t count, tn_pool **out, tn_error *err)
{
    if (count == 0)
        count = tni_core_count();
    if (count > MAX_THREADS)
        return tn_fail(err, TN_EINVALID,
                       "%u threads are too many; at most %d are possible",
                       count, (int)MAX_THREADS);

    const size_t bytes = sizeof(tn_pool) + count * sizeof(worker);
    tn_pool *pool = aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) /
                                                  CACHE_LINE * CACHE_LINE);
    if (!pool)
        return tn_fail(err, TN_ENOMEM, "no memory for a pool of %u threads",
                       count);
    memset(pool, 0, bytes);

    const int failed = start_workers(pool, count);
    if (failed) {
        const uint32_t started = pool->count;
        tni_pool_destroy(pool);
        return tn_fail(err, TN_ENOMEM,
                       "only %u of %u threads could be started (%s); ask for "
                       "fewer or raise the limit (ulimit -u)",
                       started, count, strerror(failed));
    }
    *out = pool;
    return TN_OK;
}

void tni_pool_destroy(tn_pool *pool)
{
    if (!pool)
        return;
    pool->body = NULL;
    announce(&pool->epoch);
    for (uint32_t i = 1; i < pool->count; i++)
        pthread_join(pool->workers[i].thread, NULL);
    free(pool);
}

/* cpu.max of a control group (version 2): so many microseconds, or the word
 * max, in each period. */
static uint32_t quota_of(const char *root, const char *group)
{
    char path[2 * PATH_MAX];
    unsigned long quota = 0, period = 0;
    snprintf(path, sizeof path, "%s/sys/fs/cgroup%s/cpu.max", root, group);
    FILE *f = fopen(path, "re");
    const int found = f ? fscanf(f, "%lu %lu", &quota, &period) : 0;
    if (f)
        fclose(f);
    if (found != 2 || quota == 0 || period == 0)
        return UINT32_MAX;
    const unsigned long cores = (quota - 1) / period + 1;
    return cores < UINT32_MAX ? (uint32_t)cores : UINT32_MAX;
}

/* This process's group of the one hierarchy, from "/" on. */
static void find_group(const char *root, char group[PATH_MAX])
{
    char path[PATH_MAX], line[PATH_MAX];
    group[0] = '\0';
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "0::", 3) == 0)
            snprintf(group, PATH_MAX, "%.*s", (int)strcspn(line + 3, "\n"),
                     line + 3);
    if (f)
        fclose(f);
}

/* From the group outwards. */
uint32_t tni_core_quota(const char *root)
{
    char group[PATH_MAX];
    uint32_t least = UINT32_MAX;
    find_group(root, group);
    for (char *end = group; end;) {
        const uint32_t cores = quota_of(root, group);
        least = cores < least ? cores : least;
        end = strrchr(group, '/');
        if (end)
            *end = '\0';
    }
    return least;
}

static uint32_t allowed_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (uint32_t)CPU_COUNT(&set);
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

uint32_t tni_core_count(void)
{
    const uint32_t allowed = allowed_processors(), quota = tni_core_quota("");
    return allowed < quota ? allowed : quota;
}
