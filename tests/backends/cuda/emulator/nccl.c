/*
 * nccl.c - libnccl.so.2 for tests: sums between processes that have an emulated
 * device each, over a file in memory that they share.
 *
 * A sum is handed in to the stream and done when the stream comes to it, as the
 * real one does it: a plugin that took the sum for done, or a stream that is
 * not the backend's, gives wrong numbers. All ranks add in the order of ranks.
 *
 * NCCL_STANDIN_VERSION in the environment is the version it says it is.
 */
#include "driver.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../../../plugins/communicators/nccl/nccl.h"

#define XX(result, name, symbol, arguments)                                    \
    TN_EXPORT result nc_##name arguments __asm__(symbol);
NCCL_MAP(XX)
#undef XX

enum { SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4 };
enum { MOST_RANKS = 8, PART_BYTES = 1 << 16 };

typedef struct shared {
    _Atomic uint32_t came; /* to all meetings so far */
    _Alignas(64) char part[MOST_RANKS][PART_BYTES];
} shared;

struct ncclComm {
    shared *shared;
    uint32_t rank, size;
};

typedef struct {
    struct ncclComm *comm;
    char *data;
    size_t count;
    int type;
} sum;

nccl_result nc_GetVersion(int *version)
{
    const char *said = getenv("NCCL_STANDIN_VERSION");
    *version = said ? atoi(said) : 22809;
    return NCCL_SUCCESS;
}

nccl_result nc_GetUniqueId(nccl_id *id)
{
    snprintf(id->internal, sizeof id->internal, "/tenon-nccl-%ld-%ld",
             (long)getpid(), (long)time(NULL));
    return NCCL_SUCCESS;
}

/* The counter starts at 0 and only grows: the n-th meeting is over at n times
 * the size. */
static void meet(struct ncclComm *c)
{
    const uint32_t mine = atomic_fetch_add(&c->shared->came, 1);
    const uint32_t all = (mine / c->size + 1) * c->size;
    while (atomic_load(&c->shared->came) < all)
        nanosleep(&(struct timespec){0, 100000}, NULL);
}

nccl_result nc_CommInitRank(nccl_comm *comm, int size, nccl_id id, int rank)
{
    struct ncclComm *c = calloc(1, sizeof *c);
    const int fd = shm_open(id.internal, O_RDWR | O_CREAT, 0600);
    if (!c || fd < 0 || size > MOST_RANKS || rank >= size ||
        ftruncate(fd, sizeof(shared)) != 0)
        return SYSTEM_ERROR;
    c->rank = (uint32_t)rank;
    c->size = (uint32_t)size;
    c->shared =
        mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (c->shared == MAP_FAILED)
        return SYSTEM_ERROR;
    meet(c);
    if (!rank)
        shm_unlink(id.internal);
    *comm = c;
    return NCCL_SUCCESS;
}

nccl_result nc_CommDestroy(nccl_comm comm)
{
    munmap(comm->shared, sizeof(shared));
    free(comm);
    return NCCL_SUCCESS;
}

nccl_result nc_CommAbort(nccl_comm comm)
{
    return nc_CommDestroy(comm);
}

nccl_result nc_CommGetAsyncError(nccl_comm comm, nccl_result *error)
{
    *error = comm ? NCCL_SUCCESS : INVALID_ARGUMENT;
    return NCCL_SUCCESS;
}

/* ---- sums ---- */

static void add(const shared *from, uint32_t size, char *to, size_t count,
                int type)
{
    for (size_t i = 0; i < count; i++) {
        double wide = 0.0;
        float narrow = 0.0f;
        for (uint32_t r = 0; r < size; r++) {
            const void *part = from->part[r];
            narrow += type == NCCL_FLOAT32 ? ((const float *)part)[i] : 0.0f;
            wide += type == NCCL_FLOAT64 ? ((const double *)part)[i] : 0.0;
        }
        if (type == NCCL_FLOAT64)
            memcpy(to + i * sizeof wide, &wide, sizeof wide);
        else
            memcpy(to + i * sizeof narrow, &narrow, sizeof narrow);
    }
}

static void do_sum(void *of)
{
    sum *s = of;
    const size_t each = s->type == NCCL_FLOAT64 ? 8 : 4;
    const size_t most = PART_BYTES / each;
    for (size_t at = 0; at < s->count; at += most) {
        const size_t n = s->count - at < most ? s->count - at : most;
        char *data = s->data + at * each;
        memcpy(s->comm->shared->part[s->comm->rank], data, n * each);
        meet(s->comm);
        add(s->comm->shared, s->comm->size, data, n, s->type);
        meet(s->comm);
    }
    free(s);
}

nccl_result nc_AllReduce(const void *from, void *to, size_t count, int type,
                         int op, nccl_comm comm, void *stream)
{
    sum *s = malloc(sizeof *s);
    if (!s || from != to || op != NCCL_SUM || !stream ||
        (type != NCCL_FLOAT32 && type != NCCL_FLOAT64))
        return INVALID_ARGUMENT;
    *s = (sum){comm, to, count, type};
    return cuLaunchHostFunc(stream, do_sum, s) ? SYSTEM_ERROR : NCCL_SUCCESS;
}

const char *nc_GetErrorString(nccl_result result)
{
    return result == NCCL_SUCCESS ? "no error" : "the stand-in refuses";
}

const char *nc_GetLastError(nccl_comm comm)
{
    (void)comm;
    return "";
}
