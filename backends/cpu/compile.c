/*
 * compile.c - from a plan to a list of steps.
 *
 *     plan:   node  node  node | node  node | ...      | : group changes
 *     steps:  s  s  s  s b s  s  s  s  s  b s  ...     b : a barrier before
 *
 * Each op's compile function appends the steps of one node. Afterwards one
 * pass decides where threads really have to meet. A step of one task is run by
 * thread 0, and what thread 0 does is in order anyway: between such steps no
 * barrier is needed, it is owed to the first step of many tasks that follows.
 * A plan of small nodes, as decoding has, so becomes a serial program.
 *
 * Shared memory is handed out like a stack that is emptied when the group
 * changes: nodes of one group may run together and must not share it.
 */
#include "exec.h"

#include <stdlib.h>
#include <string.h>

enum { LARGEST_ARGUMENT = 64 * 1024, CHUNK_BYTES = 256 * 1024 };

struct chunk {
    struct chunk *next;
    size_t used;
    _Alignas(16) char bytes[CHUNK_BYTES];
};

struct cpu_compiler {
    tn_exec *exec;
    const tn_plan_node *node;
    uint32_t node_index;
    uint32_t step_capacity;
    uint32_t barrier; /* the next step is to start behind all before it */
    uint32_t out_of_memory;
    int64_t shared_used;
    void *product; /* cpu_follow */
    char *spare;   /* what cpu_argument returns when there is no memory */
    tn_buffer *const *arenas;
};

/* ---- what the kernels' compile functions call (cpu.h) ---- */

void *cpu_argument(cpu_compiler *c, size_t bytes)
{
    const size_t rounded = (bytes + 15) & ~(size_t)15;
    struct chunk *chunk = c->exec->chunks;
    if (rounded > LARGEST_ARGUMENT) {
        c->out_of_memory = 1;
        return c->spare;
    }
    if (!chunk || CHUNK_BYTES - chunk->used < rounded) {
        chunk = calloc(1, sizeof *chunk);
        if (!chunk) {
            c->out_of_memory = 1;
            return c->spare;
        }
        chunk->next = c->exec->chunks;
        c->exec->chunks = chunk;
    }
    void *at = chunk->bytes + chunk->used;
    chunk->used += rounded;
    return at;
}

static int grow_steps(cpu_compiler *c)
{
    tn_exec *x = c->exec;
    if (x->step_count < c->step_capacity)
        return 1;
    const uint32_t capacity = c->step_capacity ? 2 * c->step_capacity : 256;
    cpu_run_step *steps = realloc(x->steps, capacity * sizeof *steps);
    if (!steps) {
        c->out_of_memory = 1;
        return 0;
    }
    x->steps = steps;
    c->step_capacity = capacity;
    return 1;
}

void cpu_step(cpu_compiler *c, cpu_task task, const void *argument,
              int64_t tasks)
{
    if (tasks <= 0 || !grow_steps(c))
        return;
    c->exec->steps[c->exec->step_count++] =
        (cpu_run_step){.task = task,
                       .argument = argument,
                       .tasks = tasks,
                       .node = c->node_index,
                       .barrier = c->barrier};
    c->barrier = 0;
}

void cpu_step_along(cpu_compiler *c, cpu_task task, const void *argument,
                    int64_t tasks)
{
    const uint32_t count = c->exec->step_count;
    cpu_step(c, task, argument, tasks);
    if (c->exec->step_count > count && tasks >= cpu_threads(c))
        c->exec->steps[count].along = 1;
}

void cpu_barrier(cpu_compiler *c)
{
    c->barrier = 1;
}

void cpu_scratch(cpu_compiler *c, int64_t bytes)
{
    c->exec->scratch_bytes = cpu_max(c->exec->scratch_bytes, bytes);
}

int64_t cpu_shared(cpu_compiler *c, int64_t bytes)
{
    const int64_t at = c->shared_used;
    c->shared_used += (bytes + 63) & ~(int64_t)63;
    c->exec->shared_bytes = cpu_max(c->exec->shared_bytes, c->shared_used);
    return at;
}

void *cpu_at(const cpu_compiler *c, const tn_operand *operand)
{
    if (!operand->arena)
        return NULL;
    const tn_buffer *arena = c->arenas[operand->arena];
    return arena && arena->at ? arena->at + operand->offset : NULL;
}

void *cpu_follow(cpu_compiler *c, void *product)
{
    void *before = c->product;
    c->product = product;
    return before;
}

uint32_t cpu_threads(const cpu_compiler *c)
{
    return c->exec->device->threads;
}

cpu_products cpu_bf16_products(const cpu_compiler *c)
{
    return c->exec->device->bf16;
}

int cpu_generates(const cpu_compiler *c)
{
    return c->exec->device->generate != 0;
}

void *cpu_generated(cpu_compiler *c, const void *bytes, size_t count)
{
    return cpu_code_add(&c->exec->code, bytes, count);
}

uint32_t cpu_node(const cpu_compiler *c)
{
    return c->node_index;
}

tn_status cpu_refuse(const tn_plan_node *node, tn_error *err,
                     const char *format, ...)
{
    char sentence[512];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return tn_fail(err, TN_EUNSUPPORTED, "%s:%d: %s: backend cpu: %s",
                   node->file ? node->file : "?", node->line, node->name,
                   sentence);
}

/* ---- checking ---- */

static const char *allowed_text(char allowed)
{
    switch (allowed) {
    case 'f':
        return "F32";
    case 'i':
        return "I32";
    case 'b':
        return "F32 or BF16";
    case 'w':
        return "F32, BF16, Q8_0 or Q4_K";
    case 'a':
        return "F32, BF16, I32, Q8_0 or Q4_K";
    default:
        return "F32, BF16 or I32";
    }
}

static tn_status check_dtype(const tn_plan_node *node, const tn_operand *x,
                             const char *what, uint32_t index, char allowed,
                             tn_error *err)
{
    const int real = allowed != 'i', narrow = real && allowed != 'f';
    const int whole = allowed == 'i' || allowed == 'x' || allowed == 'a';
    const int blocks = allowed == 'w' || allowed == 'a';
    if ((tn_dtype_block(x->dtype) > 1 && blocks) ||
        (x->dtype == TN_F32 && real) || (x->dtype == TN_BF16 && narrow) ||
        (x->dtype == TN_I32 && whole) || !x->arena)
        return TN_OK;
    return cpu_refuse(node, err, "%s %u is %s; it takes %s here", what, index,
                      tn_dtype_name(x->dtype), allowed_text(allowed));
}

tn_status cpu_check_dtypes(const cpu_kernel *kernel, const tn_plan_node *node,
                           tn_error *err)
{
    const char *letter = kernel->in;
    for (uint32_t i = 0; i < node->in_count; i++) {
        TN_TRY(check_dtype(node, &node->in[i], "input", i, *letter, err));
        letter += letter[1] == '*' ? 0 : letter[1] != '\0';
    }
    letter = kernel->out;
    for (uint32_t i = 0; i < node->out_count; i++) {
        TN_TRY(check_dtype(node, &node->out[i], "output", i, *letter, err));
        letter += letter[1] == '*' ? 0 : letter[1] != '\0';
    }
    return TN_OK;
}

/* ---- nodes, steps, barriers ---- */

static tn_status compile_node(cpu_compiler *c, const tn_plan_node *node,
                              tn_error *err)
{
    const tn_device *device = c->exec->device;
    const cpu_kernel *kernel =
        node->op < TN_OP_COUNT ? &device->kernels[node->op] : NULL;
    if (!kernel || !kernel->compile)
        return cpu_refuse(node, err, "there is no kernel for this op");
    TN_TRY(cpu_check_dtypes(kernel, node, err));
    c->node = node;
    c->barrier = 1;
    return kernel->compile(c, node, err);
}

static const tn_plan_node *node_at(const tn_plan *plan, uint32_t index)
{
    const char *base = (const char *)plan->nodes;
    return (const tn_plan_node *)(const void *)(base + (size_t)index *
                                                           plan->node_stride);
}

/* A node's first step waits for all before it, unless it shares its group. */
static void join_group(tn_exec *x, uint32_t first_step)
{
    if (first_step < x->step_count)
        x->steps[first_step].barrier = 0;
}

static tn_status compile_segment(cpu_compiler *c, const tn_plan *plan,
                                 const tn_plan_segment *segment, tn_error *err)
{
    tn_exec *x = c->exec;
    uint32_t group = 0, group_has_steps = 0;
    for (uint32_t i = 0; i < segment->count; i++) {
        const tn_plan_node *node = node_at(plan, segment->first + i);
        const uint32_t first_step = x->step_count;
        const int same = i > 0 && node->group == group;
        if (!same)
            c->shared_used = 0;
        c->node_index = segment->first + i;
        TN_TRY(compile_node(c, node, err));
        if (same && group_has_steps)
            join_group(x, first_step);
        group_has_steps =
            (same && group_has_steps) || x->step_count > first_step;
        group = node->group;
    }
    return TN_OK;
}

enum { NOTHING, SERIAL, PARALLEL };

/* Keep the barriers that are needed, and give the tasks of steps that run
 * together to the threads in turn. */
static void settle_barriers(cpu_run_step *steps, uint32_t count,
                            uint32_t threads, uint32_t *parallel)
{
    int since = NOTHING; /* what ran since the last barrier */
    uint32_t owed = 0, turn = 0;
    for (uint32_t i = 0; i < count; i++) {
        cpu_run_step *s = &steps[i];
        const int kind = s->tasks > 1 && threads > 1 ? PARALLEL : SERIAL;
        const uint32_t wanted = s->barrier || owed;
        s->barrier = 0;
        if (wanted && since == SERIAL && kind == SERIAL) {
            owed = 1;
        } else if (wanted) {
            s->barrier = since != NOTHING;
            since = NOTHING;
            owed = turn = 0;
        }
        if (kind == PARALLEL) {
            s->first_thread = turn;
            turn = (uint32_t)((turn + s->tasks) % threads);
        }
        since = kind > since ? kind : since;
        *parallel |= kind == PARALLEL;
    }
}

/* ---- memory: threads' scratch, then what kernels share ---- */

static int64_t scratch_of(const tn_exec *x)
{
    return (x->scratch_bytes + 255) & ~(int64_t)127;
}

static int64_t work_of(const tn_exec *x)
{
    return scratch_of(x) * x->device->threads +
           ((x->shared_bytes + 127) & ~(int64_t)127);
}

/* Execs run one after the other, so the largest has room for all. Where there
 * is none for this one, the others keep theirs. */
static int make_room(tn_device *device, int64_t bytes)
{
    tn_buffer larger;
    if (bytes <= device->work.bytes)
        return 1;
    if (!cpu_take_memory(&larger, bytes))
        return 0;
    cpu_give_memory(&device->work);
    device->work = larger;
    return 1;
}

static tn_status allocate(cpu_compiler *c, tn_error *err)
{
    tn_exec *x = c->exec;
    const uint32_t threads = x->device->threads;
    x->workers = calloc(threads, sizeof *x->workers);
    x->seconds = calloc(x->plan->node_count + 1, sizeof *x->seconds);
    if (!x->workers || !x->seconds || c->out_of_memory ||
        !make_room(x->device, work_of(x)))
        return tn_fail(err, TN_ENOMEM,
                       "backend cpu: no memory to compile plan %s (%lld bytes "
                       "of scratch for each of %u threads, %lld shared)",
                       x->plan->name, (long long)x->scratch_bytes, threads,
                       (long long)x->shared_bytes);
    for (uint32_t i = 0; i < threads; i++)
        x->workers[i] = (cpu_worker){.exec = x};
    return TN_OK;
}

void cpu_give_room(tn_exec *x)
{
    const uint32_t threads = x->device->threads;
    const int64_t scratch = scratch_of(x);
    char *at = x->device->work.at;
    for (uint32_t i = 0; i < threads; i++) {
        x->workers[i].scratch = (float *)(void *)(at + i * scratch);
        x->workers[i].shared = at + threads * scratch;
    }
}

static tn_status compile_plan(cpu_compiler *c, const tn_plan *plan,
                              tn_error *err)
{
    tn_exec *x = c->exec;
    x->segments = calloc(plan->segment_count + 1, sizeof *x->segments);
    c->spare = calloc(1, LARGEST_ARGUMENT);
    if (!x->segments || !c->spare)
        return tn_fail(err, TN_ENOMEM, "backend cpu: no memory for plan %s",
                       plan->name);
    for (uint32_t i = 0; i < plan->segment_count; i++) {
        cpu_segment *s = &x->segments[i];
        s->first = x->step_count;
        TN_TRY(compile_segment(c, plan, &plan->segments[i], err));
        s->count = x->step_count - s->first;
    }
    if (!cpu_code_seal(x->code))
        return tn_fail(err, TN_EDEVICE,
                       "backend cpu: the system does not let plan %s run the "
                       "code written for it; set jit: false",
                       plan->name);
    for (uint32_t i = 0; i < plan->segment_count && x->steps; i++)
        settle_barriers(x->steps + x->segments[i].first, x->segments[i].count,
                        x->device->threads, &x->segments[i].parallel);
    return TN_OK;
}

tn_status cpu_compile(tn_device *device, const tn_plan *plan,
                      tn_buffer *const arenas[TN_ARENA_COUNT], tn_exec **exec,
                      tn_error *err)
{
    tn_exec *x = calloc(1, sizeof *x);
    if (!x)
        return tn_fail(err, TN_ENOMEM, "backend cpu: no memory for plan %s",
                       plan->name);
    x->device = device;
    x->plan = plan;
    cpu_compiler c = {.exec = x, .arenas = arenas};
    tn_status status = compile_plan(&c, plan, err);
    if (status == TN_OK)
        status = allocate(&c, err);
    free(c.spare);
    if (status != TN_OK) {
        cpu_exec_free(device, x);
        return status;
    }
    *exec = x;
    return TN_OK;
}

/* Compiled for arenas that are nowhere, and thrown away. */
tn_status cpu_workspace(tn_device *device, const tn_plan *plan, int64_t *bytes,
                        tn_error *err)
{
    tn_buffer *const nowhere[TN_ARENA_COUNT] = {0};
    tn_exec *x = calloc(1, sizeof *x);
    if (!x)
        return tn_fail(err, TN_ENOMEM, "backend cpu: no memory for plan %s",
                       plan->name);
    x->device = device;
    x->plan = plan;
    cpu_compiler c = {.exec = x, .arenas = nowhere};
    const tn_status status = compile_plan(&c, plan, err);
    if (status == TN_OK)
        *bytes = work_of(x);
    free(c.spare);
    cpu_exec_free(device, x);
    return status;
}

void cpu_exec_free(tn_device *device, tn_exec *x)
{
    (void)device;
    if (!x)
        return;
    for (struct chunk *chunk = x->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    cpu_code_free(x->code);
    free(x->steps);
    free(x->segments);
    free(x->workers);
    free(x->seconds);
    free(x);
}
