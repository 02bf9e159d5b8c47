/*
 * card_coop.c - which cooperative matrices a card has, by either extension.
 *
 * The structures of VK_KHR_cooperative_matrix and VK_KHR_shader_bfloat16 are
 * declared here: they are younger than the headers of stable distributions,
 * and drivers have them whatever the headers say.
 */
#include "gpu.h"

#include <string.h>

enum {
    FEATURES_KHR = 1000506000, /* sType */
    ROW_KHR = 1000506001,
    FEATURES_BF16 = 1000141000,
    COMPONENT_BF16 = 1000141000,
    COMPONENT_F16 = 0, /* of both extensions */
    COMPONENT_F32 = 1,
    SCOPE_SUBGROUP = 3,
    MOST_ROWS = 128,
};

typedef struct row_khr {
    uint32_t type;
    void *next;
    uint32_t m, n, k;
    uint32_t a, b, c, y;
    VkBool32 saturates;
    uint32_t scope;
} row_khr;

typedef VkResult(VKAPI_PTR *rows_khr)(VkPhysicalDevice card, uint32_t *count,
                                      row_khr *rows);

static tn_dtype dtype_of(uint32_t component)
{
    return component == COMPONENT_F16    ? TN_F16
           : component == COMPONENT_F32  ? TN_F32
           : component == COMPONENT_BF16 ? TN_BF16
                                         : TN_DTYPE_NONE;
}

static uint32_t read_khr(const gpu_instance *instance, VkPhysicalDevice card,
                         gpu_coop_row *to)
{
    rows_khr ask = (rows_khr)instance->api.GetInstanceProcAddr(
        instance->handle, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    row_khr rows[MOST_ROWS];
    uint32_t count = MOST_ROWS;
    for (uint32_t i = 0; i < MOST_ROWS; i++)
        rows[i] = (row_khr){.type = ROW_KHR};
    if (!ask || ask(card, &count, rows) < 0)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        const row_khr *r = &rows[i];
        to[i] = (gpu_coop_row){
            r->m,           r->n,
            r->k,           dtype_of(r->a),
            dtype_of(r->b), dtype_of(r->c),
            dtype_of(r->y), r->scope == SCOPE_SUBGROUP && !r->saturates};
    }
    return count;
}

static uint32_t read_nv(const gpu_instance *instance, VkPhysicalDevice card,
                        gpu_coop_row *to)
{
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV ask =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV)
            instance->api.GetInstanceProcAddr(
                instance->handle,
                "vkGetPhysicalDeviceCooperativeMatrixPropertiesNV");
    VkCooperativeMatrixPropertiesNV rows[MOST_ROWS];
    uint32_t count = MOST_ROWS;
    for (uint32_t i = 0; i < MOST_ROWS; i++)
        rows[i] = (VkCooperativeMatrixPropertiesNV){
            .sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_NV};
    if (!ask || ask(card, &count, rows) < 0)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        const VkCooperativeMatrixPropertiesNV *r = &rows[i];
        to[i] = (gpu_coop_row){r->MSize,
                               r->NSize,
                               r->KSize,
                               dtype_of((uint32_t)r->AType),
                               dtype_of((uint32_t)r->BType),
                               dtype_of((uint32_t)r->CType),
                               dtype_of((uint32_t)r->DType),
                               r->scope == VK_SCOPE_SUBGROUP_NV};
    }
    return count;
}

/* ---- features ---- */

static gpu_flags ask_flags(const gpu_instance *instance, VkPhysicalDevice card,
                           uint32_t type)
{
    gpu_flags f = {.type = type};
    VkPhysicalDeviceFeatures2 all = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &f};
    instance->api.GetPhysicalDeviceFeatures2(card, &all);
    return f;
}

/* What both need besides: Vulkan's memory model, in which atomics of the other
 * kernels have to be allowed again, F16, known subgroups. */
static int can_be_used(const gpu_instance *instance, VkPhysicalDevice card,
                       uint32_t *subgroup)
{
    VkPhysicalDeviceVulkan12Features twelve = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    VkPhysicalDeviceFeatures2 features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
        .pNext = &twelve};
    VkPhysicalDeviceVulkan11Properties eleven = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
        .pNext = &eleven};
    instance->api.GetPhysicalDeviceFeatures2(card, &features);
    instance->api.GetPhysicalDeviceProperties2(card, &properties);
    *subgroup = eleven.subgroupSize;
    return twelve.vulkanMemoryModel && twelve.vulkanMemoryModelDeviceScope &&
           twelve.shaderFloat16 && eleven.subgroupSize >= 4 &&
           eleven.subgroupSize <= 64;
}

/* KHR's multiply by whole subgroups only, which a pipeline has to ask for. */
static int has_khr(const gpu_instance *instance, VkPhysicalDevice card)
{
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT whole = {
        .sType =
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT};
    VkPhysicalDeviceFeatures2 all = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &whole};
    if (!gpu_has_extension(&instance->api, card, "VK_KHR_cooperative_matrix") ||
        !gpu_has_extension(&instance->api, card,
                           VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME))
        return 0;
    instance->api.GetPhysicalDeviceFeatures2(card, &all);
    return whole.computeFullSubgroups &&
           ask_flags(instance, card, FEATURES_KHR).flag[0];
}

void gpu_read_coop(const gpu_instance *instance, gpu_card *card)
{
    gpu_coop_row rows[MOST_ROWS];
    uint32_t subgroup, count = 0, kind = GPU_COOP_NONE;
    if (!can_be_used(instance, card->handle, &subgroup))
        return;
    if (has_khr(instance, card->handle)) {
        kind = GPU_COOP_KHR;
        count = read_khr(instance, card->handle, rows);
    } else if (gpu_has_extension(&instance->api, card->handle,
                                 VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME)) {
        kind = GPU_COOP_NV;
        count = read_nv(instance, card->handle, rows);
    }
    card->coop_f16 = gpu_coop_choose(rows, count, TN_F16, kind, subgroup);
    if (kind == GPU_COOP_KHR &&
        gpu_has_extension(&instance->api, card->handle,
                          "VK_KHR_shader_bfloat16") &&
        ask_flags(instance, card->handle, FEATURES_BF16).flag[2])
        card->coop_bf16 = gpu_coop_choose(rows, count, TN_BF16, kind, subgroup);
}

/* ---- opening ---- */

void gpu_coop_features_of(const gpu_card *card, gpu_coop_features *f)
{
    *f = (gpu_coop_features){
        .khr = {.type = FEATURES_KHR, .flag = {VK_TRUE}},
        .bf16 = {.type = FEATURES_BF16, .flag = {VK_TRUE, VK_FALSE, VK_TRUE}},
        .whole =
            {.sType =
                 VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT,
             .computeFullSubgroups = VK_TRUE},
        .nv = {
            .sType =
                VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV,
            .cooperativeMatrix = VK_TRUE}};
    const uint32_t kind = card->coop_f16.kind | card->coop_bf16.kind;
    if (kind == GPU_COOP_NV) {
        f->first = &f->nv;
        f->names[f->count++] = VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME;
    } else if (kind == GPU_COOP_KHR) {
        f->first = &f->whole;
        f->whole.pNext = &f->khr;
        f->names[f->count++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
        f->names[f->count++] = "VK_KHR_cooperative_matrix";
        if (card->coop_bf16.kind) {
            f->khr.next = &f->bf16;
            f->names[f->count++] = "VK_KHR_shader_bfloat16";
        }
    }
}
