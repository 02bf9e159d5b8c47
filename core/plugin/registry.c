/*
 * registry.c - a kind and a name to a component, opening its plugin on the way.
 */
#include "plugin/registry_private.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "config/config.h"

tni_registry *tni_registry_create(const tn_host *host)
{
    tni_arena *arena = tni_arena_create();
    tni_registry *registry = tni_arena_alloc(arena, sizeof *registry);
    *registry = (tni_registry){.arena = arena, .host = host};
    tni_search_folders(arena, host, getenv("TENON_PLUGIN_PATH"),
                       getauxval(AT_SECURE) != 0, &registry->folders);
    return registry;
}

/* Last opened, first finished. */
static void finish(tni_module *module)
{
    if (!module)
        return;
    finish(module->next);
    if (module->desc.fini && module->failure.status == TN_OK)
        module->desc.fini();
}

void tni_registry_destroy(tni_registry *registry)
{
    if (!registry)
        return;
    finish(registry->first);
    for (tni_module *m = registry->first; m; m = m->next)
        tni_module_close_file(m);
    tni_arena_destroy(registry->arena);
}

/* ---- opening ---- */

tni_module *tni_registry_module(const tni_registry *registry, const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return NULL;
    for (tni_module *m = registry->first; m; m = m->next)
        if (m->device == st.st_dev && m->inode == st.st_ino)
            return m;
    return NULL;
}

static void append(tni_registry *registry, tni_module *module)
{
    tni_module **end = &registry->first;
    while (*end)
        end = &(*end)->next;
    *end = module;
}

static tn_status open_file(tni_registry *registry, const char *path,
                           tni_module **module, tn_error *err)
{
    tni_module *m = tni_registry_module(registry, path);
    if (!m) {
        TN_TRY(tni_module_open(registry->arena, registry->host, path, &m, err));
        append(registry, m);
        tni_module_init(m, registry->host, &m->failure);
    }
    if (m->failure.status != TN_OK)
        return tn_fail(err, m->failure.status, "%s", m->failure.message);
    *module = m;
    return TN_OK;
}

static const tn_component *component_of(const tni_module *module, tn_kind kind,
                                        const char *name)
{
    for (uint32_t i = 0; i < module->desc.component_count; i++) {
        const tn_component *c = &module->desc.components[i];
        if (c->kind == kind && !strcmp(c->name, name))
            return c;
    }
    return NULL;
}

static const tni_module *given_with(const tni_registry *registry, tn_kind kind,
                                    const char *name)
{
    for (const tni_module *m = registry->first; m; m = m->next)
        if (m->given && m->failure.status == TN_OK &&
            component_of(m, kind, name))
            return m;
    return NULL;
}

tn_status tni_registry_add_file(tni_registry *registry, const char *path,
                                tn_error *err)
{
    tni_module *module;
    TN_TRY(open_file(registry, path, &module, err));
    for (uint32_t i = 0; i < module->desc.component_count; i++) {
        const tn_component *c = &module->desc.components[i];
        const tni_module *other = given_with(registry, c->kind, c->name);
        if (other && other != module)
            return tn_fail(err, TN_EREFUSED,
                           "%s: %s %s is already given by %s; leave one out",
                           module->path, tni_kind_name(c->kind), c->name,
                           other->path);
    }
    module->given = 1;
    return TN_OK;
}

/* ---- finding ---- */

typedef struct names {
    const char **at;
    size_t count, capacity;
} names;

static void add_name(tni_arena *arena, names *known, const char *name)
{
    for (size_t i = 0; i < known->count; i++)
        if (!strcmp(known->at[i], name))
            return;
    *TNI_PUSH(arena, known->at, known->count, known->capacity) =
        tni_arena_strdup(arena, name);
}

/* NAME of each tenon-KIND-NAME.so in a folder. */
static void add_folder(tni_arena *arena, names *known, const char *folder,
                       const char *prefix)
{
    const size_t length = strlen(prefix);
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        const size_t end = strlen(e->d_name);
        if (end <= length + 3 || strncmp(e->d_name, prefix, length) ||
            strcmp(e->d_name + end - 3, ".so"))
            continue;
        char *name = tni_arena_strdup(arena, e->d_name + length);
        name[end - length - 3] = '\0';
        add_name(arena, known, name);
    }
    closedir(dir);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

uint32_t tni_registry_names(const tni_registry *registry, tni_arena *arena,
                            tn_kind kind, const char *const **list)
{
    names known = {0};
    const char *prefix =
        tni_arena_printf(arena, "tenon-%s-", tni_kind_name(kind));
    for (const tni_module *m = registry->first; m; m = m->next)
        for (uint32_t i = 0; i < m->desc.component_count; i++)
            if (m->given && m->desc.components[i].kind == kind)
                add_name(arena, &known, m->desc.components[i].name);
    for (size_t i = 0; i < registry->folders.count; i++)
        add_folder(arena, &known, registry->folders.at[i], prefix);
    if (known.count)
        qsort(known.at, known.count, sizeof *known.at, by_text);
    *list = known.at;
    return (uint32_t)known.count;
}

static const char *join(tni_arena *arena, const char *const *words,
                        size_t count)
{
    const char *text = "";
    for (size_t i = 0; i < count; i++)
        text = tni_arena_printf(arena, "%s%s%s", text, i ? ", " : "", words[i]);
    return text;
}

static tn_status not_found(const tni_registry *registry, tn_kind kind,
                           const char *name, tn_error *err)
{
    tni_arena *arena = tni_arena_create();
    const char *const *known;
    const uint32_t count = tni_registry_names(registry, arena, kind, &known);
    const char *word = tni_kind_name(kind);
    const char *near = tni_nearest(name, known, count);
    if (count)
        tn_fail(err, TN_ENOTFOUND, "no %s is named '%s'%s%s%s; there is: %s%s",
                word, name, near ? "; did you mean '" : "", near ? near : "",
                near ? "'?" : "", join(arena, known, count),
                near ? ""
                     : "; another comes by --plugin FILE, or lies in a "
                       "folder of TENON_PLUGIN_PATH");
    else
        tn_fail(err, TN_ENOTFOUND,
                "no %s is named '%s': there is no plugin of that kind in %s",
                word, name,
                join(arena, registry->folders.at, registry->folders.count));
    tni_arena_destroy(arena);
    return TN_ENOTFOUND;
}

tn_status tni_registry_find(tni_registry *registry, tn_kind kind,
                            const char *name, const tn_component **component,
                            tn_error *err)
{
    if (!tni_kind(kind))
        return tn_fail(err, TN_EINVALID, "there is no plugin kind %u", kind);
    if (!tni_name_is_valid(name))
        return tn_fail(err, TN_EINVALID,
                       "'%s' is no name of a plugin: names are [a-z0-9_-]+; "
                       "a file is opened with --plugin FILE",
                       name ? name : "");
    const tni_module *given = given_with(registry, kind, name);
    if (given) {
        *component = component_of(given, kind, name);
        return TN_OK;
    }
    tni_module *module;
    const char *path =
        tni_search_file(registry->arena, &registry->folders, kind, name);
    if (!path)
        return not_found(registry, kind, name, err);
    TN_TRY(open_file(registry, path, &module, err));
    const tn_component *found = component_of(module, kind, name);
    if (!found)
        return tn_fail(err, TN_EREFUSED,
                       "%s: it offers no %s named '%s', as its file name says",
                       path, tni_kind_name(kind), name);
    *component = found;
    return TN_OK;
}

const void *tni_component_vtable(tni_registry *registry,
                                 const tn_component *component)
{
    (void)registry; /* contract.c has put its copy in the component */
    return component->vtable;
}

/* ---- telling ---- */

uint32_t tni_registry_opened(const tni_registry *registry, tni_arena *arena,
                             const tni_opened **opened)
{
    tni_opened *list = NULL;
    size_t count = 0, capacity = 0;
    for (const tni_module *m = registry->first; m; m = m->next)
        if (m->failure.status == TN_OK)
            *TNI_PUSH(arena, list, count, capacity) =
                (tni_opened){.path = tni_arena_strdup(arena, m->path),
                             .name = m->desc.name,
                             .version = m->desc.version};
    *opened = list;
    return (uint32_t)count;
}

const char *tni_registry_sha256(tni_registry *registry, const tni_opened *of)
{
    tn_error why = {0};
    tni_module *m = registry->first;
    while (strcmp(m->path, of->path))
        m = m->next;
    return tni_module_measure(m, &why) == TN_OK ? m->sha256 : NULL;
}

uint32_t tni_registry_components(const tni_registry *registry, const char *path,
                                 const tn_component **components)
{
    const tni_module *module = tni_registry_module(registry, path);
    if (!module || module->failure.status != TN_OK)
        return 0;
    *components = module->desc.components;
    return module->desc.component_count;
}

uint32_t tni_registry_folders(const tni_registry *registry,
                              const char *const **folders)
{
    *folders = registry->folders.at;
    return (uint32_t)registry->folders.count;
}
