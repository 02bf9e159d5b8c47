/*
 * fuzz.h - a reader of foreign bytes under attack, the same way every time.
 *
 * A fuzz test defines LLVMFuzzerTestOneInput, libFuzzer's entry, which crashes
 * or aborts where the reader misbehaves, and a main that calls tn_fuzz with a
 * few good inputs. That makes it an ordinary test: mutants of the inputs from a
 * fixed seed, a second's worth; the sanitizers of the asan preset give it
 * teeth. For a long hunt link the same file with libFuzzer instead of main:
 *
 *     clang -g -fsanitize=fuzzer,address,undefined -DTENON_LIBFUZZER \
 *         -Icore/include -Icore tests/fuzz/fuzz_yaml.c core/config/[a-z]*.c \
 *         core/base/arena.c core/base/file.c -lyaml -lm -o fuzz_yaml
 */
#ifndef TN_FUZZ_H
#define TN_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tenon/philox.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

typedef struct tn_fuzz_seed {
    const void *bytes;
    size_t count;
} tn_fuzz_seed;

enum { TN_FUZZ_MAX_BYTES = 64 * 1024 };

typedef struct tn_fuzz_state {
    const tn_fuzz_seed *seeds;
    uint32_t seed_count, draws;
    size_t count;
    uint8_t bytes[TN_FUZZ_MAX_BYTES];
} tn_fuzz_state;

/* A number below `limit`; 0 where limit is 0. */
static inline size_t tn_fuzz_below(tn_fuzz_state *f, size_t limit)
{
    const uint32_t key[2] = {2026, 1}, counter[4] = {f->draws++, 0, 0, 0};
    uint32_t out[4];
    tn_philox(key, counter, out);
    return limit ? out[0] % limit : 0;
}

/* Open a gap of `more` bytes at `at`, as far as there is room. */
static inline void tn_fuzz_insert(tn_fuzz_state *f, size_t at,
                                  const uint8_t *from, size_t more)
{
    if (more > TN_FUZZ_MAX_BYTES - f->count)
        more = TN_FUZZ_MAX_BYTES - f->count;
    memmove(f->bytes + at + more, f->bytes + at, f->count - at);
    memcpy(f->bytes + at, from, more);
    f->count += more;
}

/* A stretch of some seed, at most 64 bytes, into any place. */
static inline void tn_fuzz_splice(tn_fuzz_state *f)
{
    const tn_fuzz_seed *seed = &f->seeds[tn_fuzz_below(f, f->seed_count)];
    const size_t start = tn_fuzz_below(f, seed->count);
    const size_t length = tn_fuzz_below(f, seed->count - start + 1) % 64;
    tn_fuzz_insert(f, tn_fuzz_below(f, f->count + 1),
                   (const uint8_t *)seed->bytes + start, length);
}

static inline void tn_fuzz_cut(tn_fuzz_state *f)
{
    const size_t at = tn_fuzz_below(f, f->count);
    const size_t length = tn_fuzz_below(f, f->count - at + 1) % 64;
    memmove(f->bytes + at, f->bytes + at + length, f->count - at - length);
    f->count -= length;
}

/* One of the bytes that grammars and binary headers turn on, 1 to 100 times. */
static inline void tn_fuzz_repeat(tn_fuzz_state *f)
{
    static const char special[] = "[]{}:,&*!|>'\"%@`\t\n\r #-?~\\._0e+<=\x00"
                                  "\x01\x7f\x80\xc3\xef\xff";
    uint8_t run[100];
    const size_t length = tn_fuzz_below(f, 8) ? 1 : 1 + tn_fuzz_below(f, 100);
    memset(run, special[tn_fuzz_below(f, sizeof special - 1)], length);
    tn_fuzz_insert(f, tn_fuzz_below(f, f->count + 1), run, length);
}

static inline void tn_fuzz_mutate(tn_fuzz_state *f)
{
    switch (tn_fuzz_below(f, 4)) {
    case 0:
        tn_fuzz_splice(f);
        return;
    case 1:
        tn_fuzz_cut(f);
        return;
    case 2:
        if (f->count)
            f->bytes[tn_fuzz_below(f, f->count)] ^=
                (uint8_t)(1u << tn_fuzz_below(f, 8));
        return;
    default:
        tn_fuzz_repeat(f);
        return;
    }
}

/* Each seed as it is, then `rounds` mutants of 1 to 8 changes. */
static inline int tn_fuzz(const tn_fuzz_seed *seeds, uint32_t seed_count,
                          uint32_t rounds)
{
    static tn_fuzz_state f;
    f.seeds = seeds;
    f.seed_count = seed_count;
    for (uint32_t round = 0; round < seed_count + rounds; round++) {
        const tn_fuzz_seed *seed = &seeds[round % seed_count];
        f.count = seed->count;
        memcpy(f.bytes, seed->bytes, seed->count);
        size_t changes = round < seed_count ? 0 : 1 + tn_fuzz_below(&f, 8);
        for (; changes; changes--)
            tn_fuzz_mutate(&f);
        /* A copy of its own size, so that reading past it is caught. */
        uint8_t *exact = malloc(f.count ? f.count : 1);
        if (!exact)
            return 1;
        memcpy(exact, f.bytes, f.count);
        LLVMFuzzerTestOneInput(exact, f.count);
        free(exact);
    }
    printf("%u mutants of %u seeds\n", rounds, seed_count);
    return 0;
}

#endif
