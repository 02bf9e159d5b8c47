/*
 * compile.c - from a plan to launches and graphs.
 */
#include "exec.h"

#include <stdlib.h>
#include <string.h>

enum { ARGUMENT_ALIGNMENT = 16, SCRATCH_BYTES = 1 << 20 };
enum { MOST_X = 0x7fffffff, MOST_YZ = 65535 };

struct gpu_compiler {
    tn_exec *exec;
    tn_buffer *const *arenas;
    uint32_t node_index;
    uint32_t joined; /* the node before it, too */
    uint32_t out_of_memory;
    /* scratch of the node so far: buffers before `scratch_at` are used up */
    uint32_t scratch_at;
    int64_t scratch_used;
    /* nothing is launched: only the most scratch of a node is looked for */
    uint32_t measuring;
    int64_t scratch_most;
};

/* What has no address yet: as far apart as it will be. */
static const uint64_t nowhere = (uint64_t)1 << 40;

static tn_status no_memory(const tn_exec *x, tn_error *err)
{
    return tn_fail(err, TN_ENOMEM, "backend cuda: no memory for plan %s",
                   x->plan->name);
}

/* ---- addresses and scratch ---- */

tn_device *gpu_device_of(const gpu_compiler *c)
{
    return c->exec->device;
}

const tn_plan *gpu_plan_of(const gpu_compiler *c)
{
    return c->exec->plan;
}

int gpu_is_measuring(const gpu_compiler *c)
{
    return c->measuring != 0;
}

uint64_t gpu_at(const gpu_compiler *c, const tn_operand *o)
{
    if (c->measuring && o->arena)
        return nowhere + (uint64_t)o->offset;
    if (!o->arena || !c->arenas[o->arena])
        return 0;
    return c->arenas[o->arena]->address + (uint64_t)o->offset;
}

/* The first is as large as any plan that was asked about needs. */
static int add_scratch_buffer(tn_device *d, int64_t bytes)
{
    const int64_t least = !d->scratch_count && d->scratch_wanted > SCRATCH_BYTES
                              ? d->scratch_wanted
                              : SCRATCH_BYTES;
    if (d->scratch_count == d->scratch_capacity) {
        const uint32_t capacity = 2 * d->scratch_capacity + 4;
        tn_buffer **more = realloc(d->scratch, capacity * sizeof(tn_buffer *));
        if (!more)
            return 0;
        d->scratch = more;
        d->scratch_capacity = capacity;
    }
    if (gpu_buffer_create(d, bytes > least ? bytes : least,
                          &d->scratch[d->scratch_count], NULL) != TN_OK)
        return 0;
    d->scratch_count++;
    return 1;
}

uint64_t gpu_scratch(gpu_compiler *c, int64_t bytes)
{
    tn_device *d = c->exec->device;
    bytes = gpu_ceil(bytes, TN_ALIGNMENT) * TN_ALIGNMENT;
    if (c->measuring) {
        c->scratch_used += bytes;
        if (c->scratch_used > c->scratch_most)
            c->scratch_most = c->scratch_used;
        return nowhere + (uint64_t)(c->scratch_used - bytes);
    }
    while (c->scratch_at < d->scratch_count &&
           d->scratch[c->scratch_at]->bytes - c->scratch_used < bytes) {
        c->scratch_at++;
        c->scratch_used = 0;
    }
    if (c->scratch_at == d->scratch_count && !add_scratch_buffer(d, bytes)) {
        c->out_of_memory = 1;
        return 0;
    }
    const uint64_t at =
        d->scratch[c->scratch_at]->address + (uint64_t)c->scratch_used;
    c->scratch_used += bytes;
    return at;
}

/* Where no plan is left to use it. */
static void free_scratch(tn_device *d)
{
    if (d->execs)
        return;
    for (uint32_t i = 0; i < d->scratch_count; i++)
        gpu_buffer_free(d, d->scratch[i]);
    free(d->scratch);
    d->scratch = NULL;
    d->scratch_count = d->scratch_capacity = 0;
}

/* ---- launches ---- */

static gpu_step *append_step(gpu_compiler *c)
{
    tn_exec *x = c->exec;
    if (x->step_count == x->step_capacity) {
        const uint32_t capacity = 2 * x->step_capacity + 64;
        gpu_step *more = realloc(x->steps, capacity * sizeof *more);
        if (!more)
            return NULL;
        x->steps = more;
        x->step_capacity = capacity;
    }
    gpu_step *step = &x->steps[x->step_count++];
    *step = (gpu_step){.node = c->node_index, .joined = c->joined};
    return step;
}

/* Behind the mark of the last step. */
static int append_arguments(tn_exec *x, const void *arguments, size_t bytes)
{
    const gpu_mark mark = {(uint64_t)(uintptr_t)x->device->begun,
                           (uint64_t)x->id << 32 | x->step_count};
    const size_t need =
        x->argument_bytes + sizeof mark + bytes + ARGUMENT_ALIGNMENT;
    if (need > x->argument_capacity) {
        char *more = realloc(x->arguments, 2 * need);
        if (!more)
            return 0;
        x->arguments = more;
        x->argument_capacity = 2 * need;
    }
    char *to = x->arguments + x->argument_bytes;
    memcpy(to, &mark, sizeof mark);
    memcpy(to + sizeof mark, arguments, bytes);
    x->argument_bytes += (sizeof mark + bytes + ARGUMENT_ALIGNMENT - 1) /
                         ARGUMENT_ALIGNMENT * ARGUMENT_ALIGNMENT;
    return 1;
}

static tn_status check_grid(const gpu_compiler *c, const gpu_grid *grid,
                            tn_error *err)
{
    const tn_device *d = c->exec->device;
    const tn_plan_node *node = gpu_node(c->exec->plan, c->node_index);
    if (grid->x > MOST_X || grid->y > MOST_YZ || grid->z > MOST_YZ)
        return gpu_refuse(node, err,
                          "it would need %lld x %lld x %lld blocks; at most %d "
                          "x %d x %d are possible",
                          (long long)grid->x, (long long)grid->y,
                          (long long)grid->z, MOST_X, MOST_YZ, MOST_YZ);
    if ((int64_t)grid->shared > d->card.shared_bytes)
        return gpu_refuse(node, err,
                          "it would need %u bytes of shared memory; %s has %d",
                          grid->shared, d->card.name, d->card.shared_bytes);
    return TN_OK;
}

/* A bound belongs to the kernel, which other launches use too, of this plan and
 * of others: it only ever rises. The driver's own is 48 KB less what the kernel
 * declares, so that small sizes are asked for as well. */
static tn_status allow_shared(const tn_device *d, gpu_kernel *kernel,
                              uint32_t bytes, tn_error *err)
{
    if (bytes <= kernel->shared)
        return TN_OK;
    TN_TRY(gpu_check(&d->driver,
                     d->driver.FuncSetAttribute(kernel->function,
                                                CU_FUNC_MAX_DYNAMIC_SHARED_SIZE,
                                                (int)bytes),
                     "asking for shared memory", err));
    kernel->shared = bytes;
    return TN_OK;
}

static tn_status append_launch(gpu_compiler *c, gpu_kernel *kernel,
                               const void *arguments, size_t bytes,
                               const gpu_grid *grid, tn_error *err)
{
    tn_exec *x = c->exec;
    TN_TRY(check_grid(c, grid, err));
    TN_TRY(allow_shared(x->device, kernel, grid->shared, err));
    const size_t offset = x->argument_bytes;
    gpu_step *step = append_step(c);
    if (!step || !append_arguments(x, arguments, bytes))
        return no_memory(x, err);
    step->kernel = kernel;
    step->arguments = offset;
    step->argument_bytes = sizeof(gpu_mark) + bytes;
    step->grid[0] = (uint32_t)grid->x;
    step->grid[1] = (uint32_t)grid->y;
    step->grid[2] = (uint32_t)grid->z;
    step->threads = grid->threads;
    step->shared = grid->shared;
    return TN_OK;
}

static int is_empty(const gpu_grid *grid)
{
    return grid->x == 0 || grid->y == 0 || grid->z == 0;
}

tn_status gpu_launch(gpu_compiler *c, uint32_t family, const char *name,
                     const void *arguments, size_t bytes, gpu_grid grid,
                     tn_error *err)
{
    gpu_kernel *kernel;
    if (is_empty(&grid) || c->measuring)
        return TN_OK;
    TN_TRY(gpu_kernel_get(c->exec->device, family, name, &kernel, err));
    return append_launch(c, kernel, arguments, bytes, &grid, err);
}

tn_status gpu_launch_text(gpu_compiler *c, char *text, const void *arguments,
                          size_t bytes, gpu_grid grid, tn_error *err)
{
    gpu_kernel *kernel;
    if (c->measuring) {
        free(text);
        return TN_OK;
    }
    TN_TRY(gpu_kernel_emit(c->exec->device, text, &kernel, err));
    if (is_empty(&grid))
        return TN_OK;
    return append_launch(c, kernel, arguments, bytes, &grid, err);
}

tn_status gpu_launch_zero(gpu_compiler *c, uint64_t address, int64_t bytes,
                          tn_error *err)
{
    if (!bytes || c->measuring)
        return TN_OK;
    gpu_step *step = append_step(c);
    if (!step)
        return no_memory(c->exec, err);
    step->zero = address;
    step->zero_bytes = (uint64_t)bytes;
    return TN_OK;
}

tn_status gpu_launch_call(gpu_compiler *c, gpu_blas_call *call, tn_error *err)
{
    gpu_step *step = append_step(c);
    if (!step) {
        gpu_blas_free(c->exec->device, call);
        return no_memory(c->exec, err);
    }
    step->call = call;
    return TN_OK;
}

tn_status gpu_launch_dnn(gpu_compiler *c, gpu_dnn_call *call, tn_error *err)
{
    gpu_step *step = append_step(c);
    if (!step) {
        gpu_dnn_free(c->exec->device, call);
        return no_memory(c->exec, err);
    }
    step->dnn = call;
    return TN_OK;
}

tn_status gpu_launch_check(gpu_compiler *c, const tn_operand *index,
                           int64_t lowest, int64_t limit, tn_error *err)
{
    const gpu_check_args a = {
        .index = gpu_at(c, index),
        .fault = c->exec->device->fault->address,
        .count = gpu_elements(index),
        .lowest = (int32_t)lowest,
        .limit = (int32_t)limit,
        .node = c->node_index,
        .plan = c->exec->id,
    };
    return gpu_launch(c, GPU_FAMILY_rows, "check_index", &a, sizeof a,
                      (gpu_grid){gpu_ceil(a.count, 256), 1, 1, 256, 0}, err);
}

/* ---- nodes ---- */

static tn_status compile_node(gpu_compiler *c, tn_error *err)
{
    const tn_plan_node *node = gpu_node(c->exec->plan, c->node_index);
    const gpu_op *op = node->op < TN_OP_COUNT ? &gpu_ops[node->op] : NULL;
    if (!op || !op->compile)
        return gpu_refuse(node, err, "there is no kernel for this op");
    TN_TRY(gpu_check_dtypes(op, node, err));
    return op->compile(c, node, err);
}

/* Node `i`, or it and the next; what belongs to both is the second's. */
static tn_status compile_some(gpu_compiler *c, uint32_t i, uint32_t end,
                              tn_error *err)
{
    c->joined = c->exec->device->join && i + 1 < end && gpu_joins_next(c, i);
    c->node_index = i + c->joined;
    c->scratch_at = 0;
    c->scratch_used = 0;
    return c->joined ? gpu_compile_pair(c, i, err) : compile_node(c, err);
}

static tn_status compile_nodes(gpu_compiler *c, const tn_plan_segment *s,
                               tn_error *err)
{
    const uint32_t end = s->first + s->count;
    for (uint32_t i = s->first; i < end; i = c->node_index + 1)
        TN_TRY(compile_some(c, i, end, err));
    return TN_OK;
}

static tn_status compile_segment(gpu_compiler *c, uint32_t index, tn_error *err)
{
    tn_exec *x = c->exec;
    x->segments[index].first_step = x->step_count;
    TN_TRY(compile_nodes(c, &x->plan->segments[index], err));
    x->segments[index].step_count =
        x->step_count - x->segments[index].first_step;
    return TN_OK;
}

static tn_status compile_plan(gpu_compiler *c, tn_error *err)
{
    tn_exec *x = c->exec;
    const tn_plan *plan = x->plan;
    TN_TRY(gpu_enter(x->device, err));
    x->segments = calloc(plan->segment_count + 1u, sizeof *x->segments);
    if (!x->segments)
        return no_memory(x, err);
    for (uint32_t i = 0; i < plan->segment_count; i++)
        TN_TRY(compile_segment(c, i, err));
    if (c->out_of_memory)
        return tn_fail(err, TN_ENOMEM,
                       "backend cuda: no memory for the scratch of plan %s, "
                       "with %lld bytes free; set a smaller train.batch_size",
                       plan->name, (long long)gpu_free_bytes(x->device));
    TN_TRY(gpu_kernels_build(x->device, err));
    for (uint32_t i = 0; x->device->graph && i < plan->segment_count; i++)
        TN_TRY(gpu_capture(x, &x->segments[i], err));
    return TN_OK;
}

static void link_exec(tn_device *d, tn_exec *x)
{
    x->id = d->next_plan++;
    x->next = d->execs;
    d->execs = x;
}

tn_status gpu_compile(tn_device *d, const tn_plan *plan,
                      tn_buffer *const arenas[TN_ARENA_COUNT], tn_exec **exec,
                      tn_error *err)
{
    tn_exec *x = calloc(1, sizeof *x);
    if (!x)
        return tn_fail(err, TN_ENOMEM, "backend cuda: no memory for plan %s",
                       plan->name);
    x->device = d;
    x->plan = plan;
    link_exec(d, x);
    gpu_compiler c = {.exec = x, .arenas = arenas};
    const tn_status status = compile_plan(&c, err);
    if (status != TN_OK)
        gpu_exec_free(d, x);
    else
        *exec = x;
    return status;
}

static tn_status workspace(tn_device *d, const tn_plan *plan, int64_t *bytes,
                           tn_error *err)
{
    tn_buffer *const none[TN_ARENA_COUNT] = {NULL};
    tn_exec x = {.device = d, .plan = plan};
    gpu_compiler c = {.exec = &x, .arenas = none, .measuring = 1};
    for (uint32_t i = 0; i < plan->segment_count; i++)
        TN_TRY(compile_nodes(&c, &plan->segments[i], err));
    if (d->scratch_wanted < c.scratch_most)
        d->scratch_wanted = c.scratch_most;
    *bytes = c.scratch_most;
    return TN_OK;
}

const tn_workspace_extension gpu_workspace = {
    .struct_size = sizeof gpu_workspace,
    .bytes = workspace,
};

static void free_events(tn_exec *x)
{
    for (uint32_t i = 0; x->events && i <= x->plan->node_count; i++)
        if (x->events[i])
            x->device->driver.EventDestroy(x->events[i]);
    free(x->events);
}

void gpu_exec_free(tn_device *d, tn_exec *x)
{
    if (!x)
        return;
    if (gpu_enter(d, NULL) == TN_OK)
        gpu_finish(d, NULL);
    tn_exec **link = &d->execs;
    while (*link != x)
        link = &(*link)->next;
    *link = x->next;
    for (uint32_t i = 0; x->segments && i < x->plan->segment_count; i++)
        if (x->segments[i].graph)
            d->driver.GraphExecDestroy(x->segments[i].graph);
    for (uint32_t i = 0; i < x->step_count; i++) {
        gpu_blas_free(d, x->steps[i].call);
        gpu_dnn_free(d, x->steps[i].dnn);
    }
    free_scratch(d);
    free_events(x);
    free(x->segments);
    free(x->steps);
    free(x->arguments);
    free(x->seconds);
    free(x);
}
