/*
 * pipeline_record.c - what was done, and whether it still holds.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "base/file.h"
#include "run/pipeline.h"
#include "run/sweep.h"

static void hash_text(tni_sha256 *sha, const char *text)
{
    tni_sha256_update(sha, text, strlen(text) + 1);
}

/* A word that names a file stands for what is in it, told by size and time. */
static void hash_word(tni_sha256 *sha, const tni_pipeline *p, const char *word)
{
    struct stat info;
    const char *path = tni_path_join(p->reader.arena, p->reader.base, word);
    hash_text(sha, word);
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return;
    hash_text(sha, tni_arena_printf(p->reader.arena, "%lld %lld.%09ld",
                                    (long long)info.st_size,
                                    (long long)info.st_mtim.tv_sec,
                                    info.st_mtim.tv_nsec));
}

static tn_status hash_config(tni_sha256 *sha, const tni_recipe *recipe,
                             tn_error *err)
{
    char *text = NULL;
    size_t bytes;
    FILE *to = open_memstream(&text, &bytes);
    const int good =
        to && tni_yaml_write(recipe->root, to) == TN_OK && fflush(to) == 0;
    if (good)
        hash_text(sha, text);
    if (to)
        fclose(to);
    free(text);
    return good ? TN_OK : tn_fail(err, TN_ENOMEM, "no memory for a config");
}

static tn_status hash_command(tni_sha256 *sha, const tni_pipeline *p,
                              const tni_pipeline_stage *s, tn_error *err)
{
    const char *const *words;
    size_t count;
    TN_TRY(tni_pipeline_words(p->reader.arena, s, &words, &count, err));
    for (size_t i = 0; i < count; i++)
        hash_word(sha, p, words[i]);
    return TN_OK;
}

/* ---- records ---- */

static const char *record_path(const tni_pipeline *p,
                               const tni_pipeline_stage *s)
{
    return tni_arena_printf(p->reader.arena, "%s/stage-%s.json", p->dir,
                            s->name);
}

tn_status tni_pipeline_record_write(const tni_pipeline *p,
                                    const tni_pipeline_stage *s,
                                    const tni_pipeline_record *record,
                                    tn_error *err)
{
    json_t *root =
        json_pack("{s:s, s:s, s:b, s:f}", "stage", s->name, "hash",
                  record->hash, "complete", (int)record->complete, "seconds",
                  isfinite(record->seconds) ? record->seconds : 0.0);
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text)
        return tn_fail(err, TN_ENOMEM, "no memory for a record");
    const tn_status status =
        tni_file_replace(record_path(p, s), text, strlen(text), err);
    free(text);
    return status;
}

tn_status tni_pipeline_record_read(const tni_pipeline *p,
                                   const tni_pipeline_stage *s,
                                   tni_pipeline_record *record, tn_error *err)
{
    const char *path = record_path(p, s);
    json_error_t why;
    *record = (tni_pipeline_record){0};
    if (!tni_path_exists(path))
        return TN_OK;
    json_t *root = json_load_file(path, 0, &why);
    const char *hash = json_string_value(json_object_get(root, "hash"));
    if (!root || !hash || strlen(hash) >= sizeof record->hash) {
        json_decref(root);
        return tn_fail(err, TN_EFORMAT,
                       "%s is damaged; remove it, and the stage runs again",
                       path);
    }
    strcpy(record->hash, hash);
    record->complete = json_is_true(json_object_get(root, "complete"));
    record->seconds = json_number_value(json_object_get(root, "seconds"));
    json_decref(root);
    return TN_OK;
}

tn_status tni_pipeline_state(const tni_pipeline *p, const tni_pipeline_stage *s,
                             const char *before, tni_pipeline_record *record,
                             int *state, tn_error *err)
{
    tni_sha256 sha;
    tni_recipe *recipe = NULL;
    tni_pipeline_record was;
    int run = TNI_SWEEP_NEW;
    TN_TRY(tni_pipeline_record_read(p, s, &was, err));
    tni_sha256_init(&sha);
    hash_text(&sha, before);
    if (s->command) {
        TN_TRY(hash_command(&sha, p, s, err));
    } else {
        TN_TRY(tni_pipeline_recipe(p, s, TNI_NEED_TRAINING, &recipe, err));
        TN_TRY(hash_config(&sha, recipe, err));
        TN_TRY(tni_sweep_state(recipe, &run, err));
    }
    *record = (tni_pipeline_record){0};
    tni_sha256_hex(&sha, record->hash);
    *state = TNI_STAGE_NEW;
    if (strcmp(record->hash, was.hash) != 0)
        return TN_OK;
    if (was.complete && (!recipe || run == TNI_SWEEP_DONE))
        *state = TNI_STAGE_DONE;
    else if (recipe && (run == TNI_SWEEP_CUT_OFF || run == TNI_SWEEP_DONE))
        *state = TNI_STAGE_CUT_OFF;
    if (*state != TNI_STAGE_NEW)
        record->seconds = was.seconds;
    return TN_OK;
}
