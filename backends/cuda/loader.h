/*
 * loader.h - CUDA without linking to it: libcuda.so.1 and NVRTC are opened at
 * run time, and every function this backend calls is in one of these lists.
 *
 * The few types and numbers of the driver's interface that are needed are
 * declared here, so that the C side builds with any toolkit, 12 or 13, and
 * means the same functions whatever that toolkit's headers call newest: a row
 * names the symbol in the library, with its version.
 */
#ifndef CUDA_LOADER_H
#define CUDA_LOADER_H

#include <tenon/base.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;

enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_ECC_UNCORRECTABLE = 214,
    CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
};

enum { /* CUdevice_attribute */
       CU_DEVICE_COMPUTE_MAJOR = 75,
       CU_DEVICE_COMPUTE_MINOR = 76,
       CU_DEVICE_SHARED_MEMORY_OPTIN = 97,
};

enum {
    CU_STREAM_NON_BLOCKING = 1,
    CU_STREAM_CAPTURE_MODE_RELAXED = 2,
    CU_EVENT_DEFAULT = 0,
    CU_EVENT_DISABLE_TIMING = 2,
    CU_FUNC_MAX_DYNAMIC_SHARED_SIZE = 8,
};

/* cuLaunchKernel's `extra`: the arguments as one block of bytes. */
#define CU_LAUNCH_PARAM_END ((void *)0)
#define CU_LAUNCH_PARAM_BUFFER_POINTER ((void *)1)
#define CU_LAUNCH_PARAM_BUFFER_SIZE ((void *)2)

/*   XX(member, symbol, arguments) */
#define GPU_DRIVER_MAP(XX)                                                     \
    XX(Init, "cuInit", (unsigned flags))                                       \
    XX(DriverGetVersion, "cuDriverGetVersion", (int *version))                 \
    XX(GetErrorString, "cuGetErrorString",                                     \
       (CUresult error, const char **text))                                    \
    XX(DeviceGetCount, "cuDeviceGetCount", (int *count))                       \
    XX(DeviceGet, "cuDeviceGet", (CUdevice * device, int ordinal))             \
    XX(DeviceGetName, "cuDeviceGetName",                                       \
       (char *name, int length, CUdevice device))                              \
    XX(DeviceGetAttribute, "cuDeviceGetAttribute",                             \
       (int *value, int attribute, CUdevice device))                           \
    XX(DeviceTotalMem, "cuDeviceTotalMem_v2",                                  \
       (size_t * bytes, CUdevice device))                                      \
    XX(DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain",                     \
       (CUcontext * context, CUdevice device))                                 \
    XX(DevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2",                \
       (CUdevice device))                                                      \
    XX(CtxSetCurrent, "cuCtxSetCurrent", (CUcontext context))                  \
    XX(MemGetInfo, "cuMemGetInfo_v2", (size_t * unused, size_t * total))       \
    XX(MemAlloc, "cuMemAlloc_v2", (CUdeviceptr * address, size_t bytes))       \
    XX(MemFree, "cuMemFree_v2", (CUdeviceptr address))                         \
    XX(MemAllocHost, "cuMemAllocHost_v2", (void **address, size_t bytes))      \
    XX(MemFreeHost, "cuMemFreeHost", (void *address))                          \
    XX(MemsetD8Async, "cuMemsetD8Async",                                       \
       (CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream))   \
    XX(MemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2",                                \
       (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))      \
    XX(MemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2",                                \
       (void *to, CUdeviceptr from, size_t bytes, CUstream stream))            \
    XX(MemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2",                                \
       (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))      \
    XX(StreamCreate, "cuStreamCreate", (CUstream * stream, unsigned flags))    \
    XX(StreamDestroy, "cuStreamDestroy_v2", (CUstream stream))                 \
    XX(StreamSynchronize, "cuStreamSynchronize", (CUstream stream))            \
    XX(StreamWaitEvent, "cuStreamWaitEvent",                                   \
       (CUstream stream, CUevent event, unsigned flags))                       \
    XX(StreamBeginCapture, "cuStreamBeginCapture_v2",                          \
       (CUstream stream, int mode))                                            \
    XX(StreamEndCapture, "cuStreamEndCapture",                                 \
       (CUstream stream, CUgraph * graph))                                     \
    XX(EventCreate, "cuEventCreate", (CUevent * event, unsigned flags))        \
    XX(EventDestroy, "cuEventDestroy_v2", (CUevent event))                     \
    XX(EventRecord, "cuEventRecord", (CUevent event, CUstream stream))         \
    XX(EventSynchronize, "cuEventSynchronize", (CUevent event))                \
    XX(EventElapsedTime, "cuEventElapsedTime",                                 \
       (float *milliseconds, CUevent start, CUevent end))                      \
    XX(GraphInstantiateWithFlags, "cuGraphInstantiateWithFlags",               \
       (CUgraphExec * exec, CUgraph graph, unsigned long long flags))          \
    XX(GraphLaunch, "cuGraphLaunch", (CUgraphExec exec, CUstream stream))      \
    XX(GraphDestroy, "cuGraphDestroy", (CUgraph graph))                        \
    XX(GraphExecDestroy, "cuGraphExecDestroy", (CUgraphExec exec))             \
    XX(ModuleLoadData, "cuModuleLoadData",                                     \
       (CUmodule * module, const void *image))                                 \
    XX(ModuleUnload, "cuModuleUnload", (CUmodule module))                      \
    XX(ModuleGetFunction, "cuModuleGetFunction",                               \
       (CUfunction * function, CUmodule module, const char *name))             \
    XX(FuncSetAttribute, "cuFuncSetAttribute",                                 \
       (CUfunction function, int attribute, int value))                        \
    XX(LaunchKernel, "cuLaunchKernel",                                         \
       (CUfunction function, unsigned grid_x, unsigned grid_y,                 \
        unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z, \
        unsigned shared_bytes, CUstream stream, void **parameters,             \
        void **extra))

typedef struct gpu_driver {
#define XX(name, symbol, arguments) CUresult(*name) arguments;
    GPU_DRIVER_MAP(XX)
#undef XX
    int major, minor; /* the newest CUDA that it runs programs of */
} gpu_driver;

/* ---- NVRTC: CUDA C text to machine code ---- */

typedef int nvrtcResult;
typedef struct _nvrtcProgram *nvrtcProgram;

#define GPU_NVRTC_MAP(XX)                                                      \
    XX(Version, "nvrtcVersion", (int *major, int *minor))                      \
    XX(CreateProgram, "nvrtcCreateProgram",                                    \
       (nvrtcProgram * program, const char *text, const char *name,            \
        int header_count, const char *const *headers,                          \
        const char *const *header_names))                                      \
    XX(DestroyProgram, "nvrtcDestroyProgram", (nvrtcProgram * program))        \
    XX(CompileProgram, "nvrtcCompileProgram",                                  \
       (nvrtcProgram program, int option_count, const char *const *options))   \
    XX(GetCUBINSize, "nvrtcGetCUBINSize",                                      \
       (nvrtcProgram program, size_t * bytes))                                 \
    XX(GetCUBIN, "nvrtcGetCUBIN", (nvrtcProgram program, char *cubin))         \
    XX(GetProgramLogSize, "nvrtcGetProgramLogSize",                            \
       (nvrtcProgram program, size_t * bytes))                                 \
    XX(GetProgramLog, "nvrtcGetProgramLog", (nvrtcProgram program, char *log))

typedef struct gpu_nvrtc {
#define XX(name, symbol, arguments) nvrtcResult(*name) arguments;
    GPU_NVRTC_MAP(XX)
#undef XX
    int major, minor;
} gpu_nvrtc;

enum { GPU_OLDEST_CUDA = 12, GPU_NEWEST_CUDA = 13 };

/* libNAME.so of the newest toolkit that is installed, up to CUDA `most`; NULL
 * where there is none. Libraries stay open for as long as the process lives:
 * they keep threads and exit handlers. */
void *gpu_open_toolkit(const char *name, int most);

/* Open the library and fill the table. What NVRTC makes is of its own version,
 * and a driver takes up to its own: driver.major. */
tn_status gpu_load_driver(gpu_driver *driver, tn_error *err);
tn_status gpu_load_nvrtc(gpu_nvrtc *nvrtc, int most, tn_error *err);

#endif
