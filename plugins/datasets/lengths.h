/*
 * lengths.h - how many bytes of text an id stands for: what bits per byte are
 * counted with.
 */
#ifndef TENON_LENGTHS_H
#define TENON_LENGTHS_H

#include <tenon/tokenizer.h>

typedef struct tni_lengths {
    uint32_t *of; /* NULL without a tokenizer */
    uint32_t count;
} tni_lengths;

/* `tokenizer` may be NULL; `what` begins the sentence of a failure. */
tn_status tni_lengths_init(tni_lengths *lengths, const char *what,
                           const tn_tokenizer_handle *tokenizer, tn_error *err);
void tni_lengths_fini(tni_lengths *lengths);

/* Of the targets that are trained on. */
int64_t tni_lengths_sum(const tni_lengths *lengths, const int32_t *targets,
                        int64_t count);

#endif
