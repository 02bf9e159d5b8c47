/*
 * packed_rows.h - rows of packed pieces, epoch after epoch.
 *
 * In order: the rows of one packing, longest pieces first, again and again.
 * Shuffled: each epoch is packed anew in an order of its own. Alone: a row for
 * every piece, in a seeded order where shuffled.
 *
 * The place is the number of rows since the beginning; where that is follows
 * from packing the epochs again, which resuming does.
 */
#ifndef TENON_PACKED_ROWS_H
#define TENON_PACKED_ROWS_H

#include "pack.h"

typedef struct tni_packed_rows {
    tni_packer packer;
    tni_order order; /* of single pieces' rows */
    uint64_t seed;
    int32_t shuffle, alone;
    uint64_t next;  /* rows handed out */
    uint64_t epoch; /* that the packer holds */
    uint64_t first; /* row number at which that epoch begins */
    uint32_t rows;  /* of the first epoch */
} tni_packed_rows;

tn_status tni_packed_rows_init(tni_packed_rows *rows, const uint32_t *length,
                               uint32_t count, uint32_t room, int32_t alone,
                               int32_t shuffle, uint64_t seed, tn_error *err);
void tni_packed_rows_fini(tni_packed_rows *rows);

/* The pieces of the next row, in memory of the packer. Allocates nothing. */
const uint32_t *tni_packed_rows_next(tni_packed_rows *rows, uint32_t *count);

/* Go to the row numbered `next`. */
void tni_packed_rows_seek(tni_packed_rows *rows, uint64_t next);

/* Places `from` to `end` of a row are its piece `number`. segments may be NULL:
 * nobody asks. */
static inline void tni_packed_number(int32_t *segments, int64_t from,
                                     int64_t end, uint32_t number)
{
    for (; segments && from < end; from++)
        segments[from] = (int32_t)number;
}

#endif
