/*
 * mamba2.h - the options of the mamba2 layer, and its Hugging Face form.
 */
#ifndef MAMBA2_H
#define MAMBA2_H

#include <tenon/arch.h>

typedef struct mamba2_options {
    int64_t num_heads, head_dim, expand; /* 0: see mamba2_sizes */
    int64_t state_size, n_groups, conv_kernel, chunk_size, norm_groups;
    int32_t use_bias, use_conv_bias;
    double time_step_min, time_step_max, time_step_floor;
    double time_step_limit[2], a_init_range[2];
} mamba2_options;

/* The sizes that options name in two ways: heads x head size = inner width =
 * expand x hidden size. */
typedef struct mamba2_sizes {
    int64_t H, P, I;
} mamba2_sizes;

mamba2_sizes mamba2_sizes_of(const mamba2_options *o, int64_t hidden_size);

/* huggingface.c */
extern const tn_hf_name mamba2_hf_names[4];
tn_status mamba2_hugging_face(const tn_arch_context *context,
                              const void *options, const tn_hf_writer *writer,
                              tn_error *err);

#endif
