/*
 * check.c - may this file be opened at all?
 *
 * dlopen runs a plugin's constructors before anything can be asked of it, so
 * what protects the user is who may write the file. Refused: a file that
 * belongs to neither root nor the user, that anyone may write, or that lies in
 * a folder of which either is true, since whoever may write a folder may
 * replace what is in it. Higher folders may be world-writable only if sticky
 * (/tmp), where strangers cannot rename what is not theirs. A group that may
 * write is refused to root, unless it is root's own, and told to others, unless
 * it is the user's own: umask 002 gives such files on many systems.
 */
#include "plugin/module.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static tn_status check_owner(const char *path, const struct stat *st,
                             tn_error *err)
{
    if (st->st_uid == 0 || st->st_uid == geteuid())
        return TN_OK;
    return tn_fail(err, TN_EREFUSED,
                   "%s: refused: it belongs to user %u; a plugin and its "
                   "folder must belong to root or to you (user %u)",
                   path, (unsigned)st->st_uid, (unsigned)geteuid());
}

static tn_status check_world(const char *path, const struct stat *st,
                             tn_error *err)
{
    if (!(st->st_mode & S_IWOTH))
        return TN_OK;
    return tn_fail(err, TN_EREFUSED,
                   "%s: refused: anyone may write to it (mode %04o); "
                   "chmod o-w %s",
                   path, (unsigned)(st->st_mode & 07777), path);
}

static tn_status check_group(const tn_host *host, const char *path,
                             const struct stat *st, tn_error *err)
{
    if (!(st->st_mode & S_IWGRP) || st->st_gid == getegid())
        return TN_OK;
    if (geteuid() == 0)
        return tn_fail(err, TN_EREFUSED,
                       "%s: refused to root: group %u may write to it (mode "
                       "%04o); chmod g-w %s",
                       path, (unsigned)st->st_gid,
                       (unsigned)(st->st_mode & 07777), path);
    host->log(host, TN_LOG_WARNING,
              "%s: group %u may write to this plugin (mode %04o)", path,
              (unsigned)st->st_gid, (unsigned)(st->st_mode & 07777));
    return TN_OK;
}

static tn_status check_writers(const tn_host *host, const char *path,
                               const struct stat *st, tn_error *err)
{
    TN_TRY(check_owner(path, st, err));
    TN_TRY(check_world(path, st, err));
    return check_group(host, path, st, err);
}

/* Cut the last part off: "/a/b" to "/a", "/a" to "/". */
static void to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    *(slash == path ? slash + 1 : slash) = '\0';
}

static tn_status check_folders(const tn_host *host, char *path, tn_error *err)
{
    struct stat st;
    to_parent(path);
    if (stat(path, &st))
        return tn_fail(err, TN_EIO, "%s: %s", path, strerror(errno));
    TN_TRY(check_writers(host, path, &st, err));
    while (path[1]) {
        to_parent(path);
        if (stat(path, &st))
            return tn_fail(err, TN_EIO, "%s: %s", path, strerror(errno));
        if (!(st.st_mode & S_ISVTX))
            TN_TRY(check_world(path, &st, err));
    }
    return TN_OK;
}

static tn_status check_open_file(tni_arena *arena, const tn_host *host, int fd,
                                 tni_module *module, tn_error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return tn_fail(err, TN_EIO, "%s: %s", module->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return tn_fail(err, TN_EREFUSED,
                       "%s: refused: not a regular file; a plugin is a .so",
                       module->path);
    TN_TRY(check_writers(host, module->path, &st, err));
    TN_TRY(check_folders(host, tni_arena_strdup(arena, module->path), err));
    module->device = st.st_dev;
    module->inode = st.st_ino;
    return TN_OK;
}

tn_status tni_module_check(tni_arena *arena, const tn_host *host,
                           const char *path, tni_module *module, tn_error *err)
{
    char *real = realpath(path, NULL);
    module->file = -1;
    if (!real)
        return tn_fail(err, TN_ENOTFOUND, "%s: %s", path, strerror(errno));
    module->path = tni_arena_strdup(arena, real);
    free(real);
    /* O_NONBLOCK: a FIFO must not hold the program up. */
    const int fd = open(module->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return tn_fail(err, TN_EIO, "%s: %s", module->path, strerror(errno));
    const tn_status status = check_open_file(arena, host, fd, module, err);
    module->file = fd;
    if (status != TN_OK)
        tni_module_close_file(module);
    return status;
}

void tni_module_close_file(tni_module *module)
{
    if (module->file >= 0)
        close(module->file);
    module->file = -1;
}

tn_status tni_module_measure(tni_module *module, tn_error *err)
{
    if (module->file < 0)
        return TN_OK;
    if (lseek(module->file, 0, SEEK_SET))
        return tn_fail(err, TN_EIO, "%s: %s", module->path, strerror(errno));
    TN_TRY(tni_sha256_file(module->file, module->sha256, err));
    tni_module_close_file(module);
    return TN_OK;
}
