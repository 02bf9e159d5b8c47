/*
 * launch.c - torchrun, mpirun and srun each tell a process its rank, by
 * variables of their own.
 */
#include "nccl.h"

#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

static const struct {
    const char *rank, *size, *local_rank, *local_size;
    const char *job, *step; /* together a name; NULL: by the parent process */
} launchers[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT",
     NULL}, /* torchrun */
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
     "PMIX_NAMESPACE", NULL},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", NULL,
     NULL}, /* MPICH */
    {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE",
     "SLURM_JOB_ID", "SLURM_STEP_ID"},
};

enum { LAUNCHERS = sizeof launchers / sizeof launchers[0] };

/* `fallback` where it is not set. */
static tn_status read_number(const char *name, uint32_t most, uint32_t fallback,
                             uint32_t *value, tn_error *err)
{
    const char *text = getenv(name);
    char *end;
    *value = fallback;
    if (!text)
        return TN_OK;
    const unsigned long number = strtoul(text, &end, 10);
    if (end == text || *end || text[0] == '-' || number > most)
        return tn_fail(err, TN_EINVALID,
                       "communicator nccl: %s=%s in the environment is no "
                       "number from 0 to %u",
                       name, text, most);
    *value = (uint32_t)number;
    return TN_OK;
}

/* Letters and digits of what the launcher calls the job. */
static void name_job(int launcher, char job[64])
{
    const char *const names[] = {launchers[launcher].job,
                                 launchers[launcher].step};
    size_t used = 0;
    for (int i = 0; i < 2; i++) {
        const char *text = names[i] ? getenv(names[i]) : NULL;
        for (; text && *text && used < 60; text++)
            if (isalnum((unsigned char)*text))
                job[used++] = *text;
        if (text && used)
            job[used++] = '-';
    }
    job[used] = '\0';
    if (!used)
        snprintf(job, 64, "%ld", (long)getppid());
}

tn_status nccl_find_launch(nccl_launch *launch, tn_error *err)
{
    enum { MOST = 1 << 20 };
    nccl_launch l = {.size = 0};
    for (int i = 0; i < LAUNCHERS; i++) {
        if (!getenv(launchers[i].rank) || !getenv(launchers[i].size))
            continue;
        TN_TRY(read_number(launchers[i].size, MOST, 1, &l.size, err));
        TN_TRY(read_number(launchers[i].rank, l.size ? l.size - 1 : 0, 0,
                           &l.rank, err));
        TN_TRY(read_number(launchers[i].local_rank, MOST, l.rank, &l.local_rank,
                           err));
        TN_TRY(
            read_number(launchers[i].local_size, MOST, 1, &l.local_size, err));
        name_job(i, l.job);
        *launch = l;
        return TN_OK;
    }
    return tn_fail(err, TN_EINVALID,
                   "communicator nccl: no launcher has told this process its "
                   "rank (RANK and WORLD_SIZE in the environment, or those of "
                   "Open MPI, MPICH or Slurm); start it as torchrun "
                   "--no-python --nproc-per-node 2 tenon train ..., by mpirun "
                   "or by srun");
}
