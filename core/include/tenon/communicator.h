/*
 * communicator.h - several processes that train one model: what they sum.
 *
 * Since ABI 1.4. A run of n processes shares the rows of every batch out among
 * them; each computes gradients of its own rows, all of them add these up, and
 * each makes the same update. A communicator does the adding, over an engine
 * that is there already (MPI, NCCL), and knows neither the model nor what the
 * numbers mean. It is called from one thread, and all processes of a run call
 * it alike: the same functions in the same order with the same sizes.
 */
#ifndef TENON_COMMUNICATOR_H
#define TENON_COMMUNICATOR_H

#include <tenon/plugin.h>

TN_BEGIN_DECLS

typedef struct tn_communicator_info {
    uint32_t struct_size;
    uint32_t rank, size;             /* of the processes of this run */
    uint32_t local_rank, local_size; /* of those on this machine */
    uint32_t reserved;
    /* Whose memory all_reduce works on: "host", or the name that a backend's
     * extension "stream/1" gives its device's ("cuda"). */
    const char *memory;
} tn_communicator_info;

typedef struct tn_communicator {
    TN_COMPONENT_HEAD;

    /* What there is of the engine on this machine, as a phrase with its
     * version; where it is missing or too old, TN_EUNSUPPORTED with what to
     * install or to set. Joins nothing. */
    tn_status (*probe)(const tn_host *host, char *note, uint32_t size,
                       tn_error *err);

    /* Join the run's other processes. Opened before the backend. */
    tn_status (*open)(const tn_host *host, const void *options, void **self,
                      tn_error *err);
    /* failed: this process ends because of a mistake that the others know
     * nothing of. They must not wait for it: by the time this process has
     * exited, they are ended, too. */
    void (*close)(void *self, uint32_t failed);

    void (*info)(const void *self, tn_communicator_info *info);

    /* Each of data[count] becomes the sum over all processes, the same bits on
     * each. TN_F32 or TN_F64. In device memory `data` is the device's address,
     * and the sum is done behind what `stream` was given so far and before
     * what it is given next; in host memory it is done upon return, and stream
     * is NULL. */
    tn_status (*all_reduce)(void *self, void *data, int64_t count,
                            tn_dtype dtype, void *stream, tn_error *err);
} tn_communicator;

#define TN_COMMUNICATOR(id) TN_SINGLE_(COMMUNICATOR, tn_communicator, id)

TN_END_DECLS
#endif
