/*
 * merge.h - a piece's bytes become tokens, lowest rank first.
 *
 *     l o w e r      e+r has the lowest rank
 *     l o w er       then l+o
 *     lo w er        then lo+w
 *     low er         nothing merges any more
 *
 * Short pieces look through all their pairs before each merge, which for a
 * word is the fastest way. Long ones (a megabyte of one letter is one piece)
 * keep their pairs in a queue by rank: linear, whatever the text.
 */
#ifndef TENON_BPE_MERGE_H
#define TENON_BPE_MERGE_H

#include "queue.h"
#include "vocabulary.h"

/* Memory that one call leaves to the next; zero-filled at first. One thread at
 * a time. */
typedef struct tni_merger {
    int32_t *id; /* the result; while merging, of the token at each place */
    size_t id_capacity;
    struct tni_link *link;
    size_t link_capacity;
    tni_queue queue;
} tni_merger;

/* m->id[0 .. *count) are the tokens of the piece until the next call. */
tn_status tni_merge(const tni_vocabulary *v, tni_merger *m, const char *piece,
                    size_t bytes, size_t *count, tn_error *err);
void tni_merger_fini(tni_merger *m);

/* The part for long pieces; m->id holds their bytes' tokens. */
tn_status tni_merge_long(const tni_vocabulary *v, tni_merger *m,
                         const char *piece, uint32_t bytes, size_t *count,
                         tn_error *err);

#endif
