/*
 * op_norm.c - RMS_NORM and its backward: rows by a kernel of their own; the
 * gradient of the weight is an emitted reduction over rows.
 */
#include "emit_dispatch.h"
#include "kernels.h"

enum { THREADS = 128 }; /* of rms_norm.comp */

/* Its argument block. */
typedef struct norm {
    uint64_t x, w, dy, rstd, y;
    uint32_t rows, columns;
    float eps;
} norm;

uint32_t gpu_norm_fits(const tn_plan_node *n)
{
    return n->out[0].dtype == n->in[0].dtype;
}

uint32_t gpu_norm_bwd_fits(const tn_plan_node *n)
{
    return n->in[0].dtype == n->in[1].dtype &&
           n->out[0].dtype == n->in[1].dtype;
}

static tn_status dispatch_norm(gpu_compiler *c, const norm *a,
                               const tn_operand *x, const tn_operand *w,
                               uint32_t backward, tn_error *err)
{
    const uint32_t lanes = a->columns <= 64 ? 8 : a->columns <= 512 ? 32 : 128;
    const gpu_code code =
        GPU_KERNEL(rms_norm, lanes, backward, x->dtype, w->dtype);
    return gpu_dispatch(c, &code, a, sizeof *a,
                        gpu_ceil(a->rows, THREADS / lanes), err);
}

static norm norm_of(const gpu_compiler *c, const tn_operand *x,
                    const tn_operand *w)
{
    return (norm){.x = gpu_at(c, x),
                  .w = gpu_at(c, w),
                  .rows = (uint32_t)gpu_size(x->shape, 0, x->rank - 1),
                  .columns = (uint32_t)x->shape[x->rank - 1]};
}

tn_status gpu_compile_rms_norm(gpu_compiler *c, const tn_plan_node *n,
                               tn_error *err)
{
    const tn_norm_attr *attr = n->attr;
    norm a = norm_of(c, &n->in[0], &n->in[1]);
    a.y = gpu_at(c, &n->out[0]);
    a.rstd = gpu_at(c, &n->out[1]);
    a.eps = (float)attr->eps;
    return dispatch_norm(c, &a, &n->in[0], &n->in[1], 0, err);
}

/* dw = sum over rows of dy x r */
static tn_status dispatch_dw(gpu_compiler *c, const tn_plan_node *n,
                             const norm *a, tn_error *err)
{
    const tn_operand *dy = &n->in[0], *x = &n->in[1];
    const gpu_addresses at = {{a->dy, a->x, a->rstd, gpu_at(c, &n->out[1])}, 4};
    gpu_reduce_spec s = {.axes = 1,
                         .kind = TN_REDUCE_SUM,
                         .accumulate = n->accumulate >> 1 & 1u};
    s.map = (gpu_map_spec){.rank = 2,
                           .in_count = 3,
                           .out_count = 1,
                           .shape = {a->rows, a->columns},
                           .in = {{dy->dtype, {a->columns, 1}},
                                  {x->dtype, {a->columns, 1}},
                                  {TN_F32, {1, 0}}}};
    s.map.out[0].dtype = n->out[1].dtype;
    tn_program *p = &s.map.program;
    for (uint8_t i = 0; i < 3; i++)
        p->instruction[i] = (tn_instruction){TN_MAP_INPUT, i, 0, 0};
    p->instruction[3] = (tn_instruction){TN_MAP_MUL, 1, 2, 0};
    p->instruction[4] = (tn_instruction){TN_MAP_MUL, 0, 3, 0};
    p->instruction_count = 5;
    p->output[0] = 4;
    return gpu_dispatch_reduce(c, &s, &at, err);
}

tn_status gpu_compile_rms_norm_bwd(gpu_compiler *c, const tn_plan_node *n,
                                   tn_error *err)
{
    norm a = norm_of(c, &n->in[1], &n->in[2]);
    a.dy = gpu_at(c, &n->in[0]);
    a.rstd = gpu_at(c, &n->in[3]);
    a.y = gpu_at(c, &n->out[0]);
    TN_TRY(dispatch_norm(c, &a, &n->in[1], &n->in[2], 1, err));
    return dispatch_dw(c, n, &a, err);
}
