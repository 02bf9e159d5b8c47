/*
 * pack.c - rows in a list for each amount of room, and a bit for each list that
 * is not empty: finding the best row is finding a bit.
 */
#include "pack.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = 0 }; /* rows are counted from 1 in the lists */

typedef struct {
    uint32_t room;
    uint32_t *sorted;  /* pieces, longest first */
    uint32_t *of;      /* the row of each sorted piece */
    uint32_t *head;    /* by room left: the first row with it */
    uint32_t *next;    /* by row: the next with as much room */
    uint64_t *present; /* by room left, bits: head is not NONE */
    uint32_t pieces, rows;
} packer;

/* Counting sort: equal lengths stay in order. */
static tn_status sort(packer *p, const uint32_t *length, uint32_t count,
                      tn_error *err)
{
    uint32_t *at = calloc((size_t)p->room + 2, sizeof *at);
    if (!at)
        return tn_fail(err, TN_ENOMEM, "no memory to pack rows of %u", p->room);
    for (uint32_t i = 0; i < count; i++)
        at[length[i]]++;
    at[0] = 0;
    uint32_t sum = 0;
    for (uint32_t n = p->room; n > 0; n--) {
        const uint32_t here = at[n];
        at[n] = sum;
        sum += here;
    }
    for (uint32_t i = 0; i < count; i++)
        if (length[i])
            p->sorted[at[length[i]]++] = i;
    p->pieces = sum;
    free(at);
    return TN_OK;
}

/* The least room that is at least `length` and that a row has; 0: none has. */
static uint32_t best_room(const packer *p, uint32_t length)
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

static void put_row(packer *p, uint32_t row, uint32_t room)
{
    if (!room)
        return;
    p->next[row] = p->head[room];
    p->head[room] = row + 1;
    p->present[room / 64] |= 1ull << room % 64;
}

static uint32_t take_row(packer *p, uint32_t room)
{
    const uint32_t row = p->head[room] - 1;
    p->head[room] = p->next[row];
    if (p->head[room] == NONE)
        p->present[room / 64] &= ~(1ull << room % 64);
    return row;
}

static void place(packer *p, const uint32_t *length, int alone)
{
    for (uint32_t i = 0; i < p->pieces; i++) {
        const uint32_t n = length[p->sorted[i]];
        const uint32_t room = alone ? 0 : best_room(p, n);
        const uint32_t row = room ? take_row(p, room) : p->rows++;
        p->of[i] = row;
        put_row(p, row, (room ? room : p->room) - n);
    }
}

static tn_status list_rows(const packer *p, tni_packing *to, tn_error *err)
{
    to->rows = p->rows;
    to->start = calloc((size_t)p->rows + 2, sizeof *to->start);
    to->piece = malloc(((size_t)p->pieces + 1) * sizeof *to->piece);
    if (!to->start || !to->piece)
        return tn_fail(err, TN_ENOMEM, "no memory for %u rows", p->rows);
    uint32_t *after = to->start + 1; /* moves on to where the row ends */
    for (uint32_t i = 0; i < p->pieces; i++)
        after[p->of[i] + 1]++;
    for (uint32_t row = 1; row <= p->rows; row++)
        after[row] += after[row - 1];
    for (uint32_t i = 0; i < p->pieces; i++)
        to->piece[after[p->of[i]]++] = p->sorted[i];
    return TN_OK;
}

static tn_status pack(packer *p, const uint32_t *length, uint32_t count,
                      int alone, tni_packing *to, tn_error *err)
{
    const size_t pieces = (size_t)count + 1;
    p->sorted = malloc(pieces * sizeof *p->sorted);
    p->of = malloc(pieces * sizeof *p->of);
    p->next = malloc(pieces * sizeof *p->next);
    p->head = calloc((size_t)p->room + 1, sizeof *p->head);
    p->present = calloc((size_t)p->room / 64 + 1, sizeof *p->present);
    if (!p->sorted || !p->of || !p->next || !p->head || !p->present)
        return tn_fail(err, TN_ENOMEM, "no memory to pack %u pieces", count);
    TN_TRY(sort(p, length, count, err));
    place(p, length, alone);
    return list_rows(p, to, err);
}

tn_status tni_pack(const uint32_t *length, uint32_t count, uint32_t room,
                   int alone, tni_packing *packing, tn_error *err)
{
    packer p = {.room = room};
    tni_packing made = {0};
    const tn_status status = pack(&p, length, count, alone, &made, err);
    free(p.sorted);
    free(p.of);
    free(p.next);
    free(p.head);
    free(p.present);
    if (status == TN_OK)
        *packing = made;
    else
        tni_packing_free(&made);
    return status;
}

void tni_packing_free(tni_packing *p)
{
    free(p->start);
    free(p->piece);
    *p = (tni_packing){0};
}
