/*
 * op_conv.c - CONV1D_CAUSAL and its backward. The gradient of the taps is made
 * in parts of some rows, which a reduction joins.
 */
#include "emit_launch.h"
#include "kernels/sequence.h"

enum { MOST_TAPS = 4 };

uint32_t gpu_conv_fits(const tn_device *d, const tn_plan_node *n)
{
    (void)d;
    return n->in[0].dtype == n->out[0].dtype && n->in[1].shape[1] <= MOST_TAPS;
}

uint32_t gpu_conv_bwd_fits(const tn_device *d, const tn_plan_node *n)
{
    (void)d;
    return n->in[0].dtype == n->out[0].dtype &&
           n->in[1].dtype == n->out[0].dtype && n->in[2].shape[1] <= MOST_TAPS;
}

/* x, w, [history] and [begins] are inputs `first` on. */
static gpu_conv_args problem(const gpu_compiler *c, const tn_plan_node *n,
                             uint32_t first)
{
    const tn_operand *x = &n->in[first];
    const uint32_t count = n->in_count - first;
    gpu_conv_args a = {.x = gpu_at(c, &x[0]),
                       .w = gpu_at(c, &x[1]),
                       .history = count > 2 ? gpu_at(c, &x[2]) : 0,
                       .begins = count > 3 ? gpu_at(c, &x[3]) : 0,
                       .rows = (int32_t)x->shape[1],
                       .channels = (int32_t)x->shape[2]};
    for (uint32_t i = 0; i < 2; i++) {
        a.x_stride[i] = x->stride[i];
        a.history_stride[i] = a.history ? x[2].stride[i] : 0;
    }
    return a;
}

/* "conv_dw_4b": of 4 taps, x stored as BF16; w stands behind x */
static tn_status launch(gpu_compiler *c, gpu_conv_args *a, const char *kernel,
                        const tn_operand *x, int64_t parts, tn_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "%s_%d%c", kernel, (int)x[1].shape[1],
             gpu_letter(x->dtype));
    return gpu_launch(c, GPU_FAMILY_conv, name, a, sizeof *a,
                      (gpu_grid){parts,
                                 gpu_ceil(a->channels, GPU_CONV_CHANNELS), 1,
                                 GPU_CONV_CHANNELS, 0},
                      err);
}

static tn_status launch_rows(gpu_compiler *c, gpu_conv_args *a,
                             const char *kernel, const tn_operand *x,
                             tn_error *err)
{
    a->blocks = (int32_t)gpu_ceil(a->rows, GPU_CONV_ROWS);
    return launch(c, a, kernel, x, a->blocks * x->shape[0], err);
}

tn_status gpu_compile_conv(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    gpu_conv_args a = problem(c, n, 0);
    a.y = gpu_at(c, &n->out[0]);
    return launch_rows(c, &a, "conv", &n->in[0], err);
}

static tn_status sum_taps(gpu_compiler *c, gpu_conv_args *a,
                          const tn_plan_node *n, tn_error *err)
{
    const tn_operand *x = &n->in[1], *dw = &n->out[1];
    a->blocks = (int32_t)gpu_ceil(a->rows, GPU_CONV_PART);
    const int64_t parts = a->blocks * x->shape[0];
    const int64_t taps = gpu_elements(dw);
    a->y = gpu_scratch(c, 4 * parts * taps);
    TN_TRY(launch(c, a, "conv_dw", x, parts, err));
    return gpu_launch_join(c, TN_REDUCE_SUM, parts, a->y, gpu_at(c, dw), TN_F32,
                           taps, 0, err);
}

tn_status gpu_compile_conv_bwd(gpu_compiler *c, const tn_plan_node *n,
                               tn_error *err)
{
    gpu_conv_args a = problem(c, n, 1);
    a.dy = gpu_at(c, &n->in[0]);
    a.y = gpu_at(c, &n->out[0]);
    TN_TRY(launch_rows(c, &a, "conv_dx", &n->in[1], err));
    return sum_taps(c, &a, n, err);
}
