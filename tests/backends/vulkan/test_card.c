/*
 * test_card.c - which of a machine's devices a config means: by number, by a
 * part of a name, and one for each process of a run. The driver here is made
 * up, and has four devices.
 */
#include "tn_test.h"

#include "gpu.h"

static const struct fake {
    const char *name;
    VkPhysicalDeviceType type;
} fakes[] = {
    {"llvmpipe (LLVM 15.0.6, 256 bits)", VK_PHYSICAL_DEVICE_TYPE_CPU},
    {"NVIDIA GeForce RTX 4090", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU},
    {"Intel(R) UHD Graphics 770", VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU},
    {"NVIDIA GeForce RTX 3060", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU},
};

enum { FAKES = sizeof fakes / sizeof fakes[0] };

/* ---- the driver ---- */

static const struct fake *fake_of(VkPhysicalDevice card)
{
    return (const struct fake *)(const void *)card;
}

static VkResult VKAPI_CALL list_cards(VkInstance instance, uint32_t *count,
                                      VkPhysicalDevice *cards)
{
    (void)instance;
    *count = FAKES;
    for (uint32_t i = 0; i < FAKES; i++)
        cards[i] = (VkPhysicalDevice)(uintptr_t)&fakes[i];
    return VK_SUCCESS;
}

static void VKAPI_CALL tell_properties(VkPhysicalDevice card,
                                       VkPhysicalDeviceProperties2 *all)
{
    VkPhysicalDeviceProperties *p = &all->properties;
    p->apiVersion = VK_API_VERSION_1_2;
    p->deviceType = fake_of(card)->type;
    p->limits.maxComputeWorkGroupInvocations = 1024;
    p->limits.maxComputeSharedMemorySize = 65536;
    snprintf(p->deviceName, sizeof p->deviceName, "%s", fake_of(card)->name);
}

/* All that is needed, and nothing of cooperative matrices. */
static void VKAPI_CALL tell_features(VkPhysicalDevice card,
                                     VkPhysicalDeviceFeatures2 *all)
{
    (void)card;
    all->features.shaderInt64 = VK_TRUE;
    for (VkBaseOutStructure *s = (void *)all; s; s = s->pNext) {
        VkPhysicalDeviceVulkan11Features *eleven = (void *)s;
        VkPhysicalDeviceVulkan12Features *twelve = (void *)s;
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES)
            eleven->storageBuffer16BitAccess = VK_TRUE;
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES) {
            twelve->bufferDeviceAddress = VK_TRUE;
            twelve->timelineSemaphore = VK_TRUE;
        }
    }
}

static void VKAPI_CALL tell_queues(VkPhysicalDevice card, uint32_t *count,
                                   VkQueueFamilyProperties *families)
{
    (void)card;
    *count = 1;
    families[0] = (VkQueueFamilyProperties){.queueFlags = VK_QUEUE_COMPUTE_BIT};
}

static void VKAPI_CALL tell_memory(VkPhysicalDevice card,
                                   VkPhysicalDeviceMemoryProperties2 *all)
{
    (void)card;
    all->memoryProperties.memoryHeapCount = 0;
}

static VkResult VKAPI_CALL list_extensions(VkPhysicalDevice card,
                                           const char *layer, uint32_t *count,
                                           VkExtensionProperties *extensions)
{
    (void)card, (void)layer, (void)extensions;
    *count = 0;
    return VK_SUCCESS;
}

/* ---- choosing ---- */

/* Of the process `local_rank` of a run. */
static tn_status choose(const char *wanted, uint32_t local_rank, gpu_card *card,
                        tn_error *err)
{
    const tn_host host = {.struct_size = sizeof host, .local_rank = local_rank};
    const gpu_instance instance = {
        .host = &host,
        .api = {.EnumeratePhysicalDevices = list_cards,
                .GetPhysicalDeviceProperties2 = tell_properties,
                .GetPhysicalDeviceFeatures2 = tell_features,
                .GetPhysicalDeviceQueueFamilyProperties = tell_queues,
                .GetPhysicalDeviceMemoryProperties2 = tell_memory,
                .EnumerateDeviceExtensionProperties = list_extensions}};
    return gpu_card_choose(&instance, wanted, card, err);
}

static void expect_card(const char *wanted, uint32_t local_rank,
                        const char *name)
{
    gpu_card card;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(choose(wanted, local_rank, &card, &err), err);
    assert_string_equal(card.name, name);
}

static void numbers_count_from_the_best_device(void **state)
{
    (void)state;
    expect_card("0", 0, "NVIDIA GeForce RTX 4090");
    expect_card("1", 0, "NVIDIA GeForce RTX 3060");
    expect_card("2", 0, "Intel(R) UHD Graphics 770");
    expect_card("3", 0, "llvmpipe (LLVM 15.0.6, 256 bits)");
}

static void a_number_of_no_device_is_a_part_of_a_name(void **state)
{
    (void)state;
    gpu_card card;
    tn_error err = TN_ERROR_NONE;
    expect_card("4090", 0, "NVIDIA GeForce RTX 4090");
    expect_card("3060", 0, "NVIDIA GeForce RTX 3060");
    expect_card("770", 0, "Intel(R) UHD Graphics 770");
    assert_int_equal(choose("5080", 0, &card, &err), TN_EINVALID);
    tn_assert_error_says(err, "device: 5080 is none of the devices here");
    tn_assert_error_says(err, "1 NVIDIA GeForce RTX 3060");
}

/* The integrated GPU is no third: its share would be what all wait for. */
static void processes_take_the_best_devices_in_turn(void **state)
{
    (void)state;
    expect_card("auto", 0, "NVIDIA GeForce RTX 4090");
    expect_card("auto", 1, "NVIDIA GeForce RTX 3060");
    expect_card("auto", 2, "NVIDIA GeForce RTX 4090");
    expect_card("0", 1, "NVIDIA GeForce RTX 4090");
    expect_card("UHD", 1, "Intel(R) UHD Graphics 770");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_count_from_the_best_device),
        cmocka_unit_test(a_number_of_no_device_is_a_part_of_a_name),
        cmocka_unit_test(processes_take_the_best_devices_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
