/*
 * op_select.c - choosing: the largest elements of a row, who goes to which
 * expert; and running sums.
 */
#include "emit_dispatch.h"
#include "kernels.h"

static tn_status choose(gpu_compiler *c, const tn_operand *x,
                        const tn_operand *values, const tn_operand *index,
                        int64_t k, tn_error *err)
{
    const int64_t columns = x->shape[x->rank - 1];
    const int64_t rows = gpu_size(x->shape, 0, x->rank - 1);
    const struct {
        uint64_t x, values, index;
        uint32_t rows, columns, k;
    } a = {gpu_at(c, x),      values ? gpu_at(c, values) : 0,
           gpu_at(c, index),  (uint32_t)rows,
           (uint32_t)columns, (uint32_t)k};
    const gpu_code code =
        GPU_KERNEL(select, columns <= 64 ? 32 : 256, values != NULL, x->dtype);
    return gpu_dispatch(c, &code, &a, sizeof a, rows, err);
}

tn_status gpu_compile_topk(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    const tn_topk_attr *attr = n->attr;
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
    const uint32_t choices = (uint32_t)gpu_elements(&n->in[0]);
    const uint32_t experts = (uint32_t)attr->experts;
    const uint64_t count = gpu_scratch(c, 4 * attr->experts);
    const struct {
        uint64_t choice, count;
        uint32_t choices, experts;
    } counting = {gpu_at(c, &n->in[0]), count, choices, experts};
    const struct {
        uint64_t choice, count, order, inverse, offsets;
        uint32_t choices, experts;
    } placing = {counting.choice,
                 count,
                 gpu_at(c, &n->out[0]),
                 gpu_at(c, &n->out[1]),
                 gpu_at(c, &n->out[2]),
                 choices,
                 experts};
    const gpu_code first = gpu_kernel(GPU_KERNEL_expert_count);
    const gpu_code second = gpu_kernel(GPU_KERNEL_expert_place);
    TN_TRY(gpu_dispatch_check(c, &n->in[0], 0, attr->experts, err));
    TN_TRY(gpu_dispatch(c, &first, &counting, sizeof counting, experts, err));
    gpu_next_phase(c);
    return gpu_dispatch(c, &second, &placing, sizeof placing, experts, err);
}

/* A workgroup for each line where lines are few and long. */
tn_status gpu_compile_cumsum(gpu_compiler *c, const tn_plan_node *n,
                             tn_error *err)
{
    enum { LOCAL = 128, MANY_LINES = 4096, SHORT = 64 };
    const tn_cumsum_attr *attr = n->attr;
    const tn_operand *x = &n->in[0];
    const int64_t inner = gpu_size(x->shape, attr->axis + 1, x->rank);
    const int64_t count = x->shape[attr->axis];
    const int64_t lines = gpu_size(x->shape, 0, attr->axis) * inner;
    const uint32_t by_workgroup = lines < MANY_LINES && count > SHORT;
    const struct {
        uint64_t x, y;
        uint32_t lines, count, inner;
    } a = {gpu_at(c, x), gpu_at(c, &n->out[0]), (uint32_t)lines,
           (uint32_t)count, (uint32_t)inner};
    const gpu_code code = GPU_KERNEL(cumsum, by_workgroup, attr->reverse != 0,
                                     attr->exclusive != 0, x->dtype);
    return gpu_dispatch(c, &code, &a, sizeof a,
                        by_workgroup ? lines : gpu_ceil(lines, LOCAL), err);
}
