/*
 * turns.h - the messages of a conversation, in their order.
 */
#ifndef TENON_TURNS_H
#define TENON_TURNS_H

#include <tenon/chat.h>

#include "run/token_list.h"

typedef struct tni_turn {
    uint32_t role; /* TN_ROLE_ */
    char *text;    /* a 0 follows it */
    size_t bytes, capacity;
    tni_token_list drawn; /* an assistant's words as they were drawn */
} tni_turn;

typedef struct tni_turns {
    tni_turn *at;
    uint32_t count, capacity;
} tni_turns;

/* A new turn before the one numbered `place`. */
tn_status tni_turns_insert(tni_turns *turns, uint32_t place, uint32_t role,
                           const char *text, size_t bytes, tn_error *err);
/* Those in [from, to). */
void tni_turns_remove(tni_turns *turns, uint32_t from, uint32_t to);
void tni_turns_free(tni_turns *turns);

tn_status tni_turn_append(tni_turn *turn, const char *text, size_t bytes,
                          tn_error *err);

/* The first turn that is not the system's. */
uint32_t tni_turns_first(const tni_turns *turns);
/* The first message of a user from `place` on, and the last of all; count where
 * there is none. */
uint32_t tni_turns_question(const tni_turns *turns, uint32_t place);
uint32_t tni_turns_last_question(const tni_turns *turns);

#endif
