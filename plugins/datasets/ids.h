/*
 * ids.h - a long row of token ids that lie in memory in one or more parts.
 */
#ifndef TENON_IDS_H
#define TENON_IDS_H

#include "mapped_file.h"

/* `count` little-endian ids of `width` bytes (2 or 4). */
typedef struct tni_ids_part {
    const char *path;
    const unsigned char *at;
    const tni_mapped_file *file; /* asked before its bytes are; may be NULL */
    int64_t width, first, count; /* first: place of its first id in the row */
} tni_ids_part;

typedef struct tni_ids {
    const tni_ids_part *parts; /* one at least, none empty */
    uint32_t part_count;
    int64_t total;
    int64_t vocab_size; /* an id outside it is refused with its place */
} tni_ids;

/* Ids `first` to `first` + `count` of the row. */
tn_status tni_ids_read(const tni_ids *ids, int64_t first, int64_t count,
                       int32_t *to, tn_error *err);

#endif
