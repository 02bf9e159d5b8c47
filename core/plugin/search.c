/*
 * search.c - the folders where plugins may lie.
 *
 * TENON_PLUGIN_PATH, then tenon/plugins-1 beside the library (so that a moved
 * installation still works), then the folder that was configured when Tenon
 * was built. The number is the ABI's major version: an upgrade cannot pick up
 * old files. The current folder is never searched: a relative entry would make
 * what runs depend on where the user stands, so it is ignored aloud.
 */
#define _GNU_SOURCE /* dladdr */
#include "plugin/module.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugin/registry.h"

static void add(tni_arena *arena, tni_folders *folders, const char *folder)
{
    for (size_t i = 0; i < folders->count; i++)
        if (!strcmp(folders->at[i], folder))
            return;
    *TNI_PUSH(arena, folders->at, folders->count, folders->capacity) = folder;
}

static void add_path(tni_arena *arena, const tn_host *host, const char *path,
                     tni_folders *folders)
{
    char *entry = tni_arena_strdup(arena, path), *rest = NULL;
    for (entry = strtok_r(entry, ":", &rest); entry;
         entry = strtok_r(NULL, ":", &rest)) {
        if (entry[0] == '/')
            add(arena, folders, entry);
        else
            host->log(host, TN_LOG_WARNING,
                      "TENON_PLUGIN_PATH: '%s' is not an absolute path and is "
                      "ignored; write it from / on",
                      entry);
    }
}

const char *tni_library_folder(tni_arena *arena)
{
    static const char here = 0; /* any address of ours tells our file */
    Dl_info info;
    char *path, *slash;
    if (!dladdr(&here, &info) || !info.dli_fname)
        return NULL;
    path = realpath(info.dli_fname, NULL);
    if (!path)
        return NULL;
    slash = strrchr(path, '/');
    *(slash == path ? slash + 1 : slash) = '\0';
    const char *folder = tni_arena_strdup(arena, path);
    free(path);
    return folder;
}

void tni_search_folders(tni_arena *arena, const tn_host *host, const char *path,
                        int secure, tni_folders *folders)
{
    const char *beside = tni_library_folder(arena);
    if (path && secure)
        host->log(host, TN_LOG_WARNING,
                  "TENON_PLUGIN_PATH is ignored: this program runs with "
                  "another user's rights");
    else if (path)
        add_path(arena, host, path, folders);
    if (beside)
        add(arena, folders,
            tni_arena_printf(arena, "%s/" TENON_PLUGIN_SUBDIR, beside));
    add(arena, folders, TENON_PLUGIN_DIR);
}

const char *tni_search_file(tni_arena *arena, const tni_folders *folders,
                            tn_kind kind, const char *name)
{
    for (size_t i = 0; i < folders->count; i++) {
        const char *file =
            tni_arena_printf(arena, "%s/tenon-%s-%s.so", folders->at[i],
                             tni_kind_name(kind), name);
        if (!access(file, F_OK))
            return file;
    }
    return NULL;
}

int tni_name_is_valid(const char *name)
{
    return name && *name &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == '\0';
}
