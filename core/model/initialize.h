/*
 * initialize.h - first values of one weight.
 */
#ifndef TENON_INITIALIZE_H
#define TENON_INITIALIZE_H

#include "model/model.h"

/* Draw w->elements values into `to`; w->init has its std resolved. */
void tni_weight_initialize(const tni_weight *w, uint64_t seed, float *to);

/* x with P(standard normal <= x) = p, for p in (0, 1), to seven digits.
 * Wichura 1988, "Algorithm AS 241", PPND7. */
double tni_normal_quantile(double p);

#endif
