/*
 * fuzz.h - a reader of foreign bytes under attack, the same way every time.
 *
 * A fuzz test defines LLVMFuzzerTestOneInput, libFuzzer's entry, which crashes
 * or aborts where the reader misbehaves, and a main that calls tn_fuzz with a
 * few good inputs. That makes it an ordinary test: what long hunts have kept in
 * corpus/NAME, then mutants of the good inputs from a fixed seed, a second's
 * worth; the sanitizers of the asan preset give it teeth. scripts/fuzz hunts:
 * it links the same files with libFuzzer instead of their main.
 */
#ifndef TN_FUZZ_H
#define TN_FUZZ_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tenon/philox.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

typedef struct tn_fuzz_seed {
    const void *bytes;
    size_t count;
} tn_fuzz_seed;

/* A row of seeds: a text without its end. */
#define TN_FUZZ_SEED(text)                                                     \
    {                                                                          \
        text, sizeof text - 1                                                  \
    }

enum { TN_FUZZ_MAX_BYTES = 64 * 1024 };

/*
 * The input with its first byte 1 replaced by `all`, which what is read here
 * cannot do without: inputs stay short, and their mutants are about the rest.
 * The caller frees.
 */
static inline char *tn_fuzz_expand(const uint8_t *bytes, size_t count,
                                   const char *all, size_t all_count,
                                   size_t *whole)
{
    size_t before = 0;
    while (before < count && bytes[before] != 1)
        before++;
    const size_t after = before < count ? count - before - 1 : 0;
    const size_t more = before < count ? all_count : 0;
    char *file = malloc(before + more + after + 1);
    if (!file)
        abort();
    for (size_t i = 0; i < before; i++)
        file[i] = (char)bytes[i];
    memcpy(file + before, all, more);
    for (size_t i = 0; i < after; i++)
        file[before + more + i] = (char)bytes[before + 1 + i];
    *whole = before + more + after;
    return file;
}

/* A folder for the files of this process, made when it is first asked for; the
 * caller removes it. */
static inline const char *tn_fuzz_folder(void)
{
    static char folder[512];
    const char *in = getenv("TMPDIR");
    if (!*folder) {
        snprintf(folder, sizeof folder, "%s/tenon_fuzz_XXXXXX",
                 in ? in : "/tmp");
        if (!mkdtemp(folder))
            abort();
    }
    return folder;
}

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

/* A copy of its own size, so that reading past it is caught. */
static inline void tn_fuzz_give(const void *bytes, size_t count)
{
    uint8_t *exact = malloc(count ? count : 1);
    if (!exact)
        abort();
    memcpy(exact, bytes, count);
    LLVMFuzzerTestOneInput(exact, count);
    free(exact);
}

static inline void tn_fuzz_mutants(const tn_fuzz_seed *seeds,
                                   uint32_t seed_count, uint32_t rounds)
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
        tn_fuzz_give(f.bytes, f.count);
    }
}

/* Every file of tests/fuzz/corpus/NAME; how many there were. */
static inline uint32_t tn_fuzz_replay(const char *name)
{
    static uint8_t bytes[TN_FUZZ_MAX_BYTES];
    char folder[1024], path[1400];
    uint32_t count = 0;
    const char *source = getenv("TENON_SOURCE");
    snprintf(folder, sizeof folder, "%s/tests/fuzz/corpus/%s",
             source ? source : ".", name);
    DIR *in = opendir(folder);
    for (struct dirent *entry; in && (entry = readdir(in));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *from = fopen(path, "rb");
        if (!from)
            abort();
        tn_fuzz_give(bytes, fread(bytes, 1, sizeof bytes, from));
        fclose(from);
        count++;
    }
    if (in)
        closedir(in);
    return count;
}

/* For scripts/fuzz, to begin with. */
static inline int tn_fuzz_write_seeds(const char *folder,
                                      const tn_fuzz_seed *seeds, uint32_t count)
{
    char path[1024];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/seed-%u", folder, i);
        FILE *to = fopen(path, "wb");
        if (!to ||
            fwrite(seeds[i].bytes, 1, seeds[i].count, to) != seeds[i].count)
            abort();
        fclose(to);
    }
    return 0;
}

/* The corpus, each seed as it is, then `rounds` mutants of 1 to 8 changes. */
static inline int tn_fuzz(const char *name, const tn_fuzz_seed *seeds,
                          uint32_t seed_count, uint32_t rounds)
{
    const char *folder = getenv("TENON_FUZZ_SEEDS");
    if (folder)
        return tn_fuzz_write_seeds(folder, seeds, seed_count);
    const uint32_t replayed = tn_fuzz_replay(name);
    tn_fuzz_mutants(seeds, seed_count, rounds);
    printf("%u inputs of the corpus, %u mutants of %u seeds\n", replayed,
           rounds, seed_count);
    return 0;
}

#endif
