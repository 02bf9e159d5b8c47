/*
 * queue.h - places of a text by the rank of what could be merged there: lowest
 * rank first, of equal ranks the leftmost.
 *
 * Ranks are few beside the places of a long text, so each has a list of its
 * own, and three levels of bits say which lists have something in them:
 *
 *     level 1  1 . . 1 ...      bit w: a bit of word w below
 *     level 0  . . 1 . 1 ...    bit r: the list of rank r
 *     list r   7 -> 19 -> 40    places, rising
 *
 * Adding and taking touch a few words whatever the length of the text, where a
 * heap would take longer and longer. Places come in rising order, run by run; a
 * list of several runs is merged into one before it is taken from, and how many
 * runs there are depends on the vocabulary and not on the text.
 */
#ifndef TENON_BPE_QUEUE_H
#define TENON_BPE_QUEUE_H

#include "memory.h"

enum { TNI_QUEUE_LEVELS = 3 };

typedef struct tni_queue {
    struct tni_queue_list {
        uint32_t first, last; /* in `entry`; 0: empty */
        uint32_t unsorted;
    } * list; /* by rank */
    uint64_t *filled[TNI_QUEUE_LEVELS];
    size_t ranks;
    struct tni_queue_entry {
        uint32_t place, next;
    } * entry; /* from 1 on */
    size_t entry_count, entry_capacity;
    size_t waiting; /* entries in lists */
} tni_queue;

/* An empty queue for ranks below `ranks` and as many puts. 0 when memory ran
 * out. Zero-filled before the first time. */
int tni_queue_reset(tni_queue *q, size_t ranks, size_t puts);
void tni_queue_fini(tni_queue *q);

void tni_queue_put(tni_queue *q, uint32_t rank, uint32_t place);
/* 0 where nothing is left. */
int tni_queue_take(tni_queue *q, uint32_t *rank, uint32_t *place);

#endif
