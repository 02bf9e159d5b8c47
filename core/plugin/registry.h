/*
 * registry.h - finding, checking, opening and remembering plugins.
 *
 * The only dlopen of plugins in the tree. A file is opened when a config or
 * command asks for its component, after its owner and permissions have been
 * checked; initialised plugins are never closed.
 *
 * File name: tenon-KIND-NAME.so. Search order: files given by --plugin;
 * TENON_PLUGIN_PATH (absolute entries, ignored when setuid); tenon/plugins-1/
 * beside libtenon; the compiled-in directory.
 */
#ifndef TENON_REGISTRY_H
#define TENON_REGISTRY_H

#include <tenon/plugin.h>

#include "base/arena.h"

typedef struct tni_registry tni_registry;

/* host: lent to every plugin; must outlive the registry. */
tni_registry *tni_registry_create(const tn_host *host);
void tni_registry_destroy(tni_registry *registry); /* fini, never dlclose */

/* --plugin FILE: open now, search first in it. */
tn_status tni_registry_add_file(tni_registry *registry, const char *path,
                                tn_error *err);

/* The component, opening its plugin if needed. TN_ENOTFOUND lists what there
 * is of that kind, nearest name first; TN_EREFUSED and others say why a
 * candidate was turned down, both sides of a mismatch. */
tn_status tni_registry_find(tni_registry *registry, tn_kind kind,
                            const char *name, const tn_component **component,
                            tn_error *err);

/* What there is of a kind, sorted: by file names and by what --plugin files
 * brought. Nothing is opened. */
uint32_t tni_registry_names(const tni_registry *registry, tni_arena *arena,
                            tn_kind kind, const char *const **names);

/* A vtable as this program knows it: where the plugin's is shorter (older
 * minor), the rest is NULL. The registry owns the copy, and so it does the
 * component itself: its strides and sizes are this program's. */
const void *tni_component_vtable(tni_registry *registry,
                                 const tn_component *component);

/* Every candidate file: opened in a child process when not yet loaded, so that
 * one that crashes is one line. */
typedef struct tni_candidate {
    const char *path;
    /* "loaded", "available", "shadowed" (by the same file name in a folder
     * searched earlier), "refused", "failed" */
    const char *state;
    const char *reason; /* for the last three; else NULL */
    const char *name;   /* NULL where unreadable */
    const char *version;
    uint32_t abi_minor_built, abi_minor_required;
    uint32_t component_count;
    const char *const *component; /* "arch transformer" */
    const char *const *summary;   /* of each */
} tni_candidate;

uint32_t tni_registry_list(tni_registry *registry, tni_arena *arena,
                           const tni_candidate **candidates);

/* Every plugin opened so far, in that order. In `arena`. */
typedef struct tni_opened {
    const char *path; /* real: no links */
    const char *name;
    const char *version;
} tni_opened;

uint32_t tni_registry_opened(const tni_registry *registry, tni_arena *arena,
                             const tni_opened **opened);

/* Of the file that was opened, in hex: the run's manifest records which bytes
 * took part. The registry's. NULL where it can no longer be read, which is no
 * reason to lose a checkpoint. */
const char *tni_registry_sha256(tni_registry *registry, const tni_opened *of);

/* The components that a --plugin file brought, as find returns them. */
uint32_t tni_registry_components(const tni_registry *registry, const char *path,
                                 const tn_component **components);

/* Folders searched, in order; and the folder of libtenon, or of the program
 * where it is linked into it: what is installed beside it is found from there.
 */
uint32_t tni_registry_folders(const tni_registry *registry,
                              const char *const **folders);
const char *tni_library_folder(tni_arena *arena);

const char *tni_kind_name(tn_kind kind);
tn_kind tni_kind_of(const char *name); /* 0 where unknown */

#endif
