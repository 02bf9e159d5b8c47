/*
 * threads.h - the program's one pool of threads (struct tn_pool of host.h).
 *
 * Threads sleep between regions and spin briefly inside them. Nothing is
 * allocated after creation. The table in tenon/host.h forwards to these.
 */
#ifndef TENON_THREADS_H
#define TENON_THREADS_H

#include <tenon/host.h>

/* count includes the caller; 0: tni_core_count. */
tn_status tni_pool_create(uint32_t count, tn_pool **pool, tn_error *err);
void tni_pool_destroy(tn_pool *pool);
uint32_t tni_pool_count(const tn_pool *pool);
void tni_pool_run(tn_pool *pool, tn_pool_body body, void *argument);
void tni_pool_barrier(tn_pool *pool);

/* Logical processors this process may run on, at most as many as its control
 * group (a container's --cpus) gives it the time of. */
uint32_t tni_core_count(void);

/* The latter, rounded up, by the system's files below `root`, which is "" but
 * in tests; UINT32_MAX: no limit. */
uint32_t tni_core_quota(const char *root);

#endif
