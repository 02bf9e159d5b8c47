/*
 * instance.c - Vulkan's instance, the validation layer's voice, and what its
 * numbers for failure mean to a user.
 */
#include "gpu.h"

#include <string.h>

static const char validation_layer[] = "VK_LAYER_KHRONOS_validation";

tn_status gpu_check(VkResult result, const char *doing, tn_error *err)
{
    switch (result) {
    case VK_SUCCESS:
        return TN_OK;
    case VK_ERROR_DEVICE_LOST:
        return tn_fail(err, TN_EDEVICE,
                       "backend vulkan: the device was lost while %s: the "
                       "driver reset it or it was unplugged. Checkpoints are "
                       "intact; start again with --resume auto, and with a "
                       "smaller train.batch_size if it happens again",
                       doing);
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_TOO_MANY_OBJECTS:
        return tn_fail(err, TN_ENOMEM,
                       "backend vulkan: out of %s memory while %s; set a "
                       "smaller train.batch_size or train.recompute: layer "
                       "(`tenon plan` shows what is needed)",
                       result == VK_ERROR_OUT_OF_HOST_MEMORY ? "the machine's"
                                                             : "the device's",
                       doing);
    case VK_ERROR_INCOMPATIBLE_DRIVER:
        return tn_fail(err, TN_EUNSUPPORTED,
                       "libvulkan.so.1 finds no driver; install the GPU's (on "
                       "Debian or Ubuntu mesa-vulkan-drivers, or NVIDIA's; in "
                       "a container its capability graphics)");
    default:
        return tn_fail(err, TN_EDEVICE,
                       "backend vulkan: the driver failed with VkResult %d "
                       "while %s",
                       (int)result, doing);
    }
}

static VKAPI_ATTR VkBool32 VKAPI_CALL
listen(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
       VkDebugUtilsMessageTypeFlagsEXT types,
       const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    gpu_instance *instance = user;
    (void)severity, (void)types;
    instance->host->log(instance->host, TN_LOG_ERROR, "vulkan validation: %s",
                        data->pMessage);
    if (!instance->complaint[0])
        snprintf(instance->complaint, sizeof instance->complaint, "%.780s",
                 data->pMessage);
    return VK_FALSE;
}

static tn_status require_layer(const gpu_api *api, tn_error *err)
{
    VkLayerProperties layers[64];
    uint32_t count = 64;
    api->EnumerateInstanceLayerProperties(&count, layers);
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(layers[i].layerName, validation_layer))
            return TN_OK;
    return tn_fail(err, TN_EUNSUPPORTED,
                   "backend vulkan: validation is true, but %s is not "
                   "installed; on Debian or Ubuntu: apt-get install "
                   "vulkan-validationlayers",
                   validation_layer);
}

static tn_status create(gpu_instance *instance, int validation, tn_error *err)
{
    const char *layers[] = {validation_layer};
    const char *extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    const VkDebugUtilsMessengerCreateInfoEXT listener = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = listen,
        .pUserData = instance,
    };
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "tenon",
        .apiVersion = VK_API_VERSION_1_2,
    };
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &application,
        .enabledLayerCount = validation ? 1 : 0,
        .ppEnabledLayerNames = layers,
        .enabledExtensionCount = validation ? 1 : 0,
        .ppEnabledExtensionNames = extensions,
    };
    const gpu_api *api = &instance->api;
    if (validation)
        TN_TRY(require_layer(api, err));
    TN_TRY(gpu_check(api->CreateInstance(&info, NULL, &instance->handle),
                     "opening Vulkan", err));
    TN_TRY(gpu_load_instance(&instance->api, instance->handle, err));
    if (!validation)
        return TN_OK;
    if (!api->CreateDebugUtilsMessengerEXT)
        return tn_fail(err, TN_EUNSUPPORTED,
                       "backend vulkan: validation needs VK_EXT_debug_utils, "
                       "which the Vulkan loader lacks");
    return gpu_check(api->CreateDebugUtilsMessengerEXT(instance->handle,
                                                       &listener, NULL,
                                                       &instance->messenger),
                     "asking for validation messages", err);
}

tn_status gpu_instance_open(gpu_instance *instance, const tn_host *host,
                            int validation, tn_error *err)
{
    *instance = (gpu_instance){.host = host};
    TN_TRY(gpu_load_library(&instance->api, err));
    const tn_status status = create(instance, validation, err);
    if (status != TN_OK)
        gpu_instance_close(instance);
    return status;
}

void gpu_instance_close(gpu_instance *instance)
{
    const gpu_api *api = &instance->api;
    if (instance->messenger)
        api->DestroyDebugUtilsMessengerEXT(instance->handle,
                                           instance->messenger, NULL);
    if (instance->handle && api->DestroyInstance)
        api->DestroyInstance(instance->handle, NULL);
    instance->messenger = VK_NULL_HANDLE;
    instance->handle = VK_NULL_HANDLE;
}
