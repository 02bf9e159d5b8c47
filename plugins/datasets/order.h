/*
 * order.h - in which order rows come, epoch after epoch.
 *
 * An epoch is a permutation of its rows, a function of (seed, epoch) alone:
 * nothing is stored, and the place in the sequence is one number.
 */
#ifndef TENON_ORDER_H
#define TENON_ORDER_H

#include <tenon/base.h>

typedef struct tni_order {
    uint64_t seed;
    uint64_t count;   /* rows of an epoch */
    uint64_t shuffle; /* 0: in order */
} tni_order;

/* The row that is the n-th of all. */
uint64_t tni_order_at(const tni_order *order, uint64_t n);

/* A number for this epoch that has nothing to do with its permutation. */
uint32_t tni_order_draw(const tni_order *order, uint64_t epoch);

#endif
