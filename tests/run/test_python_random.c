/*
 * test_python_random.c - numbers that Python 3 draws:
 *
 *     r = random.Random(1337); [r.randrange(n) for n in below]
 *     random.Random(1337).shuffle(list(range(10)))
 *     for seed in range(1234, 1334): random.Random(seed).sample(range(n), k)
 */
#include "tn_test.h"

#include "run/python_random.h"

static void draws_below_as_python_does(void **state)
{
    static const uint32_t below[] = {1,   2,    3,           7,          10,
                                     100, 1000, 2147483648u, 4294967295u};
    static const uint32_t want[] = {0,  0,   1,          3,          5,
                                    39, 400, 880236376u, 3270773552u};
    tni_python_random r;
    (void)state;
    tni_python_random_init(&r, 1337);
    for (int i = 0; i < 9; i++)
        assert_int_equal(tni_python_random_below(&r, below[i]), want[i]);
}

static void shuffles_as_python_does(void **state)
{
    uint32_t order[10];
    static const uint32_t want[] = {0, 3, 7, 2, 1, 6, 4, 5, 8, 9};
    tni_python_random r;
    (void)state;
    for (uint32_t i = 0; i < 10; i++)
        order[i] = i;
    tni_python_random_init(&r, 1337);
    tni_python_random_shuffle(&r, order, 10);
    assert_memory_equal(order, want, sizeof want);
}

static void samples_one(uint32_t seed, uint32_t count, uint32_t k,
                        uint32_t *drawn)
{
    uint32_t from[1000];
    tni_python_random r;
    for (uint32_t i = 0; i < count; i++)
        from[i] = 100 + i;
    tni_python_random_init(&r, seed);
    tni_python_random_sample(&r, from, count, k, drawn);
}

static void samples_as_python_does(void **state)
{
    /* around where Python changes from a list to a set, and far from it */
    static const struct {
        uint32_t count, k;
        uint64_t sum; /* of (place from 1) * (drawn), over 100 seeds */
    } cases[] = {
        {21, 5, 15309}, {22, 5, 15429},     {85, 6, 89075},
        {86, 6, 91691}, {340, 20, 3615814}, {1000, 10, 2829337},
    };
    static const uint32_t few[] = {107, 101, 100};
    static const uint32_t many[] = {192, 172, 200, 103, 271,
                                    245, 101, 293, 194, 203};
    uint32_t drawn[64];
    (void)state;
    samples_one(1234, 9, 3, drawn);
    assert_memory_equal(drawn, few, sizeof few);
    samples_one(1300, 200, 10, drawn);
    assert_memory_equal(drawn, many, sizeof many);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        uint64_t sum = 0;
        for (uint32_t seed = 1234; seed < 1334; seed++) {
            samples_one(seed, cases[c].count, cases[c].k, drawn);
            for (uint32_t i = 0; i < cases[c].k; i++)
                sum += (uint64_t)(i + 1) * (drawn[i] - 100);
        }
        assert_int_equal(sum, cases[c].sum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_below_as_python_does),
        cmocka_unit_test(shuffles_as_python_does),
        cmocka_unit_test(samples_as_python_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
