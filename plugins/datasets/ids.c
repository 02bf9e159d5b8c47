/*
 * ids.c - from part to part.
 */
#include "ids.h"

#include <string.h>

static uint32_t id_at(const tni_ids_part *part, int64_t index)
{
    const unsigned char *at = part->at + index * part->width;
    uint16_t narrow;
    uint32_t wide;
    if (part->width == sizeof wide)
        return memcpy(&wide, at, sizeof wide), wide;
    return memcpy(&narrow, at, sizeof narrow), narrow;
}

static tn_status outside_vocabulary(const tni_ids *ids,
                                    const tni_ids_part *part, int64_t index,
                                    tn_error *err)
{
    return tn_fail(err, TN_EFORMAT,
                   "%s: token %u at byte %lld is outside the vocabulary of "
                   "%lld ids; check model.vocab_size, and that the file holds "
                   "ids of %lld bytes",
                   part->path, id_at(part, index),
                   (long long)(index * part->width), (long long)ids->vocab_size,
                   (long long)part->width);
}

static tn_status read_part(const tni_ids *ids, const tni_ids_part *part,
                           int64_t first, int64_t count, int32_t *to,
                           tn_error *err)
{
    if (part->file)
        TN_TRY(tni_mapped_file_check(part->file, err));
    for (int64_t i = 0; i < count; i++) {
        const uint32_t id = id_at(part, first + i);
        if ((int64_t)id >= ids->vocab_size)
            return outside_vocabulary(ids, part, first + i, err);
        to[i] = (int32_t)id;
    }
    return TN_OK;
}

/* The part that holds the id at `place`. */
static const tni_ids_part *part_of(const tni_ids *ids, int64_t place)
{
    uint32_t low = 0, high = ids->part_count;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (ids->parts[middle].first <= place)
            low = middle;
        else
            high = middle;
    }
    return &ids->parts[low];
}

tn_status tni_ids_read(const tni_ids *ids, int64_t first, int64_t count,
                       int32_t *to, tn_error *err)
{
    for (const tni_ids_part *part = part_of(ids, first); count > 0; part++) {
        const int64_t at = first - part->first;
        const int64_t n = count < part->count - at ? count : part->count - at;
        TN_TRY(read_part(ids, part, at, n, to, err));
        first += n;
        count -= n;
        to += n;
    }
    return TN_OK;
}
