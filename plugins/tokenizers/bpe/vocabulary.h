/*
 * vocabulary.h - tokens, what they stand for and which of them merge.
 *
 * An ordinary token is some bytes. A special token is a text that becomes one
 * id where the caller allows it; it stands for no bytes. Ids may have holes:
 * OpenAI's vocabularies do.
 *
 * A merge replaces two neighbouring tokens by one; the one of lowest rank goes
 * first. tiktoken's files list no merges: there any two tokens whose bytes
 * together are a token merge, and its rank is its id. Hugging Face's files list
 * them by order. Both become the same table, looked up by a pair of ids.
 */
#ifndef TENON_BPE_VOCABULARY_H
#define TENON_BPE_VOCABULARY_H

#include "memory.h"

enum {
    TNI_NO_TOKEN = -1,
    /* Four times the largest vocabulary there is; a pair of ids and a rank are
     * a word of 64 bits. */
    TNI_ID_BITS = 20,
    TNI_RANK_BITS = 24,
    TNI_MAX_TOKENS = 1 << TNI_ID_BITS,
    TNI_MAX_MERGES = (1 << TNI_RANK_BITS) - 1,
    /* The longest of today's has 512; it bounds what a bad file can cost. */
    TNI_MAX_TOKEN_BYTES = 4096,
};

typedef struct tni_bytes {
    uint32_t at, count; /* in tni_vocabulary.bytes; count 0: a hole */
} tni_bytes;

typedef struct tni_special {
    char *text;
    uint32_t count;
    int32_t id;
    int32_t always; /* found in ordinary text too, and stands for its text */
} tni_special;

/* left, right and the rank of their merge. Of hundreds of thousands those asked
 * for lie anywhere: the smaller, the more of them a cache holds. */
typedef uint64_t tni_pair;
#define TNI_NO_PAIR UINT64_MAX

/* Two tokens that do not merge. */
#define TNI_NO_RANK UINT32_MAX

/* A token's bytes in the hash table. */
typedef struct tni_slot {
    uint32_t tag; /* of the hash, so that few bytes are compared in vain */
    int32_t id;   /* TNI_NO_TOKEN: free */
} tni_slot;

typedef struct tni_vocabulary {
    const char *path; /* for sentences; borrowed */
    tni_bytes *token; /* by id */
    size_t size, token_capacity;
    char *bytes;
    size_t byte_count, byte_capacity;
    tni_slot *slot;
    size_t slot_mask;
    tni_pair *pair;
    size_t pair_mask;
    size_t rank_count; /* ranks are below it */
    /* Bits set by hash, four for each slot: most pairs asked for do not merge,
     * and this says so from a table that stays in the processor's cache. */
    uint64_t *maybe;
    int32_t byte_id[256];
    /* Of two bytes, left << 8 | right: most lookups of a piece, and for any
     * one script few different ones. */
    uint32_t *byte_pair;  /* the rank */
    int32_t *made;        /* by rank: what the merge makes; NULL: its rank */
    tni_special *special; /* longest first */
    size_t special_count, special_capacity;
    /* A piece that is a token is that token, whatever the merges say. */
    int32_t whole_first;
} tni_vocabulary;

void tni_vocabulary_init(tni_vocabulary *v, const char *path);
void tni_vocabulary_fini(tni_vocabulary *v);

/* The bytes of `id`. Refuses no bytes, an id twice and ids out of range. */
tn_status tni_vocabulary_add(tni_vocabulary *v, int64_t id, const char *bytes,
                             size_t count, tn_error *err);
tn_status tni_vocabulary_add_special(tni_vocabulary *v, int64_t id,
                                     const char *text, size_t count, int always,
                                     tn_error *err);

/* After all tokens are added: makes find() work. Refuses bytes that two ids
 * share, and a single byte that is none. */
tn_status tni_vocabulary_index(tni_vocabulary *v, tn_error *err);

/* After index: merges as tiktoken has them ... */
tn_status tni_vocabulary_merge_by_bytes(tni_vocabulary *v, tn_error *err);
/* ... or a list of them: room for `count`, then one by one. What left and right
 * are together must be a token. */
tn_status tni_vocabulary_expect_merges(tni_vocabulary *v, size_t count,
                                       tn_error *err);
tn_status tni_vocabulary_add_merge(tni_vocabulary *v, int32_t left,
                                   int32_t right, uint32_t rank, tn_error *err);

/* The id of these bytes, or TNI_NO_TOKEN. */
int32_t tni_vocabulary_find(const tni_vocabulary *v, const char *bytes,
                            size_t count);

static inline const char *tni_vocabulary_bytes(const tni_vocabulary *v,
                                               int32_t id, uint32_t *count)
{
    *count = v->token[id].count;
    return v->bytes + v->token[id].at;
}

static inline uint64_t tni_pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << TNI_ID_BITS | (uint32_t)right;
}

/* The bit of `maybe` that a pair with this hash sets. */
static inline size_t tni_pair_bit(const tni_vocabulary *v, uint64_t hash)
{
    return hash >> 10 & (4 * v->pair_mask + 3);
}

/* The rank of the merge of two tokens, or TNI_NO_RANK. */
static inline uint32_t tni_vocabulary_pair(const tni_vocabulary *v,
                                           int32_t left, int32_t right)
{
    const uint64_t key = tni_pair_key(left, right);
    const uint64_t hash = tni_hash_word(key);
    size_t i = hash & v->pair_mask;
    const size_t bit = tni_pair_bit(v, hash);
    if (!(v->maybe[bit / 64] >> bit % 64 & 1))
        return TNI_NO_RANK;
    while (v->pair[i] >> TNI_RANK_BITS != key) {
        if (v->pair[i] == TNI_NO_PAIR)
            return TNI_NO_RANK;
        i = (i + 1) & v->pair_mask;
    }
    return (uint32_t)(v->pair[i] & TNI_MAX_MERGES);
}

static inline uint32_t tni_vocabulary_byte_pair(const tni_vocabulary *v,
                                                const char *two)
{
    return v->byte_pair[(unsigned char)two[0] << 8 | (unsigned char)two[1]];
}

/* What the merge of this rank makes. */
static inline int32_t tni_vocabulary_made(const tni_vocabulary *v,
                                          uint32_t rank)
{
    return v->made ? v->made[rank] : (int32_t)rank;
}

#endif
