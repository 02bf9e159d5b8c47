/*
 * op_conv.c - CONV1D_CAUSAL and its backward. The gradient of the taps is made
 * in parts of 64 rows, which a reduction joins.
 */
#include "emit_dispatch.h"
#include "kernels.h"

enum {
    CHANNELS = 64,  /* of a workgroup */
    ROWS = 8,       /* of an invocation of conv.comp */
    PART_ROWS = 64, /* of conv_dw.comp */
    MOST_TAPS = 16,
};

/* conv.glsl's argument block. */
typedef struct conv {
    uint64_t x, w, history, dy, begins;
    uint64_t x_stride[2], history_stride[2];
    uint64_t y;
    uint32_t batch, rows, channels;
    uint32_t blocks, row_blocks;
} conv;

uint32_t gpu_conv_fits(const tn_plan_node *n)
{
    return n->in[1].shape[1] <= MOST_TAPS &&
           gpu_same_dtypes(n->in, n->in_count > 3 ? 3 : n->in_count) &&
           n->out[0].dtype == n->in[0].dtype;
}

uint32_t gpu_conv_bwd_fits(const tn_plan_node *n)
{
    return n->in[2].shape[1] <= MOST_TAPS &&
           gpu_same_dtypes(n->in, n->in_count > 4 ? 4 : n->in_count) &&
           n->out[0].dtype == n->in[0].dtype;
}

/* x, w and history are inputs first .. first + 2, where documents begin first
 * + 3. */
static conv problem(const gpu_compiler *c, const tn_plan_node *n,
                    uint32_t first)
{
    const tn_operand *x = &n->in[first];
    conv a = {
        .x = gpu_at(c, x),
        .w = gpu_at(c, x + 1),
        .batch = (uint32_t)x->shape[0],
        .rows = (uint32_t)x->shape[1],
        .channels = (uint32_t)x->shape[2],
        .blocks = (uint32_t)gpu_ceil(x->shape[2], CHANNELS),
    };
    for (uint32_t i = 0; i < 2; i++) {
        a.x_stride[i] = (uint64_t)x->stride[i];
        if (n->in_count > first + 2)
            a.history_stride[i] = (uint64_t)x[2].stride[i];
    }
    if (n->in_count > first + 2)
        a.history = gpu_at(c, x + 2);
    if (n->in_count > first + 3)
        a.begins = gpu_at(c, x + 3);
    return a;
}

static tn_status dispatch_rows(gpu_compiler *c, conv *a, const tn_operand *w,
                               uint32_t backward, tn_error *err)
{
    const gpu_code code =
        GPU_KERNEL(conv, (uint32_t)w->shape[1], w->dtype, backward);
    a->row_blocks = (uint32_t)gpu_ceil(a->rows, ROWS);
    return gpu_dispatch(c, &code, a, sizeof *a,
                        (int64_t)a->blocks * a->row_blocks * a->batch, err);
}

tn_status gpu_compile_conv(gpu_compiler *c, const tn_plan_node *n,
                           tn_error *err)
{
    conv a = problem(c, n, 0);
    a.y = gpu_at(c, &n->out[0]);
    return dispatch_rows(c, &a, &n->in[1], 0, err);
}

static tn_status dispatch_dw(gpu_compiler *c, conv *a, const tn_plan_node *n,
                             tn_error *err)
{
    const tn_operand *w = &n->in[2];
    const gpu_code code = GPU_KERNEL(conv_dw, (uint32_t)w->shape[1], w->dtype);
    a->row_blocks = (uint32_t)gpu_ceil(a->rows, PART_ROWS);
    const int64_t parts = (int64_t)a->row_blocks * a->batch;
    const int64_t taps = gpu_elements(w);
    a->y = gpu_scratch(c, 4 * parts * taps);
    TN_TRY(gpu_dispatch(c, &code, a, sizeof *a, parts * a->blocks, err));
    gpu_next_phase(c);
    return gpu_dispatch_join(c, TN_REDUCE_SUM, parts, a->y,
                             gpu_place_of(c, &n->out[1]), taps, 0, err);
}

tn_status gpu_compile_conv_bwd(gpu_compiler *c, const tn_plan_node *n,
                               tn_error *err)
{
    conv a = problem(c, n, 1);
    a.dy = gpu_at(c, &n->in[0]);
    a.y = gpu_at(c, &n->out[0]);
    TN_TRY(dispatch_rows(c, &a, &n->in[2], 1, err));
    return dispatch_dw(c, &a, n, err);
}
