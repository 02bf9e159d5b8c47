/*
 * dice.c - random choices that are the same in every run.
 */
#include "cases.h"

#include <tenon/philox.h>

uint32_t roll(dice *d, uint32_t sides)
{
    const uint32_t key[2] = {d->seed, 0x64696365u};
    const uint32_t counter[4] = {(uint32_t)d->count++, 0, 0, 0};
    uint32_t word[4];
    tn_philox(key, counter, word);
    return word[0] % sides;
}

int chance(dice *d, uint32_t one_in)
{
    return roll(d, one_in) == 0;
}

double real_in(dice *d, double low, double high)
{
    return low + (high - low) * (double)roll(d, 1000) / 1000.0;
}

int64_t size_upto(dice *d, int64_t most)
{
    static const int64_t tiny[] = {1, 2, 3, 5, 7, 0};
    static const int64_t small[] = {1, 2, 3, 5, 7, 8, 11, 13, 15, 16, 17, 0};
    static const int64_t tiles[] = {1,   2,   3,   5,   7,   8,   13, 15, 16,
                                    17,  31,  32,  33,  48,  63,  64, 65, 97,
                                    127, 128, 129, 255, 256, 257, 0};
    static const int64_t *const lists[] = {tiny, small, tiles};
    const int64_t *list = lists[d->scale];
    uint32_t fitting = 0;
    while (list[fitting] && list[fitting] <= most)
        fitting++;
    return fitting ? list[roll(d, fitting)] : 1;
}

int64_t take_size(dice *d, int64_t *left)
{
    const int64_t size = size_upto(d, *left);
    *left /= size;
    return size;
}

tn_rig_leaf *add_leaf(op_case *c, uint32_t rank, const int64_t *shape)
{
    tn_rig_leaf *leaf = &c->rig.in[c->rig.in_count++];
    leaf->rank = rank;
    for (uint32_t i = 0; i < rank; i++)
        leaf->shape[i] = shape[i];
    return leaf;
}

tn_rig_leaf *add_index(op_case *c, uint32_t rank, const int64_t *shape,
                       int64_t low, int64_t high)
{
    tn_rig_leaf *leaf = add_leaf(c, rank, shape);
    leaf->dtype = TN_I32;
    leaf->low = (double)low;
    leaf->high = (double)high;
    /* (0, 0) would mean [-1, 1] to the rig */
    if (low == 0 && high == 0) {
        static const double zeros[MAX_VALUES] = {0};
        leaf->values = zeros;
    }
    return leaf;
}

void add_firsts(dice *d, op_case *c, int64_t batch, int64_t rows, int blind)
{
    const uint32_t longest = 1 + roll(d, 40);
    tn_rig_leaf *leaf = ADD_INDEX(c, 0, rows, batch, rows);
    if (batch * rows > MAX_VALUES)
        return;
    for (int64_t i = 0, left = 0, first = 0; i < batch * rows; i++, left--) {
        if (i % rows == 0 || left <= 0) {
            left = chance(d, 3) ? rows : 1 + (int64_t)roll(d, longest);
            first = i % rows;
        }
        c->with.values[i] = (double)(blind && chance(d, 5) ? first + 9 : first);
    }
    leaf->values = c->with.values;
}
