/*
 * op_attention.c - attention and its gradients, without scores in memory.
 *
 * The gradient computes scores again, in two kernels so that each sum has one
 * owner: one for a tile of queries, one for a tile of keys. delta = sum(do o)
 * of a row is a reduction before both.
 */
#include "emit_dispatch.h"
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { TILE = 32, MOST_SIZE = 256, FEWEST_ROWS = 16 };

/* attention.glsl's argument block. */
typedef struct attention {
    uint64_t q, k, v, positions, first;
    uint64_t q_stride[3], k_stride[3], v_stride[3];
    uint64_t o, lse;
    uint64_t d_out, delta;
    uint64_t dq, dk, dv;
    uint32_t rows, keys, heads, groups;
    uint32_t batch;
    float scale, cap;
    int32_t window;
} attention;

/* A head must fit into registers; for a few rows (decoding) a tile of queries
 * would be mostly empty, and products over the whole cache are faster. */
static uint32_t fits(const tn_operand *q, const tn_operand *v)
{
    return q->shape[1] >= FEWEST_ROWS && q->shape[3] <= MOST_SIZE &&
           v->shape[3] <= MOST_SIZE;
}

uint32_t gpu_attention_fits(const tn_plan_node *n)
{
    return fits(&n->in[0], &n->in[2]) && gpu_same_dtypes(n->in, 3) &&
           n->out[0].dtype == n->in[0].dtype;
}

uint32_t gpu_attention_bwd_fits(const tn_plan_node *n)
{
    return fits(&n->in[1], &n->in[3]) && gpu_same_dtypes(n->in, 5) &&
           gpu_same_dtypes(n->out, 3) && n->out[0].dtype == n->in[0].dtype;
}

static uint64_t optional(const gpu_compiler *c, const tn_plan_node *n,
                         uint32_t i)
{
    return n->in_count > i ? gpu_at(c, &n->in[i]) : 0;
}

/* q, k and v are inputs first .. first + 2, positions and where documents begin
 * inputs last and last + 1. */
static attention problem(const gpu_compiler *c, const tn_plan_node *n,
                         uint32_t first, uint32_t last)
{
    const tn_attention_attr *attr = n->attr;
    const tn_operand *q = &n->in[first], *k = q + 1, *v = q + 2;
    attention a = {
        .q = gpu_at(c, q),
        .k = gpu_at(c, k),
        .v = gpu_at(c, v),
        .positions = optional(c, n, last),
        .first = optional(c, n, last + 1),
        .rows = (uint32_t)q->shape[1],
        .keys = (uint32_t)k->shape[1],
        .heads = (uint32_t)q->shape[2],
        .groups = (uint32_t)k->shape[2],
        .batch = (uint32_t)q->shape[0],
        .scale = (float)(attr->scale != 0.0 ? attr->scale
                                            : 1.0 / sqrt((double)q->shape[3])),
        .cap = (float)attr->softcap,
        .window = (int32_t)(attr->window > INT32_MAX ? 0 : attr->window),
    };
    for (uint32_t i = 0; i < 3; i++) {
        a.q_stride[i] = (uint64_t)q->stride[i];
        a.k_stride[i] = (uint64_t)k->stride[i];
        a.v_stride[i] = (uint64_t)v->stride[i];
    }
    return a;
}

static gpu_code code_of(uint32_t kernel, const tn_plan_node *n,
                        const attention *a, const tn_operand *q)
{
    const tn_attention_attr *attr = n->attr;
    const uint32_t constants[] = {(uint32_t)q[0].shape[3],
                                  (uint32_t)q[2].shape[3],
                                  a->positions != 0,
                                  !attr->bidirectional,
                                  q->dtype,
                                  a->first != 0};
    return gpu_kernel_with(kernel, 6, constants);
}

static tn_status check_positions(gpu_compiler *c, const tn_plan_node *n,
                                 const attention *a, uint32_t last,
                                 tn_error *err)
{
    return a->positions
               ? gpu_dispatch_check(c, &n->in[last], -1, INT32_MAX, err)
               : TN_OK;
}

static int64_t query_tiles(const attention *a)
{
    return gpu_ceil(a->rows, TILE) * a->heads * a->batch;
}

static int64_t key_tiles(const attention *a)
{
    return gpu_ceil(a->keys, TILE) * a->groups * a->batch;
}

tn_status gpu_compile_attention(gpu_compiler *c, const tn_plan_node *n,
                                tn_error *err)
{
    attention a = problem(c, n, 0, 3);
    a.o = gpu_at(c, &n->out[0]);
    a.lse = gpu_at(c, &n->out[1]);
    const gpu_code code = code_of(GPU_KERNEL_attention, n, &a, &n->in[0]);
    TN_TRY(check_positions(c, n, &a, 3, err));
    return gpu_dispatch(c, &code, &a, sizeof a, query_tiles(&a), err);
}

/* delta (B, T, H) = sum over the last axis of do o */
static tn_status dispatch_delta(gpu_compiler *c, const tn_plan_node *n,
                                uint64_t delta, tn_error *err)
{
    const tn_operand *d_out = &n->in[0];
    const gpu_addresses a = {{gpu_at(c, d_out), gpu_at(c, &n->in[4]), delta},
                             3};
    gpu_reduce_spec s = {.axes = 1u << 3, .kind = TN_REDUCE_SUM};
    s.map.rank = 4;
    s.map.in_count = 2;
    s.map.out_count = 1;
    memcpy(s.map.shape, d_out->shape, sizeof s.map.shape);
    for (uint32_t i = 0; i < 2; i++) {
        s.map.in[i].dtype = n->in[i ? 4 : 0].dtype;
        gpu_dense(4, d_out->shape, s.map.in[i].stride);
    }
    s.map.out[0].dtype = TN_F32;
    s.map.program.instruction[0] = (tn_instruction){TN_MAP_INPUT, 0, 0, 0};
    s.map.program.instruction[1] = (tn_instruction){TN_MAP_INPUT, 1, 0, 0};
    s.map.program.instruction[2] = (tn_instruction){TN_MAP_MUL, 0, 1, 0};
    s.map.program.instruction_count = 3;
    s.map.program.output[0] = 2;
    return gpu_dispatch_reduce(c, &s, &a, err);
}

tn_status gpu_compile_attention_bwd(gpu_compiler *c, const tn_plan_node *n,
                                    tn_error *err)
{
    attention a = problem(c, n, 1, 6);
    a.d_out = gpu_at(c, &n->in[0]);
    a.lse = gpu_at(c, &n->in[5]);
    a.delta = gpu_scratch(c, 4 * (int64_t)a.batch * a.rows * a.heads);
    a.dq = gpu_at(c, &n->out[0]);
    a.dk = gpu_at(c, &n->out[1]);
    a.dv = gpu_at(c, &n->out[2]);
    const gpu_code queries = code_of(GPU_KERNEL_attention_dq, n, &a, &n->in[1]);
    const gpu_code keys = code_of(GPU_KERNEL_attention_dkv, n, &a, &n->in[1]);
    TN_TRY(check_positions(c, n, &a, 6, err));
    TN_TRY(dispatch_delta(c, n, a.delta, err));
    gpu_next_phase(c);
    TN_TRY(gpu_dispatch(c, &queries, &a, sizeof a, query_tiles(&a), err));
    return gpu_dispatch(c, &keys, &a, sizeof a, key_tiles(&a), err);
}
