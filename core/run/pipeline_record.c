/*
 * pipeline_record.c - what was done, and whether it still holds.
 */
#include <fts.h>
#include <glob.h>
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

static const char *record_path(const tni_pipeline *p,
                               const tni_pipeline_stage *s)
{
    return tni_arena_printf(p->reader.arena, "%s/stage-%s.json", p->dir,
                            s->name);
}

/* ---- files ---- */

static int is_in(const char *path, const char *folder)
{
    const size_t n = folder ? strlen(folder) : 0;
    return n && !strncmp(path, folder, n) && (!path[n] || path[n] == '/');
}

/* What this pipeline writes is told by the hashes of its stages. */
static int is_made(const tni_pipeline *p, const char *path)
{
    tni_arena *arena = p->reader.arena;
    for (uint32_t i = 0; i < p->stage_count; i++) {
        const tni_pipeline_stage *s = &p->stages[i];
        if (s->output && !strcmp(path, s->output))
            return 1;
        if (is_in(path, p->dir) && !strcmp(path, record_path(p, s)))
            return 1;
    }
    return is_in(path, p->dir) &&
           !strcmp(path, tni_path_join(arena, p->dir, "report.md"));
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* What is in a file is told by its size and time; of the files below a folder
 * the paths as well. */
static void hash_entry(tni_sha256 *sha, const tni_pipeline *p, const FTSENT *e)
{
    const struct stat *info = e->fts_statp;
    if (e->fts_level)
        hash_text(sha, e->fts_path);
    hash_text(sha, tni_arena_printf(p->reader.arena, "%lld %lld.%09ld",
                                    (long long)info->st_size,
                                    (long long)info->st_mtim.tv_sec,
                                    info->st_mtim.tv_nsec));
}

static void hash_tree(tni_sha256 *sha, const tni_pipeline *p, const char *path)
{
    char *roots[] = {tni_arena_strdup(p->reader.arena, path), NULL};
    FTS *walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    for (FTSENT *e; walk && (e = fts_read(walk));) {
        if (is_made(p, e->fts_path) || (e->fts_level && *e->fts_name == '.'))
            fts_set(walk, e, FTS_SKIP);
        else if (e->fts_info == FTS_F)
            hash_entry(sha, p, e);
    }
    if (walk)
        fts_close(walk);
}

/* A file, a folder or a pattern of them. */
static void hash_path(tni_sha256 *sha, const tni_pipeline *p, const char *path)
{
    glob_t found = {0};
    if (tni_path_exists(path)) {
        hash_tree(sha, p, path);
        return;
    }
    if (strpbrk(path, "*?[") && glob(path, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++) {
            hash_text(sha, found.gl_pathv[i]);
            hash_tree(sha, p, found.gl_pathv[i]);
        }
    globfree(&found);
}

/* A word that names files stands for what is in them. */
static void hash_word(tni_sha256 *sha, const tni_pipeline *p, const char *word)
{
    const char *equals = *word == '-' ? strchr(word, '=') : NULL;
    hash_text(sha, word);
    hash_path(sha, p, tni_pipeline_path(p, equals ? equals + 1 : word));
}

/* In a config that was read, options that name files are absolute. */
static void hash_named(tni_sha256 *sha, const tni_pipeline *p,
                       const tni_yaml *node)
{
    if (node->kind == TNI_YAML_SCALAR && *node->scalar == '/')
        hash_path(sha, p, tni_pipeline_path(p, node->scalar));
    for (size_t i = 0; i < node->count; i++)
        hash_named(sha, p, node->entries[i].value);
}

/* ---- stages ---- */

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

tn_status tni_pipeline_record_write(const tni_pipeline *p,
                                    const tni_pipeline_stage *s,
                                    const tni_pipeline_record *record,
                                    tn_error *err)
{
    json_t *root = json_pack(
        "{s:s, s:s, s:b, s:b, s:f}", "stage", s->name, "hash", record->hash,
        "complete", (int)record->complete, "made", (int)record->made, "seconds",
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
    record->made = json_is_true(json_object_get(root, "made"));
    record->seconds = json_number_value(json_object_get(root, "seconds"));
    json_decref(root);
    return TN_OK;
}

static int has_output(const tni_pipeline_stage *s)
{
    return !s->output || tni_path_exists(s->output);
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
        hash_named(&sha, p, recipe->root);
        TN_TRY(tni_sweep_state(recipe, &run, err));
    }
    *record = (tni_pipeline_record){.made = was.made};
    tni_sha256_hex(&sha, record->hash);
    *state = TNI_STAGE_NEW;
    if (strcmp(record->hash, was.hash) != 0) {
        *state = *was.hash ? TNI_STAGE_CHANGED : TNI_STAGE_NEW;
        return TN_OK;
    }
    if (was.complete && (recipe ? run == TNI_SWEEP_DONE : has_output(s)))
        *state = TNI_STAGE_DONE;
    else if (recipe && (run == TNI_SWEEP_CUT_OFF || run == TNI_SWEEP_DONE))
        *state = TNI_STAGE_CUT_OFF;
    if (*state != TNI_STAGE_NEW)
        record->seconds = was.seconds;
    return TN_OK;
}

tn_status tni_pipeline_set_aside(const tni_pipeline *p,
                                 const tni_pipeline_stage *s, tn_error *err)
{
    const tn_host *host = p->reader.host;
    if (!tni_path_is_folder(s->output) || is_in(p->dir, s->output))
        return TN_OK;
    for (uint32_t i = 0; i < p->stage_count; i++)
        if (&p->stages[i] != s && p->stages[i].output &&
            is_in(p->stages[i].output, s->output))
            return TN_OK;
    const char *now = tni_path_aside(p->reader.arena, s->output);
    TN_TRY(tni_file_rename(s->output, now, err));
    host->log(host, TN_LOG_INFO,
              "%s was made by stage %s in another way; it is now %s", s->output,
              s->name, now);
    return TN_OK;
}
