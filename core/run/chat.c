/*
 * chat.c - messages to tokens, tokens to the decoder, draws to an answer.
 */
#include "run/chat.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "run/chat_form.h"

/* Tokens between two looks at `stop` while a long conversation is read. */
enum { STRETCH = 256 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int stopped(const tni_chat *c)
{
    return c->request.stop && *c->request.stop;
}

/* ---- tokens ---- */

static tn_status take(void *to, const int32_t *ids, uint64_t count,
                      int32_t trained, tn_error *err)
{
    tni_chat *c = to;
    (void)trained;
    return tni_token_list_take(&c->rendered, ids, count, err);
}

static tn_status write_turns(tni_chat *c, tn_chat_writer *w, tn_error *err)
{
    /* a system message may wait for the first question: it has its own place */
    tn_chat_part part[2];
    tn_chat_message message[2];
    TN_TRY(tn_chat_begin(w, err));
    for (uint32_t i = 0; i < c->turns.count; i++) {
        const tni_turn *turn = &c->turns.at[i];
        const int at = turn->role != TN_ROLE_SYSTEM;
        if (turn->role == TN_ROLE_ASSISTANT) {
            TN_TRY(tn_chat_open_reply(w, err));
            TN_TRY(
                take(c, turn->drawn.at, (uint64_t)turn->drawn.count, 1, err));
            continue;
        }
        part[at] = (tn_chat_part){.text = turn->text, .bytes = turn->bytes};
        message[at] = (tn_chat_message){turn->role, 1, &part[at]};
        TN_TRY(tn_chat_put(w, &message[at], err));
    }
    return tn_chat_open_reply(w, err);
}

static tn_status render(tni_chat *c, tn_error *err)
{
    tn_chat_writer w = {
        .form = c->form, .tokenizer = &c->tokenizer, .sink = take, .to = c};
    c->rendered.count = 0;
    const tn_status status = write_turns(c, &w, err);
    tn_chat_free(&w);
    return status;
}

/* ---- the context ---- */

/* The oldest question with all that follows it up to the next; 0: only the last
 * one is left. */
static int forget_oldest(tni_chat *c)
{
    tni_turns *t = &c->turns;
    const uint32_t from = tni_turns_first(t);
    const uint32_t next = tni_turns_question(t, from + 1);
    if (next >= t->count)
        return 0;
    for (uint32_t i = from; i < next; i++)
        if (c->request.forgot && t->at[i].role == TN_ROLE_USER)
            c->request.forgot(c->request.to, &t->at[i]);
    tni_turns_remove(t, from, next);
    return 1;
}

/* Render; forget turns until a quarter of the context is free, or as much as an
 * answer may take. *fits 0: not one token is, with nothing left to forget. */
static tn_status fit(tni_chat *c, int *fits, tn_error *err)
{
    const int64_t context = c->decoder->capacity;
    const int64_t quarter = context / 4 + 1;
    const int64_t want = c->max_tokens < quarter ? c->max_tokens : quarter;
    do
        TN_TRY(render(c, err));
    while (c->rendered.count + want > context && forget_oldest(c));
    *fits = c->rendered.count < context;
    return TN_OK;
}

/* ---- the decoder ---- */

static tn_status read_on(tni_chat *c, tn_error *err)
{
    while (c->read.count < c->rendered.count && !stopped(c)) {
        const int32_t *next = c->rendered.at + c->read.count;
        const int64_t left = c->rendered.count - c->read.count;
        const int64_t count = left < STRETCH ? left : STRETCH;
        TN_TRY(tni_decoder_read(c->decoder, next, count, err));
        TN_TRY(tni_token_list_take(&c->read, next, (uint64_t)count, err));
    }
    return TN_OK;
}

/* Go back to what the conversation and the decoder share, less the last token:
 * its logits are needed. Then read the rest. */
static tn_status catch_up(tni_chat *c, tni_chat_result *result, tn_error *err)
{
    int64_t shared = 0;
    while (shared + 1 < c->rendered.count && shared < c->read.count &&
           c->rendered.at[shared] == c->read.at[shared])
        shared++;
    TN_TRY(tni_decoder_rewind(c->decoder, shared, err));
    c->read.count = c->decoder->position;
    result->read += c->rendered.count - c->read.count;
    return read_on(c, err);
}

/* ---- an answer ---- */

static tni_turn *answer_of(const tni_chat *c)
{
    return &c->turns.at[c->turns.count - 1];
}

typedef struct {
    tni_chat *chat;
    tn_error *err;
    tn_status status;
} speech;

/* Whole characters: to the turn and to the listener. */
static void speak(void *to, const char *text, size_t bytes)
{
    speech *s = to;
    tni_chat *c = s->chat;
    if (s->status == TN_OK)
        s->status = tni_turn_append(answer_of(c), text, bytes, s->err);
    c->request.sink(c->request.to, text, bytes);
}

/* Bytes that are no part of a stop. */
static void assemble(void *to, const char *bytes, size_t count)
{
    speech *s = to;
    tni_utf8_push(&s->chat->utf8, bytes, count, speak, s);
}

static tn_status say(tni_chat *c, int32_t token, tn_error *err)
{
    speech s = {.chat = c, .err = err};
    const char *bytes;
    uint32_t count;
    TN_TRY(c->tokenizer.vtable->bytes_of(c->tokenizer.self, token, &bytes,
                                         &count, err));
    tni_stops_push(&c->stops, bytes, count, assemble, &s);
    return s.status;
}

/* What waited is said. A stop that came as text is part of the last tokens: the
 * answer is then what its text encodes to. */
static tn_status finish(tni_chat *c, tn_error *err)
{
    speech s = {.chat = c, .err = err};
    tni_turn *answer = answer_of(c);
    tni_stops_end(&c->stops, assemble, &s);
    tni_utf8_end(&c->utf8, speak, &s);
    if (s.status != TN_OK || !c->stops.met)
        return s.status;
    answer->drawn.count = 0;
    return c->tokenizer.vtable->encode(c->tokenizer.self, answer->text,
                                       answer->bytes, 0, tni_token_list_take,
                                       &answer->drawn, err);
}

/* How this token ends the answer; TNI_CHAT_STOPPED: it does not. */
static int end_at(const tni_chat *c, int32_t token)
{
    const tn_tokenizer *v = c->tokenizer.vtable;
    const char *tool = c->form->part[TN_PART_CODE].close;
    if (!tni_stops_at(&c->stops, token))
        return TNI_CHAT_STOPPED;
    return *tool && v->special(c->tokenizer.self, tool) == token
               ? TNI_CHAT_TOOL
               : TNI_CHAT_DONE;
}

/* The decoder reads the token, which is part of the answer already. */
static tn_status go_on(tni_chat *c, int32_t token, tni_chat_result *result,
                       tn_error *err)
{
    int fits = 1;
    TN_TRY(tni_token_list_take(&c->rendered, &token, 1, err));
    if (c->rendered.count <= c->decoder->capacity)
        return read_on(c, err);
    TN_TRY(fit(c, &fits, err));
    if (!fits)
        return result->ended = TNI_CHAT_FULL, TN_OK;
    tni_chat_result again = {0};
    return catch_up(c, &again, err);
}

static tn_status draw(tni_chat *c, tni_chat_result *result, tn_error *err)
{
    result->ended = TNI_CHAT_STOPPED;
    while (!stopped(c) && result->ended == TNI_CHAT_STOPPED) {
        int32_t token;
        TN_TRY(tni_decoder_draw(c->decoder, &c->sampler, &token, err));
        result->ended = end_at(c, token);
        if (result->ended == TNI_CHAT_DONE)
            break;
        TN_TRY(tni_token_list_take(&answer_of(c)->drawn, &token, 1, err));
        if (result->ended == TNI_CHAT_TOOL)
            break;
        result->tokens++;
        TN_TRY(say(c, token, err));
        if (c->stops.met)
            result->ended = TNI_CHAT_DONE;
        else if (result->tokens == c->max_tokens)
            result->ended = TNI_CHAT_LENGTH;
        else
            TN_TRY(go_on(c, token, result, err));
    }
    return finish(c, err);
}

/* The last turn is an answer without a word so far. */
static tn_status answer(tni_chat *c, tni_chat_result *result, tn_error *err)
{
    int fits;
    const double began = now();
    tni_stops_begin(&c->stops);
    c->utf8 = (tni_utf8){0};
    TN_TRY(fit(c, &fits, err));
    if (!fits)
        return tn_fail(err, TN_EINVALID,
                       "the message does not fit: with what must stand around "
                       "it, it has %lld tokens, and the context holds %lld",
                       (long long)c->rendered.count,
                       (long long)c->decoder->capacity);
    TN_TRY(catch_up(c, result, err));
    TN_TRY(tni_decoder_wait(c->decoder, err));
    const double read = now();
    TN_TRY(draw(c, result, err));
    result->read_seconds = read - began;
    result->seconds = now() - read;
    return TN_OK;
}

/* The last turn is a question. */
static tn_status answer_question(tni_chat *c, tni_chat_result *result,
                                 tn_error *err)
{
    *result = (tni_chat_result){0};
    tn_status status = tni_turns_insert(&c->turns, c->turns.count,
                                        TN_ROLE_ASSISTANT, "", 0, err);
    if (status == TN_OK)
        status = answer(c, result, err);
    if (status != TN_OK ||
        (result->ended == TNI_CHAT_STOPPED && !result->tokens))
        tni_chat_undo(c);
    return status;
}

tn_status tni_chat_ask(tni_chat *c, const char *text, size_t bytes,
                       tni_chat_result *result, tn_error *err)
{
    TN_TRY(tni_turns_insert(&c->turns, c->turns.count, TN_ROLE_USER, text,
                            bytes, err));
    return answer_question(c, result, err);
}

tn_status tni_chat_retry(tni_chat *c, tni_chat_result *result, tn_error *err)
{
    const uint32_t question = tni_turns_last_question(&c->turns);
    if (question == c->turns.count)
        return tn_fail(err, TN_EINVALID, "nothing has been asked yet");
    tni_turns_remove(&c->turns, question + 1, c->turns.count);
    return answer_question(c, result, err);
}

int tni_chat_undo(tni_chat *c)
{
    const uint32_t question = tni_turns_last_question(&c->turns);
    if (question == c->turns.count)
        return 0;
    tni_turns_remove(&c->turns, question, c->turns.count);
    return 1;
}

tn_status tni_chat_system(tni_chat *c, const char *text, tn_error *err)
{
    tni_turns_remove(&c->turns, 0, tni_turns_first(&c->turns));
    if (!*text)
        return TN_OK;
    return tni_turns_insert(&c->turns, 0, TN_ROLE_SYSTEM, text, strlen(text),
                            err);
}

void tni_chat_reset(tni_chat *c)
{
    tni_turns_remove(&c->turns, tni_turns_first(&c->turns), c->turns.count);
    c->sampler.draws = 0;
}

/* ---- opening ---- */

static int64_t sampled_ids(const tni_chat *c)
{
    const int64_t model = c->decoder->vocab_size;
    const int64_t known =
        (int64_t)c->tokenizer.vtable->vocab_size(c->tokenizer.self);
    return known < model ? known : model;
}

tn_status tni_chat_sample(tni_chat *c, const tni_sampling *sampling,
                          tn_error *err)
{
    tni_sampler made;
    TN_TRY(tni_sampler_init(&made, sampling, sampled_ids(c), err));
    if (made.options.seed == c->sampler.options.seed)
        made.draws = c->sampler.draws;
    c->sampler = made;
    return TN_OK;
}

static tn_status open(tni_chat *c, tn_error *err)
{
    const tni_chat_request *q = &c->request;
    const int64_t context =
        q->context ? q->context : tni_model_max_seq_len(q->recipe->model);
    TN_TRY(tni_tokenizer_open(q->recipe->reader.host, &q->recipe->tokenizer,
                              &c->tokenizer, err));
    TN_TRY(tni_chat_form(q->recipe, &c->tokenizer, q->form, &c->form, err));
    TN_TRY(tni_chat_form_stops(c->form, &c->tokenizer, &c->stops, err));
    TN_TRY(
        tni_decoder_create(q->recipe, q->weights, context, &c->decoder, err));
    return tni_chat_sample(c, &(tni_sampling){.temperature = 0.8, .top_p = 1.0},
                           err);
}

tn_status tni_chat_open(const tni_chat_request *request, tni_chat **chat,
                        tn_error *err)
{
    tni_chat *c = calloc(1, sizeof *c);
    if (!c)
        return tn_fail(err, TN_ENOMEM, "no memory for a conversation");
    c->request = *request;
    c->max_tokens = 512;
    const tn_status status = open(c, err);
    if (status == TN_OK)
        *chat = c;
    else
        tni_chat_close(c);
    return status;
}

void tni_chat_close(tni_chat *c)
{
    if (!c)
        return;
    tni_turns_free(&c->turns);
    tni_token_list_free(&c->rendered);
    tni_token_list_free(&c->read);
    tni_decoder_destroy(c->decoder);
    tni_tokenizer_close(&c->tokenizer);
    free(c);
}
