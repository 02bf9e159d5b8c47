/*
 * loader.c - fills the table of Vulkan functions.
 */
#include "loader.h"

#include <dlfcn.h>

static tn_status missing(const char *name, tn_error *err)
{
    return tn_fail(err, TN_EUNSUPPORTED,
                   "backend vulkan: the driver has no function vk%s; update "
                   "it, or the Vulkan loader",
                   name);
}

tn_status gpu_load_library(gpu_api *api, tn_error *err)
{
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "libvulkan.so.1 is not installed; on Debian or Ubuntu: "
                       "apt-get install libvulkan1, and the driver of the GPU");
    void *symbol = dlsym(library, "vkGetInstanceProcAddr");
    if (!symbol)
        return missing("GetInstanceProcAddr", err);
    *(void **)(&api->GetInstanceProcAddr) = symbol;
#define XX(name)                                                               \
    api->name = (PFN_vk##name)api->GetInstanceProcAddr(NULL, "vk" #name);      \
    if (!api->name)                                                            \
        return missing(#name, err);
    GPU_GLOBAL_MAP(XX)
#undef XX
    return TN_OK;
}

tn_status gpu_load_instance(gpu_api *api, VkInstance instance, tn_error *err)
{
#define XX(name)                                                               \
    api->name = (PFN_vk##name)api->GetInstanceProcAddr(instance, "vk" #name);
    GPU_INSTANCE_MAP(XX)
    GPU_DEBUG_MAP(XX)
#undef XX
#define XX(name)                                                               \
    if (!api->name)                                                            \
        return missing(#name, err);
    GPU_INSTANCE_MAP(XX)
#undef XX
    return TN_OK;
}

tn_status gpu_load_device(gpu_api *api, VkDevice device, tn_error *err)
{
#define XX(name)                                                               \
    api->name = (PFN_vk##name)api->GetDeviceProcAddr(device, "vk" #name);      \
    if (!api->name)                                                            \
        return missing(#name, err);
    GPU_DEVICE_MAP(XX)
#undef XX
    return TN_OK;
}
