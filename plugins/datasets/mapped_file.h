/*
 * mapped_file.h - a whole file as read-only memory.
 */
#ifndef TENON_MAPPED_FILE_H
#define TENON_MAPPED_FILE_H

#include <tenon/base.h>

typedef struct tni_mapped_file {
    const char *path; /* borrowed */
    const void *bytes;
    int64_t count;
    int fd;
} tni_mapped_file;

/* Refuses what is missing, empty or no plain file. On failure nothing is open;
 * on success close it. */
tn_status tni_mapped_file_open(tni_mapped_file *file, const char *path,
                               tn_error *err);
void tni_mapped_file_close(tni_mapped_file *file);

/* A file that shrinks under its mapping kills the process at the next read, so
 * ask before reading: a sentence if its size is no longer what it was. */
tn_status tni_mapped_file_check(const tni_mapped_file *file, tn_error *err);

#endif
