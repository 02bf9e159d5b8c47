/*
 * loader.h - Vulkan without linking to it: libvulkan.so.1 is opened at run
 * time, and every function this backend calls is in one of three lists.
 *
 * The three lists are the three moments at which Vulkan can name a function:
 * before there is an instance, with an instance, with a device.
 */
#ifndef VULKAN_LOADER_H
#define VULKAN_LOADER_H

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include <tenon/base.h>

#define GPU_GLOBAL_MAP(XX)                                                     \
    XX(CreateInstance)                                                         \
    XX(EnumerateInstanceLayerProperties)                                       \
    XX(EnumerateInstanceVersion)

#define GPU_INSTANCE_MAP(XX)                                                   \
    XX(DestroyInstance)                                                        \
    XX(EnumeratePhysicalDevices)                                               \
    XX(GetPhysicalDeviceProperties2)                                           \
    XX(GetPhysicalDeviceFeatures2)                                             \
    XX(GetPhysicalDeviceMemoryProperties2)                                     \
    XX(EnumerateDeviceExtensionProperties)                                     \
    XX(GetPhysicalDeviceQueueFamilyProperties)                                 \
    XX(CreateDevice)                                                           \
    XX(GetDeviceProcAddr)

/* Absent without VK_EXT_debug_utils, which only `validation` asks for. */
#define GPU_DEBUG_MAP(XX)                                                      \
    XX(CreateDebugUtilsMessengerEXT)                                           \
    XX(DestroyDebugUtilsMessengerEXT)

#define GPU_DEVICE_MAP(XX)                                                     \
    XX(DestroyDevice)                                                          \
    XX(DeviceWaitIdle)                                                         \
    XX(GetDeviceQueue)                                                         \
    XX(QueueSubmit)                                                            \
    XX(CreateSemaphore)                                                        \
    XX(DestroySemaphore)                                                       \
    XX(WaitSemaphores)                                                         \
    XX(AllocateMemory)                                                         \
    XX(FreeMemory)                                                             \
    XX(MapMemory)                                                              \
    XX(CreateBuffer)                                                           \
    XX(DestroyBuffer)                                                          \
    XX(GetBufferMemoryRequirements)                                            \
    XX(BindBufferMemory)                                                       \
    XX(GetBufferDeviceAddress)                                                 \
    XX(CreateShaderModule)                                                     \
    XX(DestroyShaderModule)                                                    \
    XX(CreatePipelineLayout)                                                   \
    XX(DestroyPipelineLayout)                                                  \
    XX(CreatePipelineCache)                                                    \
    XX(DestroyPipelineCache)                                                   \
    XX(GetPipelineCacheData)                                                   \
    XX(CreateComputePipelines)                                                 \
    XX(DestroyPipeline)                                                        \
    XX(CreateCommandPool)                                                      \
    XX(DestroyCommandPool)                                                     \
    XX(AllocateCommandBuffers)                                                 \
    XX(FreeCommandBuffers)                                                     \
    XX(BeginCommandBuffer)                                                     \
    XX(EndCommandBuffer)                                                       \
    XX(CmdBindPipeline)                                                        \
    XX(CmdPushConstants)                                                       \
    XX(CmdDispatch)                                                            \
    XX(CmdPipelineBarrier)                                                     \
    XX(CmdCopyBuffer)                                                          \
    XX(CmdFillBuffer)                                                          \
    XX(CreateQueryPool)                                                        \
    XX(DestroyQueryPool)                                                       \
    XX(CmdResetQueryPool)                                                      \
    XX(CmdWriteTimestamp)                                                      \
    XX(GetQueryPoolResults)

typedef struct gpu_api {
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
#define XX(name) PFN_vk##name name;
    GPU_GLOBAL_MAP(XX)
    GPU_INSTANCE_MAP(XX)
    GPU_DEBUG_MAP(XX)
    GPU_DEVICE_MAP(XX)
#undef XX
} gpu_api;

/* Open the library and fill the global functions. It stays open for as long as
 * the process lives: drivers keep threads and exit handlers in it. */
tn_status gpu_load_library(gpu_api *api, tn_error *err);
tn_status gpu_load_instance(gpu_api *api, VkInstance instance, tn_error *err);
tn_status gpu_load_device(gpu_api *api, VkDevice device, tn_error *err);

#endif
