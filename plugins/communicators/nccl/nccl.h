/*
 * nccl.h - what the files of communicator nccl share: the functions of the
 * library, who this process is, and how its processes find each other.
 *
 * Nothing of NCCL is needed to build: the few types and numbers are declared
 * here as nccl.h of 2.13 to 2.28 has them.
 */
#ifndef NCCL_NCCL_H
#define NCCL_NCCL_H

#include <tenon/communicator.h>

typedef int nccl_result;
typedef struct ncclComm *nccl_comm;
typedef struct nccl_id {
    char internal[128];
} nccl_id;

enum { NCCL_SUCCESS = 0, NCCL_IN_PROGRESS = 7 };
enum { NCCL_FLOAT32 = 7, NCCL_FLOAT64 = 8 };
enum { NCCL_SUM = 0 };
enum { NCCL_LEAST_VERSION = 21300 };

/*   XX(result, member, symbol, arguments) */
#define NCCL_MAP(XX)                                                           \
    XX(nccl_result, GetVersion, "ncclGetVersion", (int *version))              \
    XX(nccl_result, GetUniqueId, "ncclGetUniqueId", (nccl_id * id))            \
    XX(nccl_result, CommInitRank, "ncclCommInitRank",                          \
       (nccl_comm * comm, int size, nccl_id id, int rank))                     \
    XX(nccl_result, CommDestroy, "ncclCommDestroy", (nccl_comm comm))          \
    XX(nccl_result, CommAbort, "ncclCommAbort", (nccl_comm comm))              \
    XX(nccl_result, CommGetAsyncError, "ncclCommGetAsyncError",                \
       (nccl_comm comm, nccl_result * error))                                  \
    XX(nccl_result, AllReduce, "ncclAllReduce",                                \
       (const void *from, void *to, size_t count, int type, int op,            \
        nccl_comm comm, void *stream))                                         \
    XX(const char *, GetErrorString, "ncclGetErrorString",                     \
       (nccl_result result))                                                   \
    XX(const char *, GetLastError, "ncclGetLastError", (nccl_comm comm))

typedef struct nccl_library {
#define XX(result, name, symbol, arguments) result(*name) arguments;
    NCCL_MAP(XX)
#undef XX
    int version; /* 22809: 2.28.9 */
} nccl_library;

/* ---- launch.c ---- */

typedef struct nccl_launch {
    char job[64]; /* that no other job on this machine is called, as far as the
                     launcher says */
    uint32_t rank, size, local_rank, local_size;
} nccl_launch;

/* Which process this is, by the variables that launchers set. */
tn_status nccl_find_launch(nccl_launch *launch, tn_error *err);

/* ---- meet.c ---- */

/* Hand rank 0's bytes to all, through `folder` ("auto": below /tmp, by the
 * job's name, for the processes of one machine). */
tn_status nccl_meet(const nccl_launch *launch, const char *folder,
                    int64_t seconds, nccl_id *id, tn_error *err);

#endif
