/*
 * merge.c - the merges of a piece, here of a short one.
 *
 * Ties: of equal ranks the leftmost first, as everyone's do.
 */
#include "merge.h"

enum {
    SHORT = 48
}; /* bytes; measured: beyond about this the queue is faster */

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
    return tni_merge_long(v, m, piece, (uint32_t)bytes, count, err);
}

void tni_merger_fini(tni_merger *m)
{
    free(m->id);
    free(m->link);
    tni_queue_fini(&m->queue);
    *m = (tni_merger){0};
}
