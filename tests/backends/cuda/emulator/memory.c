/*
 * memory.c - device memory that a kernel cannot leave unseen.
 *
 * Each allocation has mappings of its own and ends where a page ends that must
 * not be touched; another lies before it. What is left over in its pages holds
 * a pattern that is looked at after every launch, and is poisoned where
 * AddressSanitizer watches. Fresh memory is all ones: NaN, and -1 as an index.
 *
 *     | no access | pattern | the allocation | < 256 bytes | no access |
 */
#define _GNU_SOURCE
#include "driver.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifdef ASAN_POISON_MEMORY_REGION
enum { IS_WATCHED = 1 };
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)0)
enum { IS_WATCHED = 0 };
#endif

static const size_t total_bytes = (size_t)4 << 30;
enum { PATTERN = 0xa5, ALIGNMENT = 256 };

typedef struct allocation {
    simt_place place;
    char *mapping, *start;
    size_t mapped_bytes, bytes;
    struct allocation *next;
} allocation;

static allocation *all;
static size_t used_bytes;

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* The bytes of a's pages before and after it. */
static void margins(const allocation *a, char *at[2], size_t bytes[2])
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *const end = a->start + a->bytes;
    at[0] = a->mapping + page;
    bytes[0] = (size_t)(a->start - at[0]);
    at[1] = end;
    bytes[1] = (size_t)(a->mapping + a->mapped_bytes - page - end);
}

static allocation *create(simt_place place, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t body = round_up(round_up(bytes, ALIGNMENT), page);
    allocation *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    *a = (allocation){.place = place,
                      .mapped_bytes = body + 2 * page,
                      .bytes = bytes,
                      .next = all};
    a->mapping = mmap(NULL, a->mapped_bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->mapping == MAP_FAILED ||
        mprotect(a->mapping + page, body, PROT_READ | PROT_WRITE)) {
        free(a);
        return NULL;
    }
    a->start = a->mapping + page + body - round_up(bytes, ALIGNMENT);
    memset(a->mapping + page, 0xff, body);
    all = a;
    return a;
}

static void guard(const allocation *a)
{
    char *at[2];
    size_t bytes[2];
    margins(a, at, bytes);
    for (int i = 0; i < 2; i++) {
        memset(at[i], PATTERN, bytes[i]);
        ASAN_POISON_MEMORY_REGION(at[i], bytes[i]);
    }
}

int simt_check_guards(void)
{
    for (const allocation *a = all; a && !IS_WATCHED; a = a->next) {
        char *at[2];
        size_t bytes[2];
        margins(a, at, bytes);
        for (int i = 0; i < 2; i++)
            for (size_t k = 0; k < bytes[i]; k++)
                if ((unsigned char)at[i][k] != PATTERN) {
                    simt_complain(0,
                                  "byte %td of an allocation of %zu bytes was "
                                  "written",
                                  at[i] + k - a->start, a->bytes);
                    guard(a);
                    return 1;
                }
    }
    return 0;
}

static CUresult destroy(simt_place place, const void *start)
{
    for (allocation **at = &all; *at; at = &(*at)->next) {
        allocation *a = *at;
        if (a->start != start || a->place != place)
            continue;
        *at = a->next;
        if (place == SIMT_DEVICE)
            used_bytes -= a->bytes;
        ASAN_UNPOISON_MEMORY_REGION(a->mapping, a->mapped_bytes);
        munmap(a->mapping, a->mapped_bytes);
        free(a);
        return CUDA_SUCCESS;
    }
    return simt_complain(INVALID_VALUE, "%p is freed and not allocated", start);
}

int simt_owns(simt_place place, const void *address, size_t bytes)
{
    const char *at = address;
    for (const allocation *a = all; a; a = a->next)
        if (a->place == place && at >= a->start && at <= a->start + a->bytes &&
            bytes <= (size_t)(a->start + a->bytes - at))
            return 1;
    return 0;
}

void simt_free_all(void)
{
    while (all)
        destroy(all->place, all->start);
}

/* ---- the driver's functions ---- */

CUresult cu_DeviceTotalMem(size_t *bytes, CUdevice device)
{
    *bytes = total_bytes;
    return device ? INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cu_MemGetInfo(size_t *unused, size_t *total)
{
    *total = total_bytes;
    *unused = total_bytes - used_bytes;
    return simt_ready();
}

CUresult cu_MemAlloc(CUdeviceptr *address, size_t bytes)
{
    const CUresult ready = simt_ready();
    if (ready)
        return ready;
    if (!bytes)
        return INVALID_VALUE;
    allocation *a =
        bytes <= total_bytes - used_bytes ? create(SIMT_DEVICE, bytes) : NULL;
    if (!a)
        return CUDA_ERROR_OUT_OF_MEMORY;
    used_bytes += bytes;
    guard(a);
    *address = (CUdeviceptr)(uintptr_t)a->start;
    return CUDA_SUCCESS;
}

/* Waits for all work, as the driver does. */
CUresult cu_MemFree(CUdeviceptr address)
{
    simt_drain_all();
    return address ? destroy(SIMT_DEVICE, (void *)(uintptr_t)address)
                   : CUDA_SUCCESS;
}

CUresult cu_MemAllocHost(void **address, size_t bytes)
{
    const CUresult ready = simt_ready();
    if (ready)
        return ready;
    allocation *a = bytes ? create(SIMT_PINNED, bytes) : NULL;
    if (!a)
        return bytes ? CUDA_ERROR_OUT_OF_MEMORY : INVALID_VALUE;
    guard(a);
    *address = a->start;
    return CUDA_SUCCESS;
}

CUresult cu_MemFreeHost(void *address)
{
    simt_drain_all();
    return destroy(SIMT_PINNED, address);
}
