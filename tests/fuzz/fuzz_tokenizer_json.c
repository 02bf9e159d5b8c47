/*
 * fuzz_tokenizer_json.c - Hugging Face's tokenizer.json under attack: refused
 * with a sentence, or a tokenizer that gives texts back.
 *
 * A byte 1, which is no JSON, stands for the entries of all 256 bytes in the
 * vocabulary: inputs are short, and their mutants are about the rest.
 */
#include "fuzz.h"

#include "byte_level.h"
#include "model.h"

static void must(int true_)
{
    if (!true_)
        abort();
}

static const char text[] = "lower low <s> 12 don't\n\xff\xc3\xa9\xf0\x9f";

typedef struct reading {
    const tni_vocabulary *v;
    size_t at;
} reading;

static tn_status take(void *to, const int32_t *ids, uint64_t count,
                      tn_error *err)
{
    reading *r = to;
    (void)err;
    for (uint64_t i = 0; i < count; i++) {
        must(ids[i] >= 0 && (size_t)ids[i] < r->v->size);
        uint32_t n;
        const char *bytes = tni_vocabulary_bytes(r->v, ids[i], &n);
        for (size_t j = 0; !n && j < r->v->special_count; j++)
            if (r->v->special[j].id == ids[i]) {
                bytes = r->v->special[j].text;
                n = r->v->special[j].count;
            }
        must(n && n <= sizeof text - 1 - r->at &&
             !memcmp(text + r->at, bytes, n));
        r->at += n;
    }
    return TN_OK;
}

/* "!":0,"\"":1, and so on, of the 256 bytes. */
static size_t all_bytes(char *to)
{
    tni_byte_level alphabet;
    char *at = to;
    tni_byte_level_init(&alphabet);
    for (int b = 0; b < 256; b++) {
        const unsigned c = alphabet.character[b];
        *at++ = '"';
        if (c == '"' || c == '\\')
            *at++ = '\\';
        if (c >= 0x80)
            *at++ = (char)(0xc0 | c >> 6);
        *at++ = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
        at += sprintf(at, "\":%d,", b);
    }
    return (size_t)(at - to);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    tni_model model;
    tn_error err = {0};
    char all[256 * 10];
    size_t size;
    char *file = tn_fuzz_expand(bytes, count, all, all_bytes(all), &size);
    tni_model_init(&model, "fuzz");
    const tn_status status =
        tni_tokenizer_json_read(&model, NULL, file, size, &err);
    free(file);
    must(status == err.status && (status == TN_OK || err.message[0]));
    if (status == TN_OK) {
        reading r = {.v = &model.vocabulary};
        tni_model_ready(&model);
        if (tni_model_encode(&model, text, sizeof text - 1, 1, take, &r,
                             &err) == TN_OK)
            must(r.at == sizeof text - 1);
    }
    tni_model_fini(&model);
    return 0;
}

#ifndef TENON_LIBFUZZER
/* A whole file with these parts. */
#define FILE_WITH(before, after)                                               \
    TN_FUZZ_SEED(                                                              \
        "{" before "\"model\":{\"vocab\":{\1\"lo\":256,\"low\":257,"           \
        "\"er\":258},\"merges\":[\"l o\",[\"lo\",\"w\"],\"e r\"]" after "}}")

int main(void)
{
    static const tn_fuzz_seed seeds[] = {
        FILE_WITH(
            "\"added_tokens\":[{\"id\":259,\"content\":\"<s>\",\"special\":"
            "true},{\"id\":260,\"content\":\"12\",\"special\":false}],\"pre_"
            "tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
            "\"use_regex\":true},\"decoder\":{\"type\":\"ByteLevel\"},",
            ",\"type\":\"BPE\",\"dropout\":null"),
        FILE_WITH(
            "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{"
            "\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{L}+| ?[^\\\\s"
            "\\\\p{L}]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\"},{"
            "\"type\":\"Digits\",\"individual_digits\":true},{\"type\":"
            "\"Split\",\"pattern\":{\"String\":\"<\"},\"behavior\":"
            "\"Isolated\"},{\"type\":\"ByteLevel\",\"use_regex\":false}]},",
            ",\"ignore_merges\":true"),
        FILE_WITH("\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
                  "\"ByteLevel\"},\"truncation\":{},",
                  ",\"unk_token\":null"),
    };
    return tn_fuzz("tokenizer_json", seeds, 3, 15000);
}
#endif
