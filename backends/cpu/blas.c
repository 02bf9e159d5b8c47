/*
 * blas.c - opens OpenBLAS for ourselves, as the library of one thread it can
 * be.
 *
 * It is opened at run time and not linked, because two things must be settled
 * before its constructor runs and can only be said through the environment:
 *
 *  - OPENBLAS_NUM_THREADS=1. Otherwise it starts a thread per core that spins:
 *    measured on a 2-core machine, one core burnt for the first 100 ms and
 *    18 ms to load instead of 3.
 *  - OPENBLAS_CORETYPE. The 0.3.21 of Debian 12 takes every processor newer
 *    than itself for a Prescott: an Emerald Rapids core then does 38 GFLOP/s
 *    where its AVX-512 kernels do 188. We know what the core can do, so we say
 *    so; a user's own OPENBLAS_CORETYPE is left alone.
 *
 * The environment is put back as it was. Products are called on slices from
 * our own threads (matmul.c), which the library allows.
 */
#define _GNU_SOURCE /* RTLD_NODELETE */
#include "cpu.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static const char *const library_names[] = {"libopenblas.so.0",
                                            "libopenblas.so"};

/* dlsym returns void *, which C does not convert to a function's pointer. */
static void symbol(void *library, const char *name, void *function,
                   size_t bytes)
{
    void *at = dlsym(library, name);
    memcpy(function, &at, bytes);
}

static void *open_with_environment(const cpu_features *features)
{
    const char *threads = getenv("OPENBLAS_NUM_THREADS");
    char *before = threads ? strdup(threads) : NULL;
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    const int say_core = !getenv("OPENBLAS_CORETYPE");
    if (say_core)
        setenv("OPENBLAS_CORETYPE", features->avx512 ? "SkylakeX" : "Haswell",
               1);

    void *library = NULL;
    for (size_t i = 0; i < 2 && !library; i++)
        library =
            dlopen(library_names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (say_core)
        unsetenv("OPENBLAS_CORETYPE");
    if (before)
        setenv("OPENBLAS_NUM_THREADS", before, 1);
    else
        unsetenv("OPENBLAS_NUM_THREADS");
    free(before);
    return library;
}

tn_status cpu_blas_open(tn_device *device, tn_error *err)
{
    void *library = open_with_environment(&device->features);
    if (!library)
        return tn_fail(err, TN_ENOTFOUND,
                       "backend cpu needs libopenblas.so.0, which cannot be "
                       "opened (%s); on Debian: apt-get install libopenblas0",
                       dlerror());
    void (*set_threads)(int) = NULL;
    symbol(library, "cblas_sgemm", &device->sgemm, sizeof device->sgemm);
    symbol(library, "openblas_set_num_threads", &set_threads,
           sizeof set_threads);
    if (!device->sgemm) {
        dlclose(library);
        return tn_fail(err, TN_ENOTFOUND,
                       "backend cpu: libopenblas.so.0 has no cblas_sgemm; "
                       "on Debian: apt-get install libopenblas0-pthread");
    }
    /* another part of this process may have opened it with more */
    if (set_threads)
        set_threads(1);
    device->blas = library;
    return TN_OK;
}

void cpu_blas_close(tn_device *device)
{
    if (device->blas)
        dlclose(device->blas);
    device->blas = NULL;
}
