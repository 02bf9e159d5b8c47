/*
 * python_random.h - the draws of Python's random.Random, to the last one.
 *
 * Few-shot prompts are made of examples that are drawn at random. To be
 * compared with published scores they must be the same examples, and those were
 * drawn by Python: MT19937 (Matsumoto and Nishimura, 1998) seeded through
 * init_by_array, whole numbers by rejection of the highest bits.
 */
#ifndef TENON_PYTHON_RANDOM_H
#define TENON_PYTHON_RANDOM_H

#include <tenon/base.h>

typedef struct tni_python_random {
    uint32_t word[624];
    uint32_t next;
} tni_python_random;

void tni_python_random_init(tni_python_random *random, uint32_t seed);

/* randrange(below); below is at least 1. */
uint32_t tni_python_random_below(tni_python_random *random, uint32_t below);

/* shuffle(order). */
void tni_python_random_shuffle(tni_python_random *random, uint32_t *order,
                               uint32_t count);

/* sample(from, k) into drawn; k <= count. `from` is changed. */
void tni_python_random_sample(tni_python_random *random, uint32_t *from,
                              uint32_t count, uint32_t k, uint32_t *drawn);

#endif
