/*
 * text_paths.c - folders and patterns by glob(3) and readdir(3), sorted.
 */
#include "run/text_paths.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

typedef struct {
    tni_arena *arena;
    const char **at;
    size_t count, capacity;
} list;

static int ends(const char *name, size_t length, const char *with)
{
    const size_t n = strlen(with);
    return length >= n && !memcmp(name + length - n, with, n);
}

/* Length of the name without .gz or .zst. */
static size_t plain_length(const char *name)
{
    const size_t n = strlen(name);
    return ends(name, n, ".gz") ? n - 3 : ends(name, n, ".zst") ? n - 4 : n;
}

int tni_path_is_jsonl(const char *path)
{
    const size_t n = plain_length(path);
    return ends(path, n, ".jsonl") || ends(path, n, ".ndjson") ||
           ends(path, n, ".json");
}

int tni_path_is_plain_text(const char *path)
{
    return !path[plain_length(path)] && !tni_path_is_jsonl(path);
}

static int is_text(const char *name)
{
    const size_t n = plain_length(name);
    return ends(name, n, ".txt") || ends(name, n, ".md") ||
           tni_path_is_jsonl(name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static tn_status add_folder(list *l, const char *path, tn_error *err)
{
    list inside = {.arena = l->arena};
    DIR *folder = opendir(path);
    if (!folder)
        return tn_fail(err, TN_EIO, "%s: cannot read the folder: %s", path,
                       strerror(errno));
    for (struct dirent *e; (e = readdir(folder));)
        if (e->d_name[0] != '.')
            *TNI_PUSH(l->arena, inside.at, inside.count, inside.capacity) =
                tni_path_join(l->arena, path, e->d_name);
    closedir(folder);
    if (inside.count)
        qsort(inside.at, inside.count, sizeof *inside.at, by_name);
    for (size_t i = 0; i < inside.count; i++) {
        if (tni_path_is_folder(inside.at[i]))
            TN_TRY(add_folder(l, inside.at[i], err));
        else if (is_text(inside.at[i]))
            *TNI_PUSH(l->arena, l->at, l->count, l->capacity) = inside.at[i];
    }
    return TN_OK;
}

static tn_status add(list *l, const char *path, tn_error *err)
{
    const size_t before = l->count;
    if (!tni_path_is_folder(path)) {
        *TNI_PUSH(l->arena, l->at, l->count, l->capacity) =
            tni_arena_strdup(l->arena, path);
        return TN_OK;
    }
    TN_TRY(add_folder(l, path, err));
    if (l->count == before)
        return tn_fail(err, TN_ENOTFOUND,
                       "%s: no text in this folder; .txt, .md, .json, .jsonl "
                       "and .ndjson are read, also with .gz or .zst after it",
                       path);
    return TN_OK;
}

static tn_status add_pattern(list *l, const char *pattern, tn_error *err)
{
    glob_t found = {0};
    tn_status status = TN_OK;
    const int failed = glob(pattern, 0, NULL, &found);
    if (failed)
        status = tn_fail(err, TN_ENOTFOUND, "%s: no file is called like this",
                         pattern);
    for (size_t i = 0; !failed && status == TN_OK && i < found.gl_pathc; i++)
        status = add(l, found.gl_pathv[i], err);
    globfree(&found);
    return status;
}

tn_status tni_text_paths(tni_arena *arena, const char *const *given,
                         size_t given_count, const char *const **paths,
                         size_t *count, tn_error *err)
{
    list l = {.arena = arena};
    for (size_t i = 0; i < given_count; i++) {
        /* a file that is really called "a[1].txt" is meant before a pattern */
        if (strpbrk(given[i], "*?[") && !tni_path_exists(given[i]))
            TN_TRY(add_pattern(&l, given[i], err));
        else
            TN_TRY(add(&l, given[i], err));
    }
    *paths = l.at;
    *count = l.count;
    return TN_OK;
}
