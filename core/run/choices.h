/*
 * choices.h - questions with answers to choose from.
 *
 *     {"query": "The opposite of hot is", "choices": ["warm", "cold"],
 *      "gold": 1}
 *
 * As in nanochat's CORE evaluation (Li et al., DataComp-LM, 2024): each choice
 * stands behind the query; what is compared is the mean loss per token over the
 * part in which the prompts differ, and the lowest is the model's answer.
 *
 *     <bos> The opposite of hot is  warm      nats of " warm" / its tokens
 *     <bos> The opposite of hot is  cold
 *           ----- common ---------
 *
 * With shots, that many other examples with their answers come first, drawn as
 * there: the lines are shuffled by Python's Random(1337), the examples for line
 * i sampled by Random(1234 + i). Two things differ: a choice that is the
 * beginning of another is judged by its last token (there, by none), and a file
 * with no more lines than shots is refused.
 */
#ifndef TENON_CHOICES_H
#define TENON_CHOICES_H

#include "run/score.h"

typedef struct tni_choices_request {
    const tn_tokenizer_handle *tokenizer;
    const char *path;
    const char *delimiter; /* between query and choice, " " mostly */
    int64_t shots;
    int64_t most;                      /* examples; 0: all */
    const volatile sig_atomic_t *stop; /* TN_EINTERRUPTED where not 0; NULL */
    void (*progress)(void *to, double share); /* may be NULL */
    void *to;
} tni_choices_request;

typedef struct tni_choices_result {
    int64_t examples, correct;
    double accuracy, chance; /* chance: of a guess among each one's choices */
    double centered;         /* (accuracy - chance) / (1 - chance) */
    int64_t cropped;         /* prompts whose beginning did not fit */
} tni_choices_result;

tn_status tni_choices_score(tni_scorer *scorer,
                            const tni_choices_request *request,
                            tni_choices_result *result, tn_error *err);

#endif
