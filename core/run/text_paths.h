/*
 * text_paths.h - which files "data/web", "*.jsonl.gz" and "a.txt" are.
 */
#ifndef TENON_TEXT_PATHS_H
#define TENON_TEXT_PATHS_H

#include "base/arena.h"

/*
 * Files, patterns of a shell (* ? [...]) and folders become a list of files:
 * in the order given, each folder's and each pattern's sorted by name, folders
 * with all below them. From a folder come .txt, .md, .json, .jsonl and .ndjson
 * files, also with .gz or .zst after it; what begins with a dot does not. Links
 * are followed, but not to a folder that they lie in.
 * TN_ENOTFOUND where one of them stands for no file.
 */
tn_status tni_text_paths(tni_arena *arena, const char *const *given,
                         size_t given_count, const char *const **paths,
                         size_t *count, tn_error *err);

/* Whether the name says JSON lines: .jsonl, .ndjson or .json, then maybe .gz or
 * .zst. */
int tni_path_is_jsonl(const char *path);

/* Whether it says neither that nor .gz or .zst. */
int tni_path_is_plain_text(const char *path);

#endif
