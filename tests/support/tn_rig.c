/*
 * tn_rig.c - opening backends the way a run does: registry, options, probe.
 *
 * Each rig has a host, and so a pool, of its own: the first caller decides how
 * many threads a pool has, and tests compare numbers of threads.
 */
#include "tn_rig_private.h"

#include <dirent.h>

#include "config/config.h"

void tn_rig_give_up(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprint_error(format, args);
    va_end(args);
    print_error("\n");
    fail();
    abort(); /* fail() does not come back */
}

/* ---- opening ---- */

static const tn_backend *find(tn_rig *rig, const char *name)
{
    tn_error err = TN_ERROR_NONE;
    const tn_component *component;
    if (tni_registry_find(rig->registry, TN_KIND_BACKEND, name, &component,
                          &err) != TN_OK)
        tn_rig_give_up("backend %s: %s", name, err.message);
    return tni_component_vtable(rig->registry, component);
}

static void *fill_options(tn_rig *rig, const char *text)
{
    static const char *const reserved[] = {NULL};
    const tn_option_table *table = &rig->backend->options;
    void *options = tni_arena_alloc(rig->arena, table->size + 1u);
    tn_error err = TN_ERROR_NONE;
    tni_yaml *yaml = NULL;
    if (tni_config_parse(rig->arena, "(rig)", text, strlen(text), &yaml,
                         &err) != TN_OK ||
        tni_options_fill(rig->arena, table, yaml, rig->name, reserved, NULL,
                         options, &err) != TN_OK)
        tn_rig_give_up("backend %s, options %s: %s", rig->name, text,
                       err.message);
    return options;
}

tn_rig *tn_rig_find(const char *backend)
{
    tn_rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->host = tni_host_create();
    assert_non_null(rig->host);
    rig->registry = tni_registry_create(rig->host);
    rig->arena = tni_arena_create();
    rig->name = tni_arena_strdup(rig->arena, backend);
    rig->backend = find(rig, backend);
    return rig;
}

tn_rig *tn_rig_open(const char *backend, const char *options)
{
    tn_rig *rig = tn_rig_find(backend);
    tn_error err = TN_ERROR_NONE;
    if (rig->backend->open(rig->host, fill_options(rig, options), &rig->device,
                           &err) != TN_OK)
        tn_rig_give_up("backend %s: %s", backend, err.message);
    rig->caps.struct_size = (uint32_t)sizeof rig->caps;
    rig->backend->caps(rig->device, &rig->caps);
    return rig;
}

void tn_rig_close(tn_rig *rig)
{
    if (!rig)
        return;
    if (rig->device)
        rig->backend->close(rig->device);
    tni_registry_destroy(rig->registry);
    tni_host_destroy(rig->host);
    tni_arena_destroy(rig->arena);
    free(rig);
}

int tn_rig_has_option(const tn_rig *rig, const char *name)
{
    const tn_option_table *table = &rig->backend->options;
    for (uint32_t i = 0; i < table->count; i++)
        if (!strcmp(table->at[i].name, name))
            return 1;
    return 0;
}

int tn_rig_computes(const tn_rig *rig, tn_dtype dtype)
{
    const uint32_t bit = dtype == TN_F64    ? TN_PRECISION_F64
                         : dtype == TN_BF16 ? TN_PRECISION_BF16
                                            : TN_PRECISION_F32;
    return (rig->caps.precisions & bit) != 0;
}

uint32_t tn_rig_score(const tn_rig *rig)
{
    tn_device_info info = {.struct_size = (uint32_t)sizeof info};
    return rig->backend->probe(rig->host, 0, &info, NULL) == TN_OK ? info.score
                                                                   : 0;
}

/* ---- finding ---- */

static int can_run(const char *name)
{
    tn_device_info info = {.struct_size = (uint32_t)sizeof info};
    tn_error err = TN_ERROR_NONE;
    tn_rig *rig = tn_rig_find(name);
    const tn_status status = rig->backend->probe(rig->host, 0, &info, &err);
    const int can = status == TN_OK && info.score > 0;
    if (!can)
        print_message("backend %s is left out: %s\n", name,
                      status == TN_OK ? info.note : err.message);
    tn_rig_close(rig);
    return can;
}

/* "cpu" of "tenon-backend-cpu.so", or NULL. */
static char *backend_name(const char *file)
{
    static const char first[] = "tenon-backend-", last[] = ".so";
    const size_t length = strlen(file), before = sizeof first - 1,
                 after = sizeof last - 1;
    if (length <= before + after || strncmp(file, first, before) ||
        strcmp(file + length - after, last))
        return NULL;
    return strndup(file + before, length - before - after);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

uint32_t tn_rig_backends(const char *names[], uint32_t capacity)
{
    const char *folder = getenv("TENON_PLUGIN_PATH");
    DIR *dir = folder ? opendir(folder) : NULL;
    uint32_t count = 0;
    if (!dir)
        tn_rig_give_up("TENON_PLUGIN_PATH does not name a folder: %s",
                       folder ? folder : "(not set)");
    for (struct dirent *entry; (entry = readdir(dir)) && count < capacity;) {
        char *name = backend_name(entry->d_name);
        if (name && can_run(name))
            names[count++] = name;
        else
            free(name);
    }
    closedir(dir);
    qsort(names, count, sizeof *names, by_name);
    return count;
}
