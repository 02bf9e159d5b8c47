/*
 * loader.c - fills the tables of the driver's and of NVRTC's functions.
 */
#include "loader.h"

#include <dlfcn.h>
#include <stdio.h>

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
    int version = 0; /* 12040: 12.4 */
    if (driver->DriverGetVersion(&version))
        return tn_fail(err, TN_EUNSUPPORTED,
                       "the NVIDIA driver does not tell its version");
    driver->major = version / 1000;
    driver->minor = version % 1000 / 10;
    return TN_OK;
}

/* The newest first: an older one may know nothing of this device. Toolkits of
 * NVIDIA's own packages lie outside of where libraries are looked for. */
void *gpu_open_toolkit(const char *name, int most)
{
    static const char *const folders[] = {"", "/usr/local/cuda/lib64/"};
    void *library = NULL;
    if (most > GPU_NEWEST_CUDA)
        most = GPU_NEWEST_CUDA;
    for (int major = most; major >= GPU_OLDEST_CUDA; major--)
        for (int i = 0; !library && i < 2; i++) {
            char path[128];
            snprintf(path, sizeof path, "%slib%s.so.%d", folders[i], name,
                     major);
            library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        }
    return library;
}

static tn_status miss_nvrtc(int most, tn_error *err)
{
    if (most < GPU_NEWEST_CUDA)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "libnvrtc.so.%d is not installed, and the NVIDIA driver "
                       "here takes no newer one: update the driver, or "
                       "install NVRTC of CUDA %d (Debian or Ubuntu: "
                       "cuda-nvrtc-%d-*)",
                       most, most, most);
    return tn_fail(err, TN_EUNSUPPORTED,
                   "neither libnvrtc.so.13 nor libnvrtc.so.12 is "
                   "installed: they come with the CUDA toolkit (Debian or "
                   "Ubuntu: cuda-nvrtc-13-0), or set LD_LIBRARY_PATH to "
                   "where they are");
}

tn_status gpu_load_nvrtc(gpu_nvrtc *nvrtc, int most, tn_error *err)
{
    void *library = gpu_open_toolkit("nvrtc", most);
    if (!library)
        return miss_nvrtc(most, err);
#define XX(name, symbol, arguments)                                            \
    TN_TRY(find(library, "NVRTC", symbol, &nvrtc->name, err));
    GPU_NVRTC_MAP(XX)
#undef XX
    if (nvrtc->Version(&nvrtc->major, &nvrtc->minor))
        return tn_fail(err, TN_EUNSUPPORTED, "NVRTC does not answer");
    return TN_OK;
}
