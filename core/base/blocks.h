/*
 * blocks.h - from floats to weights in 8 and 4 bits (tenon/blocks.h), and back.
 */
#ifndef TENON_BASE_BLOCKS_H
#define TENON_BASE_BLOCKS_H

#include <tenon/blocks.h>

/* To nearest even; NaN stays NaN, what is too large becomes infinity. */
uint16_t tni_half_of_float(float value);

/*
 * `count` numbers, whole blocks of dtype (TN_Q8_0 or TN_Q4_K), into
 * tn_dtype_span(dtype, count) bytes. Rounded as ggml's reference rounds:
 * quantize_row_q8_0_ref, to the bit, and quantize_row_q4_K_ref.
 */
void tni_blocks_encode(tn_dtype dtype, const float *from, int64_t count,
                       void *to);

/* The numbers that blocks stand for. */
void tni_blocks_decode(tn_dtype dtype, const void *from, int64_t count,
                       float *to);

#endif
