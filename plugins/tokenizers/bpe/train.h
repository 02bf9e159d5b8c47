/*
 * train.h - from texts to a folder with a vocabulary in it.
 */
#ifndef TENON_BPE_TRAIN_H
#define TENON_BPE_TRAIN_H

#include <tenon/tokenizer.h>

enum { TNI_ALPHABET_BYTES, TNI_ALPHABET_GPT2 };

typedef struct tni_training_options {
    const char *folder;
    const char *pattern;
    const tn_strings *special;
    int32_t alphabet;
} tni_training_options;

tn_status tni_bpe_train(const tn_host *host, const tni_training_options *o,
                        const tn_tokenizer_training *how, tn_error *err);

#endif
