/*
 * test_host.c - the table that plugins are lent.
 */
#include "support_plugin.h"

#include "plugin/host.h"

static void every_member_is_there(void **state)
{
    (void)state;
    tn_host *host = tni_host_create();
    assert_non_null(host);
    assert_int_equal(host->struct_size, sizeof *host);
    assert_int_equal(host->abi_minor, TN_ABI_MINOR);
    assert_true(TN_HAS(host, log));
    assert_true(TN_HAS(host, pool));
    assert_true(TN_HAS(host, pool_count));
    assert_true(TN_HAS(host, pool_run));
    assert_true(TN_HAS(host, pool_barrier));
    tni_host_destroy(host);
}

static void the_first_caller_decides_how_many_threads(void **state)
{
    (void)state;
    tn_host *host = tni_host_create();
    tn_pool *pool = host->pool(host, 3);
    assert_non_null(pool);
    assert_int_equal(host->pool_count(pool), 3);
    assert_ptr_equal(host->pool(host, 7), pool);
    assert_int_equal(host->pool_count(pool), 3);
    tni_host_destroy(host);
}

static void processes_of_one_machine_share_its_cores(void **state)
{
    (void)state;
    tn_host *host = tni_host_create();
    assert_int_equal(host->local_size, 0);
    tni_host_share(host, 2, 100000);
    assert_int_equal(host->local_rank, 2);
    assert_int_equal(host->pool_count(host->pool(host, 0)), 1);
    tni_host_destroy(host);
    host = tni_host_create(); /* who asks for a number gets it */
    tni_host_share(host, 0, 100000);
    assert_int_equal(host->pool_count(host->pool(host, 3)), 3);
    tni_host_destroy(host);
}

static void mark(void *argument, uint32_t index, uint32_t count)
{
    uint32_t *seen = argument;
    seen[index] = count;
}

static void a_region_runs_on_every_thread(void **state)
{
    (void)state;
    tn_host *host = tni_host_create();
    uint32_t seen[3] = {0};
    host->pool_run(host->pool(host, 3), mark, seen);
    for (int i = 0; i < 3; i++)
        assert_int_equal(seen[i], 3);
    tni_host_destroy(host);
}

/* A struct that ends before the member, and one whose member is not set. */
static void a_shorter_host_is_told_from_a_longer_one(void **state)
{
    (void)state;
    test_host host = test_host_make();
    assert_false(TN_HAS(&host.table, pool));
    host.table.struct_size = offsetof(tn_host, log);
    assert_false(TN_HAS(&host.table, log));
    host.table.struct_size = offsetof(tn_host, log) + 1;
    assert_false(TN_HAS(&host.table, log));
    host.table.struct_size = offsetof(tn_host, pool);
    assert_true(TN_HAS(&host.table, log));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_is_there),
        cmocka_unit_test(the_first_caller_decides_how_many_threads),
        cmocka_unit_test(processes_of_one_machine_share_its_cores),
        cmocka_unit_test(a_region_runs_on_every_thread),
        cmocka_unit_test(a_shorter_host_is_told_from_a_longer_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
