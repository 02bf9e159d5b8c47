/*
 * op_norm.c - norms of rows; the gradient of a norm's weight is a sum over rows
 * and is left to reduce.
 */
#include "emit_launch.h"

#include <string.h>

enum { ROWS = 8 }; /* of a block of norm.cu */

static int64_t rows_of(const tn_operand *x)
{
    return gpu_size(x->shape, 0, x->rank - 1);
}

static gpu_grid grid_of(int64_t rows)
{
    return (gpu_grid){gpu_ceil(rows, ROWS), 1, 1, 32 * ROWS, 0};
}

static const char *named(const tn_operand *x, const char *f32, const char *bf16)
{
    return x->dtype == TN_BF16 ? bf16 : f32;
}

/* A norm's weight is F32, whatever x is. */
uint32_t gpu_norm_fits(const tn_device *d, const tn_plan_node *n)
{
    (void)d;
    return n->in[0].dtype == n->out[0].dtype;
}

uint32_t gpu_norm_bwd_fits(const tn_device *d, const tn_plan_node *n)
{
    (void)d;
    return n->in[0].dtype == n->in[1].dtype &&
           n->in[0].dtype == n->out[0].dtype;
}

uint32_t gpu_softmax_fits(const tn_device *d, const tn_plan_node *n)
{
    (void)d;
    return n->in[0].dtype == n->in[n->in_count - 1].dtype &&
           n->in[0].dtype == n->out[0].dtype;
}

tn_status gpu_compile_norm(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    const tn_norm_attr *attr = n->attr;
    const tn_operand *x = &n->in[0];
    const gpu_norm_args a = {.x = gpu_at(c, x),
                             .weight = gpu_at(c, &n->in[1]),
                             .y = gpu_at(c, &n->out[0]),
                             .rstd = gpu_at(c, &n->out[1]),
                             .rows = rows_of(x),
                             .columns = x->shape[x->rank - 1],
                             .eps = (float)attr->eps};
    return gpu_launch(c, GPU_FAMILY_norm, named(x, "rms_norm_f", "rms_norm_b"),
                      &a, sizeof a, grid_of(a.rows), err);
}

static gpu_norm_args backward_of(gpu_compiler *c, const tn_plan_node *n)
{
    const tn_operand *x = &n->in[1];
    return (gpu_norm_args){.dy = gpu_at(c, &n->in[0]),
                           .x = gpu_at(c, x),
                           .weight = gpu_at(c, &n->in[2]),
                           .rstd = gpu_at(c, &n->in[3]),
                           .y = gpu_at(c, &n->out[0]),
                           .rows = rows_of(x),
                           .columns = x->shape[x->rank - 1]};
}

tn_status gpu_sum_norm_weight(gpu_compiler *c, const tn_plan_node *n,
                              tn_error *err)
{
    const gpu_norm_args a = backward_of(c, n);
    const gpu_addresses at = {{a.dy, a.x, a.rstd, gpu_at(c, &n->out[1])}, 4};
    gpu_reduce_spec s = {.axes = 1,
                         .kind = TN_REDUCE_SUM,
                         .accumulate = n->accumulate >> 1 & 1u};
    tn_program *p = &s.map.program;
    s.map.rank = 2;
    s.map.in_count = 3;
    s.map.out_count = 1;
    s.map.shape[0] = a.rows;
    s.map.shape[1] = a.columns;
    s.map.in[0] = (gpu_view){n->in[0].dtype, {a.columns, 1}};
    s.map.in[1] = (gpu_view){n->in[1].dtype, {a.columns, 1}};
    s.map.in[2] = (gpu_view){TN_F32, {1, 0}};
    s.map.out[0].dtype = n->out[1].dtype;
    for (uint8_t i = 0; i < 3; i++)
        p->instruction[i] = (tn_instruction){TN_MAP_INPUT, i, 0, 0};
    p->instruction[3] = (tn_instruction){TN_MAP_MUL, 1, 2, 0};
    p->instruction[4] = (tn_instruction){TN_MAP_MUL, 0, 3, 0};
    p->instruction_count = 5;
    p->output[0] = 4;
    return gpu_launch_reduce(c, &s, &at, err);
}

tn_status gpu_compile_norm_bwd(gpu_compiler *c, const tn_plan_node *n,
                               tn_error *err)
{
    const gpu_norm_args a = backward_of(c, n);
    TN_TRY(gpu_launch(c, GPU_FAMILY_norm,
                      named(&n->in[1], "rms_norm_bwd_f", "rms_norm_bwd_b"), &a,
                      sizeof a, grid_of(a.rows), err));
    return gpu_sum_norm_weight(c, n, err);
}

tn_status gpu_compile_softmax(gpu_compiler *c, const tn_plan_node *n,
                              tn_error *err)
{
    const tn_operand *x = &n->in[0];
    const gpu_softmax_args a = {.x = gpu_at(c, x),
                                .y = gpu_at(c, &n->out[0]),
                                .rows = rows_of(x),
                                .columns = x->shape[x->rank - 1]};
    return gpu_launch(c, GPU_FAMILY_norm, named(x, "softmax_f", "softmax_b"),
                      &a, sizeof a, grid_of(a.rows), err);
}

tn_status gpu_compile_softmax_bwd(gpu_compiler *c, const tn_plan_node *n,
                                  tn_error *err)
{
    const tn_operand *y = &n->in[1];
    const gpu_softmax_args a = {.dy = gpu_at(c, &n->in[0]),
                                .x = gpu_at(c, y),
                                .y = gpu_at(c, &n->out[0]),
                                .rows = rows_of(y),
                                .columns = y->shape[y->rank - 1]};
    return gpu_launch(c, GPU_FAMILY_norm,
                      named(y, "softmax_bwd_f", "softmax_bwd_b"), &a, sizeof a,
                      grid_of(a.rows), err);
}
