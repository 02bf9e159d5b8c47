/*
 * test_learn.c - the most frequent pair, each time, by counting from scratch.
 */
#include "tn_test.h"

#include <tenon/philox.h>

#include "learn.h"

enum { WORDS = 40, LONGEST = 24, SIZE = 256 + 60 };

typedef struct word {
    int32_t token[LONGEST];
    int count;
    int64_t times;
} word;

typedef struct corpus {
    word word[WORDS];
    char text[WORDS][LONGEST];
} corpus;

static uint32_t dice(uint32_t a, uint32_t b)
{
    uint32_t out[4];
    tn_philox((const uint32_t[2]){a, 3}, (const uint32_t[4]){b, 0, 0, 0}, out);
    return out[0];
}

/* Words of a few letters, so that pairs overlap ("aaa") and tie. */
static void draw(corpus *c, uint32_t seed)
{
    const uint32_t letters = 1 + seed % 4;
    for (uint32_t i = 0; i < WORDS; i++) {
        word *w = &c->word[i];
        w->count = 1 + (int)(dice(seed, i) % LONGEST);
        w->times = 1 + dice(seed + 500, i) % 9;
        for (int j = 0; j < w->count; j++) {
            c->text[i][j] =
                (char)('a' +
                       dice(seed + 900, i * LONGEST + (uint32_t)j) % letters);
            w->token[j] = (unsigned char)c->text[i][j];
        }
    }
}

/* Every pair counted anew: neighbours that overlap count twice. */
static int64_t most_frequent(const corpus *c, tni_merge_rule *best)
{
    static int64_t times[SIZE][SIZE];
    memset(times, 0, sizeof times);
    for (int i = 0; i < WORDS; i++)
        for (int j = 0; j + 1 < c->word[i].count; j++)
            times[c->word[i].token[j]][c->word[i].token[j + 1]] +=
                c->word[i].times;
    int64_t most = 0;
    for (int32_t a = 0; a < SIZE; a++)
        for (int32_t b = 0; b < SIZE; b++)
            if (times[a][b] > most) {
                most = times[a][b];
                *best = (tni_merge_rule){a, b};
            }
    return most;
}

static void merge(word *w, tni_merge_rule rule, int32_t made)
{
    int count = 0;
    for (int j = 0; j < w->count; count++) {
        const int here = j + 1 < w->count && w->token[j] == rule.left &&
                         w->token[j + 1] == rule.right;
        w->token[count] = here ? made : w->token[j];
        j += here ? 2 : 1;
    }
    w->count = count;
}

static void check_against_counting(uint32_t seed)
{
    static corpus c;
    tni_words words = {0};
    tni_vocabulary v;
    tni_merge_rule rule[SIZE - 256];
    tn_error err = TN_ERROR_NONE;
    const tn_tokenizer_training how = {.struct_size = sizeof how};
    draw(&c, seed);
    tni_vocabulary_init(&v, "test");
    for (int i = 0; i < 256; i++)
        tn_assert_ok(tni_vocabulary_add(&v, i, &(char){(char)i}, 1, NULL));
    tn_assert_ok(tni_vocabulary_index(&v, NULL));
    for (int i = 0; i < WORDS; i++)
        assert_true(tni_words_add(&words, c.text[i], (size_t)c.word[i].count,
                                  c.word[i].times));
    tn_assert_ok_err(tni_learn(&v, &words, SIZE, &how, rule, &err), err);
    for (int32_t id = 256; id < (int32_t)v.size; id++) {
        tni_merge_rule want = {0};
        assert_true(most_frequent(&c, &want) > 0);
        assert_int_equal(rule[id - 256].left, want.left);
        assert_int_equal(rule[id - 256].right, want.right);
        for (int i = 0; i < WORDS; i++)
            merge(&c.word[i], want, id);
    }
    if (v.size < SIZE)
        assert_int_equal(most_frequent(&c, &rule[0]), 0);
    tni_vocabulary_fini(&v);
    tni_words_fini(&words);
}

static void merges_are_those_of_counting_anew(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 60; seed++)
        check_against_counting(seed);
}

static void words_are_counted_once_each(void **state)
{
    (void)state;
    tni_words words = {0};
    for (int i = 0; i < 3000; i++) {
        char text[16];
        const int n = snprintf(text, sizeof text, "w%d", i % 1000);
        assert_true(tni_words_add(&words, text, (size_t)n, 2));
    }
    assert_int_equal(words.count, 1000);
    for (size_t i = 0; i < words.count; i++)
        assert_int_equal(words.word[i].count, 6);
    tni_words_fini(&words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_are_those_of_counting_anew),
        cmocka_unit_test(words_are_counted_once_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
