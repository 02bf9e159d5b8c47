/*
 * cache.h - pieces that were encoded before, and their ids.
 *
 * Words come back: in English nine pieces of ten are found here, for two loads,
 * a multiplication and a compare. An entry is half a cache line: a piece of up
 * to 15 bytes and 3 ids, which is a word of English. Words of other scripts are
 * longer and have more ids; the rest of them stands in a second table, so that
 * the one that is always read stays small. One place for each piece: what comes
 * later takes it.
 */
#ifndef TENON_BPE_CACHE_H
#define TENON_BPE_CACHE_H

#include "memory.h"

enum {
    TNI_CACHE_SLOTS = 1 << 16, /* two megabytes of entries */
    TNI_CACHED_BYTES = 31,
    TNI_CACHED_IDS = 15,
    TNI_ENTRY_BYTES = 15,
    TNI_ENTRY_IDS = 3,
};

typedef struct tni_cache_key {
    uint64_t low, high; /* its first 15 bytes, and its length in the last one */
    uint64_t tail[2];   /* the other bytes, where there are any */
    size_t slot;
} tni_cache_key;

typedef struct tni_cache {
    struct tni_cache_entry {
        uint64_t low, high; /* 0: free; no piece has length 0 */
        int32_t id[TNI_ENTRY_IDS];
        uint32_t count;
    } entry[TNI_CACHE_SLOTS];
    struct tni_cache_rest {
        uint64_t tail[2];
        int32_t id[TNI_CACHED_IDS - TNI_ENTRY_IDS];
    } rest[TNI_CACHE_SLOTS];
} tni_cache;

/* The first `bytes`, 1 to 8, and zeros. */
static inline uint64_t tni_load_part(const char *at, size_t bytes)
{
    return tni_load8(at) & UINT64_MAX >> (64 - 8 * bytes);
}

static inline void tni_cache_short_key(const char *piece, size_t bytes,
                                       tni_cache_key *key)
{
    const size_t low = bytes < 8 ? bytes : 8, high = bytes - low;
    key->low = tni_load_part(piece, low);
    key->high = high ? tni_load_part(piece + 8, high) : 0;
    key->high |= (uint64_t)bytes << 56;
    key->slot =
        tni_hash_word(key->low ^ key->high * TNI_MIX_B) % TNI_CACHE_SLOTS;
}

static inline void tni_cache_long_key(const char *piece, size_t bytes,
                                      tni_cache_key *key)
{
    const size_t more = bytes - TNI_ENTRY_BYTES;
    const char *tail = piece + TNI_ENTRY_BYTES;
    key->low = tni_load8(piece);
    key->high = tni_load_part(piece + 8, 7) | (uint64_t)bytes << 56;
    key->tail[0] = tni_load_part(tail, more < 8 ? more : 8);
    key->tail[1] = more > 8 ? tni_load_part(tail + 8, more - 8) : 0;
    const uint64_t both = key->tail[0] ^ key->tail[1] * TNI_MIX_B;
    key->slot =
        tni_hash_word(key->low ^ key->high * TNI_MIX_B ^ both * TNI_MIX_A) %
        TNI_CACHE_SLOTS;
}

/* Of 1 to TNI_CACHED_BYTES; 32 bytes can be read from `piece` on. */
static inline void tni_cache_key_of(const char *piece, size_t bytes,
                                    tni_cache_key *key)
{
    if (bytes <= TNI_ENTRY_BYTES)
        tni_cache_short_key(piece, bytes, key);
    else
        tni_cache_long_key(piece, bytes, key);
}

static inline int tni_cache_key_is_long(const tni_cache_key *key)
{
    return key->high >> 56 > TNI_ENTRY_BYTES;
}

/* Writes the ids, and maybe other numbers after them: there is room for
 * TNI_CACHED_IDS. Returns how many ids; 0 where the piece is not known. */
static inline uint32_t tni_cache_get(const tni_cache *cache,
                                     const tni_cache_key *key, int32_t *id)
{
    const struct tni_cache_entry *e = &cache->entry[key->slot];
    const struct tni_cache_rest *rest = &cache->rest[key->slot];
    if (e->low != key->low || e->high != key->high ||
        (tni_cache_key_is_long(key) &&
         memcmp(rest->tail, key->tail, sizeof rest->tail) != 0))
        return 0;
    memcpy(id, e->id, sizeof e->id);
    if (e->count > TNI_ENTRY_IDS)
        memcpy(id + TNI_ENTRY_IDS, rest->id, sizeof rest->id);
    return e->count;
}

/* Of 1 to TNI_CACHED_IDS. */
static inline void tni_cache_put(tni_cache *cache, const tni_cache_key *key,
                                 const int32_t *id, size_t count)
{
    struct tni_cache_entry *e = &cache->entry[key->slot];
    struct tni_cache_rest *rest = &cache->rest[key->slot];
    const size_t first = count < TNI_ENTRY_IDS ? count : TNI_ENTRY_IDS;
    *e =
        (struct tni_cache_entry){key->low, key->high, .count = (uint32_t)count};
    memcpy(e->id, id, first * sizeof *id);
    if (count > first)
        memcpy(rest->id, id + first, (count - first) * sizeof *id);
    if (tni_cache_key_is_long(key))
        memcpy(rest->tail, key->tail, sizeof rest->tail);
}

#endif
