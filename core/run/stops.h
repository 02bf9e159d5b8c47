/*
 * stops.h - where a text that is being made ends.
 *
 * A stop is a text. Where the vocabulary has it as a special token, drawing
 * that token ends the text; where not, the text ends before the first place
 * where it stands, in whatever pieces it arrives. For that, bytes that may be
 * the beginning of a stop wait until it is clear that they are not:
 *
 *     stop "<|user|>"     arrives  "Hello <|", "us", "eful"
 *                         goes on  "Hello ",   "",   "<|useful"
 */
#ifndef TENON_STOPS_H
#define TENON_STOPS_H

#include <tenon/tokenizer.h>

#include "run/utf8.h"

enum { TNI_STOPS_MOST = 16, TNI_STOP_BYTES = 256 };

typedef struct tni_stops {
    int32_t id[TNI_STOPS_MOST];
    const char *text[TNI_STOPS_MOST]; /* lent */
    uint32_t id_count, text_count;
    uint32_t held_count;
    uint32_t met; /* one of the texts has come: all that follows is dropped */
    char held[TNI_STOP_BYTES];
} tni_stops;

/* One more stop. "" is none, and what is there already is not added again.
 * TN_EINVALID where it is longer than TNI_STOP_BYTES or one too many. */
tn_status tni_stops_add(tni_stops *stops, const tn_tokenizer_handle *tokenizer,
                        const char *text, tn_error *err);

/* Nothing is held and none has been met. */
void tni_stops_begin(tni_stops *stops);

/* 1 where drawing this id ends the text. */
int tni_stops_at(const tni_stops *stops, int32_t id);

/* Bytes of the text; `sink` receives those before a stop. */
void tni_stops_push(tni_stops *stops, const char *bytes, size_t count,
                    tni_text_sink sink, void *to);
/* Nothing follows: what is held was not a stop. */
void tni_stops_end(tni_stops *stops, tni_text_sink sink, void *to);

#endif
