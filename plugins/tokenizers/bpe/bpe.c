/*
 * bpe.c - byte-level byte pair encoding: GPT-2's, GPT-4's, Llama 3's and those
 * trained here.
 *
 *     path: file.tiktoken      ranks; OpenAI's are known by their contents
 *     path: tokenizer.json     Hugging Face's, where it is a byte-level BPE
 *     path: folder             tokenizer.json in it, else tokenizer.tiktoken
 *
 * Ids are tiktoken's to the last one. Text of special tokens becomes their id
 * only where the caller allows it.
 */
#include <sys/stat.h>

#include "file.h"
#include "model.h"
#include "ranks_file.h"
#include "train.h"

typedef struct bpe_options {
    const char *path;
    const char *pattern;
    tn_strings special_tokens;
    int32_t invalid;
    int32_t alphabet;
} bpe_options;

static const tn_option options[] = {
    TN_OPTION_PATH_REQUIRED(bpe_options, path,
                            "a .tiktoken file, a tokenizer.json, or a folder "
                            "with one"),
    TN_OPTION_STRING(bpe_options, pattern, "auto",
                     "how text is split: gpt2, cl100k, o200k, llama3, qwen2, "
                     "nanochat, or a regular expression; auto: as the file "
                     "says, or as OpenAI's file of these contents is known to "
                     "(training: nanochat)"),
    TN_OPTION_STRINGS(bpe_options, special_tokens,
                      "special tokens beside those of the file, with the ids "
                      "after its last"),
    TN_OPTION_ENUM(bpe_options, invalid, "bytes|replace|refuse",
                   TNI_INVALID_BYTES,
                   "text that is not UTF-8: its bytes as they are, U+FFFD, or "
                   "an error"),
    TN_OPTION_ENUM(bpe_options, alphabet, "bytes|gpt2", TNI_ALPHABET_BYTES,
                   "for training: ids 0 to 255 by the byte's value, or in the "
                   "order of GPT-2's alphabet as Hugging Face's trainer has "
                   "them"),
};

/* ---- opening ---- */

static tn_status add_known(tni_model *model, const char **pattern,
                           tn_error *err)
{
    tni_vocabulary *v = &model->vocabulary;
    const tni_known_ranks *known = tni_known_ranks_of(v);
    const int undecided = strcmp(*pattern, "auto") == 0;
    if (!known)
        return undecided
                   ? tn_fail(err, TN_EINVALID,
                             "%s: %zu tokens, none of OpenAI's vocabularies; "
                             "pattern: must say how text is split (gpt2, "
                             "cl100k, o200k, llama3, qwen2, nanochat, or an "
                             "expression)",
                             v->path, v->size)
                   : TN_OK;
    if (undecided)
        *pattern = known->pattern;
    for (const tni_known_special *s = known->special; s->text; s++)
        TN_TRY(tni_vocabulary_add_special(v, s->id, s->text, strlen(s->text), 0,
                                          err));
    return TN_OK;
}

static tn_status read_ranks(tni_model *model, const char *pattern,
                            const char *text, size_t bytes, tn_error *err)
{
    tni_vocabulary *v = &model->vocabulary;
    TN_TRY(tni_ranks_read(v, text, bytes, err));
    TN_TRY(tni_vocabulary_index(v, err));
    TN_TRY(tni_vocabulary_merge_by_bytes(v, err));
    TN_TRY(add_known(model, &pattern, err));
    return tni_model_add_stage(model, pattern, err);
}

static tn_status read_json(tni_model *model, const tn_host *host,
                           const char *pattern, const char *text, size_t bytes,
                           tn_error *err)
{
    TN_TRY(tni_tokenizer_json_read(model, host, text, bytes, err));
    if (!strcmp(pattern, "auto"))
        return TN_OK;
    while (model->stage_count)
        tni_splitter_close(&model->stage[--model->stage_count]);
    return tni_model_add_stage(model, pattern, err);
}

static int32_t find_special(const tni_vocabulary *v, const char *text)
{
    for (size_t i = 0; i < v->special_count; i++)
        if (!strcmp(v->special[i].text, text))
            return v->special[i].id;
    return TNI_NO_TOKEN;
}

static tn_status add_special(tni_vocabulary *v, const tn_strings *texts,
                             tn_error *err)
{
    for (uint32_t i = 0; i < texts->count; i++)
        if (find_special(v, texts->at[i]) == TNI_NO_TOKEN)
            TN_TRY(tni_vocabulary_add_special(v, (int64_t)v->size, texts->at[i],
                                              strlen(texts->at[i]), 0, err));
    return TN_OK;
}

/* What some editors write before UTF-8: no part of either format. */
static size_t byte_order_mark(const char *text)
{
    return strncmp(text, "\xef\xbb\xbf", 3) ? 0 : 3;
}

/* JSON begins with a brace; base64 has none. */
static int looks_like_json(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '{';
}

static tn_status read_file(tni_model *model, const tn_host *host,
                           const bpe_options *o, tn_error *err)
{
    char *text;
    size_t bytes;
    TN_TRY(tni_bpe_read(model->vocabulary.path, &text, &bytes, err));
    const size_t mark = byte_order_mark(text);
    const char *at = text + mark;
    tn_status status =
        looks_like_json(at)
            ? read_json(model, host, o->pattern, at, bytes - mark, err)
            : read_ranks(model, o->pattern, at, bytes - mark, err);
    free(text);
    if (status == TN_OK)
        status = add_special(&model->vocabulary, &o->special_tokens, err);
    return status;
}

/* A copy of `path`, or of the file in it where it is a folder. */
static char *find_file(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return strdup(path);
    char *json = tni_bpe_join(path, "tokenizer.json");
    if (!json || stat(json, &st) == 0)
        return json;
    free(json);
    return tni_bpe_join(path, "tokenizer.tiktoken");
}

static void bpe_close(void *self)
{
    tni_model *model = self;
    char *path = (char *)(uintptr_t)model->vocabulary.path;
    tni_model_fini(model);
    free(path);
    free(model);
}

static tn_status bpe_open(const tn_host *host, const void *options_,
                          void **self, tn_error *err)
{
    const bpe_options *o = options_;
    tni_model *model = malloc(sizeof *model);
    char *path = find_file(o->path);
    if (!model || !path) {
        free(model);
        free(path);
        return tni_no_memory(o->path, err);
    }
    tni_model_init(model, path);
    model->invalid = o->invalid;
    const tn_status status = read_file(model, host, o, err);
    if (status != TN_OK) {
        bpe_close(model);
        return status;
    }
    tni_model_ready(model);
    *self = model;
    return TN_OK;
}

/* ---- an opened tokenizer ---- */

static uint32_t bpe_vocab_size(const void *self)
{
    const tni_model *model = self;
    return (uint32_t)model->vocabulary.size;
}

static tn_status bpe_encode(const void *self, const char *text, uint64_t bytes,
                            uint32_t allow_special, tn_token_sink sink,
                            void *to, tn_error *err)
{
    /* Not const inside: memory for encoding waits there, under a lock. */
    tni_model *model = (tni_model *)(uintptr_t)self;
    return tni_model_encode(model, text, bytes, allow_special, sink, to, err);
}

static tn_status bpe_bytes_of(const void *self, int32_t id, const char **bytes,
                              uint32_t *count, tn_error *err)
{
    const tni_vocabulary *v = &((const tni_model *)self)->vocabulary;
    if (id < 0 || (size_t)id >= v->size)
        return tn_fail(err, TN_EINVALID,
                       "token %d is outside the vocabulary of %s, 0 to %zu", id,
                       v->path, v->size - 1);
    *bytes = tni_vocabulary_bytes(v, id, count);
    for (size_t i = 0; *count == 0 && i < v->special_count; i++)
        if (v->special[i].id == id && v->special[i].always) {
            *bytes = v->special[i].text;
            *count = v->special[i].count;
        }
    return TN_OK;
}

static int32_t bpe_special(const void *self, const char *text)
{
    return find_special(&((const tni_model *)self)->vocabulary, text);
}

static tn_status bpe_special_at(const void *self, uint32_t index,
                                const char **text, int32_t *id)
{
    const tni_vocabulary *v = &((const tni_model *)self)->vocabulary;
    if (index >= v->special_count)
        return TN_EEND;
    *text = v->special[index].text;
    *id = v->special[index].id;
    return TN_OK;
}

/* ---- training ---- */

static tn_status bpe_train(const tn_host *host, const void *options_,
                           const tn_tokenizer_training *how, tn_error *err)
{
    const bpe_options *o = options_;
    const int undecided = !strcmp(o->pattern, "auto");
    const tni_training_options training = {
        .folder = o->path,
        .pattern = undecided ? "nanochat" : o->pattern,
        .special = &o->special_tokens,
        .alphabet = o->alphabet,
    };
    return tni_bpe_train(host, &training, how, err);
}

TN_TOKENIZER(bpe) = {
    .summary = "byte pair encoding over bytes: tiktoken's and Hugging Face's",
    .options = TN_OPTIONS(bpe_options, options),
    .open = bpe_open,
    .close = bpe_close,
    .vocab_size = bpe_vocab_size,
    .encode = bpe_encode,
    .bytes_of = bpe_bytes_of,
    .special = bpe_special,
    .special_at = bpe_special_at,
    .train = bpe_train,
};
