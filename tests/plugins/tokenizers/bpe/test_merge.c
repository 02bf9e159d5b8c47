/*
 * test_merge.c - merges in the right order, and few of them looked at.
 */
#include "tn_test.h"

#include <tenon/philox.h>

#include "merge.h"

static void add(tni_vocabulary *v, int64_t id, const char *bytes, size_t count)
{
    tn_assert_ok(tni_vocabulary_add(v, id, bytes, count, NULL));
}

static void add_bytes(tni_vocabulary *v)
{
    tni_vocabulary_init(v, "test");
    for (int i = 0; i < 256; i++)
        add(v, i, &(char){(char)i}, 1);
}

static void finish(tni_vocabulary *v)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_vocabulary_index(v, &err), err);
    tn_assert_ok_err(tni_vocabulary_merge_by_bytes(v, &err), err);
}

static uint32_t dice(uint32_t a, uint32_t b)
{
    uint32_t out[4];
    tn_philox((const uint32_t[2]){a, 11}, (const uint32_t[4]){b, 0, 0, 0}, out);
    return out[0];
}

/* Words of a to d, in no order of length: ranks that no training would give
 * and that a merge may make lower ones possible by. */
static void random_vocabulary(tni_vocabulary *v, uint32_t seed)
{
    add_bytes(v);
    int64_t id = 256;
    for (uint32_t i = 0; i < 400; i++) {
        char word[8];
        const uint32_t count = 2 + dice(seed, i) % 5;
        for (uint32_t j = 0; j < count; j++)
            word[j] = (char)('a' + dice(seed + 1000, i * 8 + j) % 4);
        int known = 0;
        for (int64_t k = 256; k < id; k++) {
            uint32_t n;
            const char *bytes = tni_vocabulary_bytes(v, (int32_t)k, &n);
            known |= n == count && !memcmp(bytes, word, n);
        }
        if (!known)
            add(v, id++, word, count);
    }
    finish(v);
}

/* By the book: of all neighbours whose bytes are a token, the lowest id, the
 * leftmost of equal ones. */
static size_t by_the_book(const tni_vocabulary *v, const char *text,
                          size_t count, int32_t *id)
{
    size_t end[512];
    for (size_t i = 0; i < count; i++)
        end[i] = i + 1;
    for (;;) {
        size_t at = 0, best = SIZE_MAX;
        int32_t lowest = INT32_MAX;
        for (size_t i = 0; i + 1 < count; i++) {
            const int32_t found =
                tni_vocabulary_find(v, text + at, end[i + 1] - at);
            if (found != TNI_NO_TOKEN && found < lowest) {
                lowest = found;
                best = i;
            }
            at = end[i];
        }
        if (best == SIZE_MAX)
            break;
        memmove(end + best, end + best + 1, (count - best - 1) * sizeof *end);
        count--;
    }
    for (size_t i = 0, at = 0; i < count; at = end[i++])
        id[i] = tni_vocabulary_find(v, text + at, end[i] - at);
    return count;
}

static void compare(const tni_vocabulary *v, tni_merger *m, uint32_t seed,
                    size_t bytes)
{
    char text[512];
    int32_t want[512];
    size_t got;
    for (uint32_t i = 0; i < bytes; i++)
        text[i] = (char)('a' + dice(seed, i) % 4);
    const size_t count = by_the_book(v, text, bytes, want);
    tn_assert_ok(tni_merge(v, m, text, bytes, &got, NULL));
    assert_int_equal(got, count);
    assert_memory_equal(m->id, want, count * sizeof *want);
}

static void short_and_long_pieces_merge_by_the_book(void **state)
{
    (void)state;
    tni_merger m = {0};
    for (uint32_t seed = 0; seed < 12; seed++) {
        tni_vocabulary v;
        random_vocabulary(&v, seed);
        for (uint32_t i = 0; i < 60; i++)
            compare(&v, &m, seed * 100 + i, 1 + i);
        for (uint32_t i = 0; i < 10; i++)
            compare(&v, &m, seed * 100 + i, 100 + 41 * i);
        tni_vocabulary_fini(&v);
    }
    tni_merger_fini(&m);
}

/* a, aa, aaaa ... 2^16: a megabyte of one letter goes through all of them. */
static void a_megabyte_of_one_letter_is_looked_at_a_few_times(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20, LONGEST = 1 << 12 };
    tni_vocabulary v;
    tni_merger m = {0};
    size_t count;
    char *text = malloc(BYTES);
    assert_non_null(text);
    memset(text, 'a', BYTES);
    add_bytes(&v);
    int64_t id = 256;
    for (size_t n = 2; n <= LONGEST; n *= 2)
        add(&v, id++, text, n);
    finish(&v);
    tn_assert_ok(tni_merge(&v, &m, text, BYTES, &count, NULL));
    assert_int_equal(count, BYTES / LONGEST);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(m.id[i], id - 1);
    assert_true(m.queue.entry_count <= 3 * (size_t)BYTES);
    tni_merger_fini(&m);
    tni_vocabulary_fini(&v);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_and_long_pieces_merge_by_the_book),
        cmocka_unit_test(a_megabyte_of_one_letter_is_looked_at_a_few_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
