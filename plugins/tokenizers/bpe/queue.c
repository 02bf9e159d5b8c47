/*
 * queue.c - lists by rank, and bits that say which are not empty.
 */
#include "queue.h"

/* ---- which lists are not empty ---- */

static void mark(tni_queue *q, size_t rank)
{
    for (int level = 0; level < TNI_QUEUE_LEVELS; level++, rank /= 64)
        q->filled[level][rank / 64] |= UINT64_C(1) << rank % 64;
}

static void unmark(tni_queue *q, size_t rank)
{
    for (int level = 0; level < TNI_QUEUE_LEVELS; level++, rank /= 64) {
        q->filled[level][rank / 64] &= ~(UINT64_C(1) << rank % 64);
        if (q->filled[level][rank / 64])
            return;
    }
}

/* There is one. */
static size_t least(const tni_queue *q)
{
    size_t at = 0;
    while (!q->filled[TNI_QUEUE_LEVELS - 1][at])
        at++;
    for (int level = TNI_QUEUE_LEVELS; level-- > 0;)
        at = at * 64 + (size_t)__builtin_ctzll(q->filled[level][at]);
    return at;
}

/* ---- memory ---- */

static int make_room(tni_queue *q, size_t ranks)
{
    int whole = 1;
    size_t words = ranks;
    tni_queue_fini(q);
    for (int level = 0; level < TNI_QUEUE_LEVELS; level++) {
        words = words / 64 + 1;
        q->filled[level] = calloc(words, sizeof *q->filled[level]);
        whole &= q->filled[level] != NULL;
    }
    q->list = calloc(ranks, sizeof *q->list);
    whole &= q->list != NULL;
    q->ranks = whole ? ranks : 0;
    return whole;
}

int tni_queue_reset(tni_queue *q, size_t ranks, size_t puts)
{
    if (q->ranks < ranks && !make_room(q, ranks))
        return 0;
    q->entry_count = 0;
    return tni_grow(&q->entry, &q->entry_capacity, puts + 1, sizeof *q->entry);
}

void tni_queue_fini(tni_queue *q)
{
    for (int level = 0; level < TNI_QUEUE_LEVELS; level++)
        free(q->filled[level]);
    free(q->list);
    free(q->entry);
    *q = (tni_queue){0};
}

/* ---- putting ---- */

void tni_queue_put(tni_queue *q, uint32_t rank, uint32_t place)
{
    struct tni_queue_list *l = &q->list[rank];
    const uint32_t new = (uint32_t)++q->entry_count;
    q->entry[new] = (struct tni_queue_entry){place, 0};
    if (l->first) {
        l->unsorted |= q->entry[l->last].place > place;
        q->entry[l->last].next = new;
    } else {
        l->first = new;
        l->unsorted = 0;
        mark(q, rank);
    }
    l->last = new;
    q->waiting++;
}

/* ---- a list in order ---- */

/* Cuts off the rising places that *rest begins with. */
static uint32_t take_run(tni_queue *q, uint32_t *rest)
{
    const uint32_t first = *rest;
    uint32_t last = first;
    for (uint32_t next; (next = q->entry[last].next); last = next)
        if (q->entry[next].place < q->entry[last].place)
            break;
    *rest = q->entry[last].next;
    q->entry[last].next = 0;
    return first;
}

static uint32_t merge_runs(tni_queue *q, uint32_t a, uint32_t b)
{
    uint32_t first, *end = &first;
    while (a && b) {
        uint32_t *less = q->entry[a].place <= q->entry[b].place ? &a : &b;
        *end = *less;
        end = &q->entry[*less].next;
        *less = *end;
    }
    *end = a ? a : b;
    return first;
}

/* Pile i holds 2^i runs, as a binary counter has its digits. */
static void sort(tni_queue *q, struct tni_queue_list *l)
{
    uint32_t pile[33] = {0}, rest = l->first, all = 0;
    while (rest) {
        uint32_t run = take_run(q, &rest);
        size_t i = 0;
        for (; pile[i]; pile[i++] = 0)
            run = merge_runs(q, pile[i], run);
        pile[i] = run;
    }
    for (size_t i = 0; i < 33; i++)
        all = merge_runs(q, pile[i], all);
    l->first = all;
    for (l->last = all; q->entry[l->last].next;)
        l->last = q->entry[l->last].next;
    l->unsorted = 0;
}

/* ---- taking ---- */

int tni_queue_take(tni_queue *q, uint32_t *rank, uint32_t *place)
{
    if (!q->waiting)
        return 0;
    *rank = (uint32_t)least(q);
    struct tni_queue_list *l = &q->list[*rank];
    if (l->unsorted)
        sort(q, l);
    *place = q->entry[l->first].place;
    l->first = q->entry[l->first].next;
    q->waiting--;
    if (!l->first)
        unmark(q, *rank);
    return 1;
}
