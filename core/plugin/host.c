/*
 * host.c - what the program lends to its plugins.
 */
#include "plugin/host.h"

#include <stdlib.h>

#include <tenon/plugin.h>

#include "base/log.h"
#include "base/threads.h"

typedef struct host {
    tn_host table; /* first: a tn_host * of ours is its host * */
    tn_pool *pool;
} host;

static uint32_t share_of_cores(uint32_t processes)
{
    const uint32_t cores = tni_core_count();
    return cores > processes ? cores / processes : 1;
}

static tn_pool *pool_of(const tn_host *table, uint32_t count)
{
    host *self = (host *)table;
    tn_error err = {0};
    if (!count && table->local_size > 1)
        count = share_of_cores(table->local_size);
    if (!self->pool && tni_pool_create(count, &self->pool, &err) != TN_OK)
        table->log(table, TN_LOG_ERROR, "%s", err.message);
    return self->pool;
}

tn_host *tni_host_create(void)
{
    host *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->table = (tn_host){.struct_size = (uint32_t)sizeof self->table,
                            .abi_minor = TN_ABI_MINOR,
                            .log = tni_host_log,
                            .pool = pool_of,
                            .pool_count = tni_pool_count,
                            .pool_run = tni_pool_run,
                            .pool_barrier = tni_pool_barrier};
    return &self->table;
}

void tni_host_share(const tn_host *table, uint32_t local_rank,
                    uint32_t local_size)
{
    host *self = (host *)table;
    self->table.local_rank = local_rank;
    self->table.local_size = local_size;
}

void tni_host_destroy(tn_host *table)
{
    host *self = (host *)table;
    if (!self)
        return;
    if (self->pool)
        tni_pool_destroy(self->pool);
    free(self);
}
