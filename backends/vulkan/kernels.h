/*
 * kernels.h - the kernels of kernels/ as SPIR-V, one row each.
 */
#ifndef VULKAN_KERNELS_H
#define VULKAN_KERNELS_H

#include "gpu.h"

#define GPU_KERNEL_MAP(XX)                                                     \
    XX(attention)                                                              \
    XX(attention_dkv)                                                          \
    XX(attention_dq)                                                           \
    XX(check_index)                                                            \
    XX(conv)                                                                   \
    XX(conv_dw)                                                                \
    XX(cumsum)                                                                 \
    XX(expert_count)                                                           \
    XX(expert_place)                                                           \
    XX(grouped_matmul)                                                         \
    XX(loss)                                                                   \
    XX(matmul)                                                                 \
    XX(matmul_coop)                                                            \
    XX(matvec)                                                                 \
    XX(rms_norm)                                                               \
    XX(scatter_link)                                                           \
    XX(scatter_sum)                                                            \
    XX(select)                                                                 \
    XX(set_rows)                                                               \
    XX(set_rows_last)                                                          \
    XX(ssd_chain)                                                              \
    XX(ssd_ddt)                                                                \
    XX(ssd_decay)                                                              \
    XX(ssd_dgroups)                                                            \
    XX(ssd_dx)                                                                 \
    XX(ssd_few)                                                                \
    XX(ssd_scan)                                                               \
    XX(ssd_states)

enum {
#define XX(name) GPU_KERNEL_##name,
    GPU_KERNEL_MAP(XX)
#undef XX
        GPU_KERNEL_COUNT
};

/* A kernel without specialization constants; add them to the copy. */
gpu_code gpu_kernel(uint32_t kernel);

/* The same with constants 0, 1, ... */
#define GPU_KERNEL(name, ...)                                                  \
    gpu_kernel_with(                                                           \
        GPU_KERNEL_##name,                                                     \
        (uint32_t)(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)),      \
        (const uint32_t[]){__VA_ARGS__})
gpu_code gpu_kernel_with(uint32_t kernel, uint32_t count,
                         const uint32_t *constants);

#endif
