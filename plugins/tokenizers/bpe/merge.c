/*
 * merge.c - the merges of a piece.
 *
 * Ties: of equal ranks the leftmost first, as everyone's do.
 */
#include "merge.h"

enum { SHORT = 48 }; /* bytes; measured: beyond about this the heap is faster */

/* ---- short: every pair, every time ---- */

static size_t least(const uint32_t *rank, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (rank[i] < rank[best])
            best = i;
    return best;
}

/* id[0 .. count) in place; returns how many are left. rank[i] is that of the
 * merge of id[i] and id[i + 1]. */
static size_t merge_short(const tni_vocabulary *v, const char *piece,
                          int32_t *id, size_t count)
{
    uint32_t rank[SHORT];
    for (size_t i = 0; i + 1 < count; i++)
        rank[i] = tni_vocabulary_byte_pair(v, piece + i);
    while (count > 1) {
        const size_t i = least(rank, count - 1);
        if (rank[i] == TNI_NO_RANK)
            break;
        id[i] = tni_vocabulary_made(v, rank[i]);
        count--;
        memmove(id + i + 1, id + i + 2, (count - i - 1) * sizeof *id);
        memmove(rank + i, rank + i + 1, (count - i - 1) * sizeof *rank);
        if (i > 0)
            rank[i - 1] = tni_vocabulary_pair(v, id[i - 1], id[i]);
        if (i + 1 < count)
            rank[i] = tni_vocabulary_pair(v, id[i], id[i + 1]);
    }
    return count;
}

/* ---- long: a heap of pairs over a list of tokens ---- */

/* One per byte of the piece, at its token's first byte; where there is none
 * (any more), rank is TNI_NO_RANK. */
typedef struct tni_link {
    uint32_t before, after; /* places; `end` after the last */
    uint32_t rank;          /* of the merge with the next token */
} tni_link;

static void sift_down(uint64_t *heap, size_t count, size_t at)
{
    const uint64_t moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= moving)
            break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static void push(tni_merger *m, uint64_t entry)
{
    size_t at = m->heap_count++;
    for (; at > 0 && m->heap[(at - 1) / 2] > entry; at = (at - 1) / 2)
        m->heap[at] = m->heap[(at - 1) / 2];
    m->heap[at] = entry;
    m->pushed++;
}

static uint64_t pop(tni_merger *m)
{
    const uint64_t top = m->heap[0];
    m->heap[0] = m->heap[--m->heap_count];
    if (m->heap_count)
        sift_down(m->heap, m->heap_count, 0);
    return top;
}

/* Another token begins at `place` or after it; the heap learns of the pair if
 * it merges. */
static void push_place(const tni_vocabulary *v, tni_merger *m, uint32_t place,
                       uint32_t end)
{
    tni_link *l = &m->link[place];
    l->rank = l->after == end
                  ? TNI_NO_RANK
                  : tni_vocabulary_pair(v, m->id[place], m->id[l->after]);
    if (l->rank != TNI_NO_RANK)
        push(m, (uint64_t)l->rank << 32 | place);
}

static void merge_place(const tni_vocabulary *v, tni_merger *m, uint32_t place,
                        uint32_t end)
{
    tni_link *l = &m->link[place];
    tni_link *gone = &m->link[l->after];
    m->id[place] = tni_vocabulary_made(v, l->rank);
    gone->rank = TNI_NO_RANK;
    l->after = gone->after;
    if (l->after != end)
        m->link[l->after].before = place;
    push_place(v, m, place, end);
    if (place > 0)
        push_place(v, m, l->before, end);
}

static void fill_heap(const tni_vocabulary *v, tni_merger *m, const char *piece,
                      uint32_t end)
{
    m->heap_count = 0;
    for (uint32_t i = 0; i < end; i++) {
        const uint32_t rank =
            i + 1 == end ? TNI_NO_RANK : tni_vocabulary_byte_pair(v, piece + i);
        m->link[i] = (tni_link){i ? i - 1 : 0, i + 1, rank};
        if (rank != TNI_NO_RANK)
            m->heap[m->heap_count++] = (uint64_t)rank << 32 | i;
    }
    m->pushed += m->heap_count;
    for (size_t i = m->heap_count / 2; i-- > 0;)
        sift_down(m->heap, m->heap_count, i);
}

static size_t merge_long(const tni_vocabulary *v, tni_merger *m,
                         const char *piece, uint32_t end)
{
    fill_heap(v, m, piece, end);
    while (m->heap_count) {
        const uint64_t entry = pop(m);
        const uint32_t place = (uint32_t)entry;
        /* An entry whose pair has changed since is no longer meant. */
        if (m->link[place].rank == entry >> 32)
            merge_place(v, m, place, end);
    }
    size_t count = 0;
    for (uint32_t i = 0; i < end; i = m->link[i].after)
        m->id[count++] = m->id[i];
    return count;
}

tn_status tni_merge(const tni_vocabulary *v, tni_merger *m, const char *piece,
                    size_t bytes, size_t *count, tn_error *err)
{
    if (bytes > INT32_MAX)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "a piece of %zu bytes that the split pattern does not "
                       "cut; %d are the most",
                       bytes, INT32_MAX);
    if (!tni_grow(&m->id, &m->id_capacity, bytes, sizeof *m->id))
        return tni_no_memory("merging", err);
    for (size_t i = 0; i < bytes; i++)
        m->id[i] = v->byte_id[(unsigned char)piece[i]];
    if (bytes <= SHORT) {
        *count = merge_short(v, piece, m->id, bytes);
        return TN_OK;
    }
    if (!tni_grow(&m->link, &m->link_capacity, bytes, sizeof *m->link) ||
        !tni_grow(&m->heap, &m->heap_capacity, 3 * bytes, sizeof *m->heap))
        return tni_no_memory("merging", err);
    *count = merge_long(v, m, piece, (uint32_t)bytes);
    return TN_OK;
}

void tni_merger_fini(tni_merger *m)
{
    free(m->id);
    free(m->link);
    free(m->heap);
    *m = (tni_merger){0};
}
