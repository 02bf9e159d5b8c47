/*
 * contract.c - does a descriptor keep the rules of plugin.h?
 *
 * Everything here comes from another build, perhaps of other headers: sizes
 * and strides are the plugin's own. Each struct is therefore copied into a
 * zero-filled one of this program's size: what an older plugin does not have
 * reads as zero, what a newer one has beyond is dropped. After that nobody
 * else in the core needs to think about versions.
 */
#include "plugin/module.h"

#include <string.h>

#include "plugin/registry.h"

enum {
    /* Sizes in ABI 1.0, below which nothing goes. */
    FIRST_DESC = offsetof(tn_plugin_desc, fini) + sizeof(void (*)(void)),
    FIRST_COMPONENT = offsetof(tn_component, reserved) + sizeof(uint32_t),
    /* A size or count beyond these is a damaged file, not a newer one. */
    MAX_STRUCT = 65536,
    MAX_COMPONENTS = 64,
};

TN_PRINTF(3, 4)
static tn_status refuse(const tni_module *module, tn_error *err,
                        const char *format, ...)
{
    char reason[800];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return tn_fail(err, TN_EREFUSED, "%s: %s", module->path, reason);
}

/* Copy what both sides have of a struct; ours is zero-filled already. */
static void adopt(void *ours, size_t our_size, const void *theirs,
                  size_t their_size)
{
    memcpy(ours, theirs, our_size < their_size ? our_size : their_size);
}

static tn_status check_versions(const tn_host *host,
                                const tn_plugin_desc *theirs,
                                const tni_module *module, tn_error *err)
{
    if (theirs->magic != TN_PLUGIN_MAGIC)
        return refuse(module, err,
                      "not a Tenon plugin: its magic is 0x%08x, not 0x%08x",
                      theirs->magic, TN_PLUGIN_MAGIC);
    if (theirs->struct_size < FIRST_DESC || theirs->struct_size > MAX_STRUCT)
        return refuse(module, err,
                      "its descriptor claims %u bytes; ABI 1.0 has %d and no "
                      "version more than %d",
                      theirs->struct_size, FIRST_DESC, MAX_STRUCT);
    if (!theirs->abi_tag || strcmp(theirs->abi_tag, TN_ABI_TAG))
        return refuse(module, err,
                      "built for another machine or mode: the plugin is "
                      "\"%s\", this program is \"%s\"; build them alike",
                      theirs->abi_tag ? theirs->abi_tag : "", TN_ABI_TAG);
    if (theirs->abi_minor_required > host->abi_minor)
        return refuse(module, err,
                      "it requires plugin ABI %d.%u and this program has "
                      "%d.%u; update Tenon, or build the plugin with this "
                      "Tenon's headers",
                      TN_ABI_MAJOR, theirs->abi_minor_required, TN_ABI_MAJOR,
                      host->abi_minor);
    return TN_OK;
}

/* ---- components ---- */

static tn_status check_needs(const tni_module *module, const char *name,
                             const tni_kind_facts *kind, const char *vtable,
                             tn_error *err)
{
    for (const tni_member *m = kind->required; m->name; m++) {
        void (*function)(void);
        memcpy(&function, vtable + m->offset, sizeof function);
        if (!function)
            return refuse(module, err,
                          "%s %s does not set .%s, which every %s needs",
                          kind->name, name, m->name, kind->name);
    }
    return TN_OK;
}

static tn_status adopt_vtable(tni_arena *arena, const tni_module *module,
                              const tni_kind_facts *kind,
                              tn_component *component, tn_error *err)
{
    if (!component->vtable || component->vtable_size < kind->first ||
        component->vtable_size > MAX_STRUCT)
        return refuse(
            module, err, "%s %s has a table of %u bytes; ABI 1.0 has %u",
            kind->name, component->name,
            component->vtable ? component->vtable_size : 0, kind->first);
    char *ours = tni_arena_alloc(arena, kind->size);
    adopt(ours, kind->size, component->vtable, component->vtable_size);
    TN_TRY(check_needs(module, component->name, kind, ours, err));
    tn_component_head *head = (tn_component_head *)(void *)ours;
    tn_error reason = {0};
    if (tni_option_table_adopt(arena, &head->options, &head->options,
                               &reason) != TN_OK)
        return refuse(module, err, "%s %s: %s", kind->name, component->name,
                      reason.message);
    if (!head->summary)
        head->summary = "";
    component->vtable = ours;
    component->vtable_size = kind->size;
    return TN_OK;
}

static tn_status check_duplicate(const tni_module *module,
                                 const tn_component *before, uint32_t count,
                                 const tn_component *component, tn_error *err)
{
    for (uint32_t i = 0; i < count; i++)
        if (before[i].kind == component->kind &&
            !strcmp(before[i].name, component->name))
            return refuse(module, err, "it lists %s %s twice",
                          tni_kind_name(component->kind), component->name);
    return TN_OK;
}

static tn_status adopt_component(tni_arena *arena, const tni_module *module,
                                 tn_component *ours, uint32_t index,
                                 tn_error *err)
{
    tn_component *component = &ours[index];
    const tni_kind_facts *kind = tni_kind(component->kind);
    if (!tni_name_is_valid(component->name))
        return refuse(module, err,
                      "component %u is named '%s'; names are [a-z0-9_-]+",
                      index, component->name ? component->name : "");
    if (!kind)
        return refuse(module, err,
                      "component %s is of kind %u, which this "
                      "program does not know",
                      component->name, component->kind);
    TN_TRY(check_duplicate(module, ours, index, component, err));
    component->struct_size = (uint32_t)sizeof *component;
    return adopt_vtable(arena, module, kind, component, err);
}

/* Of a plugin built with later headers, kinds that came with them. */
static int is_from_later(const tn_plugin_desc *desc, const tn_host *host,
                         const tn_component *component)
{
    return desc->abi_minor_built > host->abi_minor &&
           !tni_kind(component->kind);
}

static tn_status adopt_components(tni_arena *arena, const tn_host *host,
                                  tni_module *module, tn_error *err)
{
    tn_plugin_desc *desc = &module->desc;
    const char *theirs = (const char *)desc->components;
    const size_t stride = desc->component_stride;
    const uint32_t count = desc->component_count;
    if (!theirs || count == 0 || count > MAX_COMPONENTS ||
        stride < FIRST_COMPONENT || stride > MAX_STRUCT)
        return refuse(module, err,
                      "it lists %u components of %zu bytes; there must be 1 to "
                      "%d of at least %d",
                      theirs ? count : 0, stride, MAX_COMPONENTS,
                      FIRST_COMPONENT);
    tn_component *ours = tni_arena_alloc(arena, count * sizeof *ours);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        ours[kept] = (tn_component){0};
        adopt(&ours[kept], sizeof *ours, theirs + i * stride, stride);
        if (is_from_later(desc, host, &ours[kept]))
            continue;
        TN_TRY(adopt_component(arena, module, ours, kept, err));
        kept++;
    }
    desc->components = ours;
    desc->component_count = kept;
    desc->component_stride = (uint32_t)sizeof *ours;
    return TN_OK;
}

tn_status tni_module_adopt(tni_arena *arena, const tn_host *host,
                           const tn_plugin_desc *theirs, tni_module *module,
                           tn_error *err)
{
    tn_plugin_desc *desc = &module->desc;
    TN_TRY(check_versions(host, theirs, module, err));
    adopt(desc, sizeof *desc, theirs, theirs->struct_size);
    desc->struct_size = (uint32_t)sizeof *desc;
    if (!tni_name_is_valid(desc->name))
        return refuse(module, err,
                      "it calls itself '%s'; names are "
                      "[a-z0-9_-]+",
                      desc->name ? desc->name : "");
    if (!desc->version)
        desc->version = "0";
    if (!desc->license)
        desc->license = "unknown";
    return adopt_components(arena, host, module, err);
}
