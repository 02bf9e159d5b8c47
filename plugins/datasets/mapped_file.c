/*
 * mapped_file.c - open, check, mmap.
 */
#include "mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static tn_status map_open(tni_mapped_file *file, tn_error *err)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0)
        return tn_fail(err, TN_EIO, "cannot read %s: %s", file->path,
                       strerror(errno));
    if (!S_ISREG(info.st_mode))
        return tn_fail(err, TN_EIO, "%s is %s, not a plain file", file->path,
                       S_ISDIR(info.st_mode) ? "a folder" : "a device or pipe");
    if (info.st_size == 0)
        return tn_fail(err, TN_EFORMAT, "%s is empty", file->path);
    void *bytes =
        mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file->fd, 0);
    if (bytes == MAP_FAILED)
        return tn_fail(err, TN_EIO, "cannot map %s: %s", file->path,
                       strerror(errno));
    file->bytes = bytes;
    file->count = info.st_size;
    return TN_OK;
}

tn_status tni_mapped_file_open(tni_mapped_file *file, const char *path,
                               tn_error *err)
{
    /* O_NONBLOCK: a pipe must not hold the program up before it is refused. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *file = (tni_mapped_file){.path = path, .fd = fd};
    if (fd < 0)
        return tn_fail(err, errno == ENOENT ? TN_ENOTFOUND : TN_EIO,
                       "cannot open %s: %s", path, strerror(errno));
    const tn_status status = map_open(file, err);
    if (status != TN_OK)
        close(fd);
    return status;
}

void tni_mapped_file_close(tni_mapped_file *file)
{
    munmap((void *)(uintptr_t)file->bytes, (size_t)file->count);
    close(file->fd);
}

tn_status tni_mapped_file_check(const tni_mapped_file *file, tn_error *err)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0)
        return tn_fail(err, TN_EIO, "cannot read %s: %s", file->path,
                       strerror(errno));
    if (info.st_size == file->count)
        return TN_OK;
    return tn_fail(err, TN_EIO,
                   "%s had %lld bytes when it was opened and has %lld now; "
                   "resume with the file as it was",
                   file->path, (long long)file->count, (long long)info.st_size);
}
