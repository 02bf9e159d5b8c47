/*
 * python_random.c - MT19937, and the three uses that Python makes of it.
 */
#include "run/python_random.h"

enum { WORDS = 624, SHIFT = 397 };

static void seed_words(tni_python_random *r, uint32_t seed)
{
    r->word[0] = seed;
    for (uint32_t i = 1; i < WORDS; i++)
        r->word[i] = 1812433253u * (r->word[i - 1] ^ r->word[i - 1] >> 30) + i;
}

/* init_by_array with the seed as its only key. */
void tni_python_random_init(tni_python_random *r, uint32_t seed)
{
    uint32_t *w = r->word, i = 1;
    seed_words(r, 19650218u);
    for (uint32_t n = 0; n < WORDS; n++) {
        w[i] = (w[i] ^ (w[i - 1] ^ w[i - 1] >> 30) * 1664525u) + seed;
        if (++i == WORDS) {
            w[0] = w[WORDS - 1];
            i = 1;
        }
    }
    for (uint32_t n = 1; n < WORDS; n++) {
        w[i] = (w[i] ^ (w[i - 1] ^ w[i - 1] >> 30) * 1566083941u) - i;
        if (++i == WORDS) {
            w[0] = w[WORDS - 1];
            i = 1;
        }
    }
    w[0] = 0x80000000u;
    r->next = WORDS;
}

static void twist(tni_python_random *r)
{
    uint32_t *w = r->word;
    for (uint32_t i = 0; i < WORDS; i++) {
        const uint32_t y =
            (w[i] & 0x80000000u) | (w[(i + 1) % WORDS] & 0x7fffffffu);
        w[i] = w[(i + SHIFT) % WORDS] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    r->next = 0;
}

static uint32_t draw(tni_python_random *r)
{
    if (r->next == WORDS)
        twist(r);
    uint32_t y = r->word[r->next++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

uint32_t tni_python_random_below(tni_python_random *r, uint32_t below)
{
    uint32_t bits = 0, drawn;
    while (bits < 32 && below >> bits)
        bits++;
    do
        drawn = draw(r) >> (32 - bits);
    while (drawn >= below);
    return drawn;
}

void tni_python_random_shuffle(tni_python_random *r, uint32_t *order,
                               uint32_t count)
{
    for (uint32_t i = count; i-- > 1;) {
        const uint32_t j = tni_python_random_below(r, i + 1);
        const uint32_t moved = order[i];
        order[i] = order[j];
        order[j] = moved;
    }
}

static int drawn_before(const uint32_t *place, uint32_t count, uint32_t j)
{
    for (uint32_t i = 0; i < count; i++)
        if (place[i] == j)
            return 1;
    return 0;
}

/* Python keeps a list of what is left where that is smaller than a set of what
 * was drawn: the two draw differently. */
static uint32_t largest_list(uint32_t k)
{
    uint32_t set = 1;
    while (k > 5 && set < 3 * k)
        set *= 4;
    return k > 5 ? 21 + set : 21;
}

void tni_python_random_sample(tni_python_random *r, uint32_t *from,
                              uint32_t count, uint32_t k, uint32_t *drawn)
{
    const int from_list = count <= largest_list(k);
    for (uint32_t i = 0; i < k; i++) {
        uint32_t j = tni_python_random_below(r, from_list ? count - i : count);
        while (!from_list && drawn_before(drawn, i, j))
            j = tni_python_random_below(r, count);
        drawn[i] = from_list ? from[j] : j;
        if (from_list)
            from[j] = from[count - i - 1];
    }
    for (uint32_t i = 0; !from_list && i < k; i++)
        drawn[i] = from[drawn[i]];
}
