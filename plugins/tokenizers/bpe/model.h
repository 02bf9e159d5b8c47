/*
 * model.h - an opened tokenizer: what its files say, and how it encodes.
 */
#ifndef TENON_BPE_MODEL_H
#define TENON_BPE_MODEL_H

#include <pthread.h>
#include <tenon/tokenizer.h>

#include "split.h"
#include "vocabulary.h"

enum {
    TNI_MAX_STAGES = 8,
    /* Bytes that are not UTF-8: */
    TNI_INVALID_BYTES = 0, /* are encoded as they are, apart from the text */
    TNI_INVALID_REPLACE,   /* become U+FFFD */
    TNI_INVALID_REFUSE,
};

typedef struct tni_model {
    tni_vocabulary vocabulary;
    /* One after the other: what the first cuts off goes to the second. */
    tni_splitter stage[TNI_MAX_STAGES];
    uint32_t stage_count;
    int32_t invalid;
    uint8_t begins_special[256]; /* 1: allowed ones only; 2: always */
    pthread_mutex_t lock;
    struct tni_encoder *idle; /* memory for encoding, between calls */
} tni_model;

void tni_model_init(tni_model *model, const char *path);
void tni_model_fini(tni_model *model);

tn_status tni_model_add_stage(tni_model *model, const char *pattern,
                              tn_error *err);

/* Everything is added; encoding may begin, on any number of threads. */
void tni_model_ready(tni_model *model);

tn_status tni_model_encode(tni_model *model, const char *text, uint64_t bytes,
                           uint32_t allow_special, tn_token_sink sink, void *to,
                           tn_error *err);

/* Hugging Face's tokenizer.json into an empty model, stages included. */
tn_status tni_tokenizer_json_read(tni_model *model, const tn_host *host,
                                  const char *text, size_t bytes,
                                  tn_error *err);

#endif
