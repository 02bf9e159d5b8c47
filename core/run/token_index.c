/*
 * token_index.c - index.json, written after every shard.
 */
#include "run/token_index.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/file.h"

enum { VERSION = 1 };
static const char format[] = "tenon-tokens";

void tni_token_shard_path(char *to, size_t size, const char *dir, size_t shard,
                          const char *suffix)
{
    snprintf(to, size, "%s/shard-%05zu.%s", dir, shard, suffix);
}

/* ---- writing ---- */

static json_t *shards_to_json(const tni_token_index *x)
{
    json_t *list = json_array();
    for (size_t i = 0; i < x->shard_count; i++) {
        char name[64];
        snprintf(name, sizeof name, "shard-%05zu.bin", i);
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:I}", "file", name, "tokens",
                            (json_int_t)x->shards[i].tokens, "documents",
                            (json_int_t)x->shards[i].documents));
    }
    return list;
}

/* JSON has no way to say a name that is not UTF-8. */
static json_t *sources_to_json(const tni_token_index *x)
{
    json_t *list = json_array();
    for (size_t i = 0; i < x->source_count; i++)
        json_array_append_new(
            list, json_pack("{s:o, s:I, s:I}", "path",
                            json_string_nocheck(x->sources[i].path), "bytes",
                            (json_int_t)x->sources[i].bytes, "modified_ns",
                            (json_int_t)x->sources[i].modified_ns));
    return list;
}

static json_t *to_json(const tni_token_index *x)
{
    json_t *root = json_pack(
        "{s:s, s:i, s:b, s:s, s:i, s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:I}",
        "format", format, "version", VERSION, "complete", x->complete, "dtype",
        x->width == 2 ? "u16" : "u32", "vocab_size", (int)x->vocab_size,
        "tokenizer", x->tokenizer, "identity", x->identity, "begin",
        (json_int_t)x->begin, "field", x->field, "shard_tokens",
        (json_int_t)x->shard_tokens, "tokens", (json_int_t)x->tokens,
        "documents", (json_int_t)x->documents, "text_bytes",
        (json_int_t)x->text_bytes);
    if (!root)
        return NULL;
    json_object_set_new(root, "shards", shards_to_json(x));
    json_object_set_new(root, "sources", sources_to_json(x));
    if (!x->complete)
        json_object_set_new(root, "next",
                            json_pack("{s:I, s:I, s:I}", "source",
                                      (json_int_t)x->next.file, "offset",
                                      (json_int_t)x->next.offset, "line",
                                      (json_int_t)x->next.line));
    return root;
}

tn_status tni_token_index_write(const tni_token_index *index, const char *dir,
                                tn_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/index.json", dir);
    json_t *root = to_json(index);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text)
        return tn_fail(err, TN_ENOMEM, "%s: cannot make it of these names",
                       path);
    const tn_status status = tni_file_replace(path, text, strlen(text), err);
    free(text);
    return status;
}

/* ---- reading ---- */

static uint64_t count_of(const json_t *object, const char *key)
{
    const json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static const char *text_of(tni_arena *arena, const json_t *object,
                           const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return tni_arena_strdup(arena, text ? text : "");
}

static void read_shards(tni_arena *arena, const json_t *list,
                        tni_token_index *x)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *shard = json_array_get(list, i);
        *TNI_PUSH(arena, x->shards, x->shard_count, x->shard_capacity) =
            (tni_token_shard){.tokens = count_of(shard, "tokens"),
                              .documents = count_of(shard, "documents")};
    }
}

static void read_sources(tni_arena *arena, const json_t *list,
                         tni_token_index *x)
{
    x->source_count = json_array_size(list);
    tni_token_source *sources =
        tni_arena_alloc(arena, (x->source_count + 1) * sizeof *sources);
    for (size_t i = 0; i < x->source_count; i++) {
        const json_t *source = json_array_get(list, i);
        sources[i] =
            (tni_token_source){.path = text_of(arena, source, "path"),
                               .bytes = count_of(source, "bytes"),
                               .modified_ns = count_of(source, "modified_ns")};
    }
    x->sources = sources;
}

static void from_json(tni_arena *arena, const json_t *root, tni_token_index *x)
{
    const char *dtype = json_string_value(json_object_get(root, "dtype"));
    const json_t *next = json_object_get(root, "next");
    *x = (tni_token_index){
        .width = dtype && !strcmp(dtype, "u16") ? 2 : 4,
        .vocab_size = (uint32_t)count_of(root, "vocab_size"),
        .tokenizer = text_of(arena, root, "tokenizer"),
        .identity = text_of(arena, root, "identity"),
        .begin = (int64_t)json_integer_value(json_object_get(root, "begin")),
        .field = text_of(arena, root, "field"),
        .shard_tokens = count_of(root, "shard_tokens"),
        .complete = json_is_true(json_object_get(root, "complete")),
        .tokens = count_of(root, "tokens"),
        .documents = count_of(root, "documents"),
        .text_bytes = count_of(root, "text_bytes"),
        .next = {.file = count_of(next, "source"),
                 .offset = count_of(next, "offset"),
                 .line = count_of(next, "line")},
    };
    read_shards(arena, json_object_get(root, "shards"), x);
    read_sources(arena, json_object_get(root, "sources"), x);
}

tn_status tni_token_index_read(tni_arena *arena, const char *dir,
                               tni_token_index *index, tn_error *err)
{
    const char *path = tni_path_join(arena, dir, "index.json");
    json_error_t why;
    if (!tni_path_exists(path))
        return TN_ENOTFOUND;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return tn_fail(err, TN_EFORMAT, "%s:%d: %s", path, why.line, why.text);
    const char *is = json_string_value(json_object_get(root, "format"));
    tn_status status = TN_OK;
    if (!is || strcmp(is, format) || count_of(root, "version") != VERSION)
        status = tn_fail(err, TN_EFORMAT,
                         "%s: not an index of token shards of version %d", path,
                         VERSION);
    else
        from_json(arena, root, index);
    json_decref(root);
    return status;
}

/* ---- comparing ---- */

static tn_status differ(const char *dir, const char *what, tn_error *err)
{
    return tn_fail(err, TN_EREFUSED,
                   "%s holds tokens that were made with %s; give another "
                   "folder, or remove this one",
                   dir, what);
}

/* An index from before times were kept can only be asked for the size. */
static int changed(const tni_token_source *was, const tni_token_source *now)
{
    return was->bytes != now->bytes ||
           (was->modified_ns && was->modified_ns != now->modified_ns);
}

tn_status tni_token_index_same(const tni_token_index *was,
                               const tni_token_index *now, const char *dir,
                               tn_error *err)
{
    if (strcmp(was->identity, now->identity))
        return differ(dir, "another vocabulary", err);
    if (was->width != now->width)
        return differ(dir, "another --dtype", err);
    if (was->begin != now->begin)
        return differ(dir, "another --begin", err);
    if (strcmp(was->field, now->field))
        return differ(dir, "another --field", err);
    if (was->shard_tokens != now->shard_tokens)
        return differ(dir, "another --shard-tokens", err);
    if (was->source_count != now->source_count)
        return differ(dir, "other texts", err);
    for (size_t i = 0; i < now->source_count; i++) {
        const char *path = now->sources[i].path;
        if (strcmp(was->sources[i].path, path))
            return differ(dir, "other texts", err);
        if (changed(&was->sources[i], &now->sources[i]))
            return tn_fail(err, TN_EREFUSED,
                           "%s: %s has changed since these tokens were made; "
                           "give another folder, or remove this one",
                           dir, path);
    }
    return TN_OK;
}
