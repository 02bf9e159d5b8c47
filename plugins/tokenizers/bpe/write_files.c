/*
 * write_files.c - a trained vocabulary as a rank file and as Hugging Face's
 * tokenizer.json.
 *
 * The rank file is for programs that know tiktoken's; only the other one says
 * how text is split and which special tokens there are.
 */
#include "write_files.h"

#include <errno.h>
#include <jansson.h>
#include <sys/stat.h>

#include "byte_level.h"
#include "file.h"

/* ---- a rank file ---- */

/* 0 past the end of memory. */
static int append(char **text, size_t *count, size_t *capacity,
                  const char *more, size_t bytes)
{
    if (!tni_grow(text, capacity, *count + bytes, 1))
        return 0;
    memcpy(*text + *count, more, bytes);
    *count += bytes;
    return 1;
}

/* RFC 4648; returns the digits written. */
static size_t encode_base64(const char *from, size_t bytes, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t used = 0;
    for (size_t i = 0; i < bytes; i += 3) {
        uint32_t bits = 0;
        const size_t n = bytes - i < 3 ? bytes - i : 3;
        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (j < n ? (unsigned char)from[i + j] : 0);
        for (size_t j = 0; j < 4; j++)
            to[used++] = j <= n ? digits[bits >> (18 - 6 * j) & 63] : '=';
    }
    return used;
}

static tn_status write_ranks(const tni_trained *t, const char *path,
                             tn_error *err)
{
    const tni_vocabulary *v = t->vocabulary;
    char *text = NULL, line[TNI_MAX_TOKEN_BYTES / 3 * 4 + 32];
    size_t count = 0, capacity = 0;
    int whole = 1;
    for (size_t id = 0; whole && id < 256 + t->rule_count; id++) {
        uint32_t bytes;
        const char *token = tni_vocabulary_bytes(v, (int32_t)id, &bytes);
        const size_t n = encode_base64(token, bytes, line);
        const int m = snprintf(line + n, sizeof line - n, " %zu\n", id);
        whole = append(&text, &count, &capacity, line, n + (size_t)m);
    }
    const tn_status status = whole ? tni_bpe_write(path, text, count, err)
                                   : tni_no_memory(path, err);
    free(text);
    return status;
}

/* ---- tokenizer.json ---- */

/* A token in the byte-level alphabet, UTF-8. */
static void to_alphabet(const tni_byte_level *alphabet, const tni_vocabulary *v,
                        int32_t id, char *to)
{
    uint32_t bytes;
    const char *token = tni_vocabulary_bytes(v, id, &bytes);
    for (uint32_t i = 0; i < bytes; i++) {
        const unsigned c = alphabet->character[(unsigned char)token[i]];
        if (c >= 0x80)
            *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    }
    *to = '\0';
}

static json_t *model_json(const tni_trained *t)
{
    tni_byte_level alphabet;
    char text[2][2 * TNI_MAX_TOKEN_BYTES + 1];
    json_t *vocab = json_object(), *merges = json_array();
    tni_byte_level_init(&alphabet);
    for (size_t id = 0; id < 256 + t->rule_count; id++) {
        to_alphabet(&alphabet, t->vocabulary, (int32_t)id, text[0]);
        json_object_set_new(vocab, text[0], json_integer((json_int_t)id));
    }
    for (size_t i = 0; i < t->rule_count; i++) {
        to_alphabet(&alphabet, t->vocabulary, t->rule[i].left, text[0]);
        to_alphabet(&alphabet, t->vocabulary, t->rule[i].right, text[1]);
        json_array_append_new(merges, json_sprintf("%s %s", text[0], text[1]));
    }
    return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}",
                     "type", "BPE", "dropout", "unk_token",
                     "continuing_subword_prefix", "end_of_word_suffix",
                     "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 0,
                     "vocab", vocab, "merges", merges);
}

/* By rising id, where the vocabulary keeps them by length. */
static json_t *added_json(const tni_vocabulary *v)
{
    json_t *added = json_array();
    for (size_t id = 0; id < v->size; id++)
        for (size_t i = 0; !v->token[id].count && i < v->special_count; i++)
            if ((size_t)v->special[i].id == id)
                json_array_append_new(
                    added,
                    json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id",
                              (int)id, "content", v->special[i].text,
                              "single_word", 0, "lstrip", 0, "rstrip", 0,
                              "normalized", 0, "special", 1));
    return added;
}

static json_t *byte_level_json(void)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel",
                     "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 0);
}

static json_t *pre_tokenizer_json(const char *expression)
{
    json_t *split =
        json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern",
                  "Regex", expression, "behavior", "Isolated", "invert", 0);
    return json_pack("{s:s, s:[o, o]}", "type", "Sequence", "pretokenizers",
                     split, byte_level_json());
}

static tn_status write_json(const tni_trained *t, const char *path,
                            tn_error *err)
{
    json_t *root = json_pack(
        "{s:s, s:n, s:n, s:o, s:n, s:o, s:n, s:o, s:o}", "version", "1.0",
        "truncation", "padding", "added_tokens", added_json(t->vocabulary),
        "normalizer", "pre_tokenizer", pre_tokenizer_json(t->expression),
        "post_processor", "decoder", byte_level_json(), "model", model_json(t));
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    const tn_status status = text ? tni_bpe_write(path, text, strlen(text), err)
                                  : tni_no_memory(path, err);
    free(text);
    return status;
}

/* ---- both ---- */

static tn_status make_folder(const char *folder, tn_error *err)
{
    struct stat st;
    if (mkdir(folder, 0777) == 0)
        return TN_OK;
    if (errno == EEXIST && stat(folder, &st) == 0 && S_ISDIR(st.st_mode))
        return TN_OK;
    return tn_fail(err, TN_EIO, "%s: cannot make the folder: %s", folder,
                   strerror(errno));
}

typedef tn_status (*writer)(const tni_trained *t, const char *path,
                            tn_error *err);

static tn_status write_into(const tni_trained *t, const char *folder,
                            const char *name, writer write, tn_error *err)
{
    char *path = tni_bpe_join(folder, name);
    const tn_status status =
        path ? write(t, path, err) : tni_no_memory(folder, err);
    free(path);
    return status;
}

tn_status tni_trained_write(const tni_trained *t, const char *folder,
                            tn_error *err)
{
    TN_TRY(make_folder(folder, err));
    TN_TRY(write_into(t, folder, "tokenizer.tiktoken", write_ranks, err));
    return write_into(t, folder, "tokenizer.json", write_json, err);
}
