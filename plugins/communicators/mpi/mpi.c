/*
 * mpi.c - sums by MPI, in host memory: works with every backend.
 *
 *     mpirun -n 4 tenon train -f run.yaml --set communicator=mpi
 *
 * Built against the MPI of the machine (MPICH or Open MPI, whose binary
 * interfaces differ), and left out where there is none.
 *
 * MPI is ended when the process exits and not before: by then its sentence, if
 * there is one, has been printed. A process whose mistake the others know
 * nothing of ends them, too (MPI_Abort): they wait for a sum that it will not
 * come to.
 *
 * The sum has the same bits on every rank: MPI gives all of them one result,
 * and implementations make it in one place or in an order in which only sums of
 * two are exchanged. The core compares what came of it all the same.
 */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tenon/communicator.h>

typedef struct {
    int rank, size, local_rank, local_size;
} group;

static const char doing[] = "summing";

static group self; /* MPI is started once in a process */
static int failed; /* the others know nothing of it */

static tn_status check(int result, const char *what, tn_error *err)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (result == MPI_SUCCESS)
        return TN_OK;
    MPI_Error_string(result, text, &length);
    return tn_fail(err, TN_EIO, "communicator mpi: %s: %s", what, text);
}

static tn_status probe(const tn_host *host, char *note, uint32_t size,
                       tn_error *err)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    (void)host;
    TN_TRY(check(MPI_Get_library_version(text, &length), "asking its version",
                 err));
    text[strcspn(text, "\n")] = '\0';
    for (char *c = text; *c; c++)
        if (*c == '\t')
            *c = ' ';
    snprintf(note, size, "%s", text);
    return TN_OK;
}

static void leave(void)
{
    int is_over = 0;
    MPI_Finalized(&is_over);
    if (is_over)
        return;
    if (failed)
        MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    MPI_Finalize();
}

static tn_status look_around(group *g, tn_error *err)
{
    MPI_Comm near;
    const char *looking = "looking for the other processes";
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    TN_TRY(check(MPI_Comm_rank(MPI_COMM_WORLD, &g->rank), looking, err));
    TN_TRY(check(MPI_Comm_size(MPI_COMM_WORLD, &g->size), looking, err));
    TN_TRY(check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0,
                                     MPI_INFO_NULL, &near),
                 looking, err));
    MPI_Comm_rank(near, &g->local_rank);
    MPI_Comm_size(near, &g->local_size);
    return check(MPI_Comm_free(&near), looking, err);
}

static tn_status open(const tn_host *host, const void *options, void **out,
                      tn_error *err)
{
    int is_running = 0, threads = 0;
    (void)host;
    (void)options;
    MPI_Initialized(&is_running);
    if (!is_running) {
        TN_TRY(check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &threads),
                     "starting MPI", err));
        atexit(leave);
    }
    TN_TRY(look_around(&self, err));
    *out = &self;
    return TN_OK;
}

static void close(void *of, uint32_t has_failed)
{
    (void)of;
    failed |= (int)has_failed;
}

static void info(const void *of, tn_communicator_info *info)
{
    const group *g = of;
    info->rank = (uint32_t)g->rank;
    info->size = (uint32_t)g->size;
    info->local_rank = (uint32_t)g->local_rank;
    info->local_size = (uint32_t)g->local_size;
    info->memory = "host";
}

/*
 * MPI waits without letting go of its core, which is right where each process
 * has one. Where there are fewer, or others work here too, the process that is
 * waited for is one of those that do not get to run. So after some looks, more
 * of them where there is much to move, this one sleeps between them.
 */
static tn_status wait_for(MPI_Request *request, int64_t looks, tn_error *err)
{
    enum { NAP_NS = 50 * 1000 };
    int is_over = 0;
    while (!is_over) {
        TN_TRY(
            check(MPI_Test(request, &is_over, MPI_STATUS_IGNORE), doing, err));
        if (!is_over && --looks < 0)
            nanosleep(&(struct timespec){0, NAP_NS}, NULL);
    }
    return TN_OK;
}

/* Processes come here at different times: the first wait may be long. */
static tn_status sum(void *data, int count, MPI_Datatype type, tn_error *err)
{
    enum { LOOKS = 100, NUMBERS_EACH = 64 };
    MPI_Request request;
    TN_TRY(check(MPI_Ibarrier(MPI_COMM_WORLD, &request), doing, err));
    TN_TRY(wait_for(&request, LOOKS, err));
    TN_TRY(check(MPI_Iallreduce(MPI_IN_PLACE, data, count, type, MPI_SUM,
                                MPI_COMM_WORLD, &request),
                 doing, err));
    return wait_for(&request, LOOKS + count / NUMBERS_EACH, err);
}

/* Counts of MPI are ints. */
static tn_status all_reduce(void *of, void *data, int64_t count, tn_dtype dtype,
                            void *stream, tn_error *err)
{
    enum { MOST = 1 << 28 };
    const MPI_Datatype type = dtype == TN_F64 ? MPI_DOUBLE : MPI_FLOAT;
    char *at = data;
    (void)of;
    (void)stream;
    while (count > 0) {
        const int n = count < MOST ? (int)count : MOST;
        TN_TRY(sum(at, n, type, err));
        at += n * tn_dtype_bytes(dtype);
        count -= n;
    }
    return TN_OK;
}

TN_COMMUNICATOR(mpi) = {
    .summary = "sums in host memory, by the MPI it was built with (mpirun)",
    .probe = probe,
    .open = open,
    .close = close,
    .info = info,
    .all_reduce = all_reduce,
};
