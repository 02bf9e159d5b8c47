/*
 * order.c - a permutation without a table.
 *
 * A Feistel network over the smallest even number of bits that counts the rows,
 * walked until it lands on one of them (Black and Rogaway 2002, "Ciphers with
 * Arbitrary Finite Domains"): at most four steps on average, constant memory,
 * and resuming needs no replay.
 */
#include "order.h"

#include <tenon/philox.h>

enum { ROUNDS = 8, FREE_DRAW = ROUNDS }; /* draws of one (seed, epoch) */

static uint32_t draw(const tni_order *o, uint64_t epoch, uint32_t which,
                     uint32_t word)
{
    const uint32_t key[2] = {(uint32_t)o->seed, (uint32_t)(o->seed >> 32)};
    const uint32_t counter[4] = {word, which, (uint32_t)epoch,
                                 (uint32_t)(epoch >> 32)};
    uint32_t out[4];
    tn_philox(key, counter, out);
    return out[0];
}

/* A bijection of [0, 4^half_bits). */
static uint64_t feistel(const tni_order *o, uint64_t epoch, uint32_t half_bits,
                        uint64_t value)
{
    const uint32_t mask = (uint32_t)((1ull << half_bits) - 1);
    uint32_t left = (uint32_t)(value >> half_bits) & mask;
    uint32_t right = (uint32_t)value & mask;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        const uint32_t mixed = left ^ (draw(o, epoch, round, right) & mask);
        left = right;
        right = mixed;
    }
    return (uint64_t)left << half_bits | right;
}

uint64_t tni_order_at(const tni_order *o, uint64_t n)
{
    const uint64_t epoch = n / o->count;
    uint64_t index = n % o->count;
    uint32_t half_bits = 1;
    if (!o->shuffle)
        return index;
    while (half_bits < 31 && 1ull << (2 * half_bits) < o->count)
        half_bits++;
    do
        index = feistel(o, epoch, half_bits, index);
    while (index >= o->count);
    return index;
}

uint32_t tni_order_draw(const tni_order *o, uint64_t epoch)
{
    return draw(o, epoch, FREE_DRAW, 0);
}
