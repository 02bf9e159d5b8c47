/*
 * decoder.h - a model that reads tokens and says what might come next.
 *
 * What it has read lives in the STATE arena: keys and values of attention,
 * states of recurrences. A stretch of tokens is read in exact pieces of 256,
 * 64, 16, 4 and 1, each size a plan that is compiled when it is first needed:
 * nothing is padded.
 */
#ifndef TENON_DECODER_H
#define TENON_DECODER_H

#include "run/session.h"

enum { TNI_PIECES = 5, TNI_DECODER_ROWS = 64 };

typedef struct tni_decoder {
    tni_session *session;
    int64_t capacity; /* tokens it can hold */
    int64_t rows;     /* sequences it has room for */
    int64_t position; /* tokens read, by sequence 0 */
    int64_t vocab_size;
    uint32_t plan[TNI_PIECES]; /* + 1; 0: not compiled */
    uint32_t together;         /* the same, of a token of each sequence */
    int64_t row_position[TNI_DECODER_ROWS];
    float *logits;    /* (rows, V): of the tokens after the last ones read; from
                         tni_decoder_read (V) */
    int32_t *staging; /* positions of a piece */
} tni_decoder;

/*
 * Open a session for decoding up to `capacity` tokens with the weights at
 * `weights` (see weights.h), or with drawn ones where it is NULL.
 */
tn_status tni_decoder_create(const tni_recipe *recipe, const char *weights,
                             int64_t capacity, tni_decoder **decoder,
                             tn_error *err);
/* The same with room for `rows` sequences, at most TNI_DECODER_ROWS. */
tn_status tni_decoder_create_rows(const tni_recipe *recipe, const char *weights,
                                  int64_t capacity, int64_t rows,
                                  tni_decoder **decoder, tn_error *err);
void tni_decoder_destroy(tni_decoder *decoder); /* NULL is fine */

/* Read tokens; logits are then those after the last. TN_EINVALID past the
 * capacity or outside the vocabulary. */
tn_status tni_decoder_read(tni_decoder *decoder, const int32_t *tokens,
                           int64_t count, tn_error *err);

/*
 * Several sequences: tni_decoder_read reads into sequence 0, copy_row gives
 * sequence `row` all that 0 has read. read_rows then reads a token of each, -1
 * for those that are at their end, and every weight once. logits are (rows, V).
 */
tn_status tni_decoder_copy_row(tni_decoder *decoder, int64_t row,
                               tn_error *err);
tn_status tni_decoder_read_rows(tni_decoder *decoder, const int32_t *tokens,
                                tn_error *err);

/* Forget everything that was read. */
tn_status tni_decoder_reset(tni_decoder *decoder, tn_error *err);

/* Forget what was read from `position` on; logits mean nothing until the next
 * read. Caches can do that. A recurrent state can not go back: then everything
 * is forgotten, and decoder->position says so. */
tn_status tni_decoder_rewind(tni_decoder *decoder, int64_t position,
                             tn_error *err);

#endif
