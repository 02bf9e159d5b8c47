/*
 * faulty_loader.c - a libvulkan.so.1 whose device fails when a test says so,
 * and which keeps what a test wants to see.
 *
 * Everything is the real loader's and the real driver's, but for a few
 * functions of the device that answer with an error from their n-th call on,
 * and limits that are lower than the driver's:
 *
 *     VULKAN_REAL        path of the real libvulkan.so.1
 *     VULKAN_FAULT       "FUNCTION COUNT RESULT": vkQueueSubmit 30 -4
 *     VULKAN_MOST_BYTES  maxBufferSize; vkAllocateMemory has no more at once
 *     VULKAN_OLD         any value: no bufferDeviceAddress and no shaderInt64
 *     VULKAN_MODULES     a folder: every module that the device is handed goes
 *                        there as a file of SPIR-V, each once
 *     VULKAN_ROUGH       any value: the device is a GPU by its own word, and
 *                        its quotients and roots are an ulp or two too large,
 *                        as Vulkan allows
 *
 * A lost device stays lost: once VK_ERROR_DEVICE_LOST was the answer, it is
 * that of every submission and every wait.
 */
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTIONS(XX)                                                          \
    XX(AllocateMemory)                                                         \
    XX(CreateComputePipelines)                                                 \
    XX(CreateShaderModule)                                                     \
    XX(QueueSubmit)                                                            \
    XX(WaitSemaphores)

static struct {
#define XX(name) PFN_vk##name name;
    FUNCTIONS(XX)
#undef XX
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
    PFN_vkGetDeviceProcAddr GetDeviceProcAddr;
    PFN_vkGetPhysicalDeviceFeatures2 GetPhysicalDeviceFeatures2;
    PFN_vkGetPhysicalDeviceProperties2 GetPhysicalDeviceProperties2;
} real;

/* VK_SUCCESS where this call is not to fail. */
static VkResult answer(const char *function)
{
    static int calls, lost;
    const char *fault = getenv("VULKAN_FAULT");
    char name[64];
    int count, result;
    if (lost)
        return VK_ERROR_DEVICE_LOST;
    if (!fault || sscanf(fault, "%63s %d %d", name, &count, &result) != 3 ||
        strcmp(name, function) != 0 || ++calls < count)
        return VK_SUCCESS;
    lost = result == VK_ERROR_DEVICE_LOST;
    return (VkResult)result;
}

static VkDeviceSize most_bytes(void)
{
    const char *most = getenv("VULKAN_MOST_BYTES");
    return most ? strtoull(most, NULL, 10) : ~(VkDeviceSize)0;
}

static VkResult VKAPI_CALL allocate_memory(VkDevice device,
                                           const VkMemoryAllocateInfo *info,
                                           const VkAllocationCallbacks *how,
                                           VkDeviceMemory *memory)
{
    const VkResult result = answer("vkAllocateMemory");
    if (result)
        return result;
    if (info->allocationSize > most_bytes())
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return real.AllocateMemory(device, info, how, memory);
}

static VkResult VKAPI_CALL create_compute_pipelines(
    VkDevice device, VkPipelineCache cache, uint32_t count,
    const VkComputePipelineCreateInfo *info, const VkAllocationCallbacks *how,
    VkPipeline *pipelines)
{
    const VkResult result = answer("vkCreateComputePipelines");
    return result ? result
                  : real.CreateComputePipelines(device, cache, count, info, how,
                                                pipelines);
}

/* The same words have the same name. */
static void keep(const char *folder, const VkShaderModuleCreateInfo *info)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a, by words */
    char path[512];
    for (size_t i = 0; i < info->codeSize / 4; i++)
        h = (h ^ info->pCode[i]) * 1099511628211u;
    snprintf(path, sizeof path, "%s/%016" PRIx64 ".spv", folder, h);
    FILE *to = fopen(path, "wb");
    if (!to || fwrite(info->pCode, 1, info->codeSize, to) != info->codeSize)
        fprintf(stderr, "%s: cannot be written\n", path);
    if (to)
        fclose(to);
}

enum { EXT_INST = 12, CONSTANT = 43, FUNCTION = 54, F_MUL = 133, F_DIV = 136 };

static int is_rough(const uint32_t *instruction)
{
    const uint32_t op = instruction[0] & 0xffffu, glsl_sqrt = 31;
    return op == F_DIV || (op == EXT_INST && instruction[4] == glsl_sqrt);
}

/* The same module, whose quotients and roots are multiplied by 1 + 2^-23. */
static size_t roughen(const uint32_t *words, size_t count, uint32_t *to)
{
    uint32_t type = 0, next = words[3], factor = 0;
    size_t used = 5;
    for (size_t i = 5; i < count; i += words[i] >> 16)
        if (is_rough(words + i))
            type = words[i + 1];
    memcpy(to, words, 5 * sizeof *words);
    for (size_t i = 5; i < count; i += words[i] >> 16) {
        const size_t length = words[i] >> 16;
        if (type && !factor && (words[i] & 0xffffu) == FUNCTION) {
            const uint32_t constant[] = {4 << 16 | CONSTANT, type, next,
                                         0x3f800001};
            memcpy(to + used, constant, sizeof constant);
            used += 4;
            factor = next++;
        }
        memcpy(to + used, words + i, length * sizeof *words);
        used += length;
        if (is_rough(words + i) && words[i + 1] == type) {
            const uint32_t product[] = {5 << 16 | F_MUL, type, words[i + 2],
                                        next, factor};
            to[used - length + 2] = next++;
            memcpy(to + used, product, sizeof product);
            used += 5;
        }
    }
    to[3] = next;
    return used;
}

static VkResult create_rough(VkDevice device,
                             const VkShaderModuleCreateInfo *info,
                             const VkAllocationCallbacks *how,
                             VkShaderModule *module)
{
    VkShaderModuleCreateInfo rough = *info;
    uint32_t *words = malloc(2 * info->codeSize + 64);
    if (!words)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    rough.codeSize = 4 * roughen(info->pCode, info->codeSize / 4, words);
    rough.pCode = words;
    const VkResult result =
        real.CreateShaderModule(device, &rough, how, module);
    free(words);
    return result;
}

static VkResult VKAPI_CALL
create_shader_module(VkDevice device, const VkShaderModuleCreateInfo *info,
                     const VkAllocationCallbacks *how, VkShaderModule *module)
{
    const char *folder = getenv("VULKAN_MODULES");
    if (folder)
        keep(folder, info);
    if (getenv("VULKAN_ROUGH"))
        return create_rough(device, info, how, module);
    return real.CreateShaderModule(device, info, how, module);
}

static VkResult VKAPI_CALL queue_submit(VkQueue queue, uint32_t count,
                                        const VkSubmitInfo *info, VkFence fence)
{
    const VkResult result = answer("vkQueueSubmit");
    return result ? result : real.QueueSubmit(queue, count, info, fence);
}

static VkResult VKAPI_CALL wait_semaphores(VkDevice device,
                                           const VkSemaphoreWaitInfo *info,
                                           uint64_t timeout)
{
    const VkResult result = answer("vkWaitSemaphores");
    return result ? result : real.WaitSemaphores(device, info, timeout);
}

static void VKAPI_CALL get_physical_device_properties2(
    VkPhysicalDevice card, VkPhysicalDeviceProperties2 *properties)
{
    real.GetPhysicalDeviceProperties2(card, properties);
    if (getenv("VULKAN_ROUGH"))
        properties->properties.deviceType =
            VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    for (VkBaseOutStructure *s = (void *)properties; s; s = s->pNext)
        if (s->sType ==
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES) {
            VkPhysicalDeviceMaintenance4Properties *four = (void *)s;
            if (four->maxBufferSize > most_bytes())
                four->maxBufferSize = most_bytes();
        }
}

static void VKAPI_CALL get_physical_device_features2(
    VkPhysicalDevice card, VkPhysicalDeviceFeatures2 *features)
{
    real.GetPhysicalDeviceFeatures2(card, features);
    if (!getenv("VULKAN_OLD"))
        return;
    features->features.shaderInt64 = VK_FALSE;
    for (VkBaseOutStructure *s = features->pNext; s; s = s->pNext)
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES) {
            VkPhysicalDeviceVulkan12Features *twelve = (void *)s;
            twelve->bufferDeviceAddress = VK_FALSE;
        }
}

static PFN_vkVoidFunction VKAPI_CALL get_device_proc_addr(VkDevice device,
                                                          const char *name)
{
    const PFN_vkVoidFunction found = real.GetDeviceProcAddr(device, name);
#define OURS(function, replacement)                                            \
    if (found && !strcmp(name, "vk" #function)) {                              \
        real.function = (PFN_vk##function)found;                               \
        return (PFN_vkVoidFunction)replacement;                                \
    }
    OURS(AllocateMemory, allocate_memory)
    OURS(CreateComputePipelines, create_compute_pipelines)
    OURS(CreateShaderModule, create_shader_module)
    OURS(QueueSubmit, queue_submit)
    OURS(WaitSemaphores, wait_semaphores)
    return found;
}

__attribute__((visibility("default"))) PFN_vkVoidFunction VKAPI_CALL
vkGetInstanceProcAddr(VkInstance instance, const char *name)
{
    if (!real.GetInstanceProcAddr) {
        void *library = dlopen(getenv("VULKAN_REAL"), RTLD_NOW | RTLD_LOCAL);
        void *symbol = library ? dlsym(library, "vkGetInstanceProcAddr") : NULL;
        if (!symbol)
            return NULL;
        *(void **)(&real.GetInstanceProcAddr) = symbol;
    }
    const PFN_vkVoidFunction found = real.GetInstanceProcAddr(instance, name);
    OURS(GetDeviceProcAddr, get_device_proc_addr)
    OURS(GetPhysicalDeviceFeatures2, get_physical_device_features2)
    OURS(GetPhysicalDeviceProperties2, get_physical_device_properties2)
    return found;
}
