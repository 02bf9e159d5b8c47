/*
 * ahead.c - a thread that makes the next batches while a step runs.
 *
 * A ring of slots between one maker and one taker. With each batch lies the
 * place that follows it, so that a checkpoint saves where the run is and not
 * where the maker has got to. A failure takes a slot like a batch: the taker
 * meets it in order, after the batches that were good.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "run/data.h"

typedef struct {
    int32_t *tokens, *targets, *segments;
    int64_t bytes;
    tni_data_cursor after;
    tn_status status;
    tn_error why;
} slot;

struct tni_ahead {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t made, taken;
    int64_t elements; /* of a batch */
    uint64_t slots, head, count;
    int running, stop;
    tni_data *data;        /* while running */
    int has_place;         /* a batch has been taken */
    tni_data_cursor place; /* after the last batch that was taken */
    slot slot[];
};

static void make(tni_data *d, slot *s)
{
    tn_batch batch = {.struct_size = sizeof batch,
                      .tokens = s->tokens,
                      .targets = s->targets,
                      .segments = s->segments};
    s->why = (tn_error){0};
    s->status = tni_data_make(d, &batch, &s->why);
    s->bytes = batch.bytes;
    tni_data_stand(d, &s->after);
}

static void *run(void *argument)
{
    tni_ahead *a = argument;
    pthread_mutex_lock(&a->mutex);
    while (!a->stop) {
        if (a->count == a->slots) {
            pthread_cond_wait(&a->taken, &a->mutex);
            continue;
        }
        slot *s = &a->slot[(a->head + a->count) % a->slots];
        pthread_mutex_unlock(&a->mutex);
        make(a->data, s);
        pthread_mutex_lock(&a->mutex);
        a->count++;
        pthread_cond_signal(&a->made);
        while (s->status != TN_OK && !a->stop)
            pthread_cond_wait(&a->taken, &a->mutex);
    }
    pthread_mutex_unlock(&a->mutex);
    return NULL;
}

/* Ctrl-C and its like stay with the main thread. */
static tn_status start(tni_ahead *a, tni_data *d, tn_error *err)
{
    sigset_t all, before;
    a->data = d;
    a->stop = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&a->thread, NULL, run, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return tn_fail(err, TN_ENOMEM,
                       "cannot start a thread to read data ahead: %s; "
                       "train.prefetch: 0 does without",
                       strerror(failed));
    a->running = 1;
    return TN_OK;
}

void tni_ahead_stop(tni_ahead *a)
{
    if (a->running) {
        pthread_mutex_lock(&a->mutex);
        a->stop = 1;
        pthread_cond_signal(&a->taken);
        pthread_mutex_unlock(&a->mutex);
        pthread_join(a->thread, NULL);
    }
    a->running = 0;
    a->has_place = 0;
    a->head = a->count = 0;
}

static void take(tni_ahead *a, const slot *s, tn_batch *batch)
{
    const size_t bytes = (size_t)a->elements * sizeof *s->tokens;
    memcpy(batch->tokens, s->tokens, bytes);
    memcpy(batch->targets, s->targets, bytes);
    if (batch->segments)
        memcpy(batch->segments, s->segments, bytes);
    batch->bytes = s->bytes;
    a->place = s->after;
    a->head++;
    a->count--;
    pthread_cond_signal(&a->taken);
}

tn_status tni_ahead_next(tni_data *d, tn_batch *batch, tn_error *err)
{
    tni_ahead *a = d->ahead;
    if (!a->running) {
        tni_data_stand(d, &a->place);
        a->has_place = 1;
        TN_TRY(start(a, d, err));
    }
    pthread_mutex_lock(&a->mutex);
    while (!a->count)
        pthread_cond_wait(&a->made, &a->mutex);
    const slot *s = &a->slot[a->head % a->slots];
    const tn_status status = s->status;
    if (status == TN_OK)
        take(a, s, batch);
    else
        tn_fail(err, status, "%s", s->why.message);
    pthread_mutex_unlock(&a->mutex);
    return status;
}

int tni_ahead_place(const tni_ahead *a, tni_data_cursor *cursor)
{
    if (!a->has_place)
        return 0;
    *cursor = a->place;
    return 1;
}

/* ---- life ---- */

static int make_room(tni_ahead *a)
{
    const size_t elements = (size_t)a->elements;
    for (uint64_t i = 0; i < a->slots; i++) {
        a->slot[i].tokens = calloc(3 * elements, sizeof(int32_t));
        if (!a->slot[i].tokens)
            return 0;
        a->slot[i].targets = a->slot[i].tokens + elements;
        a->slot[i].segments = a->slot[i].targets + elements;
    }
    return 1;
}

tn_status tni_ahead_create(tni_data *d, int64_t batches, tn_error *err)
{
    tni_ahead *a = calloc(1, sizeof *a + (size_t)batches * sizeof(slot));
    if (!a)
        return tn_fail(err, TN_ENOMEM, "no memory to read data ahead");
    a->slots = (uint64_t)batches;
    a->elements = d->batch_size * d->seq_len;
    pthread_mutex_init(&a->mutex, NULL);
    pthread_cond_init(&a->made, NULL);
    pthread_cond_init(&a->taken, NULL);
    d->ahead = a;
    if (make_room(a))
        return TN_OK;
    return tn_fail(err, TN_ENOMEM,
                   "no memory to read %lld batches ahead; lower train.prefetch",
                   (long long)batches);
}

void tni_ahead_destroy(tni_ahead *a)
{
    if (!a)
        return;
    tni_ahead_stop(a);
    for (uint64_t i = 0; i < a->slots; i++)
        free(a->slot[i].tokens);
    pthread_mutex_destroy(&a->mutex);
    pthread_cond_destroy(&a->made);
    pthread_cond_destroy(&a->taken);
    free(a);
}
