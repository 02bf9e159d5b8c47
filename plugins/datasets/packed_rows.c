/*
 * packed_rows.c - pack when an epoch begins.
 */
#include "packed_rows.h"

static int packs_anew(const tni_packed_rows *r)
{
    return r->shuffle && !r->alone;
}

static void begin_epoch(tni_packed_rows *r, uint64_t epoch)
{
    r->epoch = epoch;
    if (packs_anew(r))
        tni_pack_seeded(&r->packer, r->seed, epoch);
}

tn_status tni_packed_rows_init(tni_packed_rows *r, const uint32_t *length,
                               uint32_t count, uint32_t room, int32_t alone,
                               int32_t shuffle, uint64_t seed, tn_error *err)
{
    *r = (tni_packed_rows){.seed = seed, .shuffle = shuffle, .alone = alone};
    TN_TRY(tni_packer_init(&r->packer, length, count, room, err));
    if (alone)
        tni_pack_alone(&r->packer);
    else if (!shuffle)
        tni_pack_longest_first(&r->packer);
    begin_epoch(r, 0);
    r->rows = r->packer.rows;
    r->order = (tni_order){
        .seed = seed, .count = r->rows, .shuffle = alone && shuffle};
    return TN_OK;
}

void tni_packed_rows_fini(tni_packed_rows *r)
{
    tni_packer_fini(&r->packer);
}

/* Have the epoch of row `next` in the packer; its number in it. */
static uint32_t find(tni_packed_rows *r)
{
    while (r->next - r->first >= r->packer.rows) {
        r->first += r->packer.rows;
        begin_epoch(r, r->epoch + 1);
    }
    return (uint32_t)(r->next - r->first);
}

const uint32_t *tni_packed_rows_next(tni_packed_rows *r, uint32_t *count)
{
    uint32_t row = find(r);
    if (r->alone)
        row = (uint32_t)tni_order_at(&r->order, r->next);
    r->next++;
    const uint32_t *start = r->packer.start;
    *count = start[row + 1] - start[row];
    return r->packer.piece + start[row];
}

void tni_packed_rows_seek(tni_packed_rows *r, uint64_t next)
{
    if (next < r->first) {
        r->first = 0;
        begin_epoch(r, 0);
    }
    r->next = next;
    find(r);
}
