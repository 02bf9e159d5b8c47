/*
 * layer_laws.h - what must hold of every decoder layer, on the oracle in
 * double: it is causal, every weight learns and learns rightly, and it decodes
 * as it trains. That its numbers are a paper's is tests/golden's business.
 *
 * A model is the text under `model:`; LAW_HEAD begins it.
 */
#ifndef LAYER_LAWS_H
#define LAYER_LAWS_H

#include "model_rig.h"

#define LAW_HEAD "vocab_size: 13\nhidden_size: 8\nmax_seq_len: 16\n"

enum { LAW_B = 2, LAW_T = 7, LAW_V = 13, LAW_ROWS = LAW_B * LAW_T };

extern const int32_t law_tokens[LAW_ROWS];
extern const int32_t law_targets[LAW_ROWS]; /* one is ignored */

/* A model on the oracle with weights far enough from zero to matter; the
 * caller frees them, then closes the rig. */
double *law_open(model_rig *rig, const char *model);

/* Logits of training, (rows, V); summed cross-entropy. */
void law_logits(model_rig *rig, const double *slab, const int32_t *tokens,
                double *logits);
double law_loss(model_rig *rig, const double *slab);

/* Change token t of row 0: nothing before t moves, t does; row 1 never. */
void law_no_layer_sees_the_future(const char *model);

/* Central differences agree at the largest element of every weight's gradient,
 * which is not zero. */
void law_gradients_reach_every_weight_and_are_right(const char *model);

/* Documents packed into rows have the loss and, summed, the gradients that they
 * have alone. */
void law_documents_do_not_meet(const char *model);

/* The same on a backend of f32, with rows of a length that has blocks. */
void law_documents_do_not_meet_on(const char *model, const char *backend,
                                  double tolerance);

/* A prompt of 4 (row 1: of 3, padded), then one token at a time. */
void law_decoding_gives_the_logits_of_training(const char *model);

#endif
