/*
 * file.h - whole files in and out, folders, and paths as text.
 *
 * Errors are sentences that name the path and the system's reason. What is
 * written through here is on the disk when the call returns: a kill or a power
 * cut leaves the old file or the new one, never half of either.
 */
#ifndef TENON_FILE_H
#define TENON_FILE_H

#include <tenon/base.h>

#include "base/arena.h"

/*
 * All of a file into the arena, a 0 byte after its end; *count may be NULL.
 * Pipes are read to their end. TN_ENOTFOUND where there is no such file,
 * TN_EREFUSED above max_bytes, TN_EIO otherwise.
 */
tn_status tni_file_read(tni_arena *arena, const char *path, size_t max_bytes,
                        char **bytes, size_t *count, tn_error *err);

/* The same of an open descriptor, from where it stands; `name` is for the
 * sentence. */
tn_status tni_file_read_from(tni_arena *arena, int fd, const char *name,
                             size_t max_bytes, char **bytes, size_t *count,
                             tn_error *err);

/* Replace the file at once: temporary beside it, sync, rename, sync folder.
 * On failure an old file is unchanged and the temporary is gone. */
tn_status tni_file_replace(const char *path, const void *bytes, size_t count,
                           tn_error *err);

/* Flush, sync and close a stream; it is closed even on failure. An earlier
 * write error of the stream is reported here. `path` is for the sentence. */
tn_status tni_file_close_synced(FILE *file, const char *path, tn_error *err);

/* rename(2), then sync the folder that holds `to`. */
tn_status tni_file_rename(const char *from, const char *to, tn_error *err);

/* mkdir -p. */
tn_status tni_folder_make(const char *path, tn_error *err);
tn_status tni_folder_sync(const char *path, tn_error *err);
/* The folder and all below it; does not follow links. None there is fine. */
tn_status tni_folder_remove(const char *path, tn_error *err);

/* PATH.1, or PATH.2 ..., the first that is not there: where what lies at `path`
 * is set aside. */
const char *tni_path_aside(tni_arena *arena, const char *path);

int tni_path_exists(const char *path);
int tni_path_is_folder(const char *path);

/* folder/name; `name` alone where it is absolute or folder is "" or ".". */
char *tni_path_join(tni_arena *arena, const char *folder, const char *name);
/* "a/b.yaml" -> "a"; "b.yaml" -> "."; "/b" -> "/". */
char *tni_path_dirname(tni_arena *arena, const char *path);
/* "a/b.yaml" -> "b.yaml"; "a/b/" -> "b"; "/" -> "/". */
char *tni_path_basename(tni_arena *arena, const char *path);
/* Links and dots resolved; where that fails (not there), joined to the
 * current folder as it is. */
char *tni_path_absolute(tni_arena *arena, const char *path);

#endif
