/*
 * file.c - whole files, in and out.
 */
#include "file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 30 }; /* the largest there is has 33 MB */

static tn_status read_stream(FILE *from, const char *path, char **bytes,
                             size_t *count, tn_error *err)
{
    struct stat st;
    if (fstat(fileno(from), &st) != 0)
        return tn_fail(err, TN_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return tn_fail(err, TN_EINVALID, "%s: not a plain file", path);
    if (st.st_size > MOST_BYTES)
        return tn_fail(err, TN_EFORMAT,
                       "%s: %lld bytes; a vocabulary has at most %d", path,
                       (long long)st.st_size, MOST_BYTES);
    char *all = malloc((size_t)st.st_size + 1);
    if (!all)
        return tn_fail(err, TN_ENOMEM, "%s: out of memory", path);
    const size_t got = fread(all, 1, (size_t)st.st_size, from);
    if (ferror(from)) {
        free(all);
        return tn_fail(err, TN_EIO, "%s: cannot read: %s", path,
                       strerror(errno));
    }
    all[got] = '\0';
    *bytes = all;
    *count = got;
    return TN_OK;
}

tn_status tni_bpe_read(const char *path, char **bytes, size_t *count,
                       tn_error *err)
{
    FILE *from = fopen(path, "rbe");
    if (!from)
        return tn_fail(err, errno == ENOENT ? TN_ENOTFOUND : TN_EIO,
                       "%s: cannot open: %s", path, strerror(errno));
    const tn_status status = read_stream(from, path, bytes, count, err);
    fclose(from);
    return status;
}

static int write_synced(const char *path, const char *bytes, size_t count)
{
    FILE *to = fopen(path, "wbe");
    if (!to)
        return 0;
    const int whole = fwrite(bytes, 1, count, to) == count && fflush(to) == 0 &&
                      fsync(fileno(to)) == 0;
    return fclose(to) == 0 && whole;
}

tn_status tni_bpe_write(const char *path, const char *bytes, size_t count,
                        tn_error *err)
{
    const size_t n = strlen(path);
    char *aside = malloc(n + sizeof ".tmp");
    if (!aside)
        return tn_fail(err, TN_ENOMEM, "%s: out of memory", path);
    memcpy(aside, path, n);
    memcpy(aside + n, ".tmp", sizeof ".tmp");
    tn_status status = TN_OK;
    if (!write_synced(aside, bytes, count) || rename(aside, path) != 0) {
        status =
            tn_fail(err, TN_EIO, "%s: cannot write: %s", path, strerror(errno));
        unlink(aside);
    }
    free(aside);
    return status;
}

char *tni_bpe_join(const char *folder, const char *name)
{
    const size_t m = strlen(folder), n = strlen(name);
    char *path = malloc(m + n + 2);
    if (!path)
        return NULL;
    memcpy(path, folder, m);
    path[m] = '/';
    memcpy(path + m + 1, name, n + 1);
    return path;
}
