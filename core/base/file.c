/*
 * file.c - reading, and writing so that a kill at any moment does no harm.
 *
 * A name in a folder becomes durable only when the folder itself is synced:
 * rename() orders nothing by itself. So every replacement here is temporary
 * file, fsync, rename, fsync of the folder.
 */
#define _GNU_SOURCE /* nftw */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_READ_BYTES = 64 * 1024, OPEN_FOLDERS = 16 };

static tn_status fail(tn_error *err, const char *verb, const char *path)
{
    const int reason = errno;
    const tn_status status = reason == ENOENT ? TN_ENOTFOUND : TN_EIO;
    return tn_fail(err, status, "cannot %s %s: %s", verb, path,
                   strerror(reason));
}

/* ------------------------------------------------------------------------ */
/* Reading                                                                    */

typedef struct reading {
    tni_arena *arena;
    const char *path;
    char *bytes;
    size_t count, capacity, limit;
} reading;

static void make_room(reading *r)
{
    if (r->count + 1 < r->capacity)
        return;
    char *larger = tni_arena_alloc(r->arena, 2 * r->capacity);
    memcpy(larger, r->bytes, r->count);
    r->bytes = larger;
    r->capacity *= 2;
}

static tn_status read_to_end(reading *r, int fd, tn_error *err)
{
    for (;;) {
        make_room(r);
        const ssize_t got =
            read(fd, r->bytes + r->count, r->capacity - r->count - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(err, "read", r->path);
        if (got == 0)
            return TN_OK;
        r->count += (size_t)got;
        if (r->count > r->limit)
            return tn_fail(err, TN_EREFUSED,
                           "%s is larger than %zu bytes, the most that is read "
                           "from such a file",
                           r->path, r->limit);
    }
}

static tn_status read_open(reading *r, int fd, tn_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return fail(err, "read", r->path);
    if (S_ISDIR(info.st_mode))
        return tn_fail(err, TN_EIO, "%s is a folder, not a file", r->path);
    r->capacity = FIRST_READ_BYTES;
    if (info.st_size > 0 && (size_t)info.st_size <= r->limit)
        r->capacity = (size_t)info.st_size + 2;
    r->bytes = tni_arena_alloc(r->arena, r->capacity);
    return read_to_end(r, fd, err);
}

tn_status tni_file_read_from(tni_arena *arena, int fd, const char *name,
                             size_t max_bytes, char **bytes, size_t *count,
                             tn_error *err)
{
    reading r = {.arena = arena, .path = name, .limit = max_bytes};
    TN_TRY(read_open(&r, fd, err));
    r.bytes[r.count] = 0;
    *bytes = r.bytes;
    if (count)
        *count = r.count;
    return TN_OK;
}

tn_status tni_file_read(tni_arena *arena, const char *path, size_t max_bytes,
                        char **bytes, size_t *count, tn_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, "open", path);
    const tn_status status =
        tni_file_read_from(arena, fd, path, max_bytes, bytes, count, err);
    close(fd);
    return status;
}

/* ------------------------------------------------------------------------ */
/* Writing                                                                    */

tn_status tni_file_close_synced(FILE *file, const char *path, tn_error *err)
{
    int reason = 0;
    errno = 0;
    if (ferror(file) || fflush(file) || fsync(fileno(file)))
        reason = errno ? errno : EIO;
    if (fclose(file) != 0 && !reason)
        reason = errno;
    if (!reason)
        return TN_OK;
    return tn_fail(err, TN_EIO, "cannot write %s: %s", path, strerror(reason));
}

static tn_status write_temporary(const char *temporary, const void *bytes,
                                 size_t count, tn_error *err)
{
    FILE *file = fopen(temporary, "wbe");
    if (!file)
        return fail(err, "write", temporary);
    if (fwrite(bytes, 1, count, file) != count) {
        const tn_status status = fail(err, "write", temporary);
        fclose(file);
        return status;
    }
    return tni_file_close_synced(file, temporary, err);
}

tn_status tni_file_replace(const char *path, const void *bytes, size_t count,
                           tn_error *err)
{
    tni_arena *scratch = tni_arena_create();
    const char *temporary =
        tni_arena_printf(scratch, "%s.tmp%ld", path, (long)getpid());
    tn_status status = write_temporary(temporary, bytes, count, err);
    if (status == TN_OK)
        status = tni_file_rename(temporary, path, err);
    if (status != TN_OK)
        unlink(temporary);
    tni_arena_destroy(scratch);
    return status;
}

tn_status tni_file_rename(const char *from, const char *to, tn_error *err)
{
    if (rename(from, to) != 0)
        return tn_fail(err, TN_EIO, "cannot rename %s to %s: %s", from, to,
                       strerror(errno));
    tni_arena *scratch = tni_arena_create();
    const tn_status status =
        tni_folder_sync(tni_path_dirname(scratch, to), err);
    tni_arena_destroy(scratch);
    return status;
}

/* ------------------------------------------------------------------------ */
/* Folders                                                                    */

tn_status tni_folder_sync(const char *path, tn_error *err)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, "open the folder", path);
    /* Some file systems cannot sync a folder and say EINVAL: nothing to do. */
    const int failed = fsync(fd) != 0 && errno != EINVAL;
    const tn_status status =
        failed ? fail(err, "sync the folder", path) : TN_OK;
    close(fd);
    return status;
}

static tn_status make_one(const char *path, tn_error *err)
{
    if (mkdir(path, 0777) == 0)
        return TN_OK;
    const int reason = errno;
    if (reason == EEXIST && tni_path_is_folder(path))
        return TN_OK;
    errno = reason;
    return fail(err, "make the folder", path);
}

tn_status tni_folder_make(const char *path, tn_error *err)
{
    tni_arena *scratch = tni_arena_create();
    char *prefix = tni_arena_strdup(scratch, path);
    tn_status status = TN_OK;
    for (char *c = prefix; *c && status == TN_OK; c++) {
        if (*c != '/' || c == prefix)
            continue;
        *c = 0;
        status = make_one(prefix, err);
        *c = '/';
    }
    if (status == TN_OK)
        status = make_one(path, err);
    tni_arena_destroy(scratch);
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int type,
                        struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

tn_status tni_folder_remove(const char *path, tn_error *err)
{
    if (nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0 ||
        errno == ENOENT)
        return TN_OK;
    return fail(err, "remove", path);
}

/* ------------------------------------------------------------------------ */
/* Paths                                                                      */

const char *tni_path_aside(tni_arena *arena, const char *path)
{
    for (int i = 1;; i++) {
        const char *other = tni_arena_printf(arena, "%s.%d", path, i);
        if (!tni_path_exists(other))
            return other;
    }
}

int tni_path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int tni_path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *tni_path_join(tni_arena *arena, const char *folder, const char *name)
{
    if (name[0] == '/' || !folder[0] || !strcmp(folder, "."))
        return tni_arena_strdup(arena, name);
    const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
    return tni_arena_printf(arena, "%s%s%s", folder, slash, name);
}

/* The length of `path` without slashes at its end; "/" keeps its one. */
static size_t trimmed(const char *path, size_t length)
{
    while (length > 1 && path[length - 1] == '/')
        length--;
    return length;
}

static size_t basename_start(const char *path, size_t length)
{
    while (length > 0 && path[length - 1] != '/')
        length--;
    return length;
}

static char *part(tni_arena *arena, const char *from, size_t length)
{
    char *text = tni_arena_alloc(arena, length + 1);
    memcpy(text, from, length);
    return text;
}

char *tni_path_dirname(tni_arena *arena, const char *path)
{
    const size_t start = basename_start(path, trimmed(path, strlen(path)));
    if (start == 0)
        return tni_arena_strdup(arena, path[0] == '/' ? "/" : ".");
    return part(arena, path, trimmed(path, start));
}

char *tni_path_basename(tni_arena *arena, const char *path)
{
    const size_t end = trimmed(path, strlen(path));
    const size_t start = end > 1 ? basename_start(path, end) : 0;
    return part(arena, path + start, end - start);
}

char *tni_path_absolute(tni_arena *arena, const char *path)
{
    char resolved[PATH_MAX];
    if (realpath(path, resolved))
        return tni_arena_strdup(arena, resolved);
    if (path[0] == '/' || !getcwd(resolved, sizeof resolved))
        return tni_arena_strdup(arena, path);
    return tni_path_join(arena, resolved, path);
}
