/*
 * component.h - a plugin's component as a config asks for it.
 *
 *     tokenizer: byte                 a name alone, or
 *     backend: {plugin: cpu, threads: 2}
 *
 * Reading one finds the plugin, checks its options and writes their defaults
 * back, so that the tree can be saved as the resolved config.
 */
#ifndef TENON_COMPONENT_H
#define TENON_COMPONENT_H

#include <tenon/dataset.h>

#include "config/config.h"
#include "plugin/registry.h"

/* What reading a config needs, lent for the length of the run. */
typedef struct tni_reader {
    tni_arena *arena;
    tni_registry *registry;
    const tn_host *host;
    const char *base; /* the folder relative paths start from */
} tni_reader;

typedef struct tni_use {
    tn_kind kind;
    const char *name;   /* NULL: the config does not ask for one */
    const void *vtable; /* tn_optimizer *, tn_schedule * ... by kind */
    const void *options;
} tni_use;

/*
 * Read `node` (a name, or a map with `plugin:`), which becomes a map with every
 * option filled in. `where` is its dotted path; keys in `reserved` (NULL-ended,
 * may be NULL) belong to the caller.
 */
tn_status tni_use_read(const tni_reader *reader, tn_kind kind, tni_yaml *node,
                       const char *where, const char *const *reserved,
                       tni_use *use, tn_error *err);

/* Refuse keys of `map` that are not in `names`, with the nearest one. */
tn_status tni_check_keys(const tni_yaml *map, const char *where,
                         const char *const *names, size_t count, tn_error *err);

/* tokenizer.c: an opened tokenizer with its identity; vtable NULL where the
 * config names none. */
tn_status tni_tokenizer_open(const tn_host *host, const tni_use *use,
                             tn_tokenizer_handle *tokenizer, tn_error *err);
void tni_tokenizer_close(tn_tokenizer_handle *tokenizer);
/* The id that this vocabulary begins texts with, -1 where it has none. */
int32_t tni_tokenizer_begin(const tn_tokenizer_handle *tokenizer);

#endif
