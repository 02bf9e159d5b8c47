/*
 * merge_long.c - the merges of a long piece: a list of its tokens, and a queue
 * of the pairs that merge.
 */
#include "merge.h"

/* One per byte of the piece, at its token's first byte; where there is none
 * (any more), rank is TNI_NO_RANK. */
typedef struct tni_link {
    uint32_t before, after; /* places; `end` after the last */
    uint32_t rank;          /* of the merge with the next token */
} tni_link;

/* Another token begins at `place` or after it. */
static void look_again(const tni_vocabulary *v, tni_merger *m, uint32_t place,
                       uint32_t end)
{
    tni_link *l = &m->link[place];
    l->rank = l->after == end
                  ? TNI_NO_RANK
                  : tni_vocabulary_pair(v, m->id[place], m->id[l->after]);
    if (l->rank != TNI_NO_RANK)
        tni_queue_put(&m->queue, l->rank, place);
}

static void merge_at(const tni_vocabulary *v, tni_merger *m, uint32_t place,
                     uint32_t end)
{
    tni_link *l = &m->link[place];
    tni_link *gone = &m->link[l->after];
    m->id[place] = tni_vocabulary_made(v, l->rank);
    gone->rank = TNI_NO_RANK;
    l->after = gone->after;
    if (l->after != end)
        m->link[l->after].before = place;
    look_again(v, m, place, end);
    if (place > 0)
        look_again(v, m, l->before, end);
}

static void link_bytes(const tni_vocabulary *v, tni_merger *m,
                       const char *piece, uint32_t end)
{
    for (uint32_t i = 0; i < end; i++) {
        const uint32_t rank =
            i + 1 == end ? TNI_NO_RANK : tni_vocabulary_byte_pair(v, piece + i);
        m->link[i] = (tni_link){i ? i - 1 : 0, i + 1, rank};
        if (rank != TNI_NO_RANK)
            tni_queue_put(&m->queue, rank, i);
    }
}

tn_status tni_merge_long(const tni_vocabulary *v, tni_merger *m,
                         const char *piece, uint32_t end, size_t *count,
                         tn_error *err)
{
    uint32_t rank, place;
    /* One put for each byte and two for each merge. */
    if (!tni_grow(&m->link, &m->link_capacity, end, sizeof *m->link) ||
        !tni_queue_reset(&m->queue, v->rank_count, 3 * (size_t)end))
        return tni_no_memory("merging", err);
    link_bytes(v, m, piece, end);
    while (tni_queue_take(&m->queue, &rank, &place))
        /* What has changed since it was put is no longer meant. */
        if (m->link[place].rank == rank)
            merge_at(v, m, place, end);
    *count = 0;
    for (uint32_t i = 0; i < end; i = m->link[i].after)
        m->id[(*count)++] = m->id[i];
    return TN_OK;
}
