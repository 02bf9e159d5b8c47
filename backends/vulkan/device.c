/*
 * device.c - one logical device, one queue, one timeline.
 */
#include "gpu.h"

#include <stdlib.h>
#include <string.h>

/* ---- the queue ---- */

tn_status gpu_commands_create(tn_device *d, VkCommandBuffer *commands,
                              tn_error *err)
{
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = d->commands,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    return gpu_check(
        d->instance.api.AllocateCommandBuffers(d->handle, &info, commands),
        "making a command buffer", err);
}

tn_status gpu_submit(tn_device *d, const VkCommandBuffer *commands,
                     uint32_t count, uint64_t *value, tn_error *err)
{
    const uint64_t done = d->submitted + 1;
    const VkTimelineSemaphoreSubmitInfo timeline = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &done,
    };
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &timeline,
        .commandBufferCount = count,
        .pCommandBuffers = commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &d->timeline,
    };
    TN_TRY(gpu_check(
        d->instance.api.QueueSubmit(d->queue, 1, &info, VK_NULL_HANDLE),
        "starting work", err));
    d->submitted = done;
    if (value)
        *value = done;
    return TN_OK;
}

tn_status gpu_wait_for(tn_device *d, uint64_t value, tn_error *err)
{
    const VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &d->timeline,
        .pValues = &value,
    };
    TN_TRY(
        gpu_check(d->instance.api.WaitSemaphores(d->handle, &info, UINT64_MAX),
                  "waiting for it", err));
    if (!d->instance.complaint[0])
        return TN_OK;
    return tn_fail(err, TN_EDEVICE, "backend vulkan: validation: %s",
                   d->instance.complaint);
}

/* ---- opening ---- */

static tn_status create_device(tn_device *d, tn_error *err)
{
    const float priority = 1.0f;
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = d->card.queue_family,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    gpu_coop_features coop;
    gpu_coop_features_of(&d->card, &coop);
    VkPhysicalDeviceVulkan11Features eleven = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
        .pNext = coop.first,
        .storageBuffer16BitAccess = VK_TRUE,
    };
    VkPhysicalDeviceVulkan12Features twelve = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = &eleven,
        .bufferDeviceAddress = VK_TRUE,
        .timelineSemaphore = VK_TRUE,
        .vulkanMemoryModel = coop.count > 0,
        .vulkanMemoryModelDeviceScope = coop.count > 0,
        .shaderFloat16 = coop.count > 0,
    };
    const VkPhysicalDeviceFeatures2 features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
        .pNext = &twelve,
        .features.shaderInt64 = VK_TRUE,
    };
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &features,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = coop.count,
        .ppEnabledExtensionNames = coop.names,
    };
    gpu_api *api = &d->instance.api;
    TN_TRY(gpu_check(api->CreateDevice(d->card.handle, &info, NULL, &d->handle),
                     "opening the device", err));
    TN_TRY(gpu_load_device(api, d->handle, err));
    api->GetDeviceQueue(d->handle, d->card.queue_family, 0, &d->queue);
    return TN_OK;
}

static tn_status create_queue_objects(tn_device *d, tn_error *err)
{
    const gpu_api *api = &d->instance.api;
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = d->card.queue_family,
    };
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    const VkSemaphoreCreateInfo semaphore = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
        .pNext = &type,
    };
    TN_TRY(
        gpu_check(api->CreateCommandPool(d->handle, &pool, NULL, &d->commands),
                  "opening its queue", err));
    return gpu_check(
        api->CreateSemaphore(d->handle, &semaphore, NULL, &d->timeline),
        "opening its queue", err);
}

static tn_status create_fault(tn_device *d, tn_error *err)
{
    TN_TRY(
        gpu_buffer_create(d, GPU_FOR_HOST, sizeof(gpu_fault), &d->fault, err));
    memset(gpu_buffer_mapped(d->fault), 0, sizeof(gpu_fault));
    return TN_OK;
}

static tn_status open_all(tn_device *d, const gpu_options *o, tn_error *err)
{
    TN_TRY(gpu_instance_open(&d->instance, d->host, o->validation, err));
    TN_TRY(gpu_card_choose(&d->instance, o->device ? o->device : "auto",
                           &d->card, err));
    if (gpu_is_software(&d->card))
        d->host->log(d->host, TN_LOG_WARNING,
                     "backend vulkan: %s computes on the CPU and is for tests; "
                     "backend: cpu is many times faster",
                     d->card.name);
    if (!o->cooperative)
        d->card.coop_f16.kind = d->card.coop_bf16.kind = GPU_COOP_NONE;
    TN_TRY(create_device(d, err));
    TN_TRY(create_queue_objects(d, err));
    TN_TRY(gpu_memory_open(d, o->staging, err));
    TN_TRY(create_fault(d, err));
    if (o->cache)
        gpu_cache_path(&d->card, d->cache_path, sizeof d->cache_path);
    TN_TRY(gpu_pipelines_open(d, err));
    TN_TRY(gpu_try_arithmetic(d, err));
    return gpu_try_coop(d, err);
}

tn_status gpu_device_open(const tn_host *host, const gpu_options *options,
                          tn_device **device, tn_error *err)
{
    tn_device *d = calloc(1, sizeof *d);
    if (!d)
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory");
    d->host = host;
    d->native = (uint32_t)options->native;
    const tn_status status = open_all(d, options, err);
    if (status != TN_OK)
        gpu_device_close(d);
    else
        *device = d;
    return status;
}

void gpu_device_close(tn_device *d)
{
    if (!d)
        return;
    const gpu_api *api = &d->instance.api;
    if (d->queue) {
        api->DeviceWaitIdle(d->handle);
        gpu_pipelines_close(d);
        gpu_staging_close(d);
        gpu_buffer_free(d, d->fault);
        gpu_memory_close(d);
        if (d->timeline)
            api->DestroySemaphore(d->handle, d->timeline, NULL);
        if (d->commands)
            api->DestroyCommandPool(d->handle, d->commands, NULL);
    }
    if (d->handle && api->DestroyDevice)
        api->DestroyDevice(d->handle, NULL);
    gpu_instance_close(&d->instance);
    free(d->coop_f16.words);
    free(d->coop_bf16.words);
    free(d);
}
