/*
 * cpu_bits.h - an op has the same bits for any number of threads.
 */
#ifndef CPU_BITS_H
#define CPU_BITS_H

#include "cpu_bench.h"

typedef void (*described)(bench *t);

/* What `make` computes with these options: a copy of its outputs. */
static inline float *result_of(described make, const char *options,
                               size_t *count)
{
    bench t;
    bench_open(&t, options);
    make(&t);
    const int64_t first = t.out[0].offset;
    *count = (size_t)(t.used - first) / sizeof(float);
    float *copy = malloc(*count * sizeof *copy);
    memcpy(copy, t.memory + first, *count * sizeof *copy);
    bench_close(&t);
    return copy;
}

static inline void expect_same_bits_for_any_threads(described make,
                                                    const char *vectors)
{
    float *want = NULL;
    size_t count = 0;
    for (int threads = 1; threads <= 6; threads++) {
        char options[64];
        snprintf(options, sizeof options, "{threads: %d, vectors: %s}", threads,
                 vectors);
        float *got = result_of(make, options, &count);
        if (want)
            assert_memory_equal(got, want, count * sizeof *got);
        else
            want = got;
        if (got != want)
            free(got);
    }
    free(want);
}

static inline void same_bits(described make)
{
    expect_same_bits_for_any_threads(make, "avx2");
    if (bench_has_avx512())
        expect_same_bits_for_any_threads(make, "avx512");
}

#endif
