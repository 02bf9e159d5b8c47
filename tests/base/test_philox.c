/*
 * test_philox.c - the generator of the paper, and the draws made from it.
 */
#include <tenon/philox.h>

#include "tn_test.h"

/* philox4x32 10 of Random123's file of known answers (kat_vectors). */
static void philox_gives_the_published_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0},
         {0, 0},
         {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t got[4];
        tn_philox(cases[i].key, cases[i].counter, got);
        assert_memory_equal(got, cases[i].want, sizeof got);
    }
}

/* 0x6627e8 of 2^24, the top bits of the first known answer. */
static void a_uniform_draw_is_the_top_24_bits(void **state)
{
    (void)state;
    tn_assert_near(tn_philox_uniform(0, 0, 0, 0), 0x6627e8 / 16777216.0, 0.0);
}

static void uniform_draws_fill_the_unit_interval_evenly(void **state)
{
    (void)state;
    enum { DRAWS = 100000, BINS = 10 };
    int bins[BINS] = {0};
    double sum = 0.0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        const double u = (double)tn_philox_uniform(1, 2, 3, i);
        assert_true(u >= 0.0 && u < 1.0);
        bins[(int)(u * BINS)]++;
        sum += u;
    }
    /* 5 standard deviations: sqrt(n p (1-p)) = 95, sqrt(1/12/n) = 0.0009 */
    for (int b = 0; b < BINS; b++)
        assert_in_range(bins[b], DRAWS / BINS - 475, DRAWS / BINS + 475);
    tn_assert_near(sum / DRAWS, 0.5, 0.0046);
}

static void every_part_of_the_key_changes_the_draw(void **state)
{
    (void)state;
    const float base = tn_philox_uniform(1, 2, 3, 4);
    assert_true(tn_philox_uniform(2, 2, 3, 4) != base);
    assert_true(tn_philox_uniform(1, 3, 3, 4) != base);
    assert_true(tn_philox_uniform(1, 2, 4, 4) != base);
    assert_true(tn_philox_uniform(1, 2, 3, 5) != base);
    assert_true(tn_philox_uniform(1, 2, 3, 4 + (1ull << 32)) != base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_answers),
        cmocka_unit_test(a_uniform_draw_is_the_top_24_bits),
        cmocka_unit_test(uniform_draws_fill_the_unit_interval_evenly),
        cmocka_unit_test(every_part_of_the_key_changes_the_draw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
