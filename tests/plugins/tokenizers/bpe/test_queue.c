/*
 * test_queue.c - lowest rank first, of equal ranks the leftmost, however they
 * came.
 */
#include "tn_test.h"

#include <tenon/philox.h>

#include "queue.h"

static void takes(tni_queue *q, uint32_t rank, uint32_t place)
{
    uint32_t r = 0, p = 0;
    assert_true(tni_queue_take(q, &r, &p));
    assert_int_equal(r, rank);
    assert_int_equal(p, place);
}

static void ranks_rise_and_then_places(void **state)
{
    (void)state;
    tni_queue q = {0};
    uint32_t rank, place;
    assert_true(tni_queue_reset(&q, 100000, 8));
    assert_false(tni_queue_take(&q, &rank, &place));
    tni_queue_put(&q, 70000, 3);
    tni_queue_put(&q, 5, 9);
    tni_queue_put(&q, 70000, 1); /* left of what waits there */
    tni_queue_put(&q, 5, 2);
    takes(&q, 5, 2);
    tni_queue_put(&q, 0, 4); /* below what has been taken */
    takes(&q, 0, 4);
    takes(&q, 5, 9);
    takes(&q, 70000, 1);
    tni_queue_put(&q, 70000, 0);
    takes(&q, 70000, 0);
    takes(&q, 70000, 3);
    assert_false(tni_queue_take(&q, &rank, &place));
    tni_queue_fini(&q);
}

/* ---- against looking through all of them ---- */

enum { RANKS = 5000, MOST = 600 };

static uint32_t dice(uint32_t a, uint32_t b, uint32_t below)
{
    uint32_t out[4];
    tn_philox((const uint32_t[2]){a, 21}, (const uint32_t[4]){b, 0, 0, 0}, out);
    return out[0] % below;
}

static size_t least(const uint64_t *key, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (key[i] < key[best])
            best = i;
    return best;
}

/* Puts and takes in no order; ranks of a few kinds, so that lists grow. */
static void play(tni_queue *q, uint32_t seed)
{
    uint64_t key[MOST];
    size_t count = 0;
    const uint32_t kinds = 1 + dice(seed, 0, 40);
    assert_true(tni_queue_reset(q, RANKS, MOST));
    for (uint32_t i = 1, puts = 0; puts < MOST || count; i++) {
        if (puts < MOST && (!count || dice(seed, 3 * i, 5) < 3)) {
            const uint32_t rank =
                dice(seed, 3 * i + 1, kinds) * (RANKS - 1) / kinds;
            const uint32_t place = dice(seed, 3 * i + 2, 50);
            tni_queue_put(q, rank, place);
            key[count++] = (uint64_t)rank << 32 | place;
            puts++;
            continue;
        }
        const size_t best = least(key, count);
        takes(q, (uint32_t)(key[best] >> 32), (uint32_t)key[best]);
        key[best] = key[--count];
    }
}

static void any_order_of_puts_and_takes_is_right(void **state)
{
    (void)state;
    tni_queue q = {0};
    for (uint32_t seed = 0; seed < 200; seed++)
        play(&q, seed);
    tni_queue_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_rise_and_then_places),
        cmocka_unit_test(any_order_of_puts_and_takes_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
