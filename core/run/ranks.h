/*
 * ranks.h - the processes of a run, which are numbered: this one's rank, and
 * what all of them sum.
 *
 *     communicator: mpi           mpirun -n 4 tenon train -f ...
 *
 * train.batch_size rows are a micro-batch of all of them together: rank r of n
 * computes the r-th n-th of its rows, with the same parameters as the others.
 * Behind the last micro-batch of a step the gradients, the loss and the count
 * of tokens are summed over the ranks, as they are over micro-batches. What
 * follows (division, clipping, the update, what to do about a number that is
 * not finite) sees the same bits on every rank and does the same: parameters
 * stay equal without being sent.
 *
 * Whatever decides what a rank does next has to be the same on all, or one
 * waits for a sum that the others never come to. So it is either computed from
 * what was summed, or compared by tni_ranks_agree.
 */
#ifndef TENON_RANKS_H
#define TENON_RANKS_H

#include <tenon/communicator.h>

#include "run/training.h"

typedef struct tni_ranks {
    uint32_t rank, size; /* 0 of 1 where the config names no communicator */
    const tn_communicator *communicator;
    const char *name;
    void *self;
    tn_communicator_info info;
    tni_session *session;              /* from attach on */
    const tn_stream_extension *stream; /* NULL: sums are made in host memory */
    unsigned char *staging; /* for arenas that the host cannot touch */
    int together;           /* all ranks know that the run ends here */
} tni_ranks;

/* Join the others. The recipe learns its rank; the host, its share of the
 * machine. Before a session is opened. */
tn_status tni_ranks_open(tni_recipe *recipe, tni_ranks *ranks, tn_error *err);
/* A run whose config cannot be read ends before it begins, here and on the
 * ranks that could read theirs. */
void tni_ranks_give_up(const tn_host *host, const tni_use *communicator);
/* status: what the run ends with. Others that wait for a rank which fails by
 * itself are ended, too. */
void tni_ranks_close(tni_ranks *ranks, tn_status status);

/* Sums are over arenas of this session, which is committed. TN_EUNSUPPORTED
 * where the communicator works on memory that the backend has not. */
tn_status tni_ranks_attach(tni_ranks *ranks, tni_session *session,
                           tn_error *err);

/* What a step's update needs of the other ranks: gradients, loss, tokens. And
 * whether one of them was asked to stop (tni_step_result). */
tn_status tni_ranks_join(const tni_ranks *ranks, tni_training *training,
                         int stopping, tn_error *err);

/* values[i] summed over the ranks; at most TNI_RANKS_VALUES. */
enum { TNI_RANKS_VALUES = TN_ALIGNMENT / sizeof(double) };
tn_status tni_ranks_sum(const tni_ranks *ranks, double *values, uint32_t count,
                        tn_error *err);

/* Wait until every rank has come here. One that comes with a failure keeps it;
 * the others get TN_EREFUSED then. */
tn_status tni_ranks_meet(tni_ranks *ranks, tn_status status, tn_error *err);

/* Parameters, optimizer state and `step` are the same on every rank, and so is
 * what the config says of the course of a run. */
tn_status tni_ranks_agree(tni_ranks *ranks, const tni_training *training,
                          int64_t step, tn_error *err);

/* "rank 1 of 4: " before the sentence. */
void tni_ranks_sign(const tni_ranks *ranks, tn_error *err);

#endif
