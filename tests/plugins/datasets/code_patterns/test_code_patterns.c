/*
 * test_code_patterns.c - five arrangements of snippets, a tenth of them noise.
 */
#include "../dataset_rig.h"

enum { T = 64, V = 50257 };

static tn_dataset_request asked(void)
{
    tn_dataset_request r = request(1, T, 1);
    r.vocab_size = V;
    return r;
}

static void without_noise_rows_repeat_their_snippets(void **state)
{
    reading *d = opened(*state, "code_patterns",
                        "{rows: 50, noise: 0, shuffle: false}", asked());
    static const int32_t def[] = {2934, 2163, 62, 2393, 2599, 3419, 25};
    static const int32_t if_return[] = {361, 4006, 25, 7783, 1255};
    static const int32_t for_print[] = {1640, 1312, 287,  2837, 7,     77,
                                        2599, 25,   4798, 7,    45286, 8};
    int distinct = 0;
    for (int i = 0; i < 50; i++) {
        next(d);
        for (int t = 0; t < T && i % 5 != 4; t++) {
            const int32_t want = i % 5 == 0   ? def[t % 7]
                                 : i % 5 == 2 ? if_return[t % 5]
                                 : i % 5 == 3 ? for_print[t % 12]
                                 : t == 0     ? 11748
                                 : t == 1     ? 8265
                                              : def[(t - 2) % 7];
            assert_int_equal(d->tokens[t], want);
        }
        for (int t = 0; t < T && i % 5 == 4; t++)
            distinct += d->tokens[t] == 4871; /* class: there alone */
    }
    assert_in_range(distinct, 3, 60);
    closed(d);
}

/* 40 rows of 64 tokens, one in ten replaced: 256 +- 5 sigma of 15. */
static void a_tenth_of_the_tokens_is_noise(void **state)
{
    reading *clean = opened(*state, "code_patterns", "{noise: 0}", asked());
    reading *noisy = opened(*state, "code_patterns", "{}", asked());
    int other = 0;
    for (int i = 0; i < 40; i++) {
        next(clean);
        next(noisy);
        for (int t = 0; t < T; t++)
            other += clean->tokens[t] != noisy->tokens[t];
    }
    assert_in_range(other, 256 - 75, 256 + 75);
    closed(clean);
    closed(noisy);
}

static void small_vocabularies_wrap_the_ids(void **state)
{
    tn_dataset_request small = asked();
    small.vocab_size = 256;
    reading *d =
        opened(*state, "code_patterns", "{noise: 0, shuffle: false}", small);
    next(d);
    assert_int_equal(d->tokens[0], 2934 % 256);
    closed(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(without_noise_rows_repeat_their_snippets),
        RIG_TEST(a_tenth_of_the_tokens_is_noise),
        RIG_TEST(small_vocabularies_wrap_the_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
