/*
 * reference.c - the oracle: every op of ops.def in plain loops, in double.
 *
 * Every other backend is judged by this one, so it has no fast paths: one
 * thread, one element at a time, one file per family of ops whose header is
 * the formula. Run in F64 graphs it is exact to rounding; in F32 graphs only
 * what it stores is rounded.
 *
 * It is also the shortest complete backend, and the one to copy from. A
 * backend is a device, buffers on it, and execs: plans made ready to run.
 *
 *     probe    is the hardware here?          caps      what can it do?
 *     supports composites with a kernel       alloc     memory for an arena
 *     compile  bind operands, once            run       walk the nodes
 *
 * To write another one, replace tn_buffer by memory of the device, compile()
 * by whatever it wants to have prepared (tasks, a command buffer), and the
 * kernels one at a time: primitives must be complete, composites may answer
 * "no" in supports() until they are worth it.
 */
#include "reference.h"

#include <stdlib.h>
#include <string.h>

typedef struct reference_options {
    int32_t native;
} reference_options;

static const tn_option options[] = {
    TN_OPTION_BOOL(reference_options, native, 1,
                   "compute composites by formula; false: let the core "
                   "decompose them"),
};

struct tn_device {
    reference_options options;
};

struct tn_buffer {
    int64_t bytes;
    void *data;
};

struct tn_exec {
    const tn_plan *plan;
    ref_node *nodes;
    ref_tensor *tensors; /* of all nodes, inputs before outputs */
    double *scratch;     /* shared: nodes run one after the other */
    tn_error error;
};

static const ref_kernel kernels[TN_OP_COUNT] = {
    [TN_OP_MAP] = {ref_map, NULL},
    [TN_OP_REDUCE] = {ref_reduce, NULL},
    [TN_OP_CUMSUM] = {ref_cumsum, NULL},
    [TN_OP_MATMUL] = {ref_matmul, NULL},
    [TN_OP_COPY] = {ref_copy, NULL},
    [TN_OP_CONCAT] = {ref_concat, NULL},
    [TN_OP_GATHER_ROWS] = {ref_gather_rows, NULL},
    [TN_OP_SCATTER_ADD_ROWS] = {ref_scatter_add_rows,
                                ref_scatter_add_rows_scratch},
    [TN_OP_SET_ROWS] = {ref_set_rows, NULL},
    [TN_OP_ASSIGN] = {ref_assign, NULL},
    [TN_OP_TOPK] = {ref_topk, NULL},
    [TN_OP_ARGMAX] = {ref_argmax, NULL},
    [TN_OP_EXPERT_PLAN] = {ref_expert_plan, NULL},
    [TN_OP_GROUPED_MATMUL] = {ref_grouped_matmul, NULL},
    [TN_OP_FILL] = {ref_fill, NULL},
    [TN_OP_RMS_NORM] = {ref_rms_norm, NULL},
    [TN_OP_RMS_NORM_BWD] = {ref_rms_norm_bwd, NULL},
    [TN_OP_SOFTMAX] = {ref_softmax, NULL},
    [TN_OP_SOFTMAX_BWD] = {ref_softmax_bwd, NULL},
    [TN_OP_ROPE] = {ref_rope, NULL},
    [TN_OP_ATTENTION] = {ref_attention, ref_attention_scratch},
    [TN_OP_ATTENTION_BWD] = {ref_attention_bwd, ref_attention_bwd_scratch},
    [TN_OP_LINEAR_CROSS_ENTROPY] = {ref_linear_cross_entropy,
                                    ref_linear_cross_entropy_scratch},
    [TN_OP_LINEAR_CROSS_ENTROPY_BWD] = {ref_linear_cross_entropy_bwd,
                                        ref_linear_cross_entropy_bwd_scratch},
    [TN_OP_CONV1D_CAUSAL] = {ref_conv1d_causal, NULL},
    [TN_OP_CONV1D_CAUSAL_BWD] = {ref_conv1d_causal_bwd, NULL},
    [TN_OP_SSD_SCAN] = {ref_ssd_scan, ref_ssd_scan_scratch},
    [TN_OP_SSD_SCAN_BWD] = {ref_ssd_scan_bwd, ref_ssd_scan_bwd_scratch},
    [TN_OP_NEWTON_SCHULZ] = {ref_newton_schulz, ref_newton_schulz_scratch},
    [TN_OP_DROPOUT] = {ref_dropout, NULL},
    [TN_OP_SAMPLE] = {ref_sample, ref_sample_scratch},
};

/* NULL where there is none; a plugin's own op (TN_OP_CUSTOM) never has one. */
static const ref_kernel *kernel_of(tn_op op)
{
    return op < TN_OP_COUNT && kernels[op].run ? &kernels[op] : NULL;
}

/* ------------------------------------------------------------------------ */
/* The device                                                                 */

static tn_status probe(const tn_host *host, uint32_t index,
                       tn_device_info *info, tn_error *err)
{
    (void)host;
    if (index > 0)
        return tn_fail(err, TN_EEND, "reference: there is one device only");
    info->score = 1;
    info->threads = 1;
    snprintf(info->name, sizeof info->name,
             "reference (plain loops in double)");
    snprintf(info->note, sizeof info->note,
             "the oracle that other backends are tested against: right, "
             "not fast");
    return TN_OK;
}

static tn_status open_device(const tn_host *host, const void *given,
                             tn_device **device, tn_error *err)
{
    (void)host;
    tn_device *d = calloc(1, sizeof *d);
    if (!d)
        return tn_fail(err, TN_ENOMEM, "reference: no memory for a device");
    d->options = *(const reference_options *)given;
    *device = d;
    return TN_OK;
}

static void close_device(tn_device *device)
{
    free(device);
}

static void caps(const tn_device *device, tn_backend_caps *out)
{
    (void)device;
    out->precisions = TN_PRECISION_F32 | TN_PRECISION_BF16 |
                      TN_PRECISION_F64 | TN_WEIGHTS_Q8_0 | TN_WEIGHTS_Q4_K;
    out->flags = TN_UNIFIED_MEMORY | TN_READS_FIRST;
    out->map_inputs = TN_MAP_MAX_INPUTS;
    out->map_instructions = TN_MAP_MAX_INSTRUCTIONS;
}

static uint32_t supports(const tn_device *device, const tn_plan_node *node)
{
    return device->options.native && kernel_of(node->op) ? 1 : 0;
}

/* ------------------------------------------------------------------------ */
/* Memory                                                                     */

static void buffer_free(tn_device *device, tn_buffer *buffer)
{
    (void)device;
    if (buffer)
        free(buffer->data);
    free(buffer);
}

static tn_status alloc(tn_device *device, int64_t bytes, tn_buffer **buffer,
                       tn_error *err)
{
    const size_t whole = ((size_t)bytes / TN_ALIGNMENT + 1) * TN_ALIGNMENT;
    tn_buffer *b = calloc(1, sizeof *b);
    if (b)
        b->data = aligned_alloc(TN_ALIGNMENT, whole);
    if (!b || !b->data) {
        buffer_free(device, b);
        return tn_fail(err, TN_ENOMEM,
                       "reference: no memory for an arena of %lld bytes",
                       (long long)bytes);
    }
    memset(b->data, 0, whole);
    b->bytes = bytes;
    *buffer = b;
    return TN_OK;
}

static void *map(tn_device *device, tn_buffer *buffer)
{
    (void)device;
    return buffer->data;
}

static tn_status check_range(const tn_buffer *buffer, int64_t offset,
                             int64_t bytes, tn_error *err)
{
    if (offset >= 0 && bytes >= 0 && offset <= buffer->bytes - bytes)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "reference: copy of %lld bytes at %lld is outside a buffer "
                   "of %lld bytes",
                   (long long)bytes, (long long)offset,
                   (long long)buffer->bytes);
}

static tn_status upload(tn_device *device, tn_buffer *to, int64_t offset,
                        const void *from, int64_t bytes, tn_error *err)
{
    (void)device;
    TN_TRY(check_range(to, offset, bytes, err));
    memcpy((char *)to->data + offset, from, (size_t)bytes);
    return TN_OK;
}

static tn_status download(tn_device *device, void *to, const tn_buffer *from,
                          int64_t offset, int64_t bytes, tn_error *err)
{
    (void)device;
    TN_TRY(check_range(from, offset, bytes, err));
    memcpy(to, (const char *)from->data + offset, (size_t)bytes);
    return TN_OK;
}

/* ------------------------------------------------------------------------ */
/* Plans                                                                      */

/* Nodes are stepped over by the size they were built with. */
static const tn_plan_node *node_at(const tn_plan *plan, uint32_t i)
{
    return (const tn_plan_node *)((const char *)plan->nodes +
                                  (size_t)i * plan->node_stride);
}

static ref_tensor bind(const tn_operand *o, tn_buffer *const *arenas)
{
    ref_tensor t = {.dtype = o->dtype, .rank = o->rank, .dense = 1, .count = 1};
    if (o->arena && arenas[o->arena])
        t.data = (char *)arenas[o->arena]->data + o->offset;
    for (uint32_t axis = o->rank; axis-- > 0;) {
        t.shape[axis] = o->shape[axis];
        t.stride[axis] = o->stride[axis];
        if (o->shape[axis] != 1 && o->stride[axis] != t.count)
            t.dense = 0;
        t.count *= o->shape[axis];
    }
    return t;
}

/* Bind the nodes' operands; the most scratch that any of them needs. */
static tn_status bind_nodes(tn_exec *exec, tn_buffer *const *arenas,
                            int64_t *scratch, tn_error *err)
{
    ref_tensor *next = exec->tensors;
    for (uint32_t i = 0; i < exec->plan->node_count; i++) {
        const tn_plan_node *p = node_at(exec->plan, i);
        const ref_kernel *kernel = kernel_of(p->op);
        ref_node *n = &exec->nodes[i];
        if (!kernel)
            return tn_fail(
                err, TN_EUNSUPPORTED, "%s:%d: reference has no kernel for %s",
                p->file ? p->file : "(graph)", (int)p->line, p->name);
        *n = (ref_node){p, next, next + p->in_count, NULL, &exec->error};
        for (uint32_t in = 0; in < p->in_count; in++)
            *next++ = bind(&p->in[in], arenas);
        for (uint32_t out = 0; out < p->out_count; out++)
            *next++ = bind(&p->out[out], arenas);
        const int64_t need = kernel->scratch ? kernel->scratch(n) : 0;
        *scratch = need > *scratch ? need : *scratch;
    }
    return TN_OK;
}

static void exec_free(tn_device *device, tn_exec *exec)
{
    (void)device;
    if (!exec)
        return;
    free(exec->nodes);
    free(exec->tensors);
    free(exec->scratch);
    free(exec);
}

static tn_status build_exec(tn_exec *exec, tn_buffer *const *arenas,
                            tn_error *err)
{
    const tn_plan *plan = exec->plan;
    size_t operands = 0;
    int64_t scratch = 0;
    for (uint32_t i = 0; i < plan->node_count; i++)
        operands += node_at(plan, i)->in_count + node_at(plan, i)->out_count;
    exec->nodes = calloc(plan->node_count + 1u, sizeof *exec->nodes);
    exec->tensors = calloc(operands + 1u, sizeof *exec->tensors);
    if (!exec->nodes || !exec->tensors)
        return tn_fail(err, TN_ENOMEM, "reference: no memory for plan %s",
                       plan->name);
    TN_TRY(bind_nodes(exec, arenas, &scratch, err));
    exec->scratch = malloc(((size_t)scratch + 1u) * sizeof *exec->scratch);
    if (!exec->scratch)
        return tn_fail(err, TN_ENOMEM,
                       "reference: no memory for %lld numbers of scratch",
                       (long long)scratch);
    for (uint32_t i = 0; i < plan->node_count; i++)
        exec->nodes[i].scratch = exec->scratch;
    return TN_OK;
}

static tn_status compile(tn_device *device, const tn_plan *plan,
                         tn_buffer *const arenas[TN_ARENA_COUNT],
                         tn_exec **exec, tn_error *err)
{
    tn_exec *e = calloc(1, sizeof *e);
    if (!e)
        return tn_fail(err, TN_ENOMEM, "reference: no memory for plan %s",
                       plan->name);
    e->plan = plan;
    const tn_status status = build_exec(e, arenas, err);
    if (status != TN_OK) {
        exec_free(device, e);
        return status;
    }
    *exec = e;
    return TN_OK;
}

static tn_status run(tn_device *device, tn_exec *exec, uint32_t segment,
                     tn_error *err)
{
    (void)device;
    const tn_plan_segment s = exec->plan->segments[segment];
    exec->error.status = TN_OK;
    for (uint32_t i = s.first; i < s.first + s.count; i++) {
        const ref_node *n = &exec->nodes[i];
        kernels[n->plan->op].run(n);
        if (exec->error.status != TN_OK)
            return tn_fail(err, exec->error.status, "%s", exec->error.message);
    }
    return TN_OK;
}

/* run() has finished before it returns. */
static tn_status wait_for_all(tn_device *device, tn_error *err)
{
    (void)device;
    (void)err;
    return TN_OK;
}

TN_BACKEND(reference) = {
    .summary = "the oracle: every op in plain loops, in double",
    .options = TN_OPTIONS(reference_options, options),
    .probe = probe,
    .open = open_device,
    .close = close_device,
    .caps = caps,
    .supports = supports,
    .alloc = alloc,
    .free = buffer_free,
    .map = map,
    .upload = upload,
    .download = download,
    .compile = compile,
    .exec_free = exec_free,
    .run = run,
    .wait = wait_for_all,
};
