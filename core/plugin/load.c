/*
 * load.c - the only dlopen of plugins in the tree.
 *
 * RTLD_NOW: a missing symbol is a sentence here, not a crash in the middle of
 * a run. RTLD_LOCAL: plugins do not see each other.
 */
#include "plugin/module.h"

#include <dlfcn.h>

/* The symbol of a later major version, to tell it from a stranger. */
static uint32_t newer_major(void *handle)
{
    for (uint32_t major = TN_ABI_MAJOR + 1; major <= 9; major++) {
        char symbol[16];
        snprintf(symbol, sizeof symbol, "tn_plugin_v%u", major);
        if (dlsym(handle, symbol))
            return major;
    }
    return 0;
}

static tn_status no_symbol(const tni_module *module, tn_error *err)
{
    const uint32_t major = newer_major(module->handle);
    if (major)
        return tn_fail(err, TN_EREFUSED,
                       "%s: built for a newer Tenon: it has plugin ABI %u and "
                       "this program %d; update Tenon, or build the plugin "
                       "with this Tenon's headers",
                       module->path, major, TN_ABI_MAJOR);
    return tn_fail(err, TN_EREFUSED,
                   "%s: not a Tenon plugin: it exports no tn_plugin_v%d (see "
                   "the end of <tenon/plugin.h>)",
                   module->path, TN_ABI_MAJOR);
}

static tn_status load(tni_arena *arena, const tn_host *host, tni_module *module,
                      tn_error *err)
{
    const tn_plugin_desc *theirs;
    module->handle = dlopen(module->path, RTLD_NOW | RTLD_LOCAL);
    if (!module->handle)
        return tn_fail(err, TN_EIO, "the linker cannot load it: %s", dlerror());
    theirs = dlsym(module->handle, "tn_plugin_v1");
    const tn_status status =
        theirs ? tni_module_adopt(arena, host, theirs, module, err)
               : no_symbol(module, err);
    if (status != TN_OK)
        dlclose(module->handle); /* nothing of it but constructors has run */
    return status;
}

tn_status tni_module_open(tni_arena *arena, const tn_host *host,
                          const char *path, tni_module **module, tn_error *err)
{
    tni_module *opened = tni_arena_alloc(arena, sizeof *opened);
    TN_TRY(tni_module_check(arena, host, path, opened, err));
    const tn_status status = load(arena, host, opened, err);
    if (status == TN_OK)
        *module = opened;
    else
        tni_module_close_file(opened);
    return status;
}

tn_status tni_module_init(tni_module *module, const tn_host *host,
                          tn_error *err)
{
    if (!module->desc.init)
        return TN_OK;
    tn_error reason = {0};
    const tn_status status = module->desc.init(host, &reason);
    if (status == TN_OK)
        return TN_OK;
    return tn_fail(err, status, "%s: plugin %s did not start: %s", module->path,
                   module->desc.name,
                   reason.message[0] ? reason.message : "it gave no reason");
}
