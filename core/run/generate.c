/*
 * generate.c - read the prompt, then draw and read one token at a time.
 */
#include "run/generate.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    const tni_generate_request *request;
    tn_tokenizer_handle tokenizer;
    tni_decoder *decoder;
    tni_sampler sampler;
    tni_utf8 utf8;
    tni_token_list tokens; /* prompt and what was made */
    tni_stops stops;
    int said_full;
} generation;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void warn(const generation *g, const char *format, long long a,
                 long long b)
{
    const tn_host *host = g->request->recipe->reader.host;
    host->log(host, TN_LOG_WARNING, format, a, b);
}

/* ---- tokens ---- */

static tn_status encode_prompt(generation *g, tn_error *err)
{
    const tni_generate_request *q = g->request;
    const tn_tokenizer *v = g->tokenizer.vtable;
    TN_TRY(v->encode(g->tokenizer.self, q->prompt, q->prompt_bytes, 1,
                     tni_token_list_take, &g->tokens, err));
    if (!g->tokens.count)
        return tn_fail(err, TN_EINVALID,
                       "the prompt is empty; give at least one character");
    const int64_t longest = tni_model_max_seq_len(q->recipe->model);
    if (g->tokens.count <= longest) /* full, it still says one token more */
        return TN_OK;
    /* leave room to go on: half of the context, as when it runs full */
    const int64_t keep = longest > 1 ? longest / 2 : 1;
    warn(g,
         "the prompt has %lld tokens, more than the context holds: its last "
         "%lld are used",
         (long long)g->tokens.count, (long long)keep);
    memmove(g->tokens.at, g->tokens.at + g->tokens.count - keep,
            (size_t)keep * sizeof *g->tokens.at);
    g->tokens.count = keep;
    return TN_OK;
}

/* The cache is as long as this text can get, no longer. */
static int64_t cache_length(const generation *g)
{
    const int64_t longest = tni_model_max_seq_len(g->request->recipe->model);
    const int64_t room = longest - g->tokens.count;
    const int64_t want = g->request->max_tokens;
    return want < room ? g->tokens.count + want : longest;
}

static int64_t sampled_ids(const generation *g)
{
    const int64_t model = g->decoder->vocab_size;
    const int64_t known =
        (int64_t)g->tokenizer.vtable->vocab_size(g->tokenizer.self);
    return known < model ? known : model;
}

/* <|endoftext|> ends a text only as a token: as text it may be meant. */
static tn_status add_stops(generation *g, tn_error *err)
{
    const tni_generate_request *q = g->request;
    static const char end[] = "<|endoftext|>";
    if (g->tokenizer.vtable->special(g->tokenizer.self, end) >= 0)
        TN_TRY(tni_stops_add(&g->stops, &g->tokenizer, end, err));
    for (uint32_t i = 0; i < q->stop_text_count; i++)
        TN_TRY(tni_stops_add(&g->stops, &g->tokenizer, q->stop_texts[i], err));
    return TN_OK;
}

static tn_status open(generation *g, tn_error *err)
{
    const tni_generate_request *q = g->request;
    TN_TRY(tni_tokenizer_open(q->recipe->reader.host, &q->recipe->tokenizer,
                              &g->tokenizer, err));
    TN_TRY(add_stops(g, err));
    TN_TRY(encode_prompt(g, err));
    TN_TRY(tni_decoder_create_rows(q->recipe, q->weights, cache_length(g),
                                   q->samples > 1 ? q->samples : 1, &g->decoder,
                                   err));
    return tni_sampler_init(&g->sampler, &q->sampling, sampled_ids(g), err);
}

static void close_all(generation *g)
{
    tni_decoder_destroy(g->decoder);
    tni_tokenizer_close(&g->tokenizer);
    tni_token_list_free(&g->tokens);
}

/* ---- the loop ---- */

/* The context is full: go on from its last half. */
static tn_status slide(generation *g, tn_error *err)
{
    const int64_t keep = (g->decoder->capacity + 1) / 2;
    if (!g->said_full)
        warn(g,
             "the context of %lld tokens is full: from here on only the last "
             "%lld or more are remembered",
             (long long)g->decoder->capacity, (long long)keep);
    g->said_full = 1;
    TN_TRY(tni_decoder_reset(g->decoder, err));
    const int32_t *last = g->tokens.at + g->tokens.count - keep;
    return tni_decoder_read(g->decoder, last, keep, err);
}

/* Bytes that are no part of a stop. */
static void assemble(void *to, const char *bytes, size_t count)
{
    generation *g = to;
    tni_utf8_push(&g->utf8, bytes, count, g->request->sink, g->request->to);
}

static tn_status say(generation *g, int32_t token, tn_error *err)
{
    const char *bytes;
    uint32_t count;
    TN_TRY(g->tokenizer.vtable->bytes_of(g->tokenizer.self, token, &bytes,
                                         &count, err));
    tni_stops_push(&g->stops, bytes, count, assemble, g);
    return TN_OK;
}

static void begin_text(const tni_generate_request *q, int64_t sample)
{
    q->begin(q->to, sample);
    q->sink(q->to, q->prompt, q->prompt_bytes);
}

static tn_status go_on(generation *g, tni_generate_result *result,
                       tn_error *err)
{
    const tni_generate_request *q = g->request;
    if (q->begin)
        begin_text(q, 0);
    while (result->tokens < q->max_tokens && !(q->stop && *q->stop)) {
        int32_t token;
        TN_TRY(tni_decoder_draw(g->decoder, &g->sampler, &token, err));
        if (tni_stops_at(&g->stops, token))
            break;
        TN_TRY(tni_token_list_take(&g->tokens, &token, 1, err));
        TN_TRY(say(g, token, err));
        if (++result->tokens == q->max_tokens || g->stops.met)
            break;
        if (g->decoder->position == g->decoder->capacity)
            TN_TRY(slide(g, err));
        else
            TN_TRY(tni_decoder_read(g->decoder, &token, 1, err));
    }
    tni_stops_end(&g->stops, assemble, g);
    tni_utf8_end(&g->utf8, q->sink, q->to);
    return TN_OK;
}

/* ---- several texts at once ---- */

/* One of them, and its text so far. */
typedef struct {
    generation *of;
    tni_sampler sampler;
    tni_stops stops;
    tni_utf8 utf8;
    char *text;
    size_t bytes, room;
    int ended, no_memory;
} voice;

static void keep(void *to, const char *text, size_t bytes)
{
    voice *v = to;
    if (v->bytes + bytes > v->room) {
        const size_t room = 2 * v->room + bytes + 256;
        char *longer = realloc(v->text, room);
        v->no_memory |= !longer;
        if (!longer)
            return;
        v->text = longer;
        v->room = room;
    }
    memcpy(v->text + v->bytes, text, bytes);
    v->bytes += bytes;
}

static void assemble_voice(void *to, const char *bytes, size_t count)
{
    voice *v = to;
    tni_utf8_push(&v->utf8, bytes, count, keep, v);
}

/* A token of each text that has not ended, -1 of others. All begin with the
 * prompt's end, which sequence 0 has read. */
static tn_status draw(tni_decoder *d, voice *voices, int64_t each,
                      int32_t *tokens, tn_error *err)
{
    tni_sampler *samplers[TNI_DECODER_ROWS];
    for (int64_t i = 0; i < d->rows; i++)
        samplers[i] = voices[i].ended ? NULL : &voices[i].sampler;
    if (each)
        return tni_decoder_draw_rows(d, samplers, tokens, err);
    for (int64_t i = 0; i < d->rows; i++)
        TN_TRY(tni_decoder_draw(d, samplers[i], &tokens[i], err));
    return TN_OK;
}

/* Its next token, if any; -1 where the text ends with it. */
static tn_status take(voice *v, int32_t *token, tn_error *err)
{
    const tn_tokenizer_handle *t = &v->of->tokenizer;
    const char *bytes;
    uint32_t count;
    if (v->ended)
        return TN_OK;
    v->ended = tni_stops_at(&v->stops, *token);
    if (v->ended) {
        *token = -1;
        return TN_OK;
    }
    TN_TRY(t->vtable->bytes_of(t->self, *token, &bytes, &count, err));
    tni_stops_push(&v->stops, bytes, count, assemble_voice, v);
    v->ended = v->stops.met || v->no_memory;
    return v->no_memory ? tn_fail(err, TN_ENOMEM, "no memory for a text")
                        : TN_OK;
}

static tn_status speak_together(generation *g, voice *voices,
                                tni_generate_result *result, tn_error *err)
{
    const tni_generate_request *q = g->request;
    tni_decoder *d = g->decoder;
    int32_t token[TNI_DECODER_ROWS];
    for (int64_t each = 0; each < q->max_tokens && !(q->stop && *q->stop);
         each++) {
        int going = 0;
        if (each && result->prompt_tokens + each > d->capacity) {
            warn(g, "the context of %lld tokens is full: %lld texts end here",
                 (long long)d->capacity, (long long)q->samples);
            break;
        }
        if (each)
            TN_TRY(tni_decoder_read_rows(d, token, err));
        TN_TRY(draw(d, voices, each, token, err));
        for (int64_t i = 0; i < q->samples; i++) {
            TN_TRY(take(&voices[i], &token[i], err));
            result->tokens += token[i] >= 0;
            going |= !voices[i].ended;
        }
        if (!going)
            break;
    }
    return TN_OK;
}

static tn_status run_together(generation *g, voice *voices,
                              tni_generate_result *result, tn_error *err)
{
    const tni_generate_request *q = g->request;
    for (int64_t i = 0; i < q->samples; i++) {
        tni_sampling sampling = q->sampling;
        sampling.seed += (uint64_t)i;
        voices[i] = (voice){.of = g, .stops = g->stops};
        TN_TRY(tni_sampler_init(&voices[i].sampler, &sampling, sampled_ids(g),
                                err));
        TN_TRY(tni_decoder_copy_row(g->decoder, i, err));
    }
    TN_TRY(speak_together(g, voices, result, err));
    for (int64_t i = 0; i < q->samples; i++) {
        voice *v = &voices[i];
        tni_stops_end(&v->stops, assemble_voice, v);
        tni_utf8_end(&v->utf8, keep, v);
        begin_text(q, i);
        q->sink(q->to, v->text, v->bytes);
    }
    return TN_OK;
}

static tn_status go_on_together(generation *g, tni_generate_result *result,
                                tn_error *err)
{
    const size_t count = (size_t)g->request->samples;
    voice *voices = calloc(count, sizeof *voices);
    if (!voices)
        return tn_fail(err, TN_ENOMEM, "no memory for %zu texts", count);
    const tn_status status = run_together(g, voices, result, err);
    for (size_t i = 0; i < count; i++)
        free(voices[i].text);
    free(voices);
    return status;
}

static tn_status run(generation *g, tni_generate_result *result, tn_error *err)
{
    TN_TRY(open(g, err));
    const double began = now();
    TN_TRY(tni_decoder_read(g->decoder, g->tokens.at, g->tokens.count, err));
    TN_TRY(tni_decoder_wait(g->decoder, err));
    const double read = now();
    result->prompt_tokens = g->tokens.count;
    TN_TRY(g->request->samples > 1 ? go_on_together(g, result, err)
                                   : go_on(g, result, err));
    result->read_seconds = read - began;
    result->seconds = now() - read;
    return TN_OK;
}

tn_status tni_generate(const tni_generate_request *request,
                       tni_generate_result *result, tn_error *err)
{
    generation g = {.request = request};
    tni_generate_result made = {0};
    const tn_status status = run(&g, &made, err);
    close_all(&g);
    *result = made;
    return status;
}
