/*
 * borders.h - where documents begin in a long row of ids, for windows that are
 * cut out of it: at known places, or wherever a certain id stands.
 */
#ifndef TENON_BORDERS_H
#define TENON_BORDERS_H

#include <stdint.h>

typedef struct tni_borders {
    const int64_t *starts; /* ascending places in the row; NULL: by token */
    int64_t count;
    int64_t token; /* the id that begins a document; -1: there is none */
} tni_borders;

/* Number the documents in ids `first` to `first` + `count` of the row from 0
 * on, in segments (count): one of them per id. */
void tni_borders_number(const tni_borders *borders, int64_t first,
                        const int32_t *ids, int64_t count, int32_t *segments);

#endif
