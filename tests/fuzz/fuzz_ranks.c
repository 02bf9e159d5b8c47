/*
 * fuzz_ranks.c - a `.tiktoken` file under attack: refused with a sentence, or a
 * vocabulary in which every token is found and every merge makes a token.
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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    tni_vocabulary v;
    tn_error err = {0};
    tni_vocabulary_init(&v, "fuzz");
    tn_status status = tni_ranks_read(&v, (const char *)bytes, count, &err);
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
/* All 256 bytes, then `more`. */
static tn_fuzz_seed seed(char *to, const char *more)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    char *at = to;
    for (int i = 0; i < 256; i++)
        at +=
            sprintf(at, "%c%c== %d\n", digits[i >> 2], digits[(i & 3) << 4], i);
    strcpy(at, more);
    return (tn_fuzz_seed){to, strlen(to)};
}

int main(void)
{
    static char memory[2][8192];
    const tn_fuzz_seed seeds[] = {
        seed(memory[0], "bG8= 256\nZXI= 257\nbG93 258\nIGw= 259\n"),
        seed(memory[1], "YWE= 300\r\nYWFhYQ== 260\n\nYWFh 256"),
        {"IQ== 0\nIg== 1\n", 14},
    };
    return tn_fuzz(seeds, 3, 200000);
}
#endif
