/*
 * nearest.c - "did you mean": the closest name, or none.
 *
 * Optimal string alignment distance: letters inserted, dropped, replaced, or
 * two neighbours swapped, which is what fingers do. Near means a third of the
 * word's letters at most.
 */
#include "config/config.h"

#include <string.h>

enum { MAX_WORD = 64 };

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t distance(const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b);
    uint32_t d[MAX_WORD + 1][MAX_WORD + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = (uint32_t)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (uint32_t)j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            const uint32_t replace = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            const uint32_t one = least(d[i - 1][j], d[i][j - 1]) + 1;
            d[i][j] = least(replace, one);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n][m];
}

const char *tni_nearest(const char *word, const char *const *names,
                        size_t count)
{
    const size_t length = strlen(word);
    if (!length || length > MAX_WORD)
        return NULL;
    uint32_t best = (uint32_t)(length + 2) / 3 + 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i]) > MAX_WORD)
            continue;
        const uint32_t d = distance(word, names[i]);
        if (d < best) {
            best = d;
            nearest = names[i];
        }
    }
    return nearest;
}
