/*
 * pack.c - rows in a list for each amount of room, and a bit for each list that
 * is not empty: finding the best row is finding a bit.
 */
#include "pack.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = 0 }; /* rows are counted from 1 in the lists */

/* ---- in which order ---- */

/* Counting sort: equal lengths stay in order. `head` serves as the counts. */
static void longest_first(tni_packer *p)
{
    uint32_t *at = p->head, sum = 0;
    memset(at, 0, ((size_t)p->room + 1) * sizeof *at);
    for (uint32_t i = 0; i < p->count; i++)
        at[p->length[i]]++;
    for (uint32_t n = p->room; n > 0; n--) {
        const uint32_t here = at[n];
        at[n] = sum;
        sum += here;
    }
    for (uint32_t i = 0; i < p->count; i++)
        if (p->length[i])
            p->sequence[at[p->length[i]]++] = i;
    p->pieces = sum;
}

static void in_order(tni_packer *p, const tni_order *order, uint64_t epoch)
{
    p->pieces = 0;
    for (uint64_t n = 0; n < p->count; n++) {
        const uint32_t i = (uint32_t)tni_order_at(order, epoch * p->count + n);
        if (p->length[i])
            p->sequence[p->pieces++] = i;
    }
}

/* ---- where to ---- */

/* The least room that is at least `length` and that a row has; 0: none has. */
static uint32_t best_room(const tni_packer *p, uint32_t length)
{
    const uint32_t words = p->room / 64 + 1;
    uint64_t bits = p->present[length / 64] & ~0ull << length % 64;
    for (uint32_t word = length / 64;;) {
        if (bits)
            return word * 64 + (uint32_t)__builtin_ctzll(bits);
        if (++word == words)
            return 0;
        bits = p->present[word];
    }
}

static void put_row(tni_packer *p, uint32_t row, uint32_t room)
{
    if (!room)
        return;
    p->next[row] = p->head[room];
    p->head[room] = row + 1;
    p->present[room / 64] |= 1ull << room % 64;
}

static uint32_t take_row(tni_packer *p, uint32_t room)
{
    const uint32_t row = p->head[room] - 1;
    p->head[room] = p->next[row];
    if (p->head[room] == NONE)
        p->present[room / 64] &= ~(1ull << room % 64);
    return row;
}

static void place(tni_packer *p, int alone)
{
    memset(p->head, 0, ((size_t)p->room + 1) * sizeof *p->head);
    memset(p->present, 0, ((size_t)p->room / 64 + 1) * sizeof *p->present);
    p->rows = 0;
    for (uint32_t i = 0; i < p->pieces; i++) {
        const uint32_t n = p->length[p->sequence[i]];
        const uint32_t room = alone ? 0 : best_room(p, n);
        const uint32_t row = room ? take_row(p, room) : p->rows++;
        p->of[i] = row;
        put_row(p, row, (room ? room : p->room) - n);
    }
}

static void list_rows(tni_packer *p)
{
    uint32_t *after = p->start + 1; /* moves on to where the row ends */
    memset(p->start, 0, ((size_t)p->rows + 2) * sizeof *p->start);
    for (uint32_t i = 0; i < p->pieces; i++)
        after[p->of[i] + 1]++;
    for (uint32_t row = 1; row <= p->rows; row++)
        after[row] += after[row - 1];
    for (uint32_t i = 0; i < p->pieces; i++)
        p->piece[after[p->of[i]]++] = p->sequence[i];
}

/* ---- the three ways ---- */

void tni_pack_longest_first(tni_packer *p)
{
    longest_first(p);
    place(p, 0);
    list_rows(p);
}

void tni_pack_seeded(tni_packer *p, uint64_t seed, uint64_t epoch)
{
    in_order(p, &(tni_order){.seed = seed, .count = p->count, .shuffle = 1},
             epoch);
    place(p, 0);
    list_rows(p);
}

void tni_pack_alone(tni_packer *p)
{
    longest_first(p);
    place(p, 1);
    list_rows(p);
}

/* ---- life ---- */

tn_status tni_packer_init(tni_packer *p, const uint32_t *length, uint32_t count,
                          uint32_t room, tn_error *err)
{
    const size_t pieces = (size_t)count + 2;
    *p = (tni_packer){.length = length, .count = count, .room = room};
    p->start = malloc(pieces * sizeof *p->start);
    p->piece = malloc(pieces * sizeof *p->piece);
    p->sequence = malloc(pieces * sizeof *p->sequence);
    p->of = malloc(pieces * sizeof *p->of);
    p->next = malloc(pieces * sizeof *p->next);
    p->head = malloc(((size_t)room + 1) * sizeof *p->head);
    p->present = malloc(((size_t)room / 64 + 1) * sizeof *p->present);
    if (p->start && p->piece && p->sequence && p->of && p->next && p->head &&
        p->present)
        return TN_OK;
    tni_packer_fini(p);
    return tn_fail(err, TN_ENOMEM, "no memory to pack %u pieces", count);
}

void tni_packer_fini(tni_packer *p)
{
    free(p->start);
    free(p->piece);
    free(p->sequence);
    free(p->of);
    free(p->next);
    free(p->head);
    free(p->present);
    *p = (tni_packer){0};
}
