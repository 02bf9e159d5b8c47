/*
 * trainer_state.c - trainer.json: where the run stood, and what took part.
 *
 * Cursor words are written in hexadecimal: JSON has no unsigned 64-bit numbers.
 */
#include <errno.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/file.h"
#include "run/checkpoint.h"

enum { FORMAT = 1 };

static json_t *words_to_json(const tn_cursor *cursor)
{
    json_t *words = json_array();
    for (int i = 0; i < TN_CURSOR_WORDS; i++) {
        char hex[24];
        snprintf(hex, sizeof hex, "%016llx",
                 (unsigned long long)cursor->word[i]);
        json_array_append_new(words, json_string(hex));
    }
    return words;
}

/* The words of one dataset; of a mixture the rows and a list of such words. */
static json_t *cursor_to_json(const tni_data_cursor *cursor)
{
    if (cursor->count == 1)
        return words_to_json(&cursor->at[0]);
    json_t *each = json_array();
    for (uint32_t i = 0; i < cursor->count; i++)
        json_array_append_new(each, words_to_json(&cursor->at[i]));
    return json_pack("{s:I, s:o}", "rows", (json_int_t)cursor->rows, "datasets",
                     each);
}

/* Which plugin files took part, by their bytes. */
static json_t *manifest(const tni_reader *reader)
{
    const tni_opened *opened;
    json_t *list = json_array();
    const uint32_t count =
        tni_registry_opened(reader->registry, reader->arena, &opened);
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s?}", "name", opened[i].name,
                            "version", opened[i].version, "sha256",
                            tni_registry_sha256(reader->registry, &opened[i])));
    return list;
}

tn_status tni_progress_write(const tni_training *t, const tni_progress *p,
                             const char *path, tn_error *err)
{
    json_t *root = json_pack(
        "{s:i, s:I, s:I, s:I, s:I, s:s, s:s, s:o, s:o}", "format", FORMAT,
        "step", (json_int_t)p->step, "rows", (json_int_t)p->rows, "tokens",
        (json_int_t)p->tokens, "seed", (json_int_t)t->recipe->seed, "backend",
        t->session->device.name, "device", t->session->device.info.name,
        "cursor", cursor_to_json(&p->cursor), "plugins",
        manifest(&t->recipe->reader));
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text)
        return tn_fail(err, TN_ENOMEM, "%s: no memory to write it", path);
    FILE *to = fopen(path, "wbe");
    if (to)
        fprintf(to, "%s\n", text);
    free(text);
    if (!to)
        return tn_fail(err, TN_EIO, "%s: cannot create it", path);
    return tni_file_close_synced(to, path, err);
}

static tn_status read_words(const json_t *words, const char *path,
                            tn_cursor *cursor, tn_error *err)
{
    if (json_array_size(words) != TN_CURSOR_WORDS)
        return tn_fail(err, TN_EFORMAT, "%s: cursor is not %d words", path,
                       TN_CURSOR_WORDS);
    for (size_t i = 0; i < TN_CURSOR_WORDS; i++) {
        const char *hex = json_string_value(json_array_get(words, i));
        char *end = NULL;
        cursor->word[i] = hex ? strtoull(hex, &end, 16) : 0;
        if (!hex || end == hex || *end)
            return tn_fail(err, TN_EFORMAT,
                           "%s: cursor[%zu] is not a hexadecimal number", path,
                           i);
    }
    return TN_OK;
}

static tn_status read_cursor(const json_t *from, const char *path,
                             tni_data_cursor *cursor, tn_error *err)
{
    const json_t *each = json_object_get(from, "datasets");
    const json_t *rows = json_object_get(from, "rows");
    cursor->count = 1;
    if (!json_is_object(from))
        return read_words(from, path, &cursor->at[0], err);
    cursor->count = (uint32_t)json_array_size(each);
    cursor->rows = (uint64_t)json_integer_value(rows);
    if (!json_is_integer(rows) || json_array_size(each) > TNI_MIXTURE_MOST)
        return tn_fail(err, TN_EFORMAT,
                       "%s: cursor is not rows and the datasets' words", path);
    for (uint32_t i = 0; i < cursor->count; i++)
        TN_TRY(read_words(json_array_get(each, i), path, &cursor->at[i], err));
    return TN_OK;
}

tn_status tni_progress_read(const char *path, tni_progress *progress,
                            tn_error *err)
{
    json_error_t why;
    tni_progress p = {0};
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return tn_fail(err, TN_EFORMAT, "%s:%d: %s", path, why.line, why.text);
    const json_t *step = json_object_get(root, "step"),
                 *rows = json_object_get(root, "rows"),
                 *tokens = json_object_get(root, "tokens");
    tn_status status = TN_OK;
    if (json_integer_value(json_object_get(root, "format")) != FORMAT)
        status = tn_fail(err, TN_EFORMAT,
                         "%s: format is not %d: written by another version",
                         path, FORMAT);
    else if (!json_is_integer(step) || json_integer_value(step) < 0 ||
             !json_is_integer(tokens))
        status = tn_fail(err, TN_EFORMAT, "%s: step and tokens are not counts",
                         path);
    else
        status =
            read_cursor(json_object_get(root, "cursor"), path, &p.cursor, err);
    p.step = (int64_t)json_integer_value(step);
    p.rows = json_is_integer(rows) ? (int64_t)json_integer_value(rows) : -1;
    p.tokens = (int64_t)json_integer_value(tokens);
    json_decref(root);
    if (status == TN_OK)
        *progress = p;
    return status;
}
