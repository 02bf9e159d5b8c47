/*
 * logits.h - what a model says after each token of a sequence, and a file
 * format every notebook reads.
 */
#ifndef TENON_LOGITS_H
#define TENON_LOGITS_H

#include "run/session.h"

/* logits (T, V) of `count` tokens; the caller frees them with free(). */
tn_status tni_logits(const tni_recipe *recipe, const char *weights,
                     const int32_t *tokens, int64_t count, float **logits,
                     tn_error *err);

/* float32 (rows, columns) as NumPy's .npy, version 1.0. */
tn_status tni_npy_write(const char *path, const float *values, int64_t rows,
                        int64_t columns, tn_error *err);

#endif
