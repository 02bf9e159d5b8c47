/*
 * op_sample.c - a token from each row of logits: a block for each row.
 */
#include "compiler.h"

tn_status gpu_compile_sample(gpu_compiler *c, const tn_plan_node *n,
                             tn_error *err)
{
    const gpu_sample_args a = {.logits = gpu_at(c, &n->in[0]),
                               .how = gpu_at(c, &n->in[1]),
                               .limits = gpu_at(c, &n->in[2]),
                               .token = gpu_at(c, &n->out[0]),
                               .classes = (int32_t)n->in[0].shape[1]};
    return gpu_launch(c, GPU_FAMILY_sample, "sample", &a, sizeof a,
                      (gpu_grid){n->in[0].shape[0], 1, 1, 1024, 0}, err);
}
