/*
 * registry_private.h - the registry's inside, shared by registry.c and list.c.
 */
#ifndef TENON_REGISTRY_PRIVATE_H
#define TENON_REGISTRY_PRIVATE_H

#include "plugin/module.h"
#include "plugin/registry.h"

struct tni_registry {
    tni_arena *arena;
    const tn_host *host;
    tni_folders folders;
    tni_module *first; /* in the order they were opened */
};

/* The module already opened from this file, under whatever name. */
tni_module *tni_registry_module(const tni_registry *registry, const char *path);

#endif
