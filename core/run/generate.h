/*
 * generate.h - text that goes on from a prompt.
 */
#ifndef TENON_GENERATE_H
#define TENON_GENERATE_H

#include <signal.h>

#include "run/decoder.h"
#include "run/sampler.h"
#include "run/stops.h"
#include "run/token_list.h"

typedef struct tni_generate_request {
    const tni_recipe *recipe;
    const char *weights; /* a file or checkpoint: weights.h */
    const char *prompt;  /* any bytes, not empty */
    uint64_t prompt_bytes;
    int64_t max_tokens;
    tni_sampling sampling;
    const char *const *stop_texts; /* each ends the text: stops.h */
    uint32_t stop_text_count;
    tni_text_sink sink; /* receives the new text, in whole characters */
    void *to;
    const volatile sig_atomic_t *stop; /* not 0: end after this token */
    /* More than 1: so many texts, which are made together, so that each weight
     * is read once for a token of all. Text i is that of seed + i. They reach
     * the sink one after the other when all are done. */
    int64_t samples;
    /* Called before each text, behind which the prompt goes to the sink, once
     * nothing but the drawing can fail. NULL, of one text: it has no prompt. */
    void (*begin)(void *to, int64_t sample);
} tni_generate_request;

typedef struct tni_generate_result {
    int64_t prompt_tokens; /* that were read; 0: it failed before */
    int64_t tokens;        /* that were made */
    double read_seconds, seconds;
} tni_generate_result;

/*
 * A prompt longer than the context keeps its last part. When the context is
 * full, the last half of it is read again from position 0 and generation goes
 * on. Both are said once through the log. Ends early at the special token
 * <|endoftext|> and before each of the stop texts. Several samples end where
 * the context is full.
 */
tn_status tni_generate(const tni_generate_request *request,
                       tni_generate_result *result, tn_error *err);

#endif
