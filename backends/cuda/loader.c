/*
 * loader.c - fills the tables of the driver's and of NVRTC's functions.
 */
#include "loader.h"

#include <dlfcn.h>

/* `package`: what is to be updated. */
static tn_status find(void *library, const char *package, const char *symbol,
                      void *function, tn_error *err)
{
    void *found = dlsym(library, symbol);
    if (!found)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "the %s here has no function %s; CUDA 12 or newer is "
                       "needed: update the %s",
                       package, symbol, package);
    *(void **)function = found;
    return TN_OK;
}

tn_status gpu_load_driver(gpu_driver *driver, tn_error *err)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "libcuda.so.1 is not installed: it comes with the "
                       "driver of an NVIDIA GPU");
#define XX(name, symbol, arguments)                                            \
    TN_TRY(find(library, "NVIDIA driver", symbol, &driver->name, err));
    GPU_DRIVER_MAP(XX)
#undef XX
    return TN_OK;
}

/* The newest first: an older one may know nothing of this device. Toolkits of
 * NVIDIA's own packages lie outside of where libraries are looked for. */
static void *open_nvrtc(void)
{
    const char *const paths[] = {"libnvrtc.so.13", "libnvrtc.so.12",
                                 "/usr/local/cuda/lib64/libnvrtc.so.13",
                                 "/usr/local/cuda/lib64/libnvrtc.so.12"};
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof paths / sizeof paths[0]; i++)
        library = dlopen(paths[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

tn_status gpu_load_nvrtc(gpu_nvrtc *nvrtc, tn_error *err)
{
    void *library = open_nvrtc();
    if (!library)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "neither libnvrtc.so.13 nor libnvrtc.so.12 is "
                       "installed: they come with the CUDA toolkit (Debian or "
                       "Ubuntu: cuda-nvrtc-13-0), or set LD_LIBRARY_PATH to "
                       "where they are");
#define XX(name, symbol, arguments)                                            \
    TN_TRY(find(library, "NVRTC", symbol, &nvrtc->name, err));
    GPU_NVRTC_MAP(XX)
#undef XX
    if (nvrtc->Version(&nvrtc->major, &nvrtc->minor))
        return tn_fail(err, TN_EUNSUPPORTED, "NVRTC does not answer");
    return TN_OK;
}
