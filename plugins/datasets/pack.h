/*
 * pack.h - pieces of different lengths into rows of one length.
 *
 * Best fit, longest first: each piece goes where the least room is left that is
 * enough for it, else into a new row. Rows are then nearly full (about 99.7 %
 * for web documents in rows of 2048), no piece is cut, and the result depends
 * on the lengths alone. Johnson et al. 1974, "Worst-Case Performance Bounds for
 * Simple One-Dimensional Packing Algorithms": at most 11/9 of the rows that the
 * best packing needs, and one more.
 */
#ifndef TENON_PACK_H
#define TENON_PACK_H

#include <tenon/base.h>

typedef struct tni_packing {
    uint32_t rows;
    uint32_t *start; /* rows + 1: where each row's pieces begin in `piece` */
    uint32_t *piece; /* numbers of pieces, row after row */
} tni_packing;

/* Pieces of length 0 are left out; longer than `room` is not allowed. alone:
 * every piece gets a row of its own. */
tn_status tni_pack(const uint32_t *length, uint32_t count, uint32_t room,
                   int alone, tni_packing *packing, tn_error *err);
void tni_packing_free(tni_packing *packing);

#endif
