/*
 * kernels.c - the arrays that kernels/compile.sh made.
 */
#include "kernels.h"

#include <string.h>

/* clang-format off */
static const uint32_t words_of_attention[] = {
#include "kernels/spirv/attention.inc"
};
static const uint32_t words_of_attention_dkv[] = {
#include "kernels/spirv/attention_dkv.inc"
};
static const uint32_t words_of_attention_dq[] = {
#include "kernels/spirv/attention_dq.inc"
};
static const uint32_t words_of_check_index[] = {
#include "kernels/spirv/check_index.inc"
};
static const uint32_t words_of_conv[] = {
#include "kernels/spirv/conv.inc"
};
static const uint32_t words_of_conv_dw[] = {
#include "kernels/spirv/conv_dw.inc"
};
static const uint32_t words_of_cumsum[] = {
#include "kernels/spirv/cumsum.inc"
};
static const uint32_t words_of_expert_count[] = {
#include "kernels/spirv/expert_count.inc"
};
static const uint32_t words_of_expert_place[] = {
#include "kernels/spirv/expert_place.inc"
};
static const uint32_t words_of_grouped_matmul[] = {
#include "kernels/spirv/grouped_matmul.inc"
};
static const uint32_t words_of_loss[] = {
#include "kernels/spirv/loss.inc"
};
static const uint32_t words_of_matmul[] = {
#include "kernels/spirv/matmul.inc"
};
static const uint32_t words_of_matmul_coop[] = {
#include "kernels/spirv/matmul_coop.inc"
};
static const uint32_t words_of_matvec[] = {
#include "kernels/spirv/matvec.inc"
};
static const uint32_t words_of_rms_norm[] = {
#include "kernels/spirv/rms_norm.inc"
};
static const uint32_t words_of_scatter_link[] = {
#include "kernels/spirv/scatter_link.inc"
};
static const uint32_t words_of_scatter_sum[] = {
#include "kernels/spirv/scatter_sum.inc"
};
static const uint32_t words_of_select[] = {
#include "kernels/spirv/select.inc"
};
static const uint32_t words_of_set_rows[] = {
#include "kernels/spirv/set_rows.inc"
};
static const uint32_t words_of_set_rows_last[] = {
#include "kernels/spirv/set_rows_last.inc"
};
static const uint32_t words_of_ssd_chain[] = {
#include "kernels/spirv/ssd_chain.inc"
};
static const uint32_t words_of_ssd_ddt[] = {
#include "kernels/spirv/ssd_ddt.inc"
};
static const uint32_t words_of_ssd_decay[] = {
#include "kernels/spirv/ssd_decay.inc"
};
static const uint32_t words_of_ssd_dgroups[] = {
#include "kernels/spirv/ssd_dgroups.inc"
};
static const uint32_t words_of_ssd_dx[] = {
#include "kernels/spirv/ssd_dx.inc"
};
static const uint32_t words_of_ssd_few[] = {
#include "kernels/spirv/ssd_few.inc"
};
static const uint32_t words_of_ssd_scan[] = {
#include "kernels/spirv/ssd_scan.inc"
};
static const uint32_t words_of_ssd_states[] = {
#include "kernels/spirv/ssd_states.inc"
};
/* clang-format on */

static const gpu_code kernels[GPU_KERNEL_COUNT] = {
#define XX(name)                                                               \
    [GPU_KERNEL_##name] = {.words = words_of_##name,                           \
                           .word_count = sizeof words_of_##name /              \
                                         sizeof words_of_##name[0]},
    GPU_KERNEL_MAP(XX)
#undef XX
};

gpu_code gpu_kernel(uint32_t kernel)
{
    return kernels[kernel];
}

gpu_code gpu_kernel_with(uint32_t kernel, uint32_t count,
                         const uint32_t *constants)
{
    gpu_code code = kernels[kernel];
    code.constant_count = count;
    memcpy(code.constant, constants, count * sizeof *constants);
    return code;
}
