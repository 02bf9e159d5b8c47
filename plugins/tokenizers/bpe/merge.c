/*
 * merge.c - the merges of a piece.
 *
 * Ties: of equal ranks the leftmost first, as everyone's do.
 */
#include "merge.h"

enum {
    SHORT = 48, /* bytes; measured: beyond about this the heap is faster */
    NO_RANK = -1,
};

/* ---- short: every pair, every time ---- */

static size_t least(const tni_candidate *pair, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (pair[i].rank < pair[best].rank)
            best = i;
    return best;
}

/* id[0 .. count) in place; returns how many are left. pair[i] is what id[i]
 * and id[i + 1] would be. */
static size_t merge_short(const tni_vocabulary *v, const char *piece,
                          int32_t *id, size_t count)
{
    tni_candidate pair[SHORT];
    for (size_t i = 0; i + 1 < count; i++)
        pair[i] = tni_vocabulary_byte_pair(v, piece + i);
    while (count > 1) {
        const size_t i = least(pair, count - 1);
        if (pair[i].id == TNI_NO_TOKEN)
            break;
        id[i] = pair[i].id;
        count--;
        memmove(id + i + 1, id + i + 2, (count - i - 1) * sizeof *id);
        memmove(pair + i, pair + i + 1, (count - i - 1) * sizeof *pair);
        if (i > 0)
            pair[i - 1] = tni_vocabulary_pair(v, id[i - 1], id[i]);
        if (i + 1 < count)
            pair[i] = tni_vocabulary_pair(v, id[i], id[i + 1]);
    }
    return count;
}

/* ---- long: a heap of pairs over a list of tokens ---- */

/* One per byte of the piece, at its token's first byte; where there is none
 * (any more), rank is NO_RANK. */
typedef struct tni_link {
    uint32_t before, after; /* places; `end` after the last */
    int64_t rank;           /* of the merge with the next token */
    int32_t merged;         /* what it would be */
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

/* The pair that begins at `place` is now this one; the heap learns of it if it
 * merges. */
static void set_place(tni_merger *m, uint32_t place, tni_candidate pair)
{
    tni_link *l = &m->link[place];
    l->merged = pair.id;
    l->rank = pair.id == TNI_NO_TOKEN ? NO_RANK : (int64_t)pair.rank;
}

static void push_place(const tni_vocabulary *v, tni_merger *m, uint32_t place,
                       uint32_t end)
{
    const uint32_t after = m->link[place].after;
    if (after == end) {
        m->link[place].rank = NO_RANK;
        return;
    }
    const tni_candidate pair =
        tni_vocabulary_pair(v, m->id[place], m->id[after]);
    set_place(m, place, pair);
    if (pair.id != TNI_NO_TOKEN)
        push(m, (uint64_t)pair.rank << 32 | place);
}

static void merge_place(const tni_vocabulary *v, tni_merger *m, uint32_t place,
                        uint32_t end)
{
    tni_link *l = &m->link[place];
    tni_link *gone = &m->link[l->after];
    m->id[place] = l->merged;
    gone->rank = NO_RANK;
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
        m->link[i] = (tni_link){.before = i ? i - 1 : 0, .after = i + 1};
        m->link[i].rank = NO_RANK;
        if (i + 1 == end)
            break;
        set_place(m, i, tni_vocabulary_byte_pair(v, piece + i));
        if (m->link[i].rank != NO_RANK)
            m->heap[m->heap_count++] = (uint64_t)m->link[i].rank << 32 | i;
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
        if (m->link[place].rank == (int64_t)(entry >> 32))
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
