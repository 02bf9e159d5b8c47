/*
 * test_cache.c - what is found is what was put there, for that piece alone.
 */
#include "tn_test.h"

#include "cache.h"

static tni_cache *cache;

static int set_up(void **state)
{
    (void)state;
    cache = tni_table_alloc(sizeof *cache);
    return cache ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(cache);
    return 0;
}

/* The key of the first `bytes` of a text with other bytes after them. */
static tni_cache_key key_of(const char *text, size_t bytes)
{
    char room[64];
    tni_cache_key key;
    memset(room, 0x5a, sizeof room);
    memcpy(room, text, bytes);
    tni_cache_key_of(room, bytes, &key);
    return key;
}

static void nothing_is_known_at_first(void **state)
{
    (void)state;
    static const char zeros[32];
    int32_t id[TNI_CACHED_IDS];
    for (size_t bytes = 1; bytes <= TNI_CACHED_BYTES; bytes++) {
        const tni_cache_key key = key_of(zeros, bytes);
        assert_int_equal(tni_cache_get(cache, &key, id), 0);
    }
}

static void any_number_of_ids_comes_back_for_any_length(void **state)
{
    (void)state;
    static const char text[] = "abcdefghijklmnopqrstuvwxyz01234";
    int32_t put[TNI_CACHED_IDS], got[TNI_CACHED_IDS];
    for (size_t bytes = 1; bytes <= TNI_CACHED_BYTES; bytes++) {
        const tni_cache_key key = key_of(text, bytes);
        for (size_t count = 1; count <= TNI_CACHED_IDS; count++) {
            for (size_t i = 0; i < count; i++)
                put[i] = (int32_t)(1000 * bytes + 20 * count + i);
            tni_cache_put(cache, &key, put, count);
            assert_int_equal(tni_cache_get(cache, &key, got), count);
            assert_memory_equal(got, put, count * sizeof *put);
        }
    }
}

/* One place for both: only the bytes tell them apart. */
static void assert_apart(tni_cache_key a, tni_cache_key b)
{
    static const int32_t id[1] = {7};
    int32_t got[TNI_CACHED_IDS];
    a.slot = b.slot = 5;
    tni_cache_put(cache, &a, id, 1);
    assert_int_equal(tni_cache_get(cache, &a, got), 1);
    assert_int_equal(tni_cache_get(cache, &b, got), 0);
}

static void every_byte_and_the_length_tell_pieces_apart(void **state)
{
    (void)state;
    char a[TNI_CACHED_BYTES] = {0};
    for (size_t bytes = 1; bytes <= TNI_CACHED_BYTES; bytes++) {
        for (size_t i = 0; i < bytes; i++) {
            char b[TNI_CACHED_BYTES] = {0};
            b[i] = (char)0x80;
            assert_apart(key_of(a, bytes), key_of(b, bytes));
        }
        if (bytes > 1)
            assert_apart(key_of(a, bytes), key_of(a, bytes - 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_known_at_first, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            any_number_of_ids_comes_back_for_any_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            every_byte_and_the_length_tell_pieces_apart, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
