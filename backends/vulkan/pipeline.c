/*
 * pipeline.c - SPIR-V to pipelines: each kernel once, however many nodes and
 * plans use it, and what the driver made of it kept on disk.
 *
 * The file on disk is the driver's own cache, and is named by the device and
 * its driver's version. A file that is damaged, too large or not ours is not
 * read; failing to write one is no failure.
 */
#include "gpu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_CACHE_BYTES = 256 << 20 };

/* ---- the cache on disk ---- */

void gpu_cache_path(const gpu_card *card, char *path, size_t size)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[400];
    path[0] = '\0';
    if (xdg && xdg[0] == '/')
        snprintf(folder, sizeof folder, "%.380s/tenon", xdg);
    else if (home && home[0] == '/') {
        snprintf(folder, sizeof folder, "%.370s/.cache", home);
        mkdir(folder, 0700);
        strcat(folder, "/tenon");
    } else
        return;
    if (mkdir(folder, 0700) && errno != EEXIST)
        return;
    char id[2 * VK_UUID_SIZE + 1];
    for (uint32_t i = 0; i < VK_UUID_SIZE; i++)
        snprintf(id + 2 * i, 3, "%02x", card->uuid[i]);
    snprintf(path, size, "%s/vulkan-%s-%08x.bin", folder, id,
             card->driver_version);
}

/* NULL where there is none that this driver would take. */
static void *read_cache(const char *path, size_t *bytes)
{
    struct stat about;
    FILE *file = path[0] ? fopen(path, "rb") : NULL;
    void *data = NULL;
    *bytes = 0;
    if (!file)
        return NULL;
    if (!fstat(fileno(file), &about) && S_ISREG(about.st_mode) &&
        about.st_uid == geteuid() && !(about.st_mode & 022) &&
        about.st_size > 0 && about.st_size <= MAX_CACHE_BYTES)
        data = malloc((size_t)about.st_size);
    if (data)
        *bytes = fread(data, 1, (size_t)about.st_size, file);
    fclose(file);
    return data;
}

/* Drivers ignore the cache of another, if its header says so. */
static int fits(const gpu_card *card, const void *data, size_t bytes)
{
    VkPipelineCacheHeaderVersionOne header;
    if (bytes < sizeof header)
        return 0;
    memcpy(&header, data, sizeof header);
    return header.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
           header.vendorID == card->vendor && header.deviceID == card->device &&
           !memcmp(header.pipelineCacheUUID, card->uuid, VK_UUID_SIZE);
}

/* Write beside it and rename, so that a reader never sees half of one; for
 * nobody else to write, whatever the umask: read_cache() asks for that. */
static void write_cache(const char *path, const void *data, size_t bytes)
{
    char beside[560];
    snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid());
    const int fd = open(
        beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!file) {
        if (fd >= 0)
            close(fd);
        return;
    }
    const int ok = fwrite(data, 1, bytes, file) == bytes;
    if (fclose(file) || !ok || rename(beside, path))
        unlink(beside);
}

static void save_cache(tn_device *d)
{
    const gpu_api *api = &d->instance.api;
    size_t bytes = 0, before = 0;
    if (!d->cache_path[0] ||
        api->GetPipelineCacheData(d->handle, d->cache, &bytes, NULL) ||
        bytes > MAX_CACHE_BYTES)
        return;
    void *old = read_cache(d->cache_path, &before);
    if (old && !fits(&d->card, old, before))
        before = 0; /* nobody reads it, however long it is */
    void *data = bytes > before ? malloc(bytes) : NULL;
    if (data && !api->GetPipelineCacheData(d->handle, d->cache, &bytes, data))
        write_cache(d->cache_path, data, bytes);
    free(old);
    free(data);
}

/* ---- opening ---- */

static tn_status create_layout(tn_device *d, tn_error *err)
{
    const VkPushConstantRange push = {
        .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
        .size = sizeof(gpu_push),
    };
    const VkPipelineLayoutCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &push,
    };
    return gpu_check(d->instance.api.CreatePipelineLayout(d->handle, &info,
                                                          NULL, &d->layout),
                     "making the pipeline layout", err);
}

tn_status gpu_pipelines_open(tn_device *d, tn_error *err)
{
    size_t bytes;
    TN_TRY(create_layout(d, err));
    void *data = read_cache(d->cache_path, &bytes);
    const int usable = data && fits(&d->card, data, bytes);
    const VkPipelineCacheCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
        .initialDataSize = usable ? bytes : 0,
        .pInitialData = usable ? data : NULL,
    };
    const VkResult result =
        d->instance.api.CreatePipelineCache(d->handle, &info, NULL, &d->cache);
    free(data);
    return gpu_check(result, "making the pipeline cache", err);
}

static void destroy(tn_device *d, gpu_pipeline *p)
{
    if (p->handle)
        d->instance.api.DestroyPipeline(d->handle, p->handle, NULL);
    free((void *)(uintptr_t)p->code.words);
    free(p);
}

void gpu_pipelines_close(tn_device *d)
{
    const gpu_api *api = &d->instance.api;
    for (uint32_t i = 0; i < GPU_PIPELINE_BUCKETS; i++)
        while (d->pipelines[i]) {
            gpu_pipeline *p = d->pipelines[i];
            d->pipelines[i] = p->next;
            destroy(d, p);
        }
    if (d->cache) {
        save_cache(d);
        api->DestroyPipelineCache(d->handle, d->cache, NULL);
    }
    if (d->layout)
        api->DestroyPipelineLayout(d->handle, d->layout, NULL);
}

/* ---- pipelines ---- */

static uint64_t hash_of(const gpu_code *code)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a, by words */
    for (uint32_t i = 0; i < code->word_count; i++)
        h = (h ^ code->words[i]) * 1099511628211u;
    for (uint32_t i = 0; i < code->constant_count; i++)
        h = (h ^ code->constant[i]) * 1099511628211u;
    return h;
}

static int same_code(const gpu_code *a, const gpu_code *b)
{
    return a->word_count == b->word_count &&
           a->constant_count == b->constant_count &&
           a->whole_subgroups == b->whole_subgroups &&
           !memcmp(a->constant, b->constant,
                   a->constant_count * sizeof a->constant[0]) &&
           !memcmp(a->words, b->words, a->word_count * sizeof a->words[0]);
}

static tn_status create_pipeline(tn_device *d, gpu_pipeline *p, tn_error *err)
{
    const gpu_api *api = &d->instance.api;
    VkSpecializationMapEntry entries[GPU_MOST_CONSTANTS];
    for (uint32_t i = 0; i < p->code.constant_count; i++)
        entries[i] = (VkSpecializationMapEntry){i, 4 * i, 4};
    const VkSpecializationInfo constants = {
        .mapEntryCount = p->code.constant_count,
        .pMapEntries = entries,
        .dataSize = 4u * p->code.constant_count,
        .pData = p->code.constant,
    };
    const VkShaderModuleCreateInfo words = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = 4u * (size_t)p->code.word_count,
        .pCode = p->code.words,
    };
    VkShaderModule module;
    TN_TRY(gpu_check(api->CreateShaderModule(d->handle, &words, NULL, &module),
                     "making a kernel", err));
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage =
            {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
             .flags =
                 p->code.whole_subgroups
                     ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT
                     : 0,
             .stage = VK_SHADER_STAGE_COMPUTE_BIT,
             .module = module,
             .pName = "main",
             .pSpecializationInfo = p->code.constant_count ? &constants : NULL},
        .layout = d->layout,
    };
    const VkResult result = api->CreateComputePipelines(
        d->handle, d->cache, 1, &info, NULL, &p->handle);
    api->DestroyShaderModule(d->handle, module, NULL);
    return gpu_check(result, "compiling a kernel", err);
}

tn_status gpu_pipeline_get(tn_device *d, const gpu_code *code,
                           gpu_pipeline **pipeline, tn_error *err)
{
    const uint64_t hash = hash_of(code);
    gpu_pipeline **list = &d->pipelines[hash % GPU_PIPELINE_BUCKETS];
    for (gpu_pipeline *p = *list; p; p = p->next)
        if (p->hash == hash && same_code(&p->code, code)) {
            p->users++;
            *pipeline = p;
            return TN_OK;
        }
    const size_t bytes = code->word_count * sizeof *code->words;
    gpu_pipeline *p = calloc(1, sizeof *p);
    uint32_t *words = malloc(bytes);
    if (!p || !words) {
        free(p);
        free(words);
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory");
    }
    memcpy(words, code->words, bytes);
    p->hash = hash;
    p->users = 1;
    p->code = *code;
    p->code.words = words;
    const tn_status status = create_pipeline(d, p, err);
    if (status != TN_OK) {
        destroy(d, p);
        return status;
    }
    p->next = *list;
    *list = *pipeline = p;
    return TN_OK;
}

void gpu_pipeline_put(tn_device *d, gpu_pipeline *pipeline)
{
    if (--pipeline->users)
        return;
    gpu_pipeline **link = &d->pipelines[pipeline->hash % GPU_PIPELINE_BUCKETS];
    while (*link != pipeline)
        link = &(*link)->next;
    *link = pipeline->next;
    destroy(d, pipeline);
}
