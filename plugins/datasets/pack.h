/*
 * pack.h - pieces of different lengths into rows of one length.
 *
 * Best fit: each piece goes where the least room is left that is enough for it,
 * else into a new row. No piece is cut.
 *
 * Longest first, rows are nearly full (about 99.7 % for web documents in rows
 * of 2048); Johnson et al. 1974, "Worst-Case Performance Bounds for Simple
 * One-Dimensional Packing Algorithms": at most 11/9 of the rows that the best
 * packing needs, and one more. In a seeded order they are a little less full,
 * but each epoch brings other pieces together: a model that meets the same
 * neighbours every time learns to lean on them.
 */
#ifndef TENON_PACK_H
#define TENON_PACK_H

#include "order.h"

/* Memory for any packing of the same pieces. */
typedef struct tni_packer {
    const uint32_t *length; /* of each piece; 0: left out. Borrowed */
    uint32_t count, room;
    /* the packing that was made last */
    uint32_t rows;
    uint32_t *start; /* rows + 1: where each row's pieces begin in `piece` */
    uint32_t *piece; /* numbers of pieces, row after row */
    /* while packing */
    uint32_t pieces;
    uint32_t *sequence; /* pieces in the order in which they are placed */
    uint32_t *of;       /* the row of each of them */
    uint32_t *head;     /* by room left: the first row with it */
    uint32_t *next;     /* by row: the next with as much room */
    uint64_t *present;  /* by room left, bits: there is such a row */
} tni_packer;

/* No length may be above `room`. On failure there is nothing to free. */
tn_status tni_packer_init(tni_packer *packer, const uint32_t *length,
                          uint32_t count, uint32_t room, tn_error *err);
void tni_packer_fini(tni_packer *packer);

/* The three ways to pack; none allocates. */
void tni_pack_longest_first(tni_packer *packer);
void tni_pack_seeded(tni_packer *packer, uint64_t seed, uint64_t epoch);
void tni_pack_alone(tni_packer *packer); /* a row for every piece */

#endif
