/*
 * driver.c - one device, one context, and what went wrong in it.
 */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

static struct CUctx_st {
    uint32_t users;
    CUresult broken; /* what the first kernel that failed failed with */
} primary;

static int initialised;
static __thread CUcontext current;

CUresult simt_complain(CUresult why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("simt: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return why;
}

CUresult simt_fault(const char *what)
{
    static int calls;
    const char *fault = getenv("SIMT_FAULT");
    char wanted[64];
    int count, result;
    if (!fault || sscanf(fault, "%63s %d %d", wanted, &count, &result) != 3 ||
        strcmp(wanted, what) != 0 || ++calls < count)
        return CUDA_SUCCESS;
    if (result != CUDA_ERROR_OUT_OF_MEMORY)
        simt_break(result);
    return result;
}

CUresult simt_ready_in(const char *function)
{
    if (!initialised)
        return NOT_INITIALIZED;
    if (!current || !current->users)
        return simt_complain(INVALID_CONTEXT,
                             "this thread has no current context");
    if (!current->broken && strncmp(function, "cu_", 3) == 0)
        return simt_fault(function + 3);
    return current->broken;
}

int simt_is_broken(void)
{
    return primary.broken != CUDA_SUCCESS;
}

void simt_break(CUresult why)
{
    if (!primary.broken)
        primary.broken = why;
}

/* ---- the library ---- */

CUresult cu_Init(unsigned flags)
{
    const char *order = getenv("SIMT_ORDER");
    simt_set_order(order ? (uint32_t)strtoul(order, NULL, 10) : SIMT_FORWARD);
    initialised = 1;
    return flags ? INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cu_DriverGetVersion(int *version)
{
    const char *driver = getenv("SIMT_DRIVER");
    *version = driver ? atoi(driver) : 99000; /* it runs what any made */
    return CUDA_SUCCESS;
}

static const struct {
    CUresult number;
    const char *text;
} errors[] = {
    {CUDA_SUCCESS, "no error"},
    {INVALID_VALUE, "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "out of memory"},
    {NOT_INITIALIZED, "initialization error"},
    {INVALID_CONTEXT, "invalid device context"},
    {CUDA_ERROR_ECC_UNCORRECTABLE, "uncorrectable ECC error encountered"},
    {INVALID_HANDLE, "invalid resource handle"},
    {NOT_FOUND, "named symbol not found"},
    {NOT_READY, "device not ready"},
    {ILLEGAL_ADDRESS, "an illegal memory access was encountered"},
    {LAUNCH_FAILED, "unspecified launch failure"},
    {CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"},
    {CAPTURE_UNMATCHED, "capture was not initiated in this stream"},
    {CAPTURE_UNJOINED, "capturing stream has unjoined work"},
};
enum { ERRORS = sizeof errors / sizeof errors[0] };

CUresult cu_GetErrorString(CUresult error, const char **text)
{
    for (int i = 0; i < ERRORS; i++)
        if (errors[i].number == error) {
            *text = errors[i].text;
            return CUDA_SUCCESS;
        }
    *text = NULL;
    return INVALID_VALUE;
}

/* ---- the device ---- */

CUresult cu_DeviceGetCount(int *count)
{
    *count = 1;
    return initialised ? CUDA_SUCCESS : NOT_INITIALIZED;
}

CUresult cu_DeviceGet(CUdevice *device, int ordinal)
{
    *device = 0;
    return ordinal ? INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cu_DeviceGetName(char *name, int length, CUdevice device)
{
    snprintf(name, (size_t)length, "SIMT emulator (CPU)");
    return device ? INVALID_VALUE : CUDA_SUCCESS;
}

unsigned simt_shared_bytes(void)
{
    const char *bytes = getenv("SIMT_SHARED");
    return bytes ? (unsigned)strtoul(bytes, NULL, 10) : 227 << 10;
}

CUresult cu_DeviceGetAttribute(int *value, int attribute, CUdevice device)
{
    switch (attribute) {
    case CU_DEVICE_SHARED_MEMORY_OPTIN:
        *value = (int)simt_shared_bytes();
        break;
    case CU_DEVICE_COMPUTE_MAJOR:
    case CU_DEVICE_COMPUTE_MINOR:
        *value = 0;
        break;
    default:
        return simt_complain(INVALID_VALUE, "device attribute %d is not known",
                             attribute);
    }
    return device ? INVALID_VALUE : CUDA_SUCCESS;
}

/* ---- the context ---- */

CUresult cu_DevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    if (!initialised)
        return NOT_INITIALIZED;
    primary.users++;
    *context = &primary;
    return device ? INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cu_DevicePrimaryCtxRelease(CUdevice device)
{
    if (device || !primary.users)
        return INVALID_CONTEXT;
    if (--primary.users == 0) {
        simt_drain_all();
        simt_free_all();
        primary.broken = CUDA_SUCCESS;
    }
    return CUDA_SUCCESS;
}

CUresult cu_CtxSetCurrent(CUcontext context)
{
    if (!initialised)
        return NOT_INITIALIZED;
    current = context;
    return CUDA_SUCCESS;
}
