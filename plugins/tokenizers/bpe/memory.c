/*
 * memory.c - tables in large pages.
 */
#include "memory.h"

#include <sys/mman.h>

enum { LARGE_PAGE = 2 << 20 };

void *tni_table_alloc(size_t bytes)
{
    if (bytes < LARGE_PAGE)
        return calloc(1, bytes);
    const size_t whole = (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    void *table = aligned_alloc(LARGE_PAGE, whole);
    if (!table)
        return NULL;
    madvise(table, whole, MADV_HUGEPAGE); /* a wish */
    return memset(table, 0, whole);
}
