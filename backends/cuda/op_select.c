/*
 * op_select.c - choosing: the largest elements of a row, who goes to which
 * expert; and running sums.
 */
#include "compiler.h"

static tn_status choose(gpu_compiler *c, const tn_operand *x,
                        const tn_operand *values, const tn_operand *index,
                        int64_t k, tn_error *err)
{
    const gpu_select_args a = {.x = gpu_at(c, x),
                               .values = values ? gpu_at(c, values) : 0,
                               .index = gpu_at(c, index),
                               .columns = x->shape[x->rank - 1],
                               .k = (int32_t)k};
    const int64_t rows = gpu_size(x->shape, 0, x->rank - 1);
    return gpu_launch(
        c, GPU_FAMILY_select, x->dtype == TN_F32 ? "select_f" : "select_b", &a,
        sizeof a, (gpu_grid){rows, 1, 1, a.columns <= 64 ? 32 : 256, 0}, err);
}

tn_status gpu_compile_topk(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    const tn_topk_attr *attr = n->attr;
    if (n->in[0].dtype != n->out[0].dtype)
        return gpu_refuse(n, err, "x is %s and the values %s",
                          tn_dtype_name(n->in[0].dtype),
                          tn_dtype_name(n->out[0].dtype));
    return choose(c, &n->in[0], &n->out[0], &n->out[1], attr->k, err);
}

tn_status gpu_compile_argmax(gpu_compiler *c, const tn_plan_node *n,
                             tn_error *err)
{
    return choose(c, &n->in[0], NULL, &n->out[0], 1, err);
}

tn_status gpu_compile_expert_plan(gpu_compiler *c, const tn_plan_node *n,
                                  tn_error *err)
{
    const tn_expert_plan_attr *attr = n->attr;
    const gpu_expert_args a = {.choice = gpu_at(c, &n->in[0]),
                               .count = gpu_scratch(c, 4 * attr->experts),
                               .order = gpu_at(c, &n->out[0]),
                               .inverse = gpu_at(c, &n->out[1]),
                               .offsets = gpu_at(c, &n->out[2]),
                               .choices = (int32_t)gpu_elements(&n->in[0]),
                               .experts = (int32_t)attr->experts};
    const gpu_grid grid = {attr->experts, 1, 1, 256, 0};
    TN_TRY(gpu_launch_check(c, &n->in[0], 0, attr->experts, err));
    TN_TRY(gpu_launch(c, GPU_FAMILY_select, "expert_count", &a, sizeof a, grid,
                      err));
    return gpu_launch(c, GPU_FAMILY_select, "expert_place", &a, sizeof a, grid,
                      err);
}

/* A block for each line where lines are few and long. */
tn_status gpu_compile_cumsum(gpu_compiler *c, const tn_plan_node *n,
                             tn_error *err)
{
    enum { MANY_LINES = 16384, SHORT = 64 };
    const tn_cumsum_attr *attr = n->attr;
    const tn_operand *x = &n->in[0];
    const int64_t inner = gpu_size(x->shape, attr->axis + 1, x->rank);
    const gpu_cumsum_args a = {.x = gpu_at(c, x),
                               .y = gpu_at(c, &n->out[0]),
                               .lines =
                                   gpu_size(x->shape, 0, attr->axis) * inner,
                               .count = x->shape[attr->axis],
                               .inner = inner,
                               .reverse = attr->reverse != 0,
                               .exclusive = attr->exclusive != 0};
    const int scans = a.lines < MANY_LINES && a.count > SHORT;
    const int half = x->dtype == TN_BF16;
    if (x->dtype != n->out[0].dtype)
        return gpu_refuse(n, err, "x is %s and the sums %s",
                          tn_dtype_name(x->dtype),
                          tn_dtype_name(n->out[0].dtype));
    return gpu_launch(
        c, GPU_FAMILY_select,
        scans  ? half ? "cumsum_scan_b" : "cumsum_scan_f"
        : half ? "cumsum_walk_b"
               : "cumsum_walk_f",
        &a, sizeof a,
        (gpu_grid){scans ? a.lines : gpu_ceil(a.lines, 256), 1, 1, 256, 0},
        err);
}
