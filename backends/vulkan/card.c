/*
 * card.c - the devices of this machine: what each is, what it lacks, and which
 * one a config means.
 *
 * Asked of a device, all of it in every driver of Vulkan 1.2 for the GPUs of
 * the last ten years:
 *
 *     bufferDeviceAddress   kernels are handed addresses, not descriptors
 *     shaderInt64           addresses are 64 bits
 *     timelineSemaphore     waiting is waiting for a number
 *     storageBuffer16Bit-   tensors of two bytes
 *     Access
 *
 * and workgroups of 256 invocations with 32 KiB of shared memory.
 *
 * A software device (lavapipe) scores 1, as the oracle does: it is for tests,
 * and `backend: auto` finds any other backend first.
 */
#include "gpu.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static uint32_t score_of(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return 900;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return 700;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return 500;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return 1;
    default:
        return 400;
    }
}

static void miss(gpu_card *card, int has, const char *what)
{
    const size_t used = strlen(card->missing);
    if (!has)
        snprintf(card->missing + used, sizeof card->missing - used, "%s%s",
                 used ? ", " : "", what);
}

static void read_features(const gpu_api *api, gpu_card *card)
{
    VkPhysicalDeviceVulkan11Features eleven = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES};
    VkPhysicalDeviceVulkan12Features twelve = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = &eleven};
    VkPhysicalDeviceFeatures2 all = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
        .pNext = &twelve};
    api->GetPhysicalDeviceFeatures2(card->handle, &all);
    miss(card, twelve.bufferDeviceAddress != 0, "bufferDeviceAddress");
    miss(card, twelve.timelineSemaphore != 0, "timelineSemaphore");
    miss(card, all.features.shaderInt64 != 0, "shaderInt64");
    miss(card, eleven.storageBuffer16BitAccess != 0,
         "storageBuffer16BitAccess");
}

/* A family that computes; one that does nothing else is as good. */
static void read_queues(const gpu_api *api, gpu_card *card)
{
    VkQueueFamilyProperties families[32];
    uint32_t count = 32, found = 0;
    api->GetPhysicalDeviceQueueFamilyProperties(card->handle, &count, families);
    for (uint32_t i = 0; i < count && !found; i++) {
        if (!(families[i].queueFlags & VK_QUEUE_COMPUTE_BIT))
            continue;
        card->queue_family = i;
        card->timestamp_bits = families[i].timestampValidBits;
        found = 1;
    }
    miss(card, (int)found, "a compute queue");
}

int gpu_has_extension(const gpu_api *api, VkPhysicalDevice card,
                      const char *name)
{
    VkExtensionProperties *all = NULL;
    uint32_t count = 0, found = 0;
    if (!api->EnumerateDeviceExtensionProperties(card, NULL, &count, NULL))
        all = calloc(count + 1u, sizeof *all);
    if (all)
        api->EnumerateDeviceExtensionProperties(card, NULL, &count, all);
    for (uint32_t i = 0; all && i < count; i++)
        found |= !strcmp(all[i].extensionName, name);
    free(all);
    return (int)found;
}

/* The largest heap of its own; what others have left of it, where the driver
 * tells. */
static void read_memory(const gpu_api *api, gpu_card *card)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType =
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 all = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    const int told = gpu_has_extension(api, card->handle,
                                       VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    all.pNext = told ? &budget : NULL;
    api->GetPhysicalDeviceMemoryProperties2(card->handle, &all);
    for (uint32_t i = 0; i < all.memoryProperties.memoryHeapCount; i++) {
        const VkMemoryHeap *heap = &all.memoryProperties.memoryHeaps[i];
        if (!(heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) ||
            (int64_t)heap->size <= card->memory_bytes)
            continue;
        card->memory_bytes = (int64_t)heap->size;
        card->free_bytes =
            told ? (int64_t)budget.heapBudget[i] - (int64_t)budget.heapUsage[i]
                 : (int64_t)heap->size;
    }
}

/* The largest buffer: told by drivers since 1.3. */
static int64_t largest_buffer(const gpu_api *api, VkPhysicalDevice card)
{
    VkPhysicalDeviceMaintenance4Properties four = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES};
    VkPhysicalDeviceProperties2 all = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
        .pNext = &four};
    if (!gpu_has_extension(api, card, VK_KHR_MAINTENANCE_4_EXTENSION_NAME))
        return INT64_MAX;
    api->GetPhysicalDeviceProperties2(card, &all);
    return four.maxBufferSize < INT64_MAX ? (int64_t)four.maxBufferSize
                                          : INT64_MAX;
}

static void read_properties(const gpu_api *api, gpu_card *card)
{
    VkPhysicalDeviceVulkan11Properties eleven = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES};
    VkPhysicalDeviceVulkan12Properties twelve = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES,
        .pNext = &eleven};
    VkPhysicalDeviceProperties2 all = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
        .pNext = &twelve};
    api->GetPhysicalDeviceProperties2(card->handle, &all);
    const VkPhysicalDeviceProperties *p = &all.properties;
    card->type = p->deviceType;
    card->vendor = p->vendorID;
    card->device = p->deviceID;
    card->driver_version = p->driverVersion;
    card->timestamp_seconds = 1e-9 * (double)p->limits.timestampPeriod;
    card->most_at_once = eleven.maxMemoryAllocationSize < INT64_MAX
                             ? (int64_t)eleven.maxMemoryAllocationSize
                             : INT64_MAX;
    card->most_of_buffer = largest_buffer(api, card->handle);
    card->keeps_nan = twelve.shaderSignedZeroInfNanPreserveFloat32;
    memcpy(card->uuid, p->pipelineCacheUUID, VK_UUID_SIZE);
    snprintf(card->name, sizeof card->name, "%s", p->deviceName);
    miss(card, p->apiVersion >= VK_API_VERSION_1_2, "Vulkan 1.2");
    miss(card, p->limits.maxComputeWorkGroupInvocations >= 256,
         "workgroups of 256");
    miss(card, p->limits.maxComputeSharedMemorySize >= 32768,
         "32 KiB of shared memory");
}

static void read_card(const gpu_instance *instance, VkPhysicalDevice handle,
                      gpu_card *card)
{
    const gpu_api *api = &instance->api;
    *card = (gpu_card){.handle = handle};
    read_properties(api, card);
    if (!card->missing[0])
        read_features(api, card);
    read_queues(api, card);
    read_memory(api, card);
    if (!card->missing[0])
        gpu_read_coop(instance, card);
    card->score = card->missing[0] ? 0 : score_of(card->type);
}

tn_status gpu_cards(const gpu_instance *instance, gpu_card *cards,
                    uint32_t *count, tn_error *err)
{
    const gpu_api *api = &instance->api;
    VkPhysicalDevice handles[GPU_MAX_CARDS];
    uint32_t n = GPU_MAX_CARDS;
    const VkResult result =
        api->EnumeratePhysicalDevices(instance->handle, &n, handles);
    if (result != VK_INCOMPLETE)
        TN_TRY(gpu_check(result, "looking for devices", err));
    for (uint32_t i = 0; i < n; i++) {
        gpu_card card;
        uint32_t at = i;
        read_card(instance, handles[i], &card);
        for (; at > 0 && cards[at - 1].score < card.score; at--)
            cards[at] = cards[at - 1];
        cards[at] = card;
    }
    *count = n;
    return TN_OK;
}

/* ---- choosing ---- */

static void list_names(const gpu_card *cards, uint32_t count, char *text,
                       size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%u %s",
                                 i ? ", " : "", i, cards[i].name);
}

static int contains(const char *name, const char *part)
{
    const size_t length = strlen(part);
    for (; *name; name++)
        if (!strncasecmp(name, part, length))
            return 1;
    return 0;
}

static int is_number(const char *text)
{
    const char *c = text;
    while (isdigit((unsigned char)*c))
        c++;
    return c != text && !*c;
}

/* The processes of a run share the best devices: one each, as far as they go.
 */
static uint32_t best_for(const gpu_card *cards, uint32_t count,
                         const tn_host *host)
{
    uint32_t best = 1;
    while (best < count && cards[best].score == cards[0].score)
        best++;
    return (TN_HAS(host, local_rank) ? host->local_rank : 0) % best;
}

/* count where there is none. 4090 is part of a name where there are fewer
 * devices. */
static uint32_t find(const gpu_card *cards, uint32_t count, const char *wanted,
                     const tn_host *host)
{
    if (!strcmp(wanted, "auto"))
        return best_for(cards, count, host);
    if (is_number(wanted)) {
        const unsigned long index = strtoul(wanted, NULL, 10);
        if (index < count)
            return (uint32_t)index;
    }
    uint32_t i = 0;
    while (i < count && !contains(cards[i].name, wanted))
        i++;
    return i;
}

tn_status gpu_card_choose(const gpu_instance *instance, const char *wanted,
                          gpu_card *card, tn_error *err)
{
    gpu_card cards[GPU_MAX_CARDS];
    uint32_t count = 0;
    char names[512];
    TN_TRY(gpu_cards(instance, cards, &count, err));
    if (!count)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "backend vulkan: the Vulkan drivers of this machine "
                       "find no device");
    const uint32_t at = find(cards, count, wanted, instance->host);
    list_names(cards, count, names, sizeof names);
    if (at == count)
        return tn_fail(err, TN_EINVALID,
                       "backend vulkan: device: %s is none of the devices "
                       "here, which are %s; give auto, a number or a part of "
                       "a name",
                       wanted, names);
    if (cards[at].missing[0])
        return tn_fail(err, TN_EUNSUPPORTED,
                       "backend vulkan: %s lacks %s; update its driver, or "
                       "set device: to another of %s",
                       cards[at].name, cards[at].missing, names);
    *card = cards[at];
    return TN_OK;
}
