/*
 * template.c - a backend to fill in: memory, plans, and two kernels.
 *
 * It holds tensors in ordinary memory and runs plans node by node. A backend
 * must compute every primitive of ops.def; this one has `fill` and `copy`, says
 * so when it is probed, and refuses plans that need more by the op's name. Fill
 * the table `kernels` one row at a time: `tenon check-plugin` compares each
 * with the oracle, and the day it is full the score below is no longer 0 and
 * models run. Composites may then be claimed in supports(), fastest gain first.
 *
 * For a device with memory of its own: alloc, upload and download copy to it,
 * map returns NULL, and compile records what the device wants to have prepared
 * (a command buffer, a graph). Nothing may be allocated or looked up in run.
 *
 * backends/reference in Tenon's source is the shortest complete one.
 */
#include <stdlib.h>
#include <string.h>

#include <tenon/backend.h>

typedef struct {
    int64_t max_bytes;
} template_options;

static const tn_option options[] = {
    TN_OPTION_INT(template_options, max_bytes, 0, 0, INT64_MAX / 2,
                  "memory to use at most; 0: no limit"),
};

struct tn_device {
    const tn_host *host;
    int64_t max_bytes, used_bytes;
};

struct tn_buffer {
    int64_t bytes;
    char *data;
};

/* ---- kernels ---- */

/* An operand with its address instead of arena and offset. */
typedef struct tensor {
    const tn_operand *is;
    char *data;
} tensor;

typedef struct bound_node {
    const tn_plan_node *plan;
    void (*run)(const struct bound_node *n);
    tensor *in, *out;
} bound_node;

static int64_t elements(const tn_operand *o)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < o->rank; i++)
        n *= o->shape[i];
    return n;
}

/* Where row-major element i lies, in elements from the first. */
static int64_t place_of(const tn_operand *o, int64_t i)
{
    int64_t at = 0;
    for (uint32_t axis = o->rank; axis-- > 0; i /= o->shape[axis])
        at += i % o->shape[axis] * o->stride[axis];
    return at;
}

static void fill(const bound_node *n)
{
    const tn_fill_attr *attr = n->plan->attr;
    float *out = (float *)(void *)n->out[0].data;
    for (int64_t i = 0; i < elements(n->out[0].is); i++)
        out[i] = (float)attr->value;
}

/* Any strides in, dense out. */
static void copy(const bound_node *n)
{
    const float *in = (const float *)(const void *)n->in[0].data;
    float *out = (float *)(void *)n->out[0].data;
    for (int64_t i = 0; i < elements(n->out[0].is); i++)
        out[i] = in[place_of(n->in[0].is, i)];
}

static void (*const kernels[TN_OP_COUNT])(const bound_node *n) = {
    [TN_OP_FILL] = fill,
    [TN_OP_COPY] = copy,
};

/* ---- what this device is ---- */

/* Primitives without a kernel; *example is the name of the first. */
static uint32_t missing(const char **example)
{
    uint32_t count = 0;
#define OP(NAME, number, tier, min_in, max_in, n_out, attr, text)              \
    if (TN_TIER_##tier == TN_TIER_PRIMITIVE && !kernels[number] &&             \
        count++ == 0)                                                          \
        *example = #text;
#include <tenon/ops.def>
#undef OP
    return count;
}

static tn_status probe(const tn_host *host, uint32_t index,
                       tn_device_info *info, tn_error *err)
{
    const char *example = NULL;
    (void)host;
    if (index > 0)
        return tn_fail(err, TN_EEND, "there is one device");
    const uint32_t count = missing(&example);
    info->score = count ? 0 : 50;
    info->threads = 1;
    snprintf(info->name, sizeof info->name, "ordinary memory, one thread");
    if (count)
        snprintf(info->note, sizeof info->note,
                 "%u primitives have no kernel yet, `%s` first", count,
                 example);
    return TN_OK;
}

static void caps(const tn_device *device, tn_backend_caps *caps)
{
    caps->precisions = TN_PRECISION_F32;
    caps->flags = TN_UNIFIED_MEMORY;
    caps->map_inputs = TN_MAP_MAX_INPUTS;
    caps->map_instructions = TN_MAP_MAX_INSTRUCTIONS;
    caps->memory_bytes =
        device->max_bytes ? device->max_bytes - device->used_bytes : 0;
}

/* No composite has a kernel: the core expands them all to primitives. */
static uint32_t supports(const tn_device *device, const tn_plan_node *node)
{
    (void)device, (void)node;
    return 0;
}

static tn_status open(const tn_host *host, const void *given,
                      tn_device **device, tn_error *err)
{
    const template_options *o = given;
    tn_device *d = calloc(1, sizeof *d);
    if (!d)
        return tn_fail(err, TN_ENOMEM, "out of memory");
    d->host = host;
    d->max_bytes = o->max_bytes;
    *device = d;
    return TN_OK;
}

static void close(tn_device *device)
{
    free(device);
}

/* ---- memory ---- */

static tn_status alloc(tn_device *device, int64_t bytes, tn_buffer **buffer,
                       tn_error *err)
{
    const size_t whole =
        ((size_t)bytes / TN_ALIGNMENT + 1) * (size_t)TN_ALIGNMENT;
    if (device->max_bytes && bytes > device->max_bytes - device->used_bytes)
        return tn_fail(err, TN_ENOMEM,
                       "%lld bytes asked, %lld left of max_bytes %lld",
                       (long long)bytes,
                       (long long)(device->max_bytes - device->used_bytes),
                       (long long)device->max_bytes);
    tn_buffer *b = malloc(sizeof *b);
    char *data = aligned_alloc(TN_ALIGNMENT, whole);
    if (!b || !data) {
        free(b);
        free(data);
        return tn_fail(err, TN_ENOMEM, "out of memory (%lld bytes)",
                       (long long)bytes);
    }
    memset(data, 0, whole);
    *b = (tn_buffer){bytes, data};
    device->used_bytes += bytes;
    *buffer = b;
    return TN_OK;
}

static void release(tn_device *device, tn_buffer *buffer)
{
    device->used_bytes -= buffer->bytes;
    free(buffer->data);
    free(buffer);
}

static void *map(tn_device *device, tn_buffer *buffer)
{
    (void)device;
    return buffer->data;
}

static tn_status check_span(const tn_buffer *buffer, int64_t offset,
                            int64_t bytes, tn_error *err)
{
    if (offset >= 0 && bytes >= 0 && bytes <= buffer->bytes - offset)
        return TN_OK;
    return tn_fail(err, TN_EINVALID, "bytes %lld to %lld of a buffer of %lld",
                   (long long)offset, (long long)(offset + bytes),
                   (long long)buffer->bytes);
}

static tn_status upload(tn_device *device, tn_buffer *to, int64_t offset,
                        const void *from, int64_t bytes, tn_error *err)
{
    (void)device;
    TN_TRY(check_span(to, offset, bytes, err));
    memcpy(to->data + offset, from, (size_t)bytes);
    return TN_OK;
}

static tn_status download(tn_device *device, void *to, const tn_buffer *from,
                          int64_t offset, int64_t bytes, tn_error *err)
{
    (void)device;
    TN_TRY(check_span(from, offset, bytes, err));
    memcpy(to, from->data + offset, (size_t)bytes);
    return TN_OK;
}

/* ---- plans ---- */

struct tn_exec {
    const tn_plan *plan;
    bound_node *nodes;
    tensor *tensors; /* of all nodes, inputs before outputs */
};

static const tn_plan_node *node_at(const tn_plan *plan, uint32_t i)
{
    const char *at = (const char *)plan->nodes + (size_t)i * plan->node_stride;
    return (const tn_plan_node *)(const void *)at;
}

static tensor bind(const tn_operand *operand, tn_buffer *const *arenas)
{
    if (!operand->arena)
        return (tensor){operand, NULL};
    return (tensor){operand, arenas[operand->arena]->data + operand->offset};
}

static tn_status check_node(const tn_plan_node *node, tn_error *err)
{
    if (node->op >= TN_OP_COUNT || !kernels[node->op])
        return tn_fail(err, TN_EUNSUPPORTED, "%s:%d: %s has no kernel yet",
                       node->file, node->line, node->name);
    for (uint32_t i = 0; i < node->in_count + node->out_count; i++) {
        const tn_operand *o =
            i < node->in_count ? &node->in[i] : &node->out[i - node->in_count];
        if (o->dtype != TN_F32)
            return tn_fail(err, TN_EUNSUPPORTED, "%s:%d: %s of %s tensors",
                           node->file, node->line, node->name,
                           tn_dtype_name(o->dtype));
    }
    return TN_OK;
}

/* Returns the first tensor after this node's. */
static tensor *bind_node(bound_node *n, const tn_plan_node *plan,
                         tensor *tensors, tn_buffer *const *arenas)
{
    *n = (bound_node){plan, kernels[plan->op], tensors,
                      tensors + plan->in_count};
    for (uint32_t i = 0; i < plan->in_count; i++)
        n->in[i] = bind(&plan->in[i], arenas);
    for (uint32_t i = 0; i < plan->out_count; i++)
        n->out[i] = bind(&plan->out[i], arenas);
    return tensors + plan->in_count + plan->out_count;
}

static void exec_free(tn_device *device, tn_exec *exec)
{
    (void)device;
    free(exec->nodes);
    free(exec->tensors);
    free(exec);
}

static tn_status compile(tn_device *device, const tn_plan *plan,
                         tn_buffer *const arenas[TN_ARENA_COUNT],
                         tn_exec **exec, tn_error *err)
{
    size_t count = 0;
    for (uint32_t i = 0; i < plan->node_count; i++) {
        const tn_plan_node *node = node_at(plan, i);
        TN_TRY(check_node(node, err));
        count += node->in_count + node->out_count;
    }
    tn_exec *e = calloc(1, sizeof *e);
    if (!e)
        return tn_fail(err, TN_ENOMEM, "out of memory");
    *e = (tn_exec){plan, calloc(plan->node_count + 1, sizeof *e->nodes),
                   calloc(count + 1, sizeof *e->tensors)};
    if (!e->nodes || !e->tensors) {
        exec_free(device, e);
        return tn_fail(err, TN_ENOMEM, "out of memory");
    }
    tensor *next = e->tensors;
    for (uint32_t i = 0; i < plan->node_count; i++)
        next = bind_node(&e->nodes[i], node_at(plan, i), next, arenas);
    *exec = e;
    return TN_OK;
}

static tn_status run(tn_device *device, tn_exec *exec, uint32_t segment,
                     tn_error *err)
{
    const tn_plan_segment s = exec->plan->segments[segment];
    (void)device, (void)err;
    for (uint32_t i = s.first; i < s.first + s.count; i++)
        exec->nodes[i].run(&exec->nodes[i]);
    return TN_OK;
}

/* run() has done everything when it returns. */
static tn_status wait(tn_device *device, tn_error *err)
{
    (void)device, (void)err;
    return TN_OK;
}

TN_BACKEND(template) = {
    .summary = "plain memory and one thread: a backend to fill in",
    .options = TN_OPTIONS(template_options, options),
    .probe = probe,
    .open = open,
    .close = close,
    .caps = caps,
    .supports = supports,
    .alloc = alloc,
    .free = release,
    .map = map,
    .upload = upload,
    .download = download,
    .compile = compile,
    .exec_free = exec_free,
    .run = run,
    .wait = wait,
};
