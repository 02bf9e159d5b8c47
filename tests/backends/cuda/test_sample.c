/*
 * test_sample.c - tokens that are drawn on the device.
 */
#include "cuda_device.h"
#include "sample_cases.h"

static void tokens_are_those_of_the_host(void **state)
{
    (void)state;
    sample_check_all("cuda", "{cache: false}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_those_of_the_host),
    };
    if (!cuda_can_run())
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
