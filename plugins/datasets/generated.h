/*
 * generated.h - rows that are computed, not read.
 *
 * Row i is a function of the seed and i: nothing is held in memory, and the
 * place in the order is one number.
 */
#ifndef TENON_GENERATED_H
#define TENON_GENERATED_H

#include <tenon/dataset.h>
#include <tenon/philox.h>

#include "order.h"

typedef struct tni_generated tni_generated;

/* Fill `ids` with the `count` tokens of row `index`, all below `vocab_size`. */
typedef void (*tni_row_maker)(const tni_generated *g, uint64_t index,
                              int32_t *ids, int64_t count);

struct tni_generated {
    tni_row_maker make;
    int64_t batch_size, seq_len, vocab_size;
    tni_order order;
    uint64_t next;
    double noise; /* for the maker */
    int32_t *row; /* seq_len + 1 */
};

/* `g` is memory of the caller's; zeroed but for `make` and `noise`. */
tn_status tni_generated_init(tni_generated *g, int64_t rows, int32_t shuffle,
                             const tn_dataset_request *request, tn_error *err);
void tni_generated_fini(tni_generated *g);

/* As the members of a tn_dataset, `self` being a tni_generated. */
void tni_generated_info(const void *self, tn_dataset_info *info);
tn_status tni_generated_next(void *self, tn_batch *batch, tn_error *err);
void tni_generated_save(const void *self, tn_cursor *cursor);
tn_status tni_generated_restore(void *self, const tn_cursor *cursor,
                                tn_error *err);

/* Draw number `n` of row `index`: 32 random bits. */
static inline uint32_t tni_generated_draw(const tni_generated *g,
                                          uint64_t index, uint64_t n)
{
    const uint64_t seed = g->order.seed;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32),
                                 (uint32_t)n, (uint32_t)(n >> 32) | 1u << 31};
    uint32_t out[4];
    tn_philox(key, counter, out);
    return out[0];
}

/* A draw scaled to [0, below). */
static inline int32_t tni_generated_below(const tni_generated *g,
                                          uint64_t index, uint64_t n,
                                          int64_t below)
{
    return (int32_t)((uint64_t)tni_generated_draw(g, index, n) *
                         (uint64_t)below >>
                     32);
}

#endif
