/*
 * memory.h - growing arrays and hashing, as every file of this plugin needs
 * them.
 */
#ifndef TENON_BPE_MEMORY_H
#define TENON_BPE_MEMORY_H

#include <stdlib.h>
#include <string.h>

#include <tenon/base.h>

/*
 * Room for `need` elements in *at (a pointer to a pointer of any type), at
 * least doubling. 0 where memory ran out: *at is then unchanged.
 */
static inline int tni_grow(void *at, size_t *capacity, size_t need, size_t size)
{
    void *old;
    if (need <= *capacity)
        return 1;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    if (wanted < need)
        wanted = need;
    memcpy(&old, at, sizeof old);
    void *grown = wanted > SIZE_MAX / size ? NULL : realloc(old, wanted * size);
    if (!grown)
        return 0;
    memcpy(at, &grown, sizeof grown);
    *capacity = wanted;
    return 1;
}

static inline tn_status tni_no_memory(const char *what, tn_error *err)
{
    return tn_fail(err, TN_ENOMEM, "%s: out of memory", what);
}

/* The least power of two that leaves a table of `count` entries half empty. */
static inline size_t tni_table_slots(size_t count)
{
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    return slots;
}

/* A zero-filled table for free(), in large pages where the system has them:
 * what is looked up anywhere in it is found sooner, which makes encoding ten
 * percent faster. NULL when memory ran out. */
void *tni_table_alloc(size_t bytes);

/* Odd constants with bits in no order: 2^64 over the golden ratio, and pi. */
#define TNI_MIX_A 0x9e3779b97f4a7c15u
#define TNI_MIX_B 0x3243f6a8885a308du

static inline uint64_t tni_hash_word(uint64_t word)
{
    word = (word ^ word >> 32) * TNI_MIX_A;
    return (word ^ word >> 29) * TNI_MIX_B >> 20;
}

static inline uint64_t tni_load8(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Up to 7 bytes, zeros after them. */
static inline uint64_t tni_load_few(const char *at, size_t count)
{
    uint64_t word = 0;
    memcpy(&word, at, count);
    return word;
}

static inline uint64_t tni_hash_bytes(const char *at, size_t count)
{
    uint64_t hash = count * TNI_MIX_B;
    for (; count >= 8; at += 8, count -= 8) {
        hash = (hash ^ tni_load8(at)) * TNI_MIX_A;
        hash ^= hash >> 32;
    }
    return tni_hash_word(hash ^ tni_load_few(at, count));
}

#endif
