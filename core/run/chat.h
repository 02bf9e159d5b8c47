/*
 * chat.h - a conversation with a model.
 *
 * What is true is the list of messages. Before an answer all of it is rendered
 * with <tenon/chat.h>, as the dataset of conversations renders it, and compared
 * with what the decoder has read: the beginning they share stays in its state,
 * only the rest is read.
 *
 *     has read   <bos> user: Hi <end> assistant: Hello
 *     rendered   <bos> user: Hi <end> assistant: Hello <end> user: Who? <end>
 * ..
 *                ------------------ stays ------------ ------ is read now
 * ------
 *
 * So a new turn costs that turn, and taking one back, another system message or
 * turns that no longer fit need no code of their own. What the assistant said
 * is rendered as the very tokens that were drawn.
 *
 * When the context is full, the oldest turns are forgotten, a user's message
 * and its answer at a time, never the system message or the last question.
 */
#ifndef TENON_RUN_CHAT_H
#define TENON_RUN_CHAT_H

#include <signal.h>

#include "run/decoder.h"
#include "run/sampler.h"
#include "run/stops.h"
#include "run/turns.h"

typedef struct tni_chat_request {
    const tni_recipe *recipe;
    const char *weights; /* a file or checkpoint: weights.h */
    const char *form;    /* a template's name; NULL: the checkpoint's */
    int64_t context;     /* tokens to remember; 0: model.max_seq_len */
    tni_text_sink sink;  /* receives answers, in whole characters */
    /* Called for each user's message that is forgotten; may be NULL. */
    void (*forgot)(void *to, const tni_turn *turn);
    void *to;                          /* for both */
    const volatile sig_atomic_t *stop; /* not 0: end the answer; NULL */
} tni_chat_request;

typedef struct tni_chat {
    tni_chat_request request;
    const tn_chat_template *form;
    tn_tokenizer_handle tokenizer;
    tni_decoder *decoder;
    tni_sampler sampler;
    int64_t max_tokens; /* of an answer */
    tni_turns turns;    /* a system message, where there is one, is the first */
    tni_token_list rendered; /* all turns, up to where the answer goes on */
    tni_token_list read;     /* by the decoder */
    tni_stops stops;
    tni_utf8 utf8;
} tni_chat;

/* How an answer ended. */
enum {
    TNI_CHAT_DONE,    /* the model ended it */
    TNI_CHAT_TOOL,    /* the model calls a tool: there is none here */
    TNI_CHAT_LENGTH,  /* max_tokens */
    TNI_CHAT_FULL,    /* question and answer alone fill the context */
    TNI_CHAT_STOPPED, /* the user did */
};

typedef struct tni_chat_result {
    int64_t read;   /* tokens read before the first one was drawn */
    int64_t tokens; /* drawn */
    double read_seconds, seconds;
    int ended; /* TNI_CHAT_ */
} tni_chat_result;

/*
 * The template, where the request names none, is the one that data.train of the
 * checkpoint's config names, else the one whose assistant marker the tokenizer
 * has. Markers that are no special tokens are text, as in training; that is
 * said through the log. TN_EUNSUPPORTED, with what is missing and the way out,
 * where neither says which.
 */
tn_status tni_chat_open(const tni_chat_request *request, tni_chat **chat,
                        tn_error *err);
void tni_chat_close(tni_chat *chat); /* NULL is fine */

/* From the next token on; the draws start over where the seed is another.
 * TN_EINVALID where an option is out of range. */
tn_status tni_chat_sample(tni_chat *chat, const tni_sampling *sampling,
                          tn_error *err);

/* What comes before everything else; "" takes it away. The turns stay. */
tn_status tni_chat_system(tni_chat *chat, const char *text, tn_error *err);

/* Forget all turns but the system message; draws start over. */
void tni_chat_reset(tni_chat *chat);

/* Take the last question and its answer back; 0: there is none. */
int tni_chat_undo(tni_chat *chat);

/*
 * Ask, and let the answer go to the sink. The question is taken back where the
 * status is not TN_OK (TN_EINVALID: it does not fit into the context), or where
 * it was stopped before an answer began.
 */
tn_status tni_chat_ask(tni_chat *chat, const char *text, size_t bytes,
                       tni_chat_result *result, tn_error *err);

/* Answer the last question again, with other draws. TN_EINVALID: none. */
tn_status tni_chat_retry(tni_chat *chat, tni_chat_result *result,
                         tn_error *err);

#endif
