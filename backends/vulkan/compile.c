/*
 * compile.c - from a plan to dispatches, argument blocks and commands.
 */
#include "exec.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_GROUPS = 65535, ARGUMENT_ALIGNMENT = 16, SCRATCH_BYTES = 1 << 20 };

struct gpu_compiler {
    tn_exec *exec;
    tn_buffer *const *arenas;
    uint32_t node_index;
    uint32_t phase;
    int64_t missing_bytes; /* scratch that there was no memory for */
    char *arguments;       /* all blocks, uploaded at the end */
    size_t argument_bytes, argument_capacity;
    /* scratch of the group so far: buffers before `scratch_at` are used up */
    uint32_t scratch_at;
    int64_t scratch_used;
};

/* ---- what op files call ---- */

tn_device *gpu_device_of(const gpu_compiler *c)
{
    return c->exec->device;
}

uint64_t gpu_at(const gpu_compiler *c, const tn_operand *o)
{
    if (!o->arena || !c->arenas[o->arena])
        return 0;
    return gpu_buffer_address(c->arenas[o->arena]) + (uint64_t)o->offset;
}

static int add_scratch_buffer(gpu_compiler *c, int64_t bytes)
{
    tn_exec *x = c->exec;
    if (x->scratch_count == x->scratch_capacity) {
        const uint32_t capacity = 2 * x->scratch_capacity + 4;
        tn_buffer **more = realloc(x->scratch, capacity * sizeof(tn_buffer *));
        if (!more)
            return 0;
        x->scratch = more;
        x->scratch_capacity = capacity;
    }
    if (gpu_buffer_create(x->device, GPU_FOR_TENSORS,
                          bytes > SCRATCH_BYTES ? bytes : SCRATCH_BYTES,
                          &x->scratch[x->scratch_count], NULL) != TN_OK)
        return 0;
    x->scratch_count++;
    return 1;
}

uint64_t gpu_scratch(gpu_compiler *c, int64_t bytes)
{
    tn_exec *x = c->exec;
    bytes = gpu_ceil(bytes, TN_ALIGNMENT) * TN_ALIGNMENT;
    while (c->scratch_at < x->scratch_count &&
           x->scratch[c->scratch_at]->bytes - c->scratch_used < bytes) {
        c->scratch_at++;
        c->scratch_used = 0;
    }
    if (c->scratch_at == x->scratch_count && !add_scratch_buffer(c, bytes)) {
        c->missing_bytes = bytes;
        return 0;
    }
    const uint64_t at = gpu_buffer_address(x->scratch[c->scratch_at]) +
                        (uint64_t)c->scratch_used;
    c->scratch_used += bytes;
    return at;
}

void gpu_next_phase(gpu_compiler *c)
{
    c->phase++;
}

static char *argument_block(gpu_compiler *c, size_t bytes)
{
    const size_t need = c->argument_bytes + bytes + ARGUMENT_ALIGNMENT;
    if (need > c->argument_capacity) {
        char *more = realloc(c->arguments, 2 * need);
        if (!more)
            return NULL;
        memset(more + c->argument_capacity, 0, 2 * need - c->argument_capacity);
        c->arguments = more;
        c->argument_capacity = 2 * need;
    }
    char *at = c->arguments + c->argument_bytes;
    c->argument_bytes = (c->argument_bytes + bytes + ARGUMENT_ALIGNMENT - 1) /
                        ARGUMENT_ALIGNMENT * ARGUMENT_ALIGNMENT;
    return at;
}

static gpu_step *append_step(tn_exec *x)
{
    if (x->step_count == x->step_capacity) {
        const uint32_t capacity = 2 * x->step_capacity + 64;
        gpu_step *more = realloc(x->steps, capacity * sizeof *more);
        if (!more)
            return NULL;
        x->steps = more;
        x->step_capacity = capacity;
    }
    return &x->steps[x->step_count++];
}

tn_status gpu_dispatch_3d(gpu_compiler *c, const gpu_code *code,
                          const void *arguments, size_t bytes,
                          const int64_t groups[3], tn_error *err)
{
    tn_exec *x = c->exec;
    gpu_pipeline *pipeline;
    for (int i = 0; i < 3; i++)
        if (groups[i] < 1 || groups[i] > MAX_GROUPS)
            return gpu_refuse(gpu_node(x->plan, c->node_index), err,
                              "it would need %lld workgroups along axis %d; "
                              "at most %d are possible",
                              (long long)groups[i], i, MAX_GROUPS);
    TN_TRY(gpu_pipeline_get(x->device, code, &pipeline, err));
    const size_t offset = c->argument_bytes;
    char *block = argument_block(c, bytes);
    gpu_step *step = append_step(x);
    if (!block || !step) {
        gpu_pipeline_put(x->device, pipeline);
        x->step_count -= step != NULL;
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory for plan %s",
                       x->plan->name);
    }
    memcpy(block, arguments, bytes);
    *step = (gpu_step){.pipeline = pipeline,
                       .arguments = offset,
                       .groups = {(uint32_t)groups[0], (uint32_t)groups[1],
                                  (uint32_t)groups[2]},
                       .node = c->node_index,
                       .phase = c->phase};
    return TN_OK;
}

tn_status gpu_dispatch(gpu_compiler *c, const gpu_code *code,
                       const void *arguments, size_t bytes, int64_t groups,
                       tn_error *err)
{
    const int64_t rows = gpu_ceil(groups, MAX_GROUPS);
    const int64_t axes[3] = {gpu_ceil(groups, rows), rows, 1};
    return gpu_dispatch_3d(c, code, arguments, bytes, axes, err);
}

/* ---- nodes ---- */

static tn_status compile_node(gpu_compiler *c, tn_error *err)
{
    tn_exec *x = c->exec;
    const tn_plan_node *node = gpu_node(x->plan, c->node_index);
    const uint32_t first = x->step_count;
    const gpu_op *op = node->op < TN_OP_COUNT ? &gpu_ops[node->op] : NULL;
    if (!op || !op->compile)
        return gpu_refuse(node, err, "there is no kernel for this op");
    TN_TRY(gpu_check_dtypes(op, node, err));
    c->phase = 0;
    TN_TRY(op->compile(c, node, err));
    for (uint32_t i = first; i < x->step_count; i++)
        x->steps[i].flops = node->flops / (x->step_count - first);
    return TN_OK;
}

static tn_status compile_segment(gpu_compiler *c, uint32_t index, tn_error *err)
{
    tn_exec *x = c->exec;
    const tn_plan_segment *s = &x->plan->segments[index];
    x->segments[index].first_step = x->step_count;
    for (uint32_t i = s->first; i < s->first + s->count; i++) {
        if (i == s->first ||
            gpu_node(x->plan, i)->group != gpu_node(x->plan, i - 1)->group)
            c->scratch_at = 0, c->scratch_used = 0;
        c->node_index = i;
        TN_TRY(compile_node(c, err));
    }
    x->segments[index].step_count =
        x->step_count - x->segments[index].first_step;
    return TN_OK;
}

static tn_status upload_arguments(gpu_compiler *c, tn_error *err)
{
    tn_exec *x = c->exec;
    TN_TRY(gpu_buffer_create(x->device, GPU_FOR_TENSORS,
                             (int64_t)c->argument_bytes, &x->arguments, err));
    return gpu_upload(x->device, x->arguments, 0, c->arguments,
                      (int64_t)c->argument_bytes, err);
}

static tn_status out_of_scratch(const gpu_compiler *c, tn_error *err)
{
    return tn_fail(err, TN_ENOMEM,
                   "backend vulkan: the device has no %.1f MiB for what the "
                   "kernels of plan %s need beside it",
                   (double)c->missing_bytes / 0x1p20, c->exec->plan->name);
}

static tn_status compile_plan(gpu_compiler *c, tn_error *err)
{
    tn_exec *x = c->exec;
    const tn_plan *plan = x->plan;
    x->segments = calloc(plan->segment_count + 1u, sizeof *x->segments);
    if (!x->segments)
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory for plan %s",
                       plan->name);
    for (uint32_t i = 0; i < plan->segment_count; i++)
        TN_TRY(compile_segment(c, i, err));
    if (c->missing_bytes)
        return out_of_scratch(c, err);
    TN_TRY(upload_arguments(c, err));
    for (uint32_t i = 0; i < plan->segment_count; i++)
        TN_TRY(gpu_record(x, i, 0, &x->segments[i], err));
    return TN_OK;
}

tn_status gpu_compile(tn_device *d, const tn_plan *plan,
                      tn_buffer *const arenas[TN_ARENA_COUNT], tn_exec **exec,
                      tn_error *err)
{
    tn_exec *x = calloc(1, sizeof *x);
    if (!x)
        return tn_fail(err, TN_ENOMEM, "backend vulkan: no memory for plan %s",
                       plan->name);
    x->device = d;
    x->plan = plan;
    gpu_compiler c = {.exec = x, .arenas = arenas};
    const tn_status status = compile_plan(&c, err);
    free(c.arguments);
    if (status != TN_OK)
        gpu_exec_free(d, x);
    else
        *exec = x;
    return status;
}

void gpu_exec_free(tn_device *d, tn_exec *x)
{
    if (!x)
        return;
    gpu_wait_for(d, d->submitted, NULL);
    if (d->running == x)
        d->running = NULL;
    gpu_segment_free(d, x->segments, x->plan->segment_count);
    gpu_segment_free(d, x->timed, x->plan->segment_count);
    if (x->queries)
        d->instance.api.DestroyQueryPool(d->handle, x->queries, NULL);
    for (uint32_t i = 0; i < x->step_count; i++)
        gpu_pipeline_put(d, x->steps[i].pipeline);
    for (uint32_t i = 0; i < x->scratch_count; i++)
        gpu_buffer_free(d, x->scratch[i]);
    gpu_buffer_free(d, x->arguments);
    free(x->steps);
    free(x->scratch);
    free(x->seconds);
    free(x);
}
