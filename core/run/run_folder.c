/*
 * run_folder.c - the run's folder: taken by one process, swept, listed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "run/checkpoint.h"

static const char temporary[] = ".tmp-", old[] = "old-";

void tni_checkpoint_path(char *to, size_t size, const char *dir, int64_t step)
{
    snprintf(to, size, "%s/step-%08lld", dir, (long long)step);
}

/* The step of "step-00000100", -1 for any other name. */
static int64_t step_of(const char *name)
{
    char *end;
    if (strncmp(name, "step-", 5) != 0 || strlen(name) < 13)
        return -1;
    for (const char *c = name + 5; *c; c++)
        if (*c < '0' || *c > '9')
            return -1;
    errno = 0;
    const long long step = strtoll(name + 5, &end, 10);
    return errno ? -1 : (int64_t)step;
}

/* What a save or a removal leaves that was killed: ".tmp-step-00000100",
 * ".tmp-old-step-00000100". Other names are other people's. */
static int is_leftover(const char *name)
{
    if (strncmp(name, temporary, sizeof temporary - 1) != 0)
        return 0;
    name += sizeof temporary - 1;
    if (strncmp(name, old, sizeof old - 1) == 0)
        name += sizeof old - 1;
    return step_of(name) >= 0;
}

static tn_status remove_leftovers(const char *dir, tn_error *err)
{
    DIR *folder = opendir(dir);
    tn_status status = TN_OK;
    if (!folder)
        return tn_fail(err, TN_EIO, "%s: cannot read the folder: %s", dir,
                       strerror(errno));
    for (struct dirent *e; status == TN_OK && (e = readdir(folder));) {
        char path[4096];
        if (!is_leftover(e->d_name))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        status = tni_folder_remove(path, err);
    }
    closedir(folder);
    return status;
}

tn_status tni_run_folder_open(const char *dir, int *lock, tn_error *err)
{
    TN_TRY(tni_folder_make(dir, err));
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tn_fail(err, TN_EIO, "%s: cannot open the run's folder: %s", dir,
                       strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return tn_fail(err, TN_EREFUSED,
                       "%s: another process is training in this folder; wait "
                       "for it or set checkpoint.dir to another (processes of "
                       "one run are told so by communicator:)",
                       dir);
    }
    const tn_status status = remove_leftovers(dir, err);
    if (status != TN_OK)
        close(fd);
    else
        *lock = fd;
    return status;
}

static int newest_first(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

tn_status tni_checkpoint_steps(tni_arena *arena, const char *dir,
                               const int64_t **steps, size_t *count,
                               tn_error *err)
{
    int64_t *list = NULL;
    size_t n = 0, capacity = 0;
    DIR *folder = opendir(dir);
    if (!folder && errno != ENOENT)
        return tn_fail(err, TN_EIO, "%s: cannot read the folder: %s", dir,
                       strerror(errno));
    for (struct dirent *e; folder && (e = readdir(folder));) {
        const int64_t step = step_of(e->d_name);
        if (step >= 0)
            *TNI_PUSH(arena, list, n, capacity) = step;
    }
    if (folder)
        closedir(folder);
    if (n)
        qsort(list, n, sizeof *list, newest_first);
    *steps = list;
    *count = n;
    return TN_OK;
}

tn_status tni_checkpoint_latest(tni_arena *arena, const tn_host *host,
                                const char *dir, const char **path,
                                tn_error *err)
{
    const int64_t *steps;
    size_t count;
    *path = NULL;
    TN_TRY(tni_checkpoint_steps(arena, dir, &steps, &count, err));
    for (size_t i = 0; i < count; i++) {
        char at[4096];
        tn_error why = {0};
        tni_checkpoint_path(at, sizeof at, dir, steps[i]);
        if (tni_checkpoint_check(at, &why) == TN_OK) {
            *path = tni_arena_strdup(arena, at);
            return TN_OK;
        }
        host->log(host, TN_LOG_WARNING, "%s is skipped: %s", at, why.message);
    }
    return TN_OK;
}

tn_status tni_checkpoint_remove(const char *path, tn_error *err)
{
    char aside[4096];
    const char *slash = strrchr(path, '/');
    snprintf(aside, sizeof aside, "%.*s/%s%s%s", (int)(slash - path), path,
             temporary, old, slash + 1);
    TN_TRY(tni_folder_remove(aside, err));
    if (!tni_path_exists(path))
        return TN_OK;
    TN_TRY(tni_file_rename(path, aside, err));
    return tni_folder_remove(aside, err);
}
