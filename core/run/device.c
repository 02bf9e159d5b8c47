/*
 * device.c - finding the best device, or the one that was asked for.
 */
#include "run/device.h"

typedef struct {
    tni_found_device *at;
    size_t count, capacity;
} found_devices;

static void add_failure(tni_arena *arena, found_devices *all, const char *name,
                        const char *why)
{
    tni_found_device *d = TNI_PUSH(arena, all->at, all->count, all->capacity);
    *d = (tni_found_device){.backend = name,
                            .info = {.struct_size = sizeof d->info}};
    snprintf(d->info.name, sizeof d->info.name, "none");
    snprintf(d->info.note, sizeof d->info.note, "%.380s", why);
}

static void probe_all(const tni_reader *reader, const char *name,
                      found_devices *all)
{
    const tn_component *component;
    tn_error err = {0};
    if (tni_registry_find(reader->registry, TN_KIND_BACKEND, name, &component,
                          &err) != TN_OK) {
        add_failure(reader->arena, all, name, err.message);
        return;
    }
    const tn_backend *backend =
        tni_component_vtable(reader->registry, component);
    for (uint32_t index = 0;; index++) {
        tni_found_device d = {.backend = component->name,
                              .number = index,
                              .info = {.struct_size = sizeof d.info}};
        tn_error why = {0};
        const tn_status status =
            backend->probe(reader->host, index, &d.info, &why);
        if (status == TN_OK)
            *TNI_PUSH(reader->arena, all->at, all->count, all->capacity) = d;
        else if (status != TN_EEND)
            add_failure(reader->arena, all, name, why.message);
        if (status != TN_OK)
            return;
    }
}

uint32_t tni_device_list(const tni_reader *reader,
                         const tni_found_device **devices)
{
    const char *const *names;
    const uint32_t count = tni_registry_names(reader->registry, reader->arena,
                                              TN_KIND_BACKEND, &names);
    found_devices all = {0};
    for (uint32_t i = 0; i < count; i++)
        probe_all(reader, names[i], &all);
    *devices = all.at;
    return (uint32_t)all.count;
}

/* `backend: auto`, and what its probe says. */
static tn_status choose(const tni_reader *reader, tni_use *use,
                        tn_device_info *info, tn_error *err)
{
    const tni_found_device *devices, *best = NULL;
    const uint32_t count = tni_device_list(reader, &devices);
    char reasons[768] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (devices[i].info.score &&
            (!best || devices[i].info.score > best->info.score))
            best = &devices[i];
        if (!devices[i].info.score && used < sizeof reasons)
            used += (size_t)snprintf(reasons + used, sizeof reasons - used,
                                     "; %s: %s", devices[i].backend,
                                     devices[i].info.note);
    }
    if (!best)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "backend: auto found no backend that can run here%s",
                       count ? reasons : "; no backend plugin is installed");
    while (best > devices && best[-1].backend == best->backend)
        best--; /* the first is what opens */
    *info = best->info;
    tni_yaml *node = tni_yaml_scalar(reader->arena, best->backend);
    return tni_use_read(reader, TN_KIND_BACKEND, node, "backend", NULL, use,
                        err);
}

static uint32_t supports(void *of, const tn_plan_node *node)
{
    const tni_device *d = of;
    return d->backend->supports(d->device, node);
}

tn_status tni_device_open(const tni_reader *reader, const tni_use *use,
                          tni_device *device, tn_error *err)
{
    tni_use chosen = *use;
    tni_device d = {.info = {.struct_size = sizeof d.info},
                    .caps = {.struct_size = sizeof d.caps}};
    const tn_backend *named = use->vtable;
    TN_TRY(use->name ? named->probe(reader->host, 0, &d.info, err)
                     : choose(reader, &chosen, &d.info, err));
    d.backend = chosen.vtable;
    d.name = chosen.name;
    if (!d.info.score)
        return tn_fail(err, TN_EUNSUPPORTED, "backend %s cannot run here: %s",
                       chosen.name, d.info.note);
    TN_TRY(d.backend->open(reader->host, chosen.options, &d.device, err));
    d.backend->caps(d.device, &d.caps);
    if (reader->host->local_size > 1 && d.caps.flags & TN_UNIFIED_MEMORY)
        d.caps.memory_bytes /= reader->host->local_size; /* it is one memory */
    *device = d;
    device->target =
        (tni_target){.map_inputs = d.caps.map_inputs,
                     .map_instructions = d.caps.map_instructions,
                     .supports = d.backend->supports ? supports : NULL,
                     .of = device,
                     .flags = d.caps.flags};
    return TN_OK;
}

void tni_device_close(tni_device *device)
{
    if (device->device)
        device->backend->close(device->device);
    *device = (tni_device){0};
}
