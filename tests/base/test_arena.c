/*
 * test_arena.c - memory is zeroed, aligned, apart, and stays put.
 */
#include "base/arena.h"
#include "tn_test.h"

static int is_zero(const unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (at[i])
            return 0;
    return 1;
}

static void memory_is_zeroed_aligned_and_never_shared(void **state)
{
    (void)state;
    tni_arena *arena = tni_arena_create();
    unsigned char *at[200];
    size_t bytes[200];
    for (size_t i = 0; i < 200; i++) {
        bytes[i] = i * 37 % 5000;
        at[i] = tni_arena_alloc(arena, bytes[i]);
        assert_int_equal((uintptr_t)at[i] % 16, 0);
        assert_true(is_zero(at[i], bytes[i]));
        memset(at[i], (int)i + 1, bytes[i]);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t j = 0; j < bytes[i]; j++)
            assert_int_equal(at[i][j], (unsigned char)(i + 1));
    tni_arena_destroy(arena);
}

static void one_allocation_may_be_larger_than_any_block(void **state)
{
    (void)state;
    tni_arena *arena = tni_arena_create();
    char *small = tni_arena_strdup(arena, "small");
    char *large = tni_arena_alloc(arena, 3 << 20);
    large[(3 << 20) - 1] = 'x';
    assert_string_equal(small, "small");
    tni_arena_destroy(arena);
}

static void printf_measures_before_it_writes(void **state)
{
    (void)state;
    tni_arena *arena = tni_arena_create();
    char *text = tni_arena_printf(arena, "%05d|%s|%*d", 42, "word", 9000, 7);
    assert_int_equal(strlen(text), 5 + 1 + 4 + 1 + 9000);
    assert_memory_equal(text, "00042|word|", 11);
    tni_arena_destroy(arena);
}

static void a_pushed_array_keeps_its_elements(void **state)
{
    (void)state;
    tni_arena *arena = tni_arena_create();
    int *numbers = NULL;
    size_t count = 0, capacity = 0;
    for (int i = 0; i < 1000; i++)
        *TNI_PUSH(arena, numbers, count, capacity) = i * i;
    assert_int_equal(count, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i * i);
    tni_arena_destroy(arena);
}

static void destroying_nothing_is_fine(void **state)
{
    (void)state;
    tni_arena_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_aligned_and_never_shared),
        cmocka_unit_test(one_allocation_may_be_larger_than_any_block),
        cmocka_unit_test(printf_measures_before_it_writes),
        cmocka_unit_test(a_pushed_array_keeps_its_elements),
        cmocka_unit_test(destroying_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
