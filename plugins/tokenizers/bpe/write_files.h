/*
 * write_files.h - a trained vocabulary as files.
 */
#ifndef TENON_BPE_WRITE_FILES_H
#define TENON_BPE_WRITE_FILES_H

#include "learn.h"

typedef struct tni_trained {
    const tni_vocabulary *vocabulary; /* special tokens included */
    const tni_merge_rule *rule;       /* of tokens 256 .. 256 + rule_count */
    size_t rule_count;
    const char *expression; /* how text is split */
} tni_trained;

/* folder/tokenizer.tiktoken and folder/tokenizer.json; the folder is made. */
tn_status tni_trained_write(const tni_trained *trained, const char *folder,
                            tn_error *err);

#endif
