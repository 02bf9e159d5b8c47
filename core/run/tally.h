/*
 * tally.h - the loss of targets, and bits per byte.
 *
 * Sums over all targets, divided once: rows of different lengths and a last
 * batch that is not full count for what they hold. Bits per byte compares
 * models with different vocabularies: nats of the targets that stand for text,
 * by the bytes of that text; markers are neither.
 */
#ifndef TENON_TALLY_H
#define TENON_TALLY_H

#include <tenon/tokenizer.h>

typedef struct tni_tally {
    double nats, tokens;     /* of all targets */
    double text_nats, bytes; /* of those that stand for bytes of text */
} tni_tally;

/* Bytes of text by id, vocab_size of them, to be freed; NULL where there is no
 * tokenizer. */
tn_status tni_tally_lengths(const tn_tokenizer_handle *tokenizer,
                            int64_t vocab_size, int32_t **lengths,
                            tn_error *err);

/* nll[i] nats for targets[i]; -1: no target. lengths NULL: unknown. */
void tni_tally_add(tni_tally *tally, const int32_t *lengths,
                   const int32_t *targets, const float *nll, int64_t count);

/* 0 where bytes are unknown. */
double tni_tally_bits_per_byte(const tni_tally *tally);

#endif
