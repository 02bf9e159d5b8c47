/*
 * test_threads.c - regions reach every thread, barriers hold all of them.
 */
#include "base/threads.h"
#include "tn_test.h"

#include <stdatomic.h>
#include <time.h>

#include "base/file.h"

enum { THREADS = 3, ROUNDS = 2000 };

typedef struct {
    tn_pool *pool;
    atomic_int hits[THREADS];
    uint32_t seen[THREADS];
    int stamp[THREADS];
    atomic_int errors;
} shared;

static tn_pool *pool_of(uint32_t count)
{
    tn_pool *pool = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_pool_create(count, &pool, &err), err);
    return pool;
}

static void hit(void *argument, uint32_t index, uint32_t count)
{
    shared *s = argument;
    atomic_fetch_add(&s->hits[index], 1);
    s->seen[index] = count;
}

static void a_region_runs_once_on_every_thread(void **state)
{
    (void)state;
    shared s = {.pool = pool_of(THREADS)};
    for (int i = 0; i < ROUNDS; i++)
        tni_pool_run(s.pool, hit, &s);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(atomic_load(&s.hits[i]), ROUNDS);
        assert_int_equal(s.seen[i], THREADS);
    }
    tni_pool_destroy(s.pool);
}

/* Each round every thread stamps its own cell; past the barrier every cell
 * must bear this round's stamp, and nobody may stamp the next one before all
 * have looked. */
static void stamp_and_look(void *argument, uint32_t index, uint32_t count)
{
    shared *s = argument;
    for (int round = 1; round <= ROUNDS; round++) {
        s->stamp[index] = round;
        tni_pool_barrier(s->pool);
        for (uint32_t i = 0; i < count; i++)
            if (s->stamp[i] != round)
                atomic_fetch_add(&s->errors, 1);
        tni_pool_barrier(s->pool);
    }
}

static void a_barrier_lets_nobody_pass_early(void **state)
{
    (void)state;
    shared s = {.pool = pool_of(THREADS)};
    tni_pool_run(s.pool, stamp_and_look, &s);
    assert_int_equal(atomic_load(&s.errors), 0);
    tni_pool_destroy(s.pool);
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void waiting_threads_use_no_processor(void **state)
{
    (void)state;
    shared s = {.pool = pool_of(THREADS)};
    tni_pool_run(s.pool, hit, &s);
    const double before = processor_seconds();
    const struct timespec pause = {0, 100000000};
    nanosleep(&pause, NULL);
    assert_true(processor_seconds() - before < 0.02);
    tni_pool_destroy(s.pool);
}

static void a_pool_of_one_is_the_caller(void **state)
{
    (void)state;
    shared s = {.pool = pool_of(1)};
    tni_pool_run(s.pool, stamp_and_look, &s);
    assert_int_equal(atomic_load(&s.errors), 0);
    assert_int_equal(s.stamp[0], ROUNDS);
    tni_pool_destroy(s.pool);
}

static void zero_means_one_thread_per_core(void **state)
{
    (void)state;
    tn_pool *pool = pool_of(0);
    assert_true(tni_core_count() >= 1);
    assert_int_equal(tni_pool_count(pool), tni_core_count());
    tni_pool_destroy(pool);
}

static void lay(const char *root, const char *folder, const char *name,
                const char *text)
{
    char path[512];
    tn_error err = TN_ERROR_NONE;
    snprintf(path, sizeof path, "%s/%s", root, folder);
    tn_assert_ok_err(tni_folder_make(path, &err), err);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    tn_assert_ok_err(tni_file_replace(path, text, strlen(text), &err), err);
}

/* docker --cpus=1.5, within a group that has more and then less. */
static void a_quota_of_time_is_so_many_cores(void **state)
{
    (void)state;
    char root[] = "/tmp/tenon-threads-XXXXXX";
    tn_error err = TN_ERROR_NONE;
    assert_non_null(mkdtemp(root));
    assert_int_equal(tni_core_quota(root), UINT32_MAX);
    lay(root, "proc/self", "cgroup", "1:cpu:/other\n0::/jobs/mine\n");
    assert_int_equal(tni_core_quota(root), UINT32_MAX);
    lay(root, "sys/fs/cgroup/jobs/mine", "cpu.max", "max 100000\n");
    assert_int_equal(tni_core_quota(root), UINT32_MAX);
    lay(root, "sys/fs/cgroup/jobs/mine", "cpu.max", "150000 100000\n");
    assert_int_equal(tni_core_quota(root), 2);
    lay(root, "sys/fs/cgroup/jobs", "cpu.max", "300000 100000\n");
    assert_int_equal(tni_core_quota(root), 2);
    lay(root, "sys/fs/cgroup/jobs", "cpu.max", "50000 100000\n");
    assert_int_equal(tni_core_quota(root), 1);
    tn_assert_ok_err(tni_folder_remove(root, &err), err);
}

static void an_absurd_count_is_refused(void **state)
{
    (void)state;
    tn_pool *pool = NULL;
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(tni_pool_create(1000000, &pool, &err), TN_EINVALID);
    tn_assert_error_says(err, "1000000 threads");
    assert_null(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_region_runs_once_on_every_thread),
        cmocka_unit_test(a_barrier_lets_nobody_pass_early),
        cmocka_unit_test(waiting_threads_use_no_processor),
        cmocka_unit_test(a_pool_of_one_is_the_caller),
        cmocka_unit_test(zero_means_one_thread_per_core),
        cmocka_unit_test(a_quota_of_time_is_so_many_cores),
        cmocka_unit_test(an_absurd_count_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
