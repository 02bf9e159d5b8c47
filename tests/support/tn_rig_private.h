/*
 * tn_rig_private.h - an open backend, as the two halves of the rig share it.
 */
#ifndef TN_RIG_PRIVATE_H
#define TN_RIG_PRIVATE_H

#include "tn_rig.h"

#include "base/arena.h"
#include "plugin/host.h"
#include "plugin/registry.h"

struct tn_rig {
    tn_host *host;
    tni_registry *registry;
    tni_arena *arena;
    const char *name;
    const tn_backend *backend;
    tn_device *device;
    tn_backend_caps caps;
};

/* Everything but the device. */
tn_rig *tn_rig_find(const char *backend);

/* Fail the running test with a sentence. */
_Noreturn TN_PRINTF(1, 2) void tn_rig_give_up(const char *format, ...);

#endif
