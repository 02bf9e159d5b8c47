/*
 * borders.c - one look at a window, from the border behind its first id on.
 */
#include "borders.h"

/* The number of the first start behind `place`; count where there is none. */
static int64_t next_start(const tni_borders *b, int64_t place)
{
    int64_t low = 0, high = b->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (b->starts[middle] <= place)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void by_token(const tni_borders *b, const int32_t *ids, int64_t count,
                     int32_t *segments)
{
    int32_t number = 0;
    for (int64_t i = 0; i < count; i++) {
        number += i > 0 && ids[i] == b->token;
        segments[i] = number;
    }
}

void tni_borders_number(const tni_borders *b, int64_t first, const int32_t *ids,
                        int64_t count, int32_t *segments)
{
    int32_t number = 0;
    if (!b->starts) {
        by_token(b, ids, count, segments);
        return;
    }
    int64_t next = next_start(b, first);
    for (int64_t i = 0; i < count; i++) {
        for (; next < b->count && b->starts[next] == first + i; next++)
            number++;
        segments[i] = number;
    }
}
