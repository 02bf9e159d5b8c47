/*
 * host.h - the one tn_host there is: log and threads behind a table.
 */
#ifndef TENON_PLUGIN_HOST_H
#define TENON_PLUGIN_HOST_H

#include <tenon/host.h>

/* NULL only when out of memory. The pool is made when it is first asked for. */
tn_host *tni_host_create(void);
/* This process is one of several of a run on this machine: `threads: 0` then
 * means its share of the cores. Before the pool is asked for. */
void tni_host_share(const tn_host *host, uint32_t local_rank,
                    uint32_t local_size);
void tni_host_destroy(tn_host *host); /* after the registry; NULL is fine */

#endif
