/*
 * memory.c - memory for arenas and for kernels' own room.
 *
 * Much of it comes straight from the system, in huge pages: a row of logits is
 * 200 KB long, and a tile that writes eight of them would wait for eight
 * translations of 4 KB pages.
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS, madvise */
#include "cpu.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 * 1024 * 1024 };

static int map(tn_buffer *b, int64_t bytes)
{
    void *at = mmap(NULL, (size_t)bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return 0;
    const uintptr_t aligned =
        ((uintptr_t)at + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    *b = (tn_buffer){.at = (char *)aligned,
                     .bytes = bytes,
                     .mapped_bytes = bytes + HUGE_PAGE,
                     .mapping = at};
    madvise(b->at, (size_t)bytes, MADV_HUGEPAGE);
    return 1;
}

static int take_from_heap(tn_buffer *b, int64_t bytes)
{
    const size_t rounded =
        ((size_t)bytes + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
    *b =
        (tn_buffer){.at = aligned_alloc(TN_ALIGNMENT, rounded), .bytes = bytes};
    if (b->at)
        memset(b->at, 0, rounded);
    return b->at != NULL;
}

int cpu_take_memory(tn_buffer *b, int64_t bytes)
{
    *b = (tn_buffer){0};
    if (bytes == 0)
        return 1;
    return bytes >= HUGE_PAGE ? map(b, bytes) : take_from_heap(b, bytes);
}

void cpu_give_memory(tn_buffer *b)
{
    if (b->mapping)
        munmap(b->mapping, (size_t)b->mapped_bytes);
    else
        free(b->at);
    *b = (tn_buffer){0};
}
