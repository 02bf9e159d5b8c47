/*
 * nccl.c - sums in the memory of NVIDIA GPUs, one for each process, by NCCL.
 *
 *     torchrun --no-python --nproc-per-node 8 tenon train -f run.yaml \
 *         --set communicator=nccl
 *
 * libnccl.so.2 is opened at run time and nothing of it is linked. A launcher
 * says which process this is (launch.c); the first sum is when the processes
 * meet (meet.c), for NCCL wants to know the device by then, which is the one
 * that the backend has turned this thread to.
 *
 * A sum is one more thing on the backend's stream, and this process does not
 * wait for it. NCCL gives every rank the same bits.
 */
#include "nccl.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *meet;
    int64_t timeout;
} nccl_options;

static const tn_option options[] = {
    TN_OPTION_STRING(nccl_options, meet, "auto",
                     "a folder that all processes see, through which they "
                     "find each other; auto: below /tmp, for those of one "
                     "machine"),
    TN_OPTION_INT(nccl_options, timeout, 300, 1, 86400,
                  "seconds in which all processes have to come there"),
};

typedef struct {
    nccl_library nccl;
    nccl_launch launch;
    nccl_options options;
    nccl_comm comm; /* NULL before the first sum */
} group;

/* ---- the library ---- */

/* NVIDIA's own packages of the toolkit lie outside of where libraries are
 * looked for. */
static tn_status load(nccl_library *nccl, tn_error *err)
{
    const char *const paths[] = {"libnccl.so.2",
                                 "/usr/local/cuda/lib64/libnccl.so.2"};
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof paths / sizeof paths[0]; i++)
        library = dlopen(paths[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "communicator nccl: libnccl.so.2 is not installed (it "
                       "is NVIDIA's package libnccl2, and part of Python's "
                       "nvidia-nccl-cu13): install it or set LD_LIBRARY_PATH "
                       "to where it is, or take a communicator that works on "
                       "host memory");
#define XX(result, name, symbol, arguments)                                    \
    *(void **)&nccl->name = dlsym(library, symbol);                            \
    if (!nccl->name)                                                           \
        return tn_fail(err, TN_EUNSUPPORTED,                                   \
                       "communicator nccl: the libnccl.so.2 here has no "      \
                       "function %s; NCCL 2.13 or newer is needed",            \
                       symbol);
    NCCL_MAP(XX)
#undef XX
    if (nccl->GetVersion(&nccl->version) != NCCL_SUCCESS ||
        nccl->version < NCCL_LEAST_VERSION)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "communicator nccl: the NCCL here is version %d.%d; "
                       "2.13 or newer is needed",
                       nccl->version / 10000, nccl->version / 100 % 100);
    return TN_OK;
}

static tn_status check(const group *g, nccl_result result, const char *doing,
                       tn_error *err)
{
    if (result == NCCL_SUCCESS)
        return TN_OK;
    const char *more = g->nccl.GetLastError(g->comm);
    return tn_fail(err, TN_EDEVICE, "communicator nccl: %s: %s%s%s", doing,
                   g->nccl.GetErrorString(result), more && *more ? ": " : "",
                   more ? more : "");
}

static tn_status probe(const tn_host *host, char *note, uint32_t size,
                       tn_error *err)
{
    nccl_library nccl;
    (void)host;
    TN_TRY(load(&nccl, err));
    snprintf(note, size, "NCCL %d.%d.%d", nccl.version / 10000,
             nccl.version / 100 % 100, nccl.version % 100);
    return TN_OK;
}

/* ---- life ---- */

static tn_status open(const tn_host *host, const void *given, void **out,
                      tn_error *err)
{
    group g = {.options = *(const nccl_options *)given};
    (void)host;
    TN_TRY(load(&g.nccl, err));
    TN_TRY(nccl_find_launch(&g.launch, err));
    group *kept = malloc(sizeof *kept);
    if (!kept)
        return tn_fail(err, TN_ENOMEM, "communicator nccl: no memory");
    *kept = g;
    *out = kept;
    return TN_OK;
}

static void close(void *of, uint32_t failed)
{
    group *g = of;
    if (g->comm && failed)
        g->nccl.CommAbort(g->comm);
    else if (g->comm)
        g->nccl.CommDestroy(g->comm);
    free(g);
}

static void info(const void *of, tn_communicator_info *info)
{
    const group *g = of;
    info->rank = g->launch.rank;
    info->size = g->launch.size;
    info->local_rank = g->launch.local_rank;
    info->local_size = g->launch.local_size;
    info->memory = "cuda";
}

static tn_status join(group *g, tn_error *err)
{
    const char *doing = "joining the other processes";
    nccl_id id = {{0}};
    if (!g->launch.rank)
        TN_TRY(check(g, g->nccl.GetUniqueId(&id), doing, err));
    TN_TRY(
        nccl_meet(&g->launch, g->options.meet, g->options.timeout, &id, err));
    return check(g,
                 g->nccl.CommInitRank(&g->comm, (int)g->launch.size, id,
                                      (int)g->launch.rank),
                 doing, err);
}

/* What went wrong on the device since, another process or the network. */
static tn_status check_past(const group *g, tn_error *err)
{
    nccl_result past = NCCL_SUCCESS;
    TN_TRY(check(g, g->nccl.CommGetAsyncError(g->comm, &past), "summing", err));
    return past == NCCL_IN_PROGRESS ? TN_OK : check(g, past, "summing", err);
}

static tn_status all_reduce(void *of, void *data, int64_t count, tn_dtype dtype,
                            void *stream, tn_error *err)
{
    group *g = of;
    const int type = dtype == TN_F64 ? NCCL_FLOAT64 : NCCL_FLOAT32;
    if (!g->comm)
        TN_TRY(join(g, err));
    TN_TRY(check_past(g, err));
    return check(g,
                 g->nccl.AllReduce(data, data, (size_t)count, type, NCCL_SUM,
                                   g->comm, stream),
                 "summing", err);
}

TN_COMMUNICATOR(nccl) = {
    .summary = "sums in the memory of NVIDIA GPUs, one for each process",
    .options = TN_OPTIONS(nccl_options, options),
    .probe = probe,
    .open = open,
    .close = close,
    .info = info,
    .all_reduce = all_reduce,
};
