/*
 * builder.c - one entry for every op: check, infer, append.
 *
 * Describers write straight-line code, so the first error sticks and every
 * later call returns none. The sentence the user reads has four parts: the
 * place in the describer's source, the op, what its shape rule says, and the
 * operands by name:
 *
 *     mla.c:123: matmul: inner sizes 576 and 512 differ (q_absorbed, kv_latent)
 *
 * An op passes through five small stations: count its operands, copy its
 * attributes, prepare its inputs (broadcasts become views), ask its shape rule,
 * append its node.
 */
#include "graph/graph.h"

#include <inttypes.h>
#include <string.h>

#include "graph/ops/ops.h"

/* No tensor holds more elements: byte counts fit an int64_t with room. */
#define MAX_ELEMENTS ((int64_t)1 << 48)

/* An op on its way into the graph. */
typedef struct call {
    const tn_op_desc *desc;
    const void *attr;
    tn_tensor *in;
    tn_tensor_info *info; /* of outputs */
    uint32_t in_count;
    uint32_t out_count;
    tn_here here;
} call;

static tni_graph *graph_of(tn_builder *b)
{
    return (tni_graph *)(void *)b;
}

static const tni_graph *const_graph_of(const tn_builder *b)
{
    return (const tni_graph *)(const void *)b;
}

/* ---- failing ---- */

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path ? path : "?";
}

/* "wq", "wq (64, 8)" for a view of it, or "y (2, 3)": the second operand. */
static size_t operand_text(const tni_graph *g, tn_tensor x, uint32_t i,
                           char *to, size_t size)
{
    const tni_value *v = &g->values[x.id];
    const char *owner = g->values[v->storage].name;
    const tni_text shape = tni_shape_text(&v->info);
    int n;
    if (x.id == 0)
        n = snprintf(to, size, "none");
    else if (v->name)
        n = snprintf(to, size, "%s", v->name);
    else if (owner)
        n = snprintf(to, size, "%s %s", owner, shape.text);
    else if (i < 3)
        n = snprintf(to, size, "%c %s", "xyz"[i], shape.text);
    else
        n = snprintf(to, size, "x%u %s", i, shape.text);
    return n > 0 ? (size_t)n : 0;
}

static void operands_text(const tni_graph *g, const tn_tensor *in,
                          uint32_t count, char *to, size_t size)
{
    size_t used = 0;
    to[0] = '\0';
    for (uint32_t i = 0; i < count && used + 3 < size; i++) {
        used += (size_t)snprintf(to + used, size - used, i ? ", " : " (");
        used += operand_text(g, in[i], i, to + used, size - used);
    }
    if (count && used + 1 < size)
        snprintf(to + used, size - used, ")");
}

TN_PRINTF(4, 5)
static void stick(tni_graph *g, tn_status status, tn_here here,
                  const char *format, ...)
{
    char text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tn_fail(&g->error, status, "%s:%d: %s", base_name(here.file), here.line,
            text);
    g->builder.failed = 1;
}

static tn_status refuse(tni_graph *g, const call *c, const tn_error *why)
{
    char operands[400];
    operands_text(g, c->in, c->in_count, operands, sizeof operands);
    stick(g, why->status, c->here, "%s: %.380s%s",
          tni_op_label(c->desc, c->attr), why->message, operands);
    return why->status;
}

/* ---- the five stations ---- */

/* Trailing inputs that are absent are not counted. */
static tn_status count_operands(const tni_graph *g, call *c, tn_error *err)
{
    const tn_op_desc *d = c->desc;
    while (c->in_count > d->min_in && c->in[c->in_count - 1].id == 0)
        c->in_count--;
    if (c->in_count < d->min_in || c->in_count > d->max_in)
        return tn_fail(err, TN_ESHAPE, "%u inputs given, takes %u to %u",
                       c->in_count, d->min_in, d->max_in);
    for (uint32_t i = 0; i < c->in_count; i++) {
        if (c->in[i].id == 0 && i < d->min_in)
            return tn_fail(err, TN_ESHAPE, "input %u is none", i);
        if (c->in[i].id >= g->value_count)
            return tn_fail(err, TN_ESHAPE, "input %u is of no graph", i);
        c->in[i] = tni_graph_resolve(g, c->in[i]);
    }
    const int any_count = d->number == TN_OP_MAP; /* its program says */
    if (any_count ? c->out_count > d->out_count : c->out_count != d->out_count)
        return tn_fail(err, TN_ESHAPE, "%u outputs asked for, has %u",
                       c->out_count, d->out_count);
    return TN_OK;
}

/* A shorter struct is an older plugin's: the rest is zero, the default. A
 * longer one is a newer plugin's: fine as long as it asks for nothing new. */
static tn_status copy_attr(tni_graph *g, call *c, const void *attr,
                           uint32_t size, tn_error *err)
{
    const uint32_t ours = c->desc->attr_size;
    const unsigned char *bytes = attr;
    unsigned char *copy = tni_arena_alloc(g->arena, ours);
    if (attr)
        memcpy(copy, attr, size < ours ? size : ours);
    c->attr = copy;
    for (uint32_t i = ours; attr && i < size; i++)
        if (bytes[i])
            return tn_fail(err, TN_EUNSUPPORTED,
                           "asks for an attribute this Tenon does not know "
                           "(byte %u of %u); the plugin is newer than it",
                           i, size);
    return TN_OK;
}

static tn_status check_sizes(const tn_tensor_info *info, tn_error *err)
{
    int64_t n = 1;
    if (info->rank > TN_MAX_RANK)
        return tn_fail(err, TN_ESHAPE, "rank %u is above %d", info->rank,
                       TN_MAX_RANK);
    for (uint32_t i = 0; i < info->rank; i++) {
        const int64_t size = info->shape[i];
        if (size < 1)
            return tn_fail(err, TN_ESHAPE,
                           "axis %u has size %" PRId64 ", needs at least 1", i,
                           size);
        if (size > MAX_ELEMENTS / n)
            return tn_fail(err, TN_ESHAPE, "%s has too many elements",
                           tni_shape_text(info).text);
        n *= size;
    }
    return tn_dtype_span(info->dtype, tn_dtype_block(info->dtype))
               ? TN_OK
               : tn_fail(err, TN_ESHAPE, "dtype %u is unknown", info->dtype);
}

static tn_status infer(tni_graph *g, call *c, tn_error *err)
{
    tn_tensor *none = tni_arena_alloc(g->arena, c->out_count * sizeof *none);
    const tn_op_node node = {c->attr, c->in, none, c->in_count, c->out_count};
    c->info = tni_arena_alloc(g->arena, c->out_count * sizeof *c->info);
    TN_TRY(c->desc->shape(&g->builder, &node, c->info, err));
    for (uint32_t i = 0; i < c->out_count; i++)
        TN_TRY(check_sizes(&c->info[i], err));
    return TN_OK;
}

static tni_node *append(tni_graph *g, const call *c)
{
    tn_tensor *out = tni_arena_alloc(g->arena, c->out_count * sizeof *out);
    for (uint32_t i = 0; i < c->out_count; i++) {
        const tn_tensor_info *info = &c->info[i];
        out[i] = tni_graph_value(g, info->dtype, info->rank, info->shape);
        g->values[out[i].id].node = (uint32_t)g->node_count;
        g->values[out[i].id].output = i;
    }
    if (tni_op_is_over_first(c->desc))
        tni_overlay(c->desc, c->attr, tni_value_of(g, c->in[0]),
                    tni_value_of(g, out[0]));
    tni_node *node =
        TNI_PUSH(g->arena, g->nodes, g->node_count, g->node_capacity);
    *node = (tni_node){
        .desc = c->desc,
        .attr = c->attr,
        .in = c->in,
        .out = out,
        .in_count = c->in_count,
        .out_count = c->out_count,
        .layer = g->layer,
        .phase = g->phase,
        .here = {base_name(c->here.file), c->here.line, 0},
    };
    return node;
}

static tn_status describe(tni_graph *g, call *c, const void *attr,
                          uint32_t attr_size, tn_error *err)
{
    tni_prepare *prepare = tni_op_prepare(c->desc);
    TN_TRY(copy_attr(g, c, attr, attr_size, err));
    TN_TRY(count_operands(g, c, err));
    if (prepare)
        TN_TRY(prepare(g, c->in, c->in_count, c->attr, c->here, err));
    return infer(g, c, err);
}

static void add_op(tni_graph *g, const tn_op_desc *desc, const tn_tensor *in,
                   uint32_t in_count, const void *attr, uint32_t attr_size,
                   tn_tensor *out, uint32_t out_count, tn_here here)
{
    tn_error why = {0};
    call c = {
        .desc = desc,
        .in = tni_arena_copy(g->arena, in, in_count * sizeof *in),
        .in_count = in_count,
        .out_count = out_count,
        .here = here,
    };
    if (describe(g, &c, attr, attr_size, &why) != TN_OK) {
        if (!g->builder.failed)
            refuse(g, &c, &why);
        return;
    }
    const tni_node *node = append(g, &c);
    memcpy(out, node->out, out_count * sizeof *out);
}

/* ---- the table ---- */

static void api_op(tn_builder *b, tn_op op, const tn_tensor *in,
                   uint32_t in_count, const void *attr, uint32_t attr_size,
                   tn_tensor *out, uint32_t out_count, tn_here here)
{
    tni_graph *g = graph_of(b);
    const tn_op_desc *desc = tni_op_desc(op);
    memset(out, 0, out_count * sizeof *out);
    if (b->failed)
        return;
    if (!desc || desc->tier == TN_TIER_LEAF)
        stick(g, TN_EUNSUPPORTED, here,
              "op %u is not one this Tenon can append; the plugin may be newer "
              "than it",
              op);
    else
        add_op(g, desc, in, in_count, attr, attr_size, out, out_count, here);
}

static const char *custom_fault(const tn_op_desc *d)
{
    if (d->number != TN_OP_CUSTOM)
        return "must carry the number TN_OP_CUSTOM";
    if (!d->shape)
        return "has no shape rule";
    if (!d->decompose)
        return "has no decomposition; every custom op needs one, so that it "
               "runs on every backend";
    if (d->tier != TN_TIER_COMPOSITE) /* a leaf (0) is never computed */
        return "is not composite; set .tier = TN_TIER_COMPOSITE";
    return NULL;
}

/* A descriptor shorter than ours is an older plugin's: what it lacks is zero.
 */
static const tn_op_desc *whole_desc(tni_graph *g, const tn_op_desc *desc)
{
    if (desc->struct_size >= sizeof *desc)
        return desc;
    tn_op_desc *copy = tni_arena_alloc(g->arena, sizeof *copy);
    memcpy(copy, desc, desc->struct_size);
    return copy;
}

static void api_custom(tn_builder *b, const tn_op_desc *desc,
                       const tn_tensor *in, uint32_t in_count, const void *attr,
                       uint32_t attr_size, tn_tensor *out, uint32_t out_count,
                       tn_here here)
{
    tni_graph *g = graph_of(b);
    memset(out, 0, out_count * sizeof *out);
    if (b->failed)
        return;
    desc = whole_desc(g, desc);
    const char *fault = custom_fault(desc);
    if (fault)
        stick(g, TN_EINVALID, here, "%s: a custom op that %s",
              desc->name ? desc->name : "?", fault);
    else
        add_op(g, desc, in, in_count, attr, attr_size, out, out_count, here);
}

static void api_info(const tn_builder *b, tn_tensor x, tn_tensor_info *info)
{
    const tni_graph *g = const_graph_of(b);
    x = tni_graph_resolve(g, x);
    if (x.id == 0 || x.id >= g->value_count)
        memset(info, 0, sizeof *info);
    else
        *info = g->values[x.id].info;
}

TN_PRINTF(3, 4)
static void api_fail(tn_builder *b, tn_here here, const char *format, ...)
{
    char text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    stick(graph_of(b), TN_EINVALID, here, "%s", text);
}

static void api_name(tn_builder *b, tn_tensor x, const char *name)
{
    tni_graph *g = graph_of(b);
    if (x.id && x.id < g->value_count && name)
        g->values[x.id].name = tni_arena_strdup(g->arena, name);
}

const tn_builder_api tni_builder_api = {
    .struct_size = sizeof(tn_builder_api),
    .op = api_op,
    .custom = api_custom,
    .info = api_info,
    .fail = api_fail,
    .name = api_name,
};

/* ---- leaves ---- */

tn_tensor tni_graph_leaf(tni_graph *g, tn_op op, tn_arena arena, int64_t offset,
                         tn_dtype dtype, uint32_t rank, const int64_t *shape,
                         const char *name)
{
    tn_error why = {0};
    tn_tensor_info info = tni_dense(dtype, rank, shape);
    const call c = {.desc = tni_op_desc(op),
                    .attr = tni_arena_alloc(g->arena, sizeof(tn_no_attr)),
                    .info = &info,
                    .out_count = 1,
                    .here = {"graph", 0, 0}};
    if (g->builder.failed)
        return TN_NONE;
    if (check_sizes(&info, &why) != TN_OK) {
        stick(g, TN_ESHAPE, c.here, "%s %s: %s", c.desc->name,
              name ? name : "?", why.message);
        return TN_NONE;
    }
    const tn_tensor x = append(g, &c)->out[0];
    tni_value *v = tni_value_of(g, x);
    v->arena = arena;
    v->arena_offset = offset;
    v->name = name ? tni_arena_strdup(g->arena, name) : NULL;
    return x;
}
