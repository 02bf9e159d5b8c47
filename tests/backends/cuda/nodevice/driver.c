/*
 * driver.c - libcuda.so.1 of a machine that has no GPU, for tests: its
 * functions say so, but for those that take machine code, which is neither
 * looked at nor kept.
 *
 * cuDNN asks the driver for all of these when it is loaded. Where there is no
 * device it makes plans for one that is only described to it.
 */
#include <tenon/base.h>

enum { NO_DEVICE = 100 };

#define FUNCTIONS(XX)                                                          \
    XX(cuInit)                                                                 \
    XX(cuDriverGetVersion)                                                     \
    XX(cuGetErrorName)                                                         \
    XX(cuGetErrorString)                                                       \
    XX(cuGetProcAddress)                                                       \
    XX(cuGetProcAddress_v2)                                                    \
    XX(cuDeviceGet)                                                            \
    XX(cuDeviceGetCount)                                                       \
    XX(cuCtxGetCurrent)                                                        \
    XX(cuCtxGetLimit)                                                          \
    XX(cuCtxPopCurrent)                                                        \
    XX(cuCtxPopCurrent_v2)                                                     \
    XX(cuCtxPushCurrent)                                                       \
    XX(cuCtxPushCurrent_v2)                                                    \
    XX(cuStreamGetCtx)                                                         \
    XX(cuStreamGetCtx_v2)                                                      \
    XX(cuModuleLoadData)                                                       \
    XX(cuModuleGetFunction)                                                    \
    XX(cuModuleUnload)                                                         \
    XX(cuLibraryLoadFromFile)                                                  \
    XX(cuKernelGetFunction)                                                    \
    XX(cuKernelGetAttribute)                                                   \
    XX(cuLinkCreate)                                                           \
    XX(cuLinkCreate_v2)                                                        \
    XX(cuLinkAddData)                                                          \
    XX(cuLinkAddData_v2)                                                       \
    XX(cuLinkComplete)                                                         \
    XX(cuLinkDestroy)                                                          \
    XX(cuLaunchKernel)                                                         \
    XX(cuLaunchKernelEx)                                                       \
    XX(cuLaunchCooperativeKernel)                                              \
    XX(cuOccupancyMaxPotentialClusterSize)                                     \
    XX(cuTensorMapEncodeIm2col)                                                \
    XX(cuTensorMapEncodeTiled)

#define XX(name)                                                               \
    TN_EXPORT int name(void);                                                  \
    int name(void)                                                             \
    {                                                                          \
        return NO_DEVICE;                                                      \
    }
FUNCTIONS(XX)
#undef XX

/* An address that nobody follows. */
static int nothing;

#define XX(name, ...)                                                          \
    TN_EXPORT int name(__VA_ARGS__);                                           \
    int name(__VA_ARGS__)

XX(cuLibraryLoadData, void **library)
{
    *library = &nothing;
    return 0;
}

XX(cuLibraryUnload, void)
{
    return 0;
}

XX(cuLibraryGetKernel, void **kernel)
{
    *kernel = &nothing;
    return 0;
}

XX(cuKernelSetAttribute, void)
{
    return 0;
}
#undef XX
