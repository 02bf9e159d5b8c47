/*
 * text_paths.c - folders and patterns by glob(3) and readdir(3), sorted.
 */
#include "run/text_paths.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* The folders being read, each inside the next: a link back shows up here. */
typedef struct chain {
    dev_t device;
    ino_t inode;
    const struct chain *inside;
} chain;

static int is_being_read(const chain *at, const struct stat *folder)
{
    for (; at; at = at->inside)
        if (at->device == folder->st_dev && at->inode == folder->st_ino)
            return 1;
    return 0;
}

/* What lies in the folder, sorted. */
static tn_status list_folder(list *l, const char *path, tn_error *err)
{
    DIR *folder = opendir(path);
    if (!folder)
        return tn_fail(err, TN_EIO, "%s: cannot read the folder: %s", path,
                       strerror(errno));
    for (struct dirent *e; (e = readdir(folder));)
        if (e->d_name[0] != '.')
            *TNI_PUSH(l->arena, l->at, l->count, l->capacity) =
                tni_path_join(l->arena, path, e->d_name);
    closedir(folder);
    if (l->count)
        qsort(l->at, l->count, sizeof *l->at, by_name);
    return TN_OK;
}

/* Links are followed, but not back to a folder that this one lies in. */
static tn_status add_folder(list *l, const char *path, const chain *inside,
                            tn_error *err)
{
    list found = {.arena = l->arena};
    struct stat info;
    if (stat(path, &info) != 0)
        return tn_fail(err, TN_EIO, "%s: cannot read the folder: %s", path,
                       strerror(errno));
    if (is_being_read(inside, &info))
        return TN_OK;
    const chain at = {info.st_dev, info.st_ino, inside};
    TN_TRY(list_folder(&found, path, err));
    for (size_t i = 0; i < found.count; i++) {
        if (tni_path_is_folder(found.at[i]))
            TN_TRY(add_folder(l, found.at[i], &at, err));
        else if (is_text(found.at[i]))
            *TNI_PUSH(l->arena, l->at, l->count, l->capacity) = found.at[i];
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
    TN_TRY(add_folder(l, path, NULL, err));
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
