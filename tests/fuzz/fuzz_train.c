/*
 * fuzz_train.c - any text may be learned from, and both files that training
 * writes are read back as the vocabulary that was learned: every text comes
 * back from its ids, which are the same ids from either file.
 *
 * The first byte chooses the split pattern and the alphabet, the second how
 * many merges are learned; a byte 0 ends a document.
 */
#include "fuzz.h"

#include <unistd.h>

#include "file.h"
#include "model.h"
#include "ranks_file.h"
#include "train.h"

static const char *const patterns[] = {
    "gpt2",  "cl100k",   "o200k",      "llama3",
    "qwen2", "nanochat", "[a-z]+|\\s", ".|\\n",
};

static void must(int true_)
{
    if (!true_)
        abort();
}

/* ---- learning ---- */

typedef struct text {
    const char *at;
    size_t bytes;
} text;

static tn_status next_document(void *from, const char **document,
                               uint64_t *bytes, tn_error *err)
{
    text *t = from;
    (void)err;
    for (*bytes = 0; !*bytes && t->bytes;) {
        const char *stop = memchr(t->at, 0, t->bytes);
        *document = t->at;
        *bytes = stop ? (size_t)(stop - t->at) : t->bytes;
        const size_t past = (size_t)*bytes + (stop != NULL);
        t->at += past;
        t->bytes -= past;
    }
    return TN_OK;
}

/* ---- reading back ---- */

static void open_file(tni_model *model, const char *name, const char *pattern)
{
    char path[600], *file;
    size_t size;
    tn_error err = {0};
    snprintf(path, sizeof path, "%s/%s", tn_fuzz_folder(), name);
    must(tni_bpe_read(path, &file, &size, &err) == TN_OK);
    tni_model_init(model, "fuzz");
    tni_vocabulary *v = &model->vocabulary;
    if (strstr(name, ".json")) {
        must(tni_tokenizer_json_read(model, NULL, file, size, &err) == TN_OK);
    } else {
        must(tni_ranks_read(v, file, size, &err) == TN_OK);
        must(tni_vocabulary_index(v, &err) == TN_OK);
        must(tni_vocabulary_merge_by_bytes(v, &err) == TN_OK);
        must(tni_model_add_stage(model, pattern, &err) == TN_OK);
    }
    tni_model_ready(model);
    free(file);
    unlink(path);
}

/* Ids, at most one for each byte. */
typedef struct ids {
    int32_t *at;
    size_t count;
} ids;

static tn_status take(void *to, const int32_t *at, uint64_t count,
                      tn_error *err)
{
    ids *list = to;
    (void)err;
    memcpy(list->at + list->count, at, count * sizeof *at);
    list->count += count;
    return TN_OK;
}

static ids encode(tni_model *model, const text *t)
{
    ids list = {.at = malloc((t->bytes + 1) * sizeof *list.at)};
    must(list.at != NULL);
    must(tni_model_encode(model, t->at, t->bytes, 0, take, &list, NULL) ==
         TN_OK);
    size_t at = 0;
    for (size_t i = 0; i < list.count; i++) {
        uint32_t n;
        const char *bytes =
            tni_vocabulary_bytes(&model->vocabulary, list.at[i], &n);
        must(n && n <= t->bytes - at && !memcmp(t->at + at, bytes, n));
        at += n;
    }
    must(at == t->bytes);
    return list;
}

static void check(const text *t, const char *pattern)
{
    tni_model ranks, json;
    open_file(&ranks, "tokenizer.tiktoken", pattern);
    open_file(&json, "tokenizer.json", pattern);
    ids a = encode(&ranks, t), b = encode(&json, t);
    must(a.count == b.count && !memcmp(a.at, b.at, a.count * sizeof *a.at));
    free(a.at);
    free(b.at);
    tni_model_fini(&ranks);
    tni_model_fini(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const char *const end[] = {"<|end|>"};
    const tn_strings special = {.at = end, .count = 1};
    tn_error err = {0};
    if (count < 2)
        return 0;
    const tni_training_options options = {.folder = tn_fuzz_folder(),
                                          .pattern = patterns[bytes[0] & 7],
                                          .special = &special,
                                          .alphabet = bytes[0] >> 3 & 1};
    const text whole = {(const char *)bytes + 2, count - 2};
    text rest = whole;
    const tn_tokenizer_training how = {.struct_size = sizeof how,
                                       .vocab_size = 257 + bytes[1],
                                       .from = &rest,
                                       .next = next_document};
    const tn_status status = tni_bpe_train(NULL, &options, &how, &err);
    must(status == err.status && (status == TN_OK || err.message[0]));
    if (status == TN_OK)
        check(&whole, options.pattern);
    return 0;
}

#ifndef TENON_LIBFUZZER
int main(void)
{
    static const tn_fuzz_seed seeds[] = {
        TN_FUZZ_SEED("\x05 low lower lowest slow slower\0It's 2024, we'LL see\n"
                     "\n  \xc3\xa9t\xc3\xa9\xff\xf0\x9f\x98\x80!!"),
        TN_FUZZ_SEED("\x08\xff"
                     "aaaaaaaaaaaaaaaaaaaaaa aaaa bbbb abab"),
        TN_FUZZ_SEED("\x02\x40"
                     "CamelCase HTMLParser's 12345 //\n\r\n/x"),
        TN_FUZZ_SEED("\x08\x08"), /* no text */
        TN_FUZZ_SEED("\x0e\x10"
                     "words, and more words"),
    };
    const int failed = tn_fuzz("train", seeds, 5, 200);
    rmdir(tn_fuzz_folder());
    return failed;
}
#endif
