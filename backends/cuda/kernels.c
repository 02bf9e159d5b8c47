/*
 * kernels.c - kernels by name, each once however many nodes and plans use it.
 *
 * Those of kernels/ lie in the plugin as nvcc's fat binaries, one for each
 * family, and are loaded when the first of a family is asked for. Emitted ones
 * are translated when a plan is complete, all of it at once, on the program's
 * threads: a model has some dozens.
 */
#include "families.h"
#include "gpu.h"

#include <stdlib.h>
#include <string.h>

/* CUDA_FATBINS: the folder that nvcc wrote to, as a string. */
#define XX(name)                                                               \
    __asm__(".section .rodata,\"a\",@progbits\n"                               \
            ".balign 64\n"                                                     \
            ".hidden gpu_fatbin_" #name "\n"                                   \
            ".globl gpu_fatbin_" #name "\n"                                    \
            "gpu_fatbin_" #name ":\n"                                          \
            ".incbin \"" CUDA_FATBINS "/" #name ".fatbin\"\n"                  \
            ".previous\n");                                                    \
    extern const char gpu_fatbin_##name[];
GPU_FAMILY_MAP(XX)
#undef XX

_Static_assert((int)GPU_FAMILY_COUNT <= (int)GPU_MOST_FAMILIES,
               "families have room in gpu_kernels");

static const char *const fatbins[GPU_FAMILY_COUNT] = {
#define XX(name) [GPU_FAMILY_##name] = gpu_fatbin_##name,
    GPU_FAMILY_MAP(XX)
#undef XX
};

/* ---- the list ---- */

static gpu_kernel **bucket(tn_device *d, uint64_t hash)
{
    return &d->kernels.list[hash % GPU_KERNEL_BUCKETS];
}

static gpu_kernel *find(tn_device *d, const char *name, const char *text,
                        uint64_t hash)
{
    for (gpu_kernel *k = *bucket(d, hash); k; k = k->next)
        if (k->hash == hash && !strcmp(k->name, name) &&
            (text ? k->text && !strcmp(k->text, text) : !k->text))
            return k;
    return NULL;
}

/* Takes `text` over. */
static gpu_kernel *append(tn_device *d, const char *name, char *text,
                          uint64_t hash)
{
    gpu_kernel *k = calloc(1, sizeof *k);
    if (!k) {
        free(text);
        return NULL;
    }
    snprintf(k->name, sizeof k->name, "%s", name);
    k->text = text;
    k->hash = hash;
    k->next = *bucket(d, hash);
    *bucket(d, hash) = k;
    return k;
}

/* ---- kernels of kernels/ ---- */

/* A driver runs what toolkits of its own major version make, and older ones.
 * CUDA_TOOLKIT: nvcc's; 0 where it is not known. */
tn_status gpu_kernels_check(const gpu_driver *driver, tn_error *err)
{
    if (driver->major >= CUDA_TOOLKIT)
        return TN_OK;
    return tn_fail(err, TN_EUNSUPPORTED,
                   "the NVIDIA driver here runs programs of CUDA %d.%d and "
                   "older, and this backend was built with CUDA %d: update the "
                   "driver%s",
                   driver->major, driver->minor, CUDA_TOOLKIT,
                   driver->major >= GPU_OLDEST_CUDA ? ", or build with CUDA 12"
                                                    : "");
}

static tn_status load_family(tn_device *d, uint32_t family, tn_error *err)
{
    CUmodule *module = &d->kernels.family[family];
    if (*module)
        return TN_OK;
    return gpu_check(&d->driver,
                     d->driver.ModuleLoadData(module, fatbins[family]),
                     "loading kernels", err);
}

tn_status gpu_kernel_get(tn_device *d, uint32_t family, const char *name,
                         gpu_kernel **kernel, tn_error *err)
{
    const uint64_t hash = gpu_hash(name, strlen(name));
    gpu_kernel *k = find(d, name, NULL, hash);
    if (!k) {
        CUfunction function;
        TN_TRY(load_family(d, family, err));
        TN_TRY(gpu_check(&d->driver,
                         d->driver.ModuleGetFunction(
                             &function, d->kernels.family[family], name),
                         name, err));
        k = append(d, name, NULL, hash);
        if (!k)
            return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
        k->function = function;
    }
    *kernel = k;
    return TN_OK;
}

/* ---- emitted kernels ---- */

tn_status gpu_kernel_emit(tn_device *d, char *text, gpu_kernel **kernel,
                          tn_error *err)
{
    if (!text)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    const uint64_t hash = gpu_hash(text, strlen(text));
    gpu_kernel *k = find(d, "kernel", text, hash);
    if (k)
        free(text);
    else
        k = append(d, "kernel", text, hash);
    if (!k)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
    *kernel = k;
    return TN_OK;
}

typedef struct job {
    gpu_kernel *kernel;
    void *code;
    size_t bytes;
    tn_error error;
} job;

typedef struct jobs {
    const tn_device *device;
    job *at;
    uint32_t count;
} jobs;

/* A part of the pool's body: every count-th job. */
static void translate_share(void *argument, uint32_t index, uint32_t count)
{
    jobs *all = argument;
    for (uint32_t i = index; i < all->count; i += count) {
        job *j = &all->at[i];
        gpu_translate(all->device, j->kernel->text, &j->code, &j->bytes,
                      &j->error);
    }
}

static tn_status load(tn_device *d, gpu_kernel *k, const void *code,
                      tn_error *err)
{
    TN_TRY(gpu_check(&d->driver, d->driver.ModuleLoadData(&k->module, code),
                     "loading a kernel", err));
    return gpu_check(
        &d->driver,
        d->driver.ModuleGetFunction(&k->function, k->module, k->name),
        "loading a kernel", err);
}

/* Load what is cached; list what must be translated. */
static tn_status sort_out(tn_device *d, jobs *all, tn_error *err)
{
    for (uint32_t b = 0; b < GPU_KERNEL_BUCKETS; b++)
        for (gpu_kernel *k = d->kernels.list[b]; k; k = k->next) {
            if (k->function)
                continue;
            const gpu_cached *c = gpu_cache_find(&d->cache, k->text, k->hash);
            if (c && load(d, k, c->code, NULL) == TN_OK)
                continue;
            job *more = realloc(all->at, (all->count + 1u) * sizeof *all->at);
            if (!more)
                return tn_fail(err, TN_ENOMEM, "backend cuda: no memory");
            all->at = more;
            all->at[all->count++] = (job){.kernel = k};
        }
    return TN_OK;
}

static tn_status take_over(tn_device *d, job *j, tn_error *err)
{
    if (!j->code)
        return tn_fail(err, j->error.status, "%s", j->error.message);
    const tn_status status = load(d, j->kernel, j->code, err);
    if (status == TN_OK)
        gpu_cache_add(&d->cache, j->kernel->text, j->kernel->hash, j->code,
                      j->bytes);
    else
        free(j->code);
    return status;
}

tn_status gpu_kernels_build(tn_device *d, tn_error *err)
{
    jobs all = {.device = d};
    tn_status status = sort_out(d, &all, err);
    tn_pool *pool = all.count ? d->host->pool(d->host, 0) : NULL;
    if (status == TN_OK && pool)
        d->host->pool_run(pool, translate_share, &all);
    else if (status == TN_OK)
        translate_share(&all, 0, 1);
    for (uint32_t i = 0; i < all.count; i++) {
        if (status == TN_OK)
            status = take_over(d, &all.at[i], err);
        else
            free(all.at[i].code);
    }
    free(all.at);
    return status;
}

void gpu_kernels_close(tn_device *d)
{
    for (uint32_t b = 0; b < GPU_KERNEL_BUCKETS; b++)
        while (d->kernels.list[b]) {
            gpu_kernel *k = d->kernels.list[b];
            d->kernels.list[b] = k->next;
            if (k->module)
                d->driver.ModuleUnload(k->module);
            free(k->text);
            free(k);
        }
    for (uint32_t i = 0; i < GPU_FAMILY_COUNT; i++)
        if (d->kernels.family[i])
            d->driver.ModuleUnload(d->kernels.family[i]);
}
