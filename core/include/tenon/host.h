/*
 * host.h - what the program lends to its plugins: a log and the threads.
 *
 * Plugins link nothing of Tenon's; they call through this table. It is
 * append-only: test TN_HAS(host, member) before using a member newer than the
 * ABI minor your plugin requires.
 */
#ifndef TENON_HOST_H
#define TENON_HOST_H

#include <tenon/base.h>

TN_BEGIN_DECLS

/* True where `p` points to a struct that is long enough to have `field`, and
 * the field is set. */
#define TN_HAS(p, field)                                                       \
    ((p)->struct_size >=                                                       \
         offsetof(__typeof__(*(p)), field) + sizeof((p)->field) &&             \
     (p)->field)

enum { TN_LOG_DEBUG, TN_LOG_INFO, TN_LOG_WARNING, TN_LOG_ERROR };

/* The program's one pool of threads. */
typedef struct tn_pool tn_pool;

/* Body of a parallel region: runs once on each of `count` threads at once. */
typedef void (*tn_pool_body)(void *argument, uint32_t index, uint32_t count);

typedef struct tn_host {
    uint32_t struct_size;
    uint32_t abi_minor; /* of the running program */

    /* One line to the user's log (stderr), without a newline. */
    void (*log)(const struct tn_host *host, int32_t level, const char *format,
                ...);

    /*
     * The pool, with `count` threads including the caller; 0 means one per
     * available core, of which local_size processes take a share each. The
     * first call decides; a later call that asks for another number gets the
     * same pool. NULL only when threads cannot be made. The host owns it.
     */
    tn_pool *(*pool)(const struct tn_host *host, uint32_t count);
    uint32_t (*pool_count)(const tn_pool *pool);

    /*
     * Run body on every thread of the pool, the caller being index 0; return
     * when all have returned. Not reentrant. Allocates nothing.
     */
    void (*pool_run)(tn_pool *pool, tn_pool_body body, void *argument);

    /* Inside a body: wait until all threads of the region have come here. */
    void (*pool_barrier)(tn_pool *pool);

    /* Since ABI 1.4. Which of the run's processes on this machine this one is,
     * and how many they are, known before a backend is opened; 0 of 0 where it
     * is alone. Of several devices each takes one. */
    uint32_t local_rank, local_size;
} tn_host;

TN_END_DECLS
#endif
