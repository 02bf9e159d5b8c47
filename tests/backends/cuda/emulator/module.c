/*
 * module.c - kernels by name.
 *
 * An image is either a fatbin, whose kernels are those of the shared object
 * `kernels.so` beside this library, compiled from the same .cu files; or what
 * this folder's nvrtc.c made of a text: a shared object as bytes. A kernel's
 * entry is found as simt_call_NAME, its facts as simt_facts_NAME (simt.h).
 */
#define _GNU_SOURCE
#include "driver.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct CUmod_st {
    void *library;
    /* Thread-local memory of the library: its kernels' shared memory. */
    size_t tls_number, tls_bytes;
    CUfunction functions;
};

/* ---- shared memory ---- */

/* Of a block: without asking, and at most. What a kernel declares counts, which
 * is not known here, where a module's kernels share one memory: each is taken
 * to declare as much as any that has dynamic shared memory as well may
 * (op_attention.c). */
enum { PLAIN_SHARED = 48 << 10, MOST_SHARED = 227 << 10, DECLARED = 2048 };

typedef struct tls_search {
    uintptr_t base;
    size_t number, bytes;
} tls_search;

static int look_at_library(struct dl_phdr_info *info, size_t size, void *to)
{
    tls_search *s = to;
    (void)size;
    if (info->dlpi_addr != s->base)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS) {
            s->number = info->dlpi_tls_modid;
            s->bytes = info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

static void find_shared_memory(CUmodule m)
{
    struct link_map *map;
    tls_search s = {0};
    if (dlinfo(m->library, RTLD_DI_LINKMAP, &map))
        return;
    s.base = map->l_addr;
    dl_iterate_phdr(look_at_library, &s);
    m->tls_number = s.number;
    m->tls_bytes = s.bytes;
}

/* What the ABI calls tls_index. */
extern void *__tls_get_addr(const size_t number_and_offset[2]);

static void *shared_memory_of(const struct CUmod_st *m)
{
    const size_t index[2] = {m->tls_number, 0};
    return m->tls_bytes ? __tls_get_addr(index) : NULL;
}

/* ---- modules ---- */

static void *open_neighbour(void)
{
    static const int here;
    Dl_info self;
    char path[4096];
    if (!dladdr(&here, &self))
        return NULL;
    const char *slash = strrchr(self.dli_fname, '/');
    const int length = slash ? (int)(slash - self.dli_fname) : 0;
    snprintf(path, sizeof path, "%.*s/kernels.so", length, self.dli_fname);
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

/* Through a file whose name no other has had: the loader takes files of one
 * name for one. */
static void *open_bytes(const char *bytes, size_t count)
{
    char path[] = "/tmp/simt-XXXXXX";
    const int file = mkstemp(path);
    if (file < 0)
        return NULL;
    const int ok = write(file, bytes, count) == (ssize_t)count;
    close(file);
    void *library = ok ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    unlink(path);
    return library;
}

/* The end of a 64-bit ELF file: its section headers stand last. */
static size_t elf_bytes(const void *image)
{
    ElfW(Ehdr) head;
    memcpy(&head, image, sizeof head);
    return head.e_shoff + (size_t)head.e_shnum * head.e_shentsize;
}

CUresult cu_ModuleLoadData(CUmodule *module, const void *image)
{
    const CUresult ready = simt_ready();
    if (ready)
        return ready;
    CUmodule m = calloc(1, sizeof *m);
    if (!m)
        return CUDA_ERROR_OUT_OF_MEMORY;
    m->library = memcmp(image, ELFMAG, SELFMAG)
                     ? open_neighbour()
                     : open_bytes(image, elf_bytes(image));
    if (!m->library) {
        free(m);
        return simt_complain(INVALID_PTX, "%s", dlerror());
    }
    find_shared_memory(m);
    *module = m;
    return CUDA_SUCCESS;
}

CUresult cu_ModuleUnload(CUmodule module)
{
    simt_drain_all();
    while (module->functions) {
        CUfunction f = module->functions;
        module->functions = f->next;
        free(f);
    }
    dlclose(module->library);
    free(module);
    return CUDA_SUCCESS;
}

/* ---- functions ---- */

CUresult cu_ModuleGetFunction(CUfunction *function, CUmodule module,
                              const char *name)
{
    const CUresult ready = simt_ready();
    char call[256], facts[256];
    if (ready)
        return ready;
    snprintf(call, sizeof call, "simt_call_%s", name);
    snprintf(facts, sizeof facts, "simt_facts_%s", name);
    const unsigned *fact = dlsym(module->library, facts);
    CUfunction f = fact ? calloc(1, sizeof *f) : NULL;
    if (!f)
        return NOT_FOUND;
    *(void **)(&f->call) = dlsym(module->library, call);
    /* A name to print: behind the prefix of the symbol's own, which stays. */
    Dl_info about;
    f->name = dladdr(fact, &about) && about.dli_sname
                  ? about.dli_sname + strlen("simt_facts_")
                  : "a kernel";
    f->argument_bytes = fact[0];
    f->most_threads = fact[1];
    f->most_dynamic = PLAIN_SHARED - DECLARED;
    f->module = module;
    f->next = module->functions;
    module->functions = f;
    *function = f;
    return CUDA_SUCCESS;
}

CUresult cu_FuncSetAttribute(CUfunction function, int attribute, int value)
{
    if (attribute != CU_FUNC_MAX_DYNAMIC_SHARED_SIZE || value < 0 ||
        (unsigned)value > simt_shared_bytes() - DECLARED)
        return INVALID_VALUE;
    function->most_dynamic = (unsigned)value;
    return simt_ready();
}

/* ---- launches ---- */

enum { POISON = 0xff };

/* Dynamic shared memory beyond what the launch asked for is as it was. */
static int stays_within(const struct CUmod_st *m, unsigned dynamic_bytes)
{
    const unsigned char *at = dlsym(m->library, "dynamic_shared");
    for (unsigned i = dynamic_bytes; at && i < MOST_SHARED; i++)
        if (at[i] != POISON)
            return 0;
    return 1;
}

static unsigned long kernels;

unsigned long simt_kernel_count(void)
{
    return kernels;
}

CUresult simt_call(const simt_kernel_call *call)
{
    const CUfunction f = call->function;
    const simt_launch launch = {
        .name = f->name,
        .call = f->call,
        .argument = call->argument,
        .grid = call->grid,
        .block = call->block,
        .shared = shared_memory_of(f->module),
        .shared_bytes = f->module->tls_bytes,
    };
    const CUresult fault = simt_fault("kernel");
    CUresult result = simt_run_grid(&launch);
    kernels++;
    if (fault) /* it has begun */
        return fault;
    if (!result && !stays_within(f->module, call->dynamic_bytes))
        return simt_complain(ILLEGAL_ADDRESS,
                             "kernel %s uses more than its %u bytes of "
                             "dynamic shared memory",
                             f->name, call->dynamic_bytes);
    if (!result && simt_check_guards())
        return simt_complain(ILLEGAL_ADDRESS, "by kernel %s", f->name);
    return result;
}

/* The argument as bytes, from either way of handing it over. */
static const void *argument_of(CUfunction f, void **parameters, void **extra)
{
    const void *bytes = NULL;
    size_t count = 0;
    if (parameters)
        return parameters[0];
    for (; extra && *extra != CU_LAUNCH_PARAM_END; extra += 2)
        if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER)
            bytes = extra[1];
        else
            memcpy(&count, extra[1], sizeof count);
    if (bytes && count == f->argument_bytes)
        return bytes;
    simt_complain(0, "kernel %s takes %zu bytes and is given %zu", f->name,
                  f->argument_bytes, count);
    return NULL;
}

static int fits(const simt_kernel_call *c)
{
    const simt_uint3 g = c->grid, b = c->block;
    const uint64_t threads = (uint64_t)b.x * b.y * b.z;
    const unsigned most = c->function->most_threads;
    return g.x && g.y && g.z && g.x < 1u << 31 && g.y < 65536 && g.z < 65536 &&
           threads && threads <= (most ? most : 1024) && threads <= 1024 &&
           b.z <= 64 && c->dynamic_bytes <= c->function->most_dynamic;
}

CUresult cu_LaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                         unsigned grid_z, unsigned block_x, unsigned block_y,
                         unsigned block_z, unsigned shared_bytes,
                         CUstream stream, void **parameters, void **extra)
{
    const CUresult ready = simt_ready();
    if (ready)
        return ready;
    const void *argument = argument_of(function, parameters, extra);
    simt_work work = {
        .kind = SIMT_KERNEL,
        .kernel = {.function = function,
                   .grid = {grid_x, grid_y, grid_z},
                   .block = {block_x, block_y, block_z},
                   .dynamic_bytes = shared_bytes},
    };
    if (!argument || !fits(&work.kernel))
        return simt_complain(INVALID_VALUE,
                             "kernel %s cannot be launched with (%u,%u,%u) "
                             "blocks of (%u,%u,%u) threads and %u bytes",
                             function->name, grid_x, grid_y, grid_z, block_x,
                             block_y, block_z, shared_bytes);
    work.kernel.argument = malloc(function->argument_bytes);
    if (!work.kernel.argument)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(work.kernel.argument, argument, function->argument_bytes);
    return simt_hand_in(stream, &work);
}
