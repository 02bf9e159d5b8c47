/*
 * tokenizer_json.c - reads Hugging Face's tokenizer.json where it is a
 * byte-level BPE.
 *
 * Its parts, in the order in which text goes through them: normalizer,
 * pre_tokenizer, model, post_processor, decoder. What would change the ids of a
 * text and is not supported is refused by name. The post_processor is left
 * out: it adds special tokens around the text, which is the caller's affair.
 * Truncation and padding are left out for the same reason.
 */
#include <jansson.h>

#include "byte_level.h"
#include "model.h"

typedef struct reading {
    tni_model *model;
    tni_vocabulary *v;
    const char *path;
    tni_byte_level alphabet;
    json_t *added; /* the texts of added tokens, as keys */
    tn_error *err;
} reading;

TN_PRINTF(2, 3)
static tn_status refuse(const reading *r, const char *format, ...)
{
    char reason[700];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return tn_fail(r->err, TN_EUNSUPPORTED, "%s: %s", r->path, reason);
}

/* The `type` of a part; "" where it has none. */
static const char *type_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : "";
}

static int is_set(const json_t *part, const char *key)
{
    return json_is_true(json_object_get(part, key));
}

/* ---- tokens ---- */

/* Characters of the byte alphabet back to bytes; 0 where one is none. */
static int to_bytes(const reading *r, const char *text, size_t count, char *to,
                    size_t *bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const unsigned lead = (unsigned char)text[i];
        unsigned character = lead;
        if (lead >= 0xc2 && lead < 0xc8 && i + 1 < count)
            character = (lead & 0x1f) << 6 | ((unsigned char)text[++i] & 0x3fu);
        else if (lead >= 0x80)
            return 0;
        if (r->alphabet.byte[character] < 0)
            return 0;
        to[used++] = (char)r->alphabet.byte[character];
    }
    *bytes = used;
    return 1;
}

static tn_status read_token(const reading *r, const char *text, json_t *id)
{
    char bytes[2 * TNI_MAX_TOKEN_BYTES];
    size_t count = strlen(text);
    if (json_object_get(r->added, text))
        return TN_OK;
    if (!json_is_integer(id))
        return tn_fail(r->err, TN_EFORMAT,
                       "%s: model.vocab: the id of \"%.80s\" is not a whole "
                       "number",
                       r->path, text);
    if (count > sizeof bytes || !to_bytes(r, text, count, bytes, &count))
        return refuse(r,
                      "model.vocab: \"%.80s\" is not written in the byte-level "
                      "alphabet; only byte-level BPE is supported",
                      text);
    return tni_vocabulary_add(r->v, json_integer_value(id), bytes, count,
                              r->err);
}

static tn_status read_vocab(const reading *r, json_t *model)
{
    const char *text;
    json_t *id, *vocab = json_object_get(model, "vocab");
    if (!json_is_object(vocab))
        return tn_fail(r->err, TN_EFORMAT,
                       "%s: model.vocab is missing: a map of tokens to ids",
                       r->path);
    json_object_foreach(vocab, text, id) TN_TRY(read_token(r, text, id));
    return TN_OK;
}

static tn_status read_added_token(const reading *r, json_t *entry)
{
    static const char *const unsupported[] = {"single_word", "lstrip",
                                              "rstrip"};
    json_t *content = json_object_get(entry, "content");
    json_t *id = json_object_get(entry, "id");
    if (!json_is_string(content) || !json_is_integer(id))
        return tn_fail(r->err, TN_EFORMAT,
                       "%s: added_tokens: an entry needs id and content",
                       r->path);
    const char *text = json_string_value(content);
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (is_set(entry, unsupported[i]))
            return refuse(r, "added token %.80s: %s is not supported", text,
                          unsupported[i]);
    json_object_set_new(r->added, text, json_true());
    return tni_vocabulary_add_special(r->v, json_integer_value(id), text,
                                      json_string_length(content),
                                      !is_set(entry, "special"), r->err);
}

static tn_status read_added(const reading *r, const json_t *root)
{
    size_t i;
    json_t *entry, *added = json_object_get(root, "added_tokens");
    if (added && !json_is_array(added) && !json_is_null(added))
        return tn_fail(r->err, TN_EFORMAT, "%s: added_tokens is not a list",
                       r->path);
    json_array_foreach(added, i, entry) TN_TRY(read_added_token(r, entry));
    return TN_OK;
}

/* ---- merges ---- */

/* "a b", or ["a", "b"]. */
static int take_sides(const json_t *merge, const char *side[2], size_t size[2])
{
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        for (size_t i = 0; i < 2; i++) {
            const json_t *text = json_array_get(merge, i);
            side[i] = json_string_value(text);
            size[i] = json_string_length(text);
        }
        return side[0] && side[1];
    }
    const char *text = json_string_value(merge);
    const char *space = text ? strchr(text, ' ') : NULL;
    if (!space)
        return 0;
    side[0] = text;
    size[0] = (size_t)(space - text);
    side[1] = space + 1;
    size[1] = strlen(side[1]);
    return 1;
}

static tn_status read_merge(const reading *r, const json_t *merge, size_t rank)
{
    const char *side[2];
    size_t size[2], count;
    int32_t id[2];
    char bytes[2 * TNI_MAX_TOKEN_BYTES];
    if (!take_sides(merge, side, size))
        return tn_fail(r->err, TN_EFORMAT,
                       "%s: model.merges[%zu]: two tokens with a space between "
                       "them are expected",
                       r->path, rank);
    for (size_t i = 0; i < 2; i++) {
        id[i] = TNI_NO_TOKEN;
        if (size[i] <= sizeof bytes &&
            to_bytes(r, side[i], size[i], bytes, &count))
            id[i] = tni_vocabulary_find(r->v, bytes, count);
        if (id[i] == TNI_NO_TOKEN)
            return tn_fail(r->err, TN_EFORMAT,
                           "%s: model.merges[%zu]: \"%.*s\" is no token of the "
                           "vocabulary",
                           r->path, rank, size[i] < 80 ? (int)size[i] : 80,
                           side[i]);
    }
    return tni_vocabulary_add_merge(r->v, id[0], id[1], (uint32_t)rank, r->err);
}

static tn_status read_merges(const reading *r, const json_t *model)
{
    size_t rank;
    json_t *merge, *merges = json_object_get(model, "merges");
    if (!json_is_array(merges))
        return tn_fail(r->err, TN_EFORMAT,
                       "%s: model.merges is missing: the list of merges",
                       r->path);
    TN_TRY(tni_vocabulary_expect_merges(r->v, json_array_size(merges), r->err));
    json_array_foreach(merges, rank, merge) TN_TRY(read_merge(r, merge, rank));
    return TN_OK;
}

/* ---- the model ---- */

static tn_status check_model(const reading *r, const json_t *model)
{
    static const char *const texts[] = {"continuing_subword_prefix",
                                        "end_of_word_suffix"};
    const json_t *dropout = json_object_get(model, "dropout");
    if (!json_is_object(model))
        return tn_fail(r->err, TN_EFORMAT,
                       "%s: there is no model in it; is it a tokenizer.json?",
                       r->path);
    if (*type_of(model) && strcmp(type_of(model), "BPE") != 0)
        return refuse(r, "model: %s is not supported, only BPE",
                      type_of(model));
    if (json_is_number(dropout) && json_number_value(dropout) != 0)
        return refuse(r, "model.dropout: %g is not supported",
                      json_number_value(dropout));
    if (is_set(model, "byte_fallback"))
        return refuse(r, "model.byte_fallback is not supported, only "
                         "byte-level BPE");
    for (size_t i = 0; i < 2; i++) {
        const char *text = json_string_value(json_object_get(model, texts[i]));
        if (text && *text)
            return refuse(r, "model.%s: \"%.80s\" is not supported", texts[i],
                          text);
    }
    return TN_OK;
}

static tn_status read_model(const reading *r, const json_t *root)
{
    json_t *model = json_object_get(root, "model");
    TN_TRY(check_model(r, model));
    TN_TRY(read_added(r, root));
    TN_TRY(read_vocab(r, model));
    TN_TRY(tni_vocabulary_index(r->v, r->err));
    r->v->whole_first = is_set(model, "ignore_merges");
    return read_merges(r, model);
}

/* ---- how text is split ---- */

/* A text as the expression that matches it and nothing else. */
static tn_status add_literal(const reading *r, const char *text)
{
    char expression[512];
    size_t used = 0;
    for (; *text; text++) {
        if (used + 3 > sizeof expression)
            return refuse(r, "pre_tokenizer: a Split at a text of more than "
                             "250 bytes");
        if (strchr("\\^$.[]|()?*+{}", *text))
            expression[used++] = '\\';
        expression[used++] = *text;
    }
    expression[used] = '\0';
    return tni_model_add_stage(r->model, expression, r->err);
}

static tn_status read_split(const reading *r, const json_t *part)
{
    const json_t *pattern = json_object_get(part, "pattern");
    const char *behavior = json_string_value(json_object_get(part, "behavior"));
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *text = json_string_value(json_object_get(pattern, "String"));
    if (!behavior || (strcmp(behavior, "Isolated") != 0))
        return refuse(r,
                      "pre_tokenizer: Split with behavior %s is not "
                      "supported, only Isolated",
                      behavior ? behavior : "(none)");
    if (is_set(part, "invert"))
        return refuse(r, "pre_tokenizer: Split with invert is not supported");
    if (!regex && !text)
        return tn_fail(r->err, TN_EFORMAT,
                       "%s: pre_tokenizer: Split needs a pattern, Regex or "
                       "String",
                       r->path);
    tn_error why = {0};
    const tn_status status = regex ? tni_model_add_stage(r->model, regex, &why)
                                   : add_literal(r, text);
    if (status != TN_OK && why.status)
        return tn_fail(r->err, status, "%s: pre_tokenizer: %s", r->path,
                       why.message);
    return status;
}

static tn_status read_byte_level(const reading *r, const json_t *part)
{
    const json_t *use_regex = json_object_get(part, "use_regex");
    if (is_set(part, "add_prefix_space"))
        return refuse(r, "pre_tokenizer: ByteLevel with add_prefix_space is "
                         "not supported");
    if (json_is_false(use_regex))
        return TN_OK;
    return tni_model_add_stage(r->model, "gpt2", r->err);
}

static tn_status read_pre_tokenizer(const reading *r, const json_t *part,
                                    int *byte_level)
{
    size_t i;
    json_t *each;
    const char *type = type_of(part);
    if (!strcmp(type, "ByteLevel")) {
        *byte_level = 1;
        return read_byte_level(r, part);
    }
    if (!strcmp(type, "Split"))
        return read_split(r, part);
    if (!strcmp(type, "Digits"))
        return tni_model_add_stage(
            r->model, is_set(part, "individual_digits") ? "\\p{N}" : "\\p{N}+",
            r->err);
    if (strcmp(type, "Sequence") != 0)
        return refuse(r, "pre_tokenizer: %s is not supported",
                      *type ? type : "null");
    json_array_foreach(json_object_get(part, "pretokenizers"), i, each)
        TN_TRY(read_pre_tokenizer(r, each, byte_level));
    return TN_OK;
}

static tn_status read_splits(const reading *r, const json_t *root)
{
    int byte_level = 0;
    const json_t *decoder = json_object_get(root, "decoder");
    TN_TRY(read_pre_tokenizer(r, json_object_get(root, "pre_tokenizer"),
                              &byte_level));
    if (!byte_level)
        return refuse(r, "pre_tokenizer: there is no ByteLevel in it; only "
                         "byte-level BPE is supported");
    if (json_is_object(decoder) && strcmp(type_of(decoder), "ByteLevel") != 0)
        return refuse(r, "decoder: %s is not supported, only ByteLevel",
                      type_of(decoder));
    return TN_OK;
}

/* Text is taken as it is; DeepSeek's files say so by an empty sequence. */
static tn_status check_normalizer(const reading *r, const json_t *part)
{
    size_t i;
    json_t *each, *parts = json_object_get(part, "normalizers");
    if (!json_is_object(part))
        return TN_OK;
    if (strcmp(type_of(part), "Sequence") != 0)
        return refuse(r, "normalizer: %s is not supported", type_of(part));
    json_array_foreach(parts, i, each) TN_TRY(check_normalizer(r, each));
    return TN_OK;
}

static tn_status read_root(const reading *r, const tn_host *host,
                           const json_t *root)
{
    const json_t *truncation = json_object_get(root, "truncation");
    TN_TRY(check_normalizer(r, json_object_get(root, "normalizer")));
    TN_TRY(read_model(r, root));
    TN_TRY(read_splits(r, root));
    if (json_is_object(truncation) && host)
        host->log(host, TN_LOG_WARNING,
                  "%s: its truncation is left out; texts are encoded whole",
                  r->path);
    return TN_OK;
}

tn_status tni_tokenizer_json_read(tni_model *model, const tn_host *host,
                                  const char *text, size_t bytes, tn_error *err)
{
    json_error_t where;
    const char *path = model->vocabulary.path;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return tn_fail(err, TN_EFORMAT, "%s:%d:%d: not JSON: %s", path,
                       where.line, where.column, where.text);
    reading r = {.model = model,
                 .v = &model->vocabulary,
                 .path = path,
                 .added = json_object(),
                 .err = err};
    tni_byte_level_init(&r.alphabet);
    const tn_status status =
        r.added ? read_root(&r, host, root) : tni_no_memory(path, err);
    json_decref(r.added);
    json_decref(root);
    return status;
}
