/*
 * op_attention.c - attention and its gradients, without scores in memory: on
 * tensor cores where operands are BF16, else in f32; by cuDNN where that is
 * there, right and faster (dnn.h).
 */
#include "dnn.h"
#include "emit_launch.h"

#include <math.h>
#include <string.h>

enum { MOST_SIZE = 256, FEWEST_ROWS = 16 };

/* ---- which shapes ---- */

static int64_t padded(int64_t size)
{
    return gpu_ceil(size, 16) * 16;
}

/* Whether tensor cores take it: BF16, sizes in steps of their 16. */
static int by_tensor_cores(const tn_operand *q, const tn_operand *v)
{
    const int64_t d = q->shape[3], e = v->shape[3];
    return q->dtype == TN_BF16 && d % 16 == 0 && e % 16 == 0 && d <= 192 &&
           e <= 128;
}

/* As the kernels lay them out: tiles of so many columns, and one of scores. */
static uint32_t plain_bytes(int64_t columns)
{
    return (uint32_t)(4 * GPU_ATTENTION_PITCH * (columns + GPU_ATTENTION_TILE));
}

/* Tiles of BF16 rows: attention_mma.cuh. */
static uint32_t rows_bytes(int64_t columns)
{
    return (uint32_t)(2 * GPU_ATTENTION_TILE * columns);
}

static uint32_t forward_shared(const tn_operand *q, const tn_operand *v)
{
    const int64_t d = padded(q->shape[3]), e = padded(v->shape[3]);
    return by_tensor_cores(q, v) ? rows_bytes(2 * (d + 8) + e + 8)
                                 : plain_bytes(d + (d > e ? d : e));
}

static uint32_t backward_shared(const tn_operand *q, const tn_operand *v)
{
    const int64_t d = padded(q->shape[3]), e = padded(v->shape[3]);
    return by_tensor_cores(q, v) ? rows_bytes(2 * (d + 8 + e + 8))
                                 : plain_bytes(2 * (d + e));
}

/* Static shared memory of a kernel comes on top. */
static uint32_t has_room(const tn_device *d, uint32_t bytes)
{
    enum { STATIC_BYTES = 2048 };
    return (int64_t)bytes + STATIC_BYTES <= d->card.shared_bytes;
}

static uint32_t same_dtypes(const tn_operand *x, uint32_t count,
                            const tn_operand *y)
{
    for (uint32_t i = 0; i < count; i++)
        if (x[i].dtype != y->dtype)
            return 0;
    return 1;
}

static uint32_t fits(const tn_operand *q, const tn_operand *v)
{
    return q->shape[3] <= MOST_SIZE && v->shape[3] <= MOST_SIZE;
}

/* Of a few rows (decoding) a tile of queries would be mostly empty. */
static uint32_t is_few(const tn_operand *q)
{
    return q->shape[1] < FEWEST_ROWS && q->shape[3] <= GPU_FEW_SIZE;
}

uint32_t gpu_attention_fits(const tn_device *d, const tn_plan_node *n)
{
    return same_dtypes(n->in, 3, &n->out[0]) &&
           (is_few(&n->in[0]) ||
            (fits(&n->in[0], &n->in[2]) &&
             has_room(d, forward_shared(&n->in[0], &n->in[2]))));
}

uint32_t gpu_attention_bwd_fits(const tn_device *d, const tn_plan_node *n)
{
    return fits(&n->in[1], &n->in[3]) && same_dtypes(n->in, 5, &n->out[0]) &&
           same_dtypes(n->out, 3, &n->out[0]) &&
           has_room(d, backward_shared(&n->in[1], &n->in[3]));
}

/* ---- arguments ---- */

static uint64_t optional(const gpu_compiler *c, const tn_plan_node *n,
                         uint32_t i)
{
    return n->in_count > i ? gpu_at(c, &n->in[i]) : 0;
}

/* q, k and v are inputs `at` .. `at` + 2; positions input `last`, and what
 * rows see first the one after it. */
static gpu_attention_args problem(const gpu_compiler *c, const tn_plan_node *n,
                                  uint32_t at, uint32_t last)
{
    const tn_attention_attr *attr = n->attr;
    const tn_operand *q = &n->in[at], *k = q + 1, *v = q + 2;
    const double scale =
        attr->scale != 0.0 ? attr->scale : 1.0 / sqrt((double)q->shape[3]);
    gpu_attention_args a = {
        .q = gpu_at(c, q),
        .k = gpu_at(c, k),
        .v = gpu_at(c, v),
        .positions = optional(c, n, last),
        .first = optional(c, n, last + 1),
        .batch = (int32_t)q->shape[0],
        .rows = (int32_t)q->shape[1],
        .keys = (int32_t)k->shape[1],
        .heads = (int32_t)q->shape[2],
        .groups = (int32_t)k->shape[2],
        .key_size = (int32_t)q->shape[3],
        .value_size = (int32_t)v->shape[3],
        .window = (int32_t)(attr->window > INT32_MAX ? 0 : attr->window),
        .scale = (float)scale,
        .cap = (float)attr->softcap,
        .causal = !attr->bidirectional,
    };
    memcpy(a.q_stride, q->stride, sizeof a.q_stride);
    memcpy(a.k_stride, k->stride, sizeof a.k_stride);
    memcpy(a.v_stride, v->stride, sizeof a.v_stride);
    return a;
}

static tn_status check_positions(gpu_compiler *c, const tn_plan_node *n,
                                 uint32_t last, tn_error *err)
{
    return optional(c, n, last)
               ? gpu_launch_check(c, &n->in[last], -1, INT32_MAX, err)
               : TN_OK;
}

/* ---- which kernels ---- */

/* What a launch is, but for its arguments. */
typedef struct choice {
    uint32_t family;
    char name[40];
    uint32_t threads, shared;
} choice;

static int moves_by_16_bytes(uint64_t address, const int64_t stride[3])
{
    return address % 16 == 0 && stride[0] % 8 == 0 && stride[1] % 8 == 0 &&
           stride[2] % 8 == 0;
}

/* Tensor cores' rows move by 16 bytes: a view that does not is copied. */
static tn_status line_up(gpu_compiler *c, const tn_operand *x, uint64_t *at,
                         int64_t stride[3], tn_error *err)
{
    const uint64_t from = *at;
    gpu_view view = {.dtype = x->dtype}, dense = view;
    if (moves_by_16_bytes(from, stride))
        return TN_OK;
    memcpy(view.stride, x->stride, sizeof x->stride[0] * x->rank);
    gpu_dense(x->rank, x->shape, dense.stride);
    memcpy(stride, dense.stride, 3 * sizeof *stride);
    *at = gpu_scratch(c, gpu_elements(x) * (int64_t)gpu_bytes(x->dtype));
    return gpu_launch_copy(c, x->rank, x->shape, from, &view, *at, &dense, err);
}

static tn_status line_all_up(gpu_compiler *c, const tn_operand *q,
                             gpu_attention_args *a, tn_error *err)
{
    TN_TRY(line_up(c, q, &a->q, a->q_stride, err));
    TN_TRY(line_up(c, q + 1, &a->k, a->k_stride, err));
    return line_up(c, q + 2, &a->v, a->v_stride, err);
}

/* "attention_mma_dq_128_128": for heads of up to 128 */
static choice on_tensor_cores(uint32_t family, const char *kernel,
                              const gpu_attention_args *a, uint32_t shared)
{
    choice c = {.family = family, .threads = 128, .shared = shared};
    const int d = a->key_size, e = a->value_size;
    snprintf(c.name, sizeof c.name, "attention_mma%s_%s", kernel,
             d <= 64 && e <= 64 ? "64_64"
             : d <= 128         ? "128_128"
                                : "192_128");
    return c;
}

/* "attention_dq_128_b": for heads of up to 128, stored as BF16 */
static choice on_plain_cores(uint32_t family, const char *kernel,
                             const tn_operand *q, int32_t size, uint32_t shared)
{
    choice c = {.family = family, .threads = 256, .shared = shared};
    snprintf(c.name, sizeof c.name, "attention%s_%d_%c", kernel,
             size <= 64    ? 64
             : size <= 128 ? 128
                           : 256,
             gpu_letter(q->dtype));
    return c;
}

static tn_status launch(gpu_compiler *c, const choice *kernel,
                        const gpu_attention_args *a, int64_t lines,
                        int64_t heads, tn_error *err)
{
    const int64_t tiles = gpu_ceil(lines, GPU_ATTENTION_TILE);
    return gpu_launch(c, kernel->family, kernel->name, a, sizeof *a,
                      (gpu_grid){tiles * heads * a->batch, 1, 1,
                                 kernel->threads, kernel->shared},
                      err);
}

/* ---- by cuDNN ---- */

/* *done stays 0 where our kernels are to do it. */
static tn_status launch_dnn(gpu_compiler *c, const tn_plan_node *n,
                            const gpu_attention_args *a, int backward,
                            int *done, tn_error *err)
{
    tn_device *d = gpu_device_of(c);
    const gpu_dnn_plan *plan;
    TN_TRY(gpu_dnn_choose(d, n, a, backward, &plan, err));
    *done = plan != NULL;
    if (!plan)
        return TN_OK;
    const uint64_t workspace =
        plan->workspace ? gpu_scratch(c, plan->workspace) : 0;
    if (gpu_is_measuring(c))
        return TN_OK;
    gpu_dnn_call *call = gpu_dnn_bind(d->dnn, plan, a, backward, workspace);
    *done = call != NULL;
    return call ? gpu_launch_dnn(c, call, err) : TN_OK;
}

/* ---- forward ---- */

/* Stretches of keys, and what they came to together. */
static tn_status launch_few(gpu_compiler *c, const tn_operand *q,
                            gpu_attention_args *a, tn_error *err)
{
    const int64_t queries = (int64_t)a->batch * a->rows * a->heads;
    const int64_t tiles =
        gpu_ceil((int64_t)a->rows * (a->heads / a->groups), GPU_FEW_QUERIES);
    const char *const name[2] = {"attention_few_", "attention_few_join_"};
    const int64_t splits = gpu_ceil(a->keys, GPU_FEW_KEYS);
    const gpu_grid grid[2] = {{splits, tiles * a->groups * a->batch, 1, 128, 0},
                              {queries, 1, 1, 128, 0}};
    a->splits = (int32_t)splits;
    a->stats = gpu_scratch(c, 8 * queries * splits);
    a->parts = gpu_scratch(c, 4 * queries * splits * a->value_size);
    for (int i = 0; i < 2; i++) {
        char kernel[40];
        snprintf(kernel, sizeof kernel, "%s%c", name[i], gpu_letter(q->dtype));
        TN_TRY(gpu_launch(c, GPU_FAMILY_attention_few, kernel, a, sizeof *a,
                          grid[i], err));
    }
    return TN_OK;
}

tn_status gpu_compile_attention(gpu_compiler *c, const tn_plan_node *n,
                                tn_error *err)
{
    gpu_attention_args a = problem(c, n, 0, 3);
    a.o = gpu_at(c, &n->out[0]);
    a.lse = gpu_at(c, &n->out[1]);
    const tn_operand *q = &n->in[0], *v = &n->in[2];
    TN_TRY(check_positions(c, n, 3, err));
    if (is_few(q))
        return launch_few(c, q, &a, err);
    int done;
    TN_TRY(launch_dnn(c, n, &a, 0, &done, err));
    if (done)
        return TN_OK;
    const uint32_t shared = forward_shared(q, v);
    const int fast = by_tensor_cores(q, v);
    if (fast)
        TN_TRY(line_all_up(c, q, &a, err));
    const choice kernel =
        fast
            ? on_tensor_cores(GPU_FAMILY_attention_mma, "", &a, shared)
            : on_plain_cores(GPU_FAMILY_attention, "", q, a.value_size, shared);
    return launch(c, &kernel, &a, a.rows, a.heads, err);
}

/* ---- backward ---- */

/* delta (B, T, H) = sum over the last axis of do o */
static tn_status launch_delta(gpu_compiler *c, const tn_plan_node *n,
                              uint64_t delta, tn_error *err)
{
    const tn_operand *x[2] = {&n->in[0], &n->in[4]};
    const gpu_addresses a = {{gpu_at(c, x[0]), gpu_at(c, x[1]), delta}, 3};
    gpu_reduce_spec s = {.axes = 1u << 3, .kind = TN_REDUCE_SUM};
    s.map.rank = 4;
    s.map.in_count = 2;
    s.map.out_count = 1;
    memcpy(s.map.shape, x[0]->shape, sizeof s.map.shape);
    for (uint32_t i = 0; i < 2; i++) {
        s.map.in[i].dtype = x[i]->dtype;
        gpu_dense(4, x[i]->shape, s.map.in[i].stride);
    }
    s.map.out[0].dtype = TN_F32;
    s.map.program.instruction[0] = (tn_instruction){TN_MAP_INPUT, 0, 0, 0};
    s.map.program.instruction[1] = (tn_instruction){TN_MAP_INPUT, 1, 0, 0};
    s.map.program.instruction[2] = (tn_instruction){TN_MAP_MUL, 0, 1, 0};
    s.map.program.instruction_count = 3;
    s.map.program.output[0] = 2;
    return gpu_launch_reduce(c, &s, &a, err);
}

static tn_status launch_gradients(gpu_compiler *c, const tn_plan_node *n,
                                  gpu_attention_args *a, tn_error *err)
{
    const tn_operand *q = &n->in[1], *v = &n->in[3];
    const uint32_t shared = backward_shared(q, v);
    const int32_t widest =
        a->key_size > a->value_size ? a->key_size : a->value_size;
    const uint32_t mma = GPU_FAMILY_attention_mma_bwd;
    const uint32_t plain = GPU_FAMILY_attention_bwd;
    const int fast = by_tensor_cores(q, v);
    if (fast)
        TN_TRY(line_all_up(c, q, a, err));
    const choice queries =
        fast ? on_tensor_cores(mma, "_dq", a, shared)
             : on_plain_cores(plain, "_dq", q, a->key_size, shared);
    const choice keys = fast ? on_tensor_cores(mma, "_dkv", a, shared)
                             : on_plain_cores(plain, "_dkv", q, widest, shared);
    TN_TRY(launch(c, &queries, a, a->rows, a->heads, err));
    return launch(c, &keys, a, a->keys, a->groups, err);
}

tn_status gpu_compile_attention_bwd(gpu_compiler *c, const tn_plan_node *n,
                                    tn_error *err)
{
    gpu_attention_args a = problem(c, n, 1, 6);
    int done;
    a.d_out = gpu_at(c, &n->in[0]);
    a.o = gpu_at(c, &n->in[4]);
    a.lse = gpu_at(c, &n->in[5]);
    a.delta = gpu_scratch(c, 4 * (int64_t)a.batch * a.rows * a.heads);
    a.dq = gpu_at(c, &n->out[0]);
    a.dk = gpu_at(c, &n->out[1]);
    a.dv = gpu_at(c, &n->out[2]);
    TN_TRY(check_positions(c, n, 6, err));
    TN_TRY(launch_dnn(c, n, &a, 1, &done, err));
    if (done)
        return TN_OK;
    TN_TRY(launch_delta(c, n, a.delta, err));
    return launch_gradients(c, n, &a, err);
}
