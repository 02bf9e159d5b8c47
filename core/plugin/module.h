/*
 * module.h - one plugin file, from a path to components that can be trusted.
 *
 * Four steps, one file each, each a guard for the next:
 *     search.c    where files may lie
 *     check.c     may this file be opened at all? (no code of it runs yet)
 *     load.c      dlopen, the symbol, init
 *     contract.c  does the descriptor keep the rules of plugin.h?
 */
#ifndef TENON_MODULE_H
#define TENON_MODULE_H

#include <sys/types.h>

#include <tenon/plugin.h>

#include "base/arena.h"
#include "base/sha256.h"

typedef struct tni_module {
    struct tni_module *next;
    const char *path; /* real: no links */
    dev_t device;     /* with the inode: the same file under another name */
    ino_t inode;
    void *handle;
    tn_plugin_desc desc; /* ours: components, vtables and options are copies
                            in the shapes this program was built with */
    uint32_t given;      /* by --plugin */
    tn_error failure;    /* of init: it is not tried twice */
    int file;            /* open for reading until it is measured, then -1 */
    char sha256[TNI_SHA256_HEX]; /* of it, once measured */
} tni_module;

/* ---- search.c ---- */

typedef struct tni_folders {
    const char **at;
    size_t count, capacity;
} tni_folders;

/* The folders to search, in order. `path`: TENON_PLUGIN_PATH, NULL where it is
 * not set; `secure`: this process runs with more rights than its user's, who
 * therefore has no say. */
void tni_search_folders(tni_arena *arena, const tn_host *host, const char *path,
                        int secure, tni_folders *folders);

/* tenon-KIND-NAME.so in the first folder that has it, else NULL. */
const char *tni_search_file(tni_arena *arena, const tni_folders *folders,
                            tn_kind kind, const char *name);

/* 1 where a name is [a-z0-9_-]+. */
int tni_name_is_valid(const char *name);

/* ---- check.c ---- */

/*
 * Open `path` for reading if it can be trusted: a regular file of root's or
 * the user's own that nobody else may change, in a folder of which the same
 * holds. TN_EREFUSED says what to change. Fills path, device, inode, file.
 */
tn_status tni_module_check(tni_arena *arena, const tn_host *host,
                           const char *path, tni_module *module, tn_error *err);

/* Fill sha256. Kernels make plugins of many megabytes, and most runs end
 * without asking: it is found out on demand, of the file as it was opened,
 * whatever has its name by then. */
tn_status tni_module_measure(tni_module *module, tn_error *err);
void tni_module_close_file(tni_module *module);

/* ---- load.c ---- */

/* Check, dlopen and read the descriptor; init has not run. */
tn_status tni_module_open(tni_arena *arena, const tn_host *host,
                          const char *path, tni_module **module, tn_error *err);
tn_status tni_module_init(tni_module *module, const tn_host *host,
                          tn_error *err);

/* ---- contract.c ---- */

/* Read a plugin's descriptor into module->desc; TN_EREFUSED with both sides of
 * what does not agree. */
tn_status tni_module_adopt(tni_arena *arena, const tn_host *host,
                           const tn_plugin_desc *theirs, tni_module *module,
                           tn_error *err);

/* Every row of a table in this program's shape, or a sentence. */
tn_status tni_option_table_adopt(tni_arena *arena, const tn_option_table *from,
                                 tn_option_table *to, tn_error *err);

/* ---- kinds.c ---- */

/* A function that a vtable must have, and where. */
typedef struct tni_member {
    const char *name;
    uint32_t offset;
} tni_member;

typedef struct tni_kind_facts {
    const char *name;
    uint32_t size;              /* of its vtable in this program */
    uint32_t first;             /* in ABI 1.0: no plugin has a shorter one */
    const tni_member *required; /* ends with a NULL name */
} tni_kind_facts;

/* NULL for a number that is no kind of this program. */
const tni_kind_facts *tni_kind(tn_kind kind);

#endif
