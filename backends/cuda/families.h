/*
 * families.h - the files of kernels/, one row each: their machine code is in
 * the plugin.
 */
#ifndef CUDA_FAMILIES_H
#define CUDA_FAMILIES_H

#define GPU_FAMILY_MAP(XX)                                                     \
    XX(rows)                                                                   \
    XX(select)                                                                 \
    XX(matmul)                                                                 \
    XX(matmul_mma)                                                             \
    XX(grouped)                                                                \
    XX(grouped_mma)                                                            \
    XX(blocks)                                                                 \
    XX(norm)                                                                   \
    XX(rope)                                                                   \
    XX(norm_rope)                                                              \
    XX(loss)                                                                   \
    XX(attention)                                                              \
    XX(attention_few)                                                          \
    XX(attention_bwd)                                                          \
    XX(attention_mma)                                                          \
    XX(attention_mma_bwd)                                                      \
    XX(conv)                                                                   \
    XX(ssd)                                                                    \
    XX(ssd_bwd)                                                                \
    XX(sample)                                                                 \
    XX(newton)

enum {
#define XX(name) GPU_FAMILY_##name,
    GPU_FAMILY_MAP(XX)
#undef XX
        GPU_FAMILY_COUNT
};

#endif
