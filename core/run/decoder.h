/*
 * decoder.h - a model that reads tokens and says what might come next.
 *
 * What it has read lives in the STATE arena: keys and values of attention,
 * states of recurrences. A stretch of tokens is read in exact pieces of 256,
 * 64, 16, 4 and 1, each size a plan that is compiled when it is first needed:
 * nothing is padded.
 *
 * Where the backend has a kernel for it the next token is drawn on the device,
 * and of all logits four bytes come to the host; elsewhere the host draws.
 */
#ifndef TENON_DECODER_H
#define TENON_DECODER_H

#include "run/sampler.h"
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
    uint32_t draw;             /* + 1; 0: the host draws */
    uint32_t draw_together;    /* the same, for each sequence */
    int64_t row_position[TNI_DECODER_ROWS];
    int64_t rows_read; /* by the last read: 1, or all sequences */
    float *logits;     /* (rows_read, V), since tni_decoder_logits */
    int32_t *staging;  /* positions of a piece */
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

/* Start to read tokens. TN_EINVALID past the capacity or outside the
 * vocabulary; what goes wrong later is told by the next of those below. */
tn_status tni_decoder_read(tni_decoder *decoder, const int32_t *tokens,
                           int64_t count, tn_error *err);
/* Until all is read. */
tn_status tni_decoder_wait(tni_decoder *decoder, tn_error *err);

/* decoder->logits become those of the tokens after the last ones read. */
tn_status tni_decoder_logits(tni_decoder *decoder, tn_error *err);
/* The token of sequence 0 after the last one read, as tni_sampler_next draws it
 * from its logits. */
tn_status tni_decoder_draw(tni_decoder *decoder, tni_sampler *sampler,
                           int32_t *token, tn_error *err);

/*
 * Several sequences: tni_decoder_read reads into sequence 0, copy_row gives
 * sequence `row` all that 0 has read. read_rows then reads a token of each, -1
 * for those that are at their end, and every weight once. logits are (rows, V);
 * draw_rows draws a token of each, -1 where a sampler is NULL.
 */
tn_status tni_decoder_copy_row(tni_decoder *decoder, int64_t row,
                               tn_error *err);
tn_status tni_decoder_read_rows(tni_decoder *decoder, const int32_t *tokens,
                                tn_error *err);
tn_status tni_decoder_draw_rows(tni_decoder *decoder,
                                tni_sampler *const *samplers, int32_t *tokens,
                                tn_error *err);

/* Forget everything that was read. */
tn_status tni_decoder_reset(tni_decoder *decoder, tn_error *err);

/* Forget what was read from `position` on; logits mean nothing until the next
 * read. Caches can do that. A recurrent state can not go back: then everything
 * is forgotten, and decoder->position says so. */
tn_status tni_decoder_rewind(tni_decoder *decoder, int64_t position,
                             tn_error *err);

/* ---- shared by decoder.c and draw.c ---- */

/* What draws read lies in INPUT behind what pieces do. */
enum { TNI_DRAW_AT = 2304, TNI_DRAW_BYTES = TNI_DECODER_ROWS * 32 };

/* Before commit. */
tn_status tni_decoder_plan_draws(tni_decoder *decoder, tn_error *err);

#endif
