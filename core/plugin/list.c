/*
 * list.c - every plugin file there is, and what is the matter with it.
 *
 * A file that is not loaded yet is opened in a child process, which writes a
 * few lines, "key value", of what it found:
 *
 *     name lion
 *     version 0.1.0
 *     abi 0 0
 *     component optimizer lion
 *     summary sign of an interpolated momentum
 *     refused /path: built for another machine ...
 */
#include "plugin/registry_private.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "plugin/child.h"

enum { SECONDS = 20 }; /* a driver that is looked for may take its time */

/* ---- in the child ---- */

typedef struct question {
    const tni_registry *registry;
    const char *path;
} question;

/* One line whatever a plugin's strings hold. */
static void tell(int fd, const char *key, const char *value)
{
    char line[1200];
    snprintf(line, sizeof line, "%s %s", key, value);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = '?';
    dprintf(fd, "%s\n", line);
}

static void tell_component(int fd, const tn_component *component)
{
    const tn_component_head *head = component->vtable;
    char text[200];
    snprintf(text, sizeof text, "%s %s", tni_kind_name(component->kind),
             component->name);
    tell(fd, "component", text);
    tell(fd, "summary", head->summary);
}

static void answer(int fd, void *argument)
{
    const question *asked = argument;
    const tni_registry *registry = asked->registry;
    tni_module *module;
    tn_error err = {0};
    const tn_status status = tni_module_open(registry->arena, registry->host,
                                             asked->path, &module, &err);
    if (status != TN_OK) {
        tell(fd, status == TN_EREFUSED ? "refused" : "failed", err.message);
        return;
    }
    tell(fd, "name", module->desc.name);
    tell(fd, "version", module->desc.version);
    dprintf(fd, "abi %u %u\n", module->desc.abi_minor_built,
            module->desc.abi_minor_required);
    for (uint32_t i = 0; i < module->desc.component_count; i++)
        tell_component(fd, &module->desc.components[i]);
}

/* ---- in the parent ---- */

typedef struct words {
    const char **at;
    size_t count, capacity;
} words;

static void add_word(tni_arena *arena, words *list, const char *word)
{
    *TNI_PUSH(arena, list->at, list->count, list->capacity) = word;
}

static void set_components(tni_candidate *c, const words *components,
                           const words *summaries)
{
    c->component = components->at;
    c->summary = summaries->at;
    c->component_count =
        (uint32_t)(components->count < summaries->count ? components->count
                                                        : summaries->count);
}

typedef struct hearing {
    tni_arena *arena;
    tni_candidate *candidate;
    words components, summaries;
} hearing;

static void hear_line(hearing *h, const char *key, const char *value)
{
    tni_candidate *c = h->candidate;
    if (!strcmp(key, "name"))
        c->name = value;
    else if (!strcmp(key, "version"))
        c->version = value;
    else if (!strcmp(key, "component"))
        add_word(h->arena, &h->components, value);
    else if (!strcmp(key, "summary"))
        add_word(h->arena, &h->summaries, value);
    else if (!strcmp(key, "abi"))
        sscanf(value, "%u %u", &c->abi_minor_built, &c->abi_minor_required);
    else {
        c->state = key;
        c->reason = value;
    }
}

static void hear(tni_arena *arena, tni_candidate *c, const char *text)
{
    hearing h = {.arena = arena, .candidate = c};
    char *rest = NULL;
    char *line = strtok_r(tni_arena_strdup(arena, text), "\n", &rest);
    for (; line; line = strtok_r(NULL, "\n", &rest)) {
        char *space = strchr(line, ' ');
        if (!space)
            continue;
        *space = '\0';
        hear_line(&h, line, space + 1);
    }
    set_components(c, &h.components, &h.summaries);
}

static void describe_unopened(const tni_registry *registry, tni_arena *arena,
                              tni_candidate *c)
{
    const char *failure;
    question asked = {registry, c->path};
    const char *text = tni_child_run(arena, answer, &asked, SECONDS, &failure);
    c->state = "available";
    hear(arena, c, text);
    if (failure) {
        c->state = "failed";
        c->reason = failure;
    }
}

static void describe_components(tni_arena *arena, const tn_plugin_desc *desc,
                                tni_candidate *c)
{
    words components = {0}, summaries = {0};
    for (uint32_t i = 0; i < desc->component_count; i++) {
        const tn_component *component = &desc->components[i];
        const tn_component_head *head = component->vtable;
        add_word(arena, &components,
                 tni_arena_printf(arena, "%s %s",
                                  tni_kind_name(component->kind),
                                  component->name));
        add_word(arena, &summaries, head->summary);
    }
    set_components(c, &components, &summaries);
}

static void describe_opened(tni_arena *arena, const tni_module *module,
                            tni_candidate *c)
{
    const tn_plugin_desc *desc = &module->desc;
    const int failed = module->failure.status != TN_OK;
    c->state = failed ? "failed" : "loaded";
    c->reason =
        failed ? tni_arena_strdup(arena, module->failure.message) : NULL;
    c->name = desc->name;
    c->version = desc->version;
    c->abi_minor_built = desc->abi_minor_built;
    c->abi_minor_required = desc->abi_minor_required;
    describe_components(arena, desc, c);
}

/* ---- candidates ---- */

typedef struct candidates {
    const tni_registry *registry;
    tni_arena *arena;
    tni_candidate *at;
    size_t count, capacity;
} candidates;

static int is_same_file(const char *a, const char *b)
{
    struct stat sa, sb;
    return !stat(a, &sa) && !stat(b, &sb) && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The earlier file whose name hides this one. */
static const char *shadow_of(const candidates *list, const char *path)
{
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(base_name(list->at[i].path), base_name(path)))
            return list->at[i].path;
    return NULL;
}

static void add_candidate(candidates *list, const char *path)
{
    const tni_module *module = tni_registry_module(list->registry, path);
    const char *shadow = shadow_of(list, path);
    for (size_t i = 0; i < list->count; i++)
        if (is_same_file(list->at[i].path, path))
            return;
    tni_candidate *c =
        TNI_PUSH(list->arena, list->at, list->count, list->capacity);
    *c = (tni_candidate){.path = path};
    if (module) {
        describe_opened(list->arena, module, c);
    } else {
        describe_unopened(list->registry, list->arena, c);
        if (shadow && !strcmp(c->state, "available")) {
            c->state = "shadowed";
            c->reason = tni_arena_printf(list->arena, "%s comes first", shadow);
        }
    }
}

static int is_plugin_name(const struct dirent *entry)
{
    const size_t length = strlen(entry->d_name);
    return length > 9 && !strncmp(entry->d_name, "tenon-", 6) &&
           !strcmp(entry->d_name + length - 3, ".so");
}

static void add_folder(candidates *list, const char *folder)
{
    struct dirent **entries;
    const int count = scandir(folder, &entries, is_plugin_name, alphasort);
    for (int i = 0; i < count; i++) {
        add_candidate(list, tni_arena_printf(list->arena, "%s/%s", folder,
                                             entries[i]->d_name));
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

uint32_t tni_registry_list(tni_registry *registry, tni_arena *arena,
                           const tni_candidate **found)
{
    candidates list = {.registry = registry, .arena = arena};
    for (const tni_module *m = registry->first; m; m = m->next)
        if (m->given)
            add_candidate(&list, m->path);
    for (size_t i = 0; i < registry->folders.count; i++)
        add_folder(&list, registry->folders.at[i]);
    *found = list.at;
    return (uint32_t)list.count;
}
