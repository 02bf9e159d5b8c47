/*
 * lower.c - from the words of models to the words of one backend.
 *
 * A composite that the backend has no kernel for is replaced by its
 * decomposition, described with the builder at the place where it stood and
 * stamped as it was; what a decomposition uses may be composite again, so this
 * repeats until nothing changes. A backend that does not say TN_READS_FIRST may
 * have been built before that input was: it is not asked about nodes that have
 * it, for it would compute them as if they had not. Then inputs that plan.h
 * promises dense, and are not, get a copy; readers of one value in one layer
 * and phase share it.
 */
#include <string.h>

#include <tenon/backend.h>

#include "graph/ops/ops.h"
#include "graph/rewrite.h"

/* ---- composites ---- */

static tn_operand unplaced(const tni_graph *g, tn_tensor x)
{
    const tn_tensor_info *info = &g->values[x.id].info;
    tn_operand o = {0};
    if (x.id == 0)
        return o;
    tn_tensor_info dense = tni_dense_like(info);
    o.arena = TN_ARENA_TRANSIENT;
    o.dtype = info->dtype;
    o.rank = info->rank;
    memcpy(o.shape, dense.shape, sizeof o.shape);
    memcpy(o.stride, dense.stride, sizeof o.stride);
    return o;
}

/* Whether the backend may know nothing of an input that this node has. */
static int is_beyond(const tni_target *target, const tni_node *node)
{
    const uint32_t first = tni_op_documents(node->desc);
    return first && first < node->in_count && node->in[first].id &&
           !(target->flags & TN_READS_FIRST);
}

int tni_has_kernel(const tni_graph *g, const tni_target *target,
                   const tni_node *node, tni_arena *scratch)
{
    if (node->desc->tier != TN_TIER_COMPOSITE)
        return 1;
    if (!target->supports || is_beyond(target, node))
        return 0;
    tn_operand *operand = tni_arena_alloc(
        scratch, (node->in_count + node->out_count) * sizeof *operand);
    for (uint32_t i = 0; i < node->in_count; i++)
        operand[i] = unplaced(g, node->in[i]);
    for (uint32_t k = 0; k < node->out_count; k++)
        operand[node->in_count + k] = unplaced(g, node->out[k]);
    const tn_plan_node asked = {
        .struct_size = sizeof asked,
        .op = node->desc->number,
        .name = node->desc->name,
        .attr = node->attr,
        .in = operand,
        .out = operand + node->in_count,
        .in_count = node->in_count,
        .out_count = node->out_count,
        .file = node->here.file,
        .line = node->here.line,
        .layer = node->layer,
    };
    return target->supports(target->of, &asked) != 0;
}

int tni_is_native(const tni_graph *g, const tni_target *target)
{
    tni_arena *scratch = tni_arena_create();
    int native = 1;
    for (size_t n = 0; n < g->node_count && native; n++)
        native = tni_has_kernel(g, target, &g->nodes[n], scratch);
    tni_arena_destroy(scratch);
    return native;
}

/* A decomposition may end in a view; others count on dense outputs. */
static tn_tensor made_dense(tni_graph *g, tn_tensor x, tn_dtype dtype,
                            tn_here here)
{
    const tn_tensor_info info = tn_info(&g->builder, x);
    return info.dtype == dtype && tni_info_is_dense(&info)
               ? x
               : tn_copy_at(&g->builder, x, dtype, here);
}

static tn_status check_part(const tni_graph *g, const tni_node *node,
                            uint32_t k, tn_tensor made, tn_error *err)
{
    const tn_tensor_info *want = &g->values[node->out[k].id].info;
    const tn_tensor_info got = tn_info(&g->builder, made);
    if (made.id && got.rank == want->rank &&
        memcmp(got.shape, want->shape, sizeof *got.shape * got.rank) == 0)
        return TN_OK;
    return tn_fail(err, TN_ESHAPE,
                   "%s:%d: %s: its decomposition gives %s for output %u, its "
                   "shape rule %s",
                   node->here.file, node->here.line, node->desc->name,
                   made.id ? tni_shape_text(&got).text : "nothing", k,
                   tni_shape_text(want).text);
}

static tn_status expand(tni_graph *g, const tni_node *node, tni_arena *scratch,
                        tn_error *err)
{
    const tn_op_node call = {node->attr, node->in, node->out, node->in_count,
                             node->out_count};
    const size_t first = g->node_count;
    tn_tensor *made = tni_arena_alloc(scratch, node->out_count * sizeof *made);
    g->phase = node->phase;
    g->layer = node->layer;
    node->desc->decompose(&g->builder, &call, made);
    TN_TRY(tni_graph_status(g, err));
    for (uint32_t k = 0; k < node->out_count; k++) {
        TN_TRY(check_part(g, node, k, made[k], err));
        tni_graph_replace(g, node->out[k],
                          made_dense(g, made[k],
                                     g->values[node->out[k].id].info.dtype,
                                     node->here));
    }
    for (size_t n = first; n < g->node_count; n++)
        g->nodes[n].here = node->here;
    return tni_graph_status(g, err);
}

static tn_status refuse(const tni_node *node, tn_error *err)
{
    return tn_fail(err, TN_EUNSUPPORTED,
                   "%s:%d: the backend has no kernel for %s and it has no "
                   "decomposition",
                   node->here.file, node->here.line, node->desc->name);
}

/* ---- bf16, and weights in blocks ---- */

static int is_bf16(const tni_graph *g, tn_tensor x)
{
    return g->values[x.id].info.dtype == TN_BF16;
}

static int is_blocks(const tni_graph *g, tn_tensor x)
{
    return tn_dtype_block(g->values[x.id].info.dtype) > 1;
}

static int is_narrow(const tni_graph *g, tn_tensor x)
{
    return is_bf16(g, x) || is_blocks(g, x);
}

static int has_narrow(const tni_graph *g, const tni_node *node)
{
    int any = 0;
    for (uint32_t i = 0; i < node->in_count; i++)
        any |= is_narrow(g, node->in[i]);
    for (uint32_t k = 0; k < node->out_count; k++)
        any |= is_bf16(g, node->out[k]);
    return any;
}

/* COPY is what reads blocks; a cast of bf16 is a map, which fuses. */
static tn_tensor widened_input(tni_graph *g, const tni_node *node, uint32_t i)
{
    return is_blocks(g, node->in[i])
               ? tn_copy_at(&g->builder, node->in[i], TN_F32, node->here)
               : tni_stored_as(&g->builder, node->in[i], TN_F32, node->here);
}

/* The node over f32 casts of what it reads; what it makes are new values. */
static tni_node widened(tni_graph *g, const tni_node *node)
{
    tni_node wide = *node;
    g->phase = node->phase;
    g->layer = node->layer;
    wide.in =
        tni_arena_copy(g->arena, node->in, node->in_count * sizeof *wide.in);
    wide.out =
        tni_arena_copy(g->arena, node->out, node->out_count * sizeof *wide.out);
    for (uint32_t i = 0; i < node->in_count; i++)
        if (is_narrow(g, node->in[i]))
            wide.in[i] = widened_input(g, node, i);
    for (uint32_t k = 0; k < node->out_count; k++) {
        const tn_tensor_info info = g->values[node->out[k].id].info;
        if (info.dtype == TN_BF16)
            wide.out[k] = tni_graph_value(g, TN_F32, info.rank, info.shape);
    }
    return wide;
}

/* What the widened node made, stored as the node's outputs are. */
static void narrow_outputs(tni_graph *g, const tni_node *node,
                           const tni_node *wide)
{
    g->phase = node->phase;
    g->layer = node->layer;
    for (uint32_t k = 0; k < node->out_count; k++)
        if (is_bf16(g, node->out[k]))
            tni_graph_replace(
                g, node->out[k],
                tni_stored_as(&g->builder, wide->out[k], TN_BF16, node->here));
}

/* Rebuild the node list, expanding what has no kernel. A composite that has one
 * in f32 only is cast before and behind. */
static tn_status expand_all(tni_graph *g, const tni_target *target,
                            tni_arena *scratch, int *changed, tn_error *err)
{
    const tni_node *old = g->nodes;
    const size_t count = g->node_count;
    g->nodes = NULL;
    g->node_count = g->node_capacity = 0;
    *changed = 0;
    for (size_t n = 0; n < count; n++) {
        tni_node node = old[n];
        for (uint32_t i = 0; i < node.in_count; i++)
            node.in[i] = tni_graph_resolve(g, node.in[i]);
        const tni_node as_is = node;
        int native = tni_has_kernel(g, target, &node, scratch);
        if (!native && has_narrow(g, &node)) {
            node = widened(g, &as_is);
            native = tni_has_kernel(g, target, &node, scratch);
        }
        if (native)
            tni_graph_put(g, &node);
        else if (!node.desc->decompose)
            return refuse(&node, err);
        else
            TN_TRY(expand(g, &node, scratch, err));
        *changed |= !native;
        if (node.out != as_is.out)
            narrow_outputs(g, &as_is, &node);
    }
    return TN_OK;
}

static tn_status lower_composites(tni_graph *g, const tni_target *target,
                                  tni_arena *scratch, tn_error *err)
{
    int changed = 1;
    while (changed) {
        TN_TRY(expand_all(g, target, scratch, &changed, err));
        tni_graph_index(g);
    }
    return TN_OK;
}

/* ---- dense inputs ---- */

/* The last dense copy made of a value, and for whom. */
typedef struct dense_of {
    tn_tensor copy;
    uint32_t layer, phase;
} dense_of;

static tn_tensor dense_copy(tni_graph *g, dense_of *made,
                            const tni_node *reader, tn_tensor x)
{
    dense_of *c = &made[x.id];
    if (c->copy.id && c->layer == reader->layer && c->phase == reader->phase)
        return c->copy;
    g->phase = reader->phase;
    g->layer = reader->layer;
    const tn_tensor copy =
        tn_copy_at(&g->builder, x, TN_DTYPE_NONE, reader->here);
    /* Bytes of an arena may change between two readers. */
    if (g->values[g->values[x.id].storage].arena == 0)
        *c = (dense_of){copy, reader->layer, reader->phase};
    return copy;
}

static void insert_copies(tni_graph *g, tni_arena *scratch)
{
    const tni_node *old = g->nodes;
    const size_t count = g->node_count;
    dense_of *made = tni_arena_alloc(scratch, g->value_count * sizeof *made);
    g->nodes = NULL;
    g->node_count = g->node_capacity = 0;
    for (size_t n = 0; n < count; n++) {
        for (uint32_t i = 0; i < old[n].in_count; i++) {
            const tn_tensor x = old[n].in[i];
            const tn_tensor_info info = g->values[x.id].info;
            if (x.id && !tni_op_accepts(old[n].desc, i, &info))
                old[n].in[i] = dense_copy(g, made, &old[n], x);
        }
        tni_graph_put(g, &old[n]);
    }
}

static tn_status lower(tni_graph *g, const tni_target *target,
                       tni_arena *scratch, tn_error *err)
{
    TN_TRY(lower_composites(g, target, scratch, err));
    insert_copies(g, scratch);
    return tni_graph_status(g, err);
}

tn_status tni_lower(tni_graph *g, const tni_target *target, tn_error *err)
{
    const uint32_t phase = g->phase, layer = g->layer;
    tni_arena *scratch = tni_arena_create();
    tni_turn_products(g); /* or a gradient's turned view would be copied */
    const tn_status status = lower(g, target, scratch, err);
    tni_arena_destroy(scratch);
    g->phase = phase;
    g->layer = layer;
    if (status == TN_OK)
        tni_graph_index(g);
    return status;
}
