/*
 * speech.h - what commands share that let a model speak.
 */
#ifndef TENON_CLI_SPEECH_H
#define TENON_CLI_SPEECH_H

#include "cli/command.h"
#include "run/sampler.h"

/* How the next token is drawn when nobody says otherwise. */
#define TNI_SAMPLING_DEFAULT                                                   \
    {                                                                          \
        .temperature = 0.8, .top_p = 1.0                                       \
    }

/* Rows of a flag table: `to_` a tni_sampling, `seed_` an int64_t. */
#define TNI_FLAGS_SAMPLING(to_, seed_)                                         \
    {.name = "temperature",                                                    \
     .kind = TNI_FLAG_FLOAT,                                                   \
     .to = &(to_)->temperature,                                                \
     .help = "0 takes the likeliest token, 1 draws as the model says; 0.8"},   \
        {.name = "top-k",                                                      \
         .kind = TNI_FLAG_INT,                                                 \
         .to = &(to_)->top_k,                                                  \
         .help = "draw from the k likeliest; 0, all of them"},                 \
        {.name = "top-p",                                                      \
         .kind = TNI_FLAG_FLOAT,                                               \
         .to = &(to_)->top_p,                                                  \
         .help = "draw from the likeliest that reach this probability; 1"},    \
    {                                                                          \
        .name = "seed", .kind = TNI_FLAG_INT, .to = (seed_),                   \
        .help = "the same seed gives the same text; 0"                         \
    }

/* A tni_text_sink whose `to` is a stream: what it gets is seen at once. */
static inline void tni_speak(void *to, const char *text, size_t bytes)
{
    fwrite(text, 1, bytes, (FILE *)to);
    fflush((FILE *)to);
}

#endif
