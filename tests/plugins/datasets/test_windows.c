/*
 * test_windows.c - shuffled epochs are permutations, and a cursor is exact.
 *
 * Files count upwards, so the first token of a row says where it was cut.
 */
#include "dataset_rig.h"

#include <tenon/philox.h>

#define SHUFFLED "{path: a.bin}"
#define IN_ORDER "{path: a.bin, shuffle: false}"

static int64_t next_start(reading *d)
{
    next(d);
    for (int64_t t = 0; t < d->seq_len; t++) {
        assert_int_equal(d->tokens[t], d->tokens[0] + t);
        assert_int_equal(d->targets[t], d->tokens[0] + t + 1);
    }
    return d->tokens[0];
}

/* Each window once, all at one phase, none outside the split. */
static void check_epoch(reading *d, int64_t first, int64_t count)
{
    const int64_t windows = info_of(d).rows_per_epoch;
    unsigned char *seen = calloc((size_t)windows, 1);
    assert_non_null(seen);
    int64_t phase = -1;
    for (int64_t i = 0; i < windows; i++) {
        const int64_t start = next_start(d) - first;
        assert_in_range(start, 0, count - 1 - d->seq_len);
        if (phase < 0)
            phase = start % d->seq_len;
        assert_int_equal(start % d->seq_len, phase);
        assert_in_range(start / d->seq_len, 0, windows - 1);
        assert_int_equal(seen[start / d->seq_len]++, 0);
    }
    free(seen);
}

static void an_epoch_is_a_permutation_of_its_windows(void **state)
{
    rig *r = *state;
    static const uint32_t counts[] = {6,  7,  10, 11, 14, 15,  16,  21,
                                      26, 41, 85, 86, 90, 321, 329, 4099};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        counting_file(r, "a.bin", counts[i], 1);
        reading *d = opened(r, "token_file", SHUFFLED, request(1, 5, i));
        const int64_t room = (int64_t)(counts[i] - 5) / 5;
        assert_int_equal(info_of(d).rows_per_epoch, room ? room : 1);
        for (int epoch = 0; epoch < 5; epoch++)
            check_epoch(d, 0, counts[i]);
        closed(d);
    }
}

static void shuffled_windows_stay_inside_their_split(void **state)
{
    rig *r = *state;
    counting_file(r, "a.bin", 1000, 1);
    reading *d = opened(r, "token_file", "{path: a.bin, split: [0.3, 0.9]}",
                        request(1, 7, 1));
    for (int epoch = 0; epoch < 20; epoch++)
        check_epoch(d, 300, 600);
    closed(d);
}

static void order(rig *r, uint64_t seed, int64_t *starts, int count)
{
    reading *d = opened(r, "token_file", SHUFFLED, request(1, 4, seed));
    for (int i = 0; i < count; i++)
        starts[i] = next_start(d);
    closed(d);
}

static int shared(const int64_t *a, const int64_t *b, int count)
{
    int same = 0;
    for (int i = 0; i < count; i++)
        same += a[i] / 4 == b[i] / 4;
    return same;
}

static void epochs_and_seeds_have_orders_of_their_own(void **state)
{
    rig *r = *state;
    enum { WINDOWS = 200 };
    counting_file(r, "a.bin", 4 * WINDOWS + 4, 1);
    int64_t a[2 * WINDOWS], again[2 * WINDOWS], other[2 * WINDOWS];
    int64_t high[2 * WINDOWS], sorted[WINDOWS];
    for (int i = 0; i < WINDOWS; i++)
        sorted[i] = 4 * i;
    order(r, 1, a, 2 * WINDOWS);
    order(r, 1, again, 2 * WINDOWS);
    order(r, 2, other, 2 * WINDOWS);
    order(r, 1 + (1ull << 40), high, 2 * WINDOWS);
    assert_memory_equal(a, again, sizeof a);
    /* Unrelated orders agree in one place on average; 10 is one in 10^7. */
    assert_in_range(shared(a, a + WINDOWS, WINDOWS), 0, 9);
    assert_in_range(shared(a, other, WINDOWS), 0, 9);
    assert_in_range(shared(a, high, WINDOWS), 0, 9);
    assert_in_range(shared(a, sorted, WINDOWS), 0, 9);
}

/* Of 7 windows each comes first equally often: 4200 epochs, 600 +- 5 sigma. */
static void no_window_is_favoured(void **state)
{
    rig *r = *state;
    enum { WINDOWS = 7, EPOCHS = 4200, T = 4 };
    counting_file(r, "a.bin", T * WINDOWS + T, 1);
    reading *d = opened(r, "token_file", SHUFFLED, request(1, T, 3));
    assert_int_equal(info_of(d).rows_per_epoch, WINDOWS);
    int at[WINDOWS][WINDOWS] = {{0}}, phases[T] = {0};
    for (int epoch = 0; epoch < EPOCHS; epoch++)
        for (int i = 0; i < WINDOWS; i++) {
            const int64_t start = next_start(d);
            at[i][start / T]++;
            phases[start % T] += i == 0;
        }
    for (int i = 0; i < WINDOWS; i++)
        for (int w = 0; w < WINDOWS; w++)
            assert_in_range(at[i][w], 600 - 115, 600 + 115);
    for (int p = 0; p < T; p++)
        assert_in_range(phases[p], EPOCHS / T - 145, EPOCHS / T + 145);
    closed(d);
}

static void rows_do_not_depend_on_the_batch_size(void **state)
{
    rig *r = *state;
    counting_file(r, "a.bin", 103, 1);
    reading *one = opened(r, "token_file", SHUFFLED, request(1, 8, 5));
    reading *seven = opened(r, "token_file", SHUFFLED, request(7, 8, 5));
    for (int batch = 0; batch < 20; batch++) {
        next(seven);
        for (int row = 0; row < 7; row++) {
            next(one);
            assert_memory_equal(one->tokens, seven->tokens + 8 * row,
                                8 * sizeof(int32_t));
        }
    }
    closed(one);
    closed(seven);
}

/* ------------------------------------------------------------------------ */

/* `batches` into one reading, save; another one restored there goes on alike.
 */
static void check_resume(rig *r, const char *yaml, int batches)
{
    const tn_dataset_request asked = request(3, 8, 11);
    reading *a = opened(r, "token_file", yaml, asked);
    reading *b = opened(r, "token_file", yaml, asked);
    tn_cursor cursor;
    tn_error err = TN_ERROR_NONE;
    for (int i = 0; i < batches; i++)
        next(a);
    a->vtable->save(a->self, &cursor);
    tn_assert_ok_err(b->vtable->restore(b->self, &cursor, &err), err);
    for (int i = 0; i < 15; i++) {
        next(a);
        next(b);
        assert_memory_equal(a->tokens, b->tokens, 24 * sizeof(int32_t));
        assert_memory_equal(a->targets, b->targets, 24 * sizeof(int32_t));
    }
    closed(a);
    closed(b);
}

static void a_restored_cursor_goes_on_bit_for_bit(void **state)
{
    rig *r = *state;
    counting_file(r, "a.bin", 257, 1);
    for (uint32_t i = 0; i < 40; i++) {
        const int batches = (int)(tn_philox_uniform(1, 1, 1, i) * 200.0f);
        check_resume(r, SHUFFLED, batches);
        check_resume(r, IN_ORDER, batches);
        check_resume(r, "{path: a.bin, split: [0.25, 0.75]}", batches);
    }
}

static void refuse_restore(rig *r, const tn_cursor *cursor, const char *yaml,
                           tn_dataset_request asked, const char *says)
{
    reading *d = opened(r, "token_file", yaml, asked);
    tn_error err = TN_ERROR_NONE;
    const int64_t before = next_start(d);
    assert_int_equal(d->vtable->restore(d->self, cursor, &err), TN_EINVALID);
    tn_assert_error_says(err, says);
    closed(d);
    d = opened(r, "token_file", yaml, asked);
    assert_int_equal(next_start(d), before);
    closed(d);
}

static void a_cursor_of_another_order_is_refused(void **state)
{
    rig *r = *state;
    counting_file(r, "a.bin", 1000, 1);
    reading *d = opened(r, "token_file", SHUFFLED, request(1, 8, 1));
    tn_cursor cursor;
    next(d);
    d->vtable->save(d->self, &cursor);
    closed(d);
    refuse_restore(r, &cursor, IN_ORDER, request(1, 8, 1),
                   "shuffle was 1 when the run was saved and is 0 now");
    refuse_restore(r, &cursor, SHUFFLED, request(1, 9, 1), "seq_len was 8");
    refuse_restore(r, &cursor, SHUFFLED, request(1, 8, 2), "seed was 1");
    refuse_restore(r, &cursor, "{path: a.bin, split: [0.5, 1]}",
                   request(1, 8, 1), "first token of the split was 0");
    refuse_restore(r, &cursor, "{path: a.bin, split: [0, 0.5]}",
                   request(1, 8, 1), "tokens in the split was 1000");
    counting_file(r, "a.bin", 999, 1);
    refuse_restore(r, &cursor, SHUFFLED, request(1, 8, 1),
                   "a.bin: tokens in the file was 1000 when the run was saved "
                   "and is 999 now");
}

static void a_cursor_far_away_is_as_good_as_any(void **state)
{
    rig *r = *state;
    counting_file(r, "a.bin", 1000, 1);
    reading *d = opened(r, "token_file", SHUFFLED, request(1, 8, 1));
    tn_cursor cursor;
    d->vtable->save(d->self, &cursor);
    cursor.word[0] = UINT64_MAX - 3;
    tn_assert_ok(d->vtable->restore(d->self, &cursor, NULL));
    for (int i = 0; i < 10; i++)
        next_start(d);
    closed(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(an_epoch_is_a_permutation_of_its_windows),
        RIG_TEST(shuffled_windows_stay_inside_their_split),
        RIG_TEST(epochs_and_seeds_have_orders_of_their_own),
        RIG_TEST(no_window_is_favoured),
        RIG_TEST(rows_do_not_depend_on_the_batch_size),
        RIG_TEST(a_restored_cursor_goes_on_bit_for_bit),
        RIG_TEST(a_cursor_of_another_order_is_refused),
        RIG_TEST(a_cursor_far_away_is_as_good_as_any),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
