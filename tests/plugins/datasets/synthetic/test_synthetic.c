/*
 * test_synthetic.c - rows that can and cannot be learned, a third each.
 */
#include "../dataset_rig.h"

enum { T = 64 };

static tn_dataset_request asked(int64_t vocab_size)
{
    tn_dataset_request r = request(1, T, 1);
    r.vocab_size = vocab_size;
    return r;
}

static void rows_are_constant_counting_and_random_in_turn(void **state)
{
    reading *d =
        opened(*state, "synthetic", "{rows: 300, shuffle: false}", asked(50));
    double sum = 0.0;
    assert_int_equal(info_of(d).rows_per_epoch, 300);
    for (int i = 0; i < 300; i++) {
        int constant = 1, counting = 1;
        next(d);
        assert_memory_equal(d->tokens + 1, d->targets, (T - 1) * 4);
        for (int t = 0; t < T; t++) {
            constant &= d->targets[t] == d->tokens[t];
            counting &= d->targets[t] == (d->tokens[t] + 1) % 50;
            assert_in_range(d->targets[t], 0, 49);
            sum += i % 3 == 2 ? d->targets[t] : 0;
        }
        assert_int_equal(constant, i % 3 == 0);
        assert_int_equal(counting, i % 3 == 1);
        if (i % 3 == 0)
            assert_int_equal(d->tokens[0], i % 49 + 1);
        if (i % 3 == 1)
            assert_int_equal(d->tokens[0], i % 50);
    }
    /* uniform: mean 24.5, standard error 14.4 / 80 */
    tn_assert_near(sum / (100 * T), 24.5, 0.9);
    closed(d);
}

static void any_vocabulary_is_kept(void **state)
{
    for (int64_t v = 1; v < 4; v++) {
        reading *d = opened(*state, "synthetic", "{}", asked(v));
        for (int i = 0; i < 60; i++) {
            next(d);
            for (int t = 0; t < T; t++)
                assert_in_range(d->targets[t], 0, v - 1);
        }
        closed(d);
    }
}

static void a_cursor_is_a_place(void **state)
{
    reading *a = opened(*state, "synthetic", "{rows: 7}", asked(1000));
    reading *b = opened(*state, "synthetic", "{rows: 7}", asked(1000));
    for (int i = 0; i < 30; i++) {
        tn_cursor cursor;
        a->vtable->save(a->self, &cursor);
        next(a);
        tn_assert_ok(b->vtable->restore(b->self, &cursor, NULL));
        next(b);
        assert_memory_equal(a->tokens, b->tokens, T * 4);
    }
    tn_cursor cursor;
    tn_error err = TN_ERROR_NONE;
    a->vtable->save(a->self, &cursor);
    closed(b);
    b = opened(*state, "synthetic", "{rows: 8}", asked(1000));
    assert_int_equal(b->vtable->restore(b->self, &cursor, &err), TN_EINVALID);
    tn_assert_error_says(err, "rows was 7 when the run was saved and is 8");
    closed(a);
    closed(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(rows_are_constant_counting_and_random_in_turn),
        RIG_TEST(any_vocabulary_is_kept),
        RIG_TEST(a_cursor_is_a_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
