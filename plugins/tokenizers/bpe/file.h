/*
 * file.h - whole files, in and out.
 */
#ifndef TENON_BPE_FILE_H
#define TENON_BPE_FILE_H

#include <tenon/base.h>

/* All of a plain file, a 0 byte after its end. The caller frees *bytes. */
tn_status tni_bpe_read(const char *path, char **bytes, size_t *count,
                       tn_error *err);

/* A file that appears whole, or not at all: written beside its place, synced
 * and renamed. */
tn_status tni_bpe_write(const char *path, const char *bytes, size_t count,
                        tn_error *err);

/* folder/name for the caller to free; NULL when memory ran out. */
char *tni_bpe_join(const char *folder, const char *name);

#endif
