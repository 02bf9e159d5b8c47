/*
 * turns.c - a growing array of messages.
 */
#include "run/turns.h"

#include <stdlib.h>
#include <string.h>

tn_status tni_turn_append(tni_turn *turn, const char *text, size_t bytes,
                          tn_error *err)
{
    if (turn->capacity - turn->bytes < bytes + 1) {
        const size_t capacity = 2 * (turn->bytes + bytes) + 64;
        char *larger = realloc(turn->text, capacity);
        if (!larger)
            return tn_fail(err, TN_ENOMEM, "no memory for a message");
        turn->text = larger;
        turn->capacity = capacity;
    }
    memcpy(turn->text + turn->bytes, text, bytes);
    turn->bytes += bytes;
    turn->text[turn->bytes] = '\0';
    return TN_OK;
}

static void turn_free(tni_turn *turn)
{
    free(turn->text);
    tni_token_list_free(&turn->drawn);
}

tn_status tni_turns_insert(tni_turns *t, uint32_t place, uint32_t role,
                           const char *text, size_t bytes, tn_error *err)
{
    tni_turn made = {.role = role};
    if (t->count == t->capacity) {
        const uint32_t capacity = 2 * t->count + 16;
        tni_turn *larger = realloc(t->at, capacity * sizeof *larger);
        if (!larger)
            return tn_fail(err, TN_ENOMEM, "no memory for %u messages",
                           capacity);
        t->at = larger;
        t->capacity = capacity;
    }
    TN_TRY(tni_turn_append(&made, text, bytes, err));
    memmove(t->at + place + 1, t->at + place,
            (t->count - place) * sizeof *t->at);
    t->at[place] = made;
    t->count++;
    return TN_OK;
}

void tni_turns_remove(tni_turns *t, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    for (uint32_t i = from; i < to; i++)
        turn_free(&t->at[i]);
    memmove(t->at + from, t->at + to, (t->count - to) * sizeof *t->at);
    t->count -= to - from;
}

void tni_turns_free(tni_turns *t)
{
    tni_turns_remove(t, 0, t->count);
    free(t->at);
    *t = (tni_turns){0};
}

uint32_t tni_turns_first(const tni_turns *t)
{
    return t->count && t->at[0].role == TN_ROLE_SYSTEM;
}

uint32_t tni_turns_question(const tni_turns *t, uint32_t place)
{
    while (place < t->count && t->at[place].role != TN_ROLE_USER)
        place++;
    return place;
}

uint32_t tni_turns_last_question(const tni_turns *t)
{
    uint32_t place = t->count;
    while (place > 0)
        if (t->at[--place].role == TN_ROLE_USER)
            return place;
    return t->count;
}
