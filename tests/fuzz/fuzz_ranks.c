/*
 * fuzz_ranks.c - a `.tiktoken` file under attack: refused with a sentence, or a
 * vocabulary in which every token is found and every merge makes a token.
 *
 * A byte 1 stands for the lines of all 256 bytes, without which no file is
 * accepted: inputs are short, and their mutants are about the rest.
 */
#include "fuzz.h"

#include "merge.h"
#include "ranks_file.h"

static void must(int true_)
{
    if (!true_)
        abort();
}

static void check_tokens(const tni_vocabulary *v)
{
    for (size_t id = 0; id < v->size; id++) {
        uint32_t count;
        const char *bytes = tni_vocabulary_bytes(v, (int32_t)id, &count);
        must(!count || tni_vocabulary_find(v, bytes, count) == (int32_t)id);
    }
}

/* The text of all tokens, merged, is still that text. */
static void check_merges(const tni_vocabulary *v)
{
    tni_merger m = {0};
    size_t count, at = 0;
    must(tni_merge(v, &m, v->bytes, v->byte_count, &count, NULL) == TN_OK);
    for (size_t i = 0; i < count; i++) {
        uint32_t n;
        const char *bytes = tni_vocabulary_bytes(v, m.id[i], &n);
        must(n <= v->byte_count - at && !memcmp(v->bytes + at, bytes, n));
        at += n;
    }
    must(at == v->byte_count);
    tni_merger_fini(&m);
}

static size_t all_bytes(char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    char *at = to;
    for (int i = 0; i < 256; i++)
        at +=
            sprintf(at, "%c%c== %d\n", digits[i >> 2], digits[(i & 3) << 4], i);
    return (size_t)(at - to);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    tni_vocabulary v;
    tn_error err = {0};
    char all[256 * 10];
    size_t size;
    char *file = tn_fuzz_expand(bytes, count, all, all_bytes(all), &size);
    tni_vocabulary_init(&v, "fuzz");
    tn_status status = tni_ranks_read(&v, file, size, &err);
    free(file);
    if (status == TN_OK)
        status = tni_vocabulary_index(&v, &err);
    if (status == TN_OK)
        status = tni_vocabulary_merge_by_bytes(&v, &err);
    must(status == err.status && (status == TN_OK || err.message[0]));
    if (status == TN_OK) {
        check_tokens(&v);
        check_merges(&v);
        tni_known_ranks_of(&v);
    }
    tni_vocabulary_fini(&v);
    return 0;
}

#ifndef TENON_LIBFUZZER
int main(void)
{
    static const tn_fuzz_seed seeds[] = {
        TN_FUZZ_SEED("\1bG8= 256\nZXI= 257\nbG93 258\nIGw= 259\n"),
        TN_FUZZ_SEED("\1YWE= 300\r\nYWFhYQ== 260\n\nYWFh 256"),
        TN_FUZZ_SEED("IQ== 0\nIg== 1\n"),
    };
    return tn_fuzz("ranks", seeds, 3, 30000);
}
#endif
