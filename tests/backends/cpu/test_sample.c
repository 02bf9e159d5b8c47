/*
 * test_sample.c - tokens that are drawn by SAMPLE's kernel.
 */
#include "cpu_bench.h"
#include "sample_cases.h"

static void tokens_are_those_of_the_host(void **state)
{
    (void)state;
    sample_check_all("cpu", "{vectors: avx2}");
    if (bench_has_avx512())
        sample_check_all("cpu", "{threads: 3, vectors: avx512}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_those_of_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
