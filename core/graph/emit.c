/*
 * emit.c - the graph as flat arrays: what a backend gets.
 *
 * Leaves and views dissolve into operands: an arena, a byte offset, shape and
 * strides. Everything the plan points to is copied into its own arena, so that
 * the graph may go.
 */
#include <stdlib.h>
#include <string.h>

#include "graph/ops/ops.h"
#include "graph/place.h"
#include "graph/rewrite.h"

typedef struct emitter {
    const tni_graph *g;
    const tni_placement *placed;
    tni_plan *plan;
    tn_plan_node *nodes;
    const char *file, *file_copy; /* the last one, likely to come again */
} emitter;

static const char *copy_text(tni_plan *plan, const char *text)
{
    return text ? tni_arena_strdup(plan->arena, text) : NULL;
}

/* ---- operands ---- */

static tn_operand operand_of(const emitter *e, tn_tensor x)
{
    const tni_value *v = tni_value_of(e->g, x);
    tn_operand o = {0};
    int64_t offset;
    if (x.id == 0)
        return o;
    const uint32_t storage = tni_owner(e->g, x, &offset);
    const tni_value *owner = &e->g->values[storage];
    o.arena = owner->arena ? owner->arena : (tn_arena)TN_ARENA_TRANSIENT;
    o.dtype = v->info.dtype;
    o.rank = v->info.rank;
    o.offset =
        (owner->arena ? owner->arena_offset : e->placed->offset[storage]) +
        tn_dtype_span(o.dtype, offset);
    memcpy(o.shape, v->info.shape, sizeof o.shape);
    memcpy(o.stride, v->info.stride, sizeof o.stride);
    return o;
}

static const tn_operand *operands_of(const emitter *e, const tn_tensor *x,
                                     uint32_t count)
{
    tn_operand *list =
        tni_arena_alloc(e->plan->arena, (count + 1) * sizeof *list);
    for (uint32_t i = 0; i < count; i++)
        list[i] = operand_of(e, x[i]);
    return list;
}

/* ---- nodes ---- */

static const char *file_of(emitter *e, const tni_node *node)
{
    if (node->here.file != e->file) {
        e->file = node->here.file;
        e->file_copy = copy_text(e->plan, e->file);
    }
    return e->file_copy;
}

static tn_plan_node emit_node(emitter *e, const tni_node *node)
{
    const tn_op_desc *d = node->desc;
    const tn_op_node call = {node->attr, node->in, node->out, node->in_count,
                             node->out_count};
    return (tn_plan_node){
        .struct_size = sizeof(tn_plan_node),
        .op = d->number,
        .name = copy_text(e->plan, d->name),
        .attr = tni_arena_copy(e->plan->arena, node->attr, d->attr_size),
        .in = operands_of(e, node->in, node->in_count),
        .out = operands_of(e, node->out, node->out_count),
        .in_count = node->in_count,
        .out_count = node->out_count,
        .accumulate = node->accumulate,
        .file = file_of(e, node),
        .line = node->here.line,
        .layer = node->layer,
        .flops = d->flops ? d->flops(&e->g->builder, &call) : 0.0,
    };
}

static void need_bytes(tn_plan *plan, const tn_operand *o)
{
    int64_t last = 0;
    for (uint32_t i = 0; i < o->rank; i++)
        last += (o->shape[i] - 1) * o->stride[i];
    const int64_t end = o->offset + tn_dtype_span(o->dtype, last + 1);
    if (o->arena && end > plan->arena_bytes[o->arena])
        plan->arena_bytes[o->arena] = end;
}

static void emit_nodes(emitter *e)
{
    tn_plan *plan = &e->plan->plan;
    e->nodes = tni_arena_alloc(e->plan->arena,
                               (e->g->node_count + 1) * sizeof *e->nodes);
    for (size_t n = 0; n < e->g->node_count; n++) {
        if (!tni_computes(&e->g->nodes[n]))
            continue;
        const tn_plan_node node = emit_node(e, &e->g->nodes[n]);
        for (uint32_t i = 0; i < node.in_count; i++)
            need_bytes(plan, &node.in[i]);
        for (uint32_t k = 0; k < node.out_count; k++)
            need_bytes(plan, &node.out[k]);
        e->plan->flops += node.flops;
        e->nodes[plan->node_count++] = node;
    }
    plan->nodes = e->nodes;
    plan->arena_bytes[TN_ARENA_TRANSIENT] = e->placed->bytes;
    e->plan->peak_transient = e->placed->bytes;
}

/* ---- what takes the memory ---- */

typedef struct sized {
    int64_t bytes;
    uint32_t id;
} sized;

static int by_bytes(const void *a, const void *b)
{
    const sized *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static const char *name_of(const emitter *e, uint32_t id)
{
    const tni_value *v = &e->g->values[id];
    const tni_node *node = &e->g->nodes[v->node];
    if (v->name)
        return copy_text(e->plan, v->name);
    return tni_arena_printf(e->plan->arena, "%s @%s:%d", node->desc->name,
                            node->here.file, node->here.line);
}

static void list_largest(emitter *e, tni_arena *scratch)
{
    const tni_graph *g = e->g;
    sized *all = tni_arena_alloc(scratch, g->value_count * sizeof *all);
    size_t count = 0;
    for (size_t n = 0; n < g->node_count; n++)
        for (uint32_t k = 0;
             tni_computes(&g->nodes[n]) && k < g->nodes[n].out_count; k++) {
            const uint32_t id = g->nodes[n].out[k].id;
            if (g->values[id].storage == id)
                all[count++] = (sized){tni_value_bytes(g, id), id};
        }
    qsort(all, count, sizeof *all, by_bytes);
    const size_t most = sizeof e->plan->largest / sizeof *e->plan->largest;
    for (size_t i = 0; i < count && i < most; i++)
        e->plan->largest[e->plan->largest_count++] =
            (tni_largest){.name = name_of(e, all[i].id),
                          .operand = operand_of(e, (tn_tensor){all[i].id}),
                          .bytes = all[i].bytes};
}

/* ---- the plan ---- */

static tni_plan *create_plan(const tni_place_options *options)
{
    tni_arena *arena = tni_arena_create();
    tni_plan *plan = tni_arena_alloc(arena, sizeof *plan);
    plan->arena = arena;
    plan->plan.struct_size = sizeof plan->plan;
    plan->plan.node_stride = sizeof(tn_plan_node);
    plan->plan.name = copy_text(plan, options->name ? options->name : "plan");
    return plan;
}

static void one_segment(tni_plan *plan)
{
    tn_plan_segment *segment = tni_arena_alloc(plan->arena, sizeof *segment);
    segment->count = plan->plan.node_count;
    plan->plan.segments = segment;
    plan->plan.segment_count = 1;
}

tn_status tni_place(const tni_graph *g, const tni_place_options *options,
                    tni_plan **plan, tn_error *err)
{
    TN_TRY(tni_graph_status(g, err));
    tni_arena *scratch = tni_arena_create();
    const tni_placement placed =
        tni_place_transients(g, options->no_reuse, scratch);
    emitter e = {.g = g, .placed = &placed, .plan = create_plan(options)};
    emit_nodes(&e);
    tni_group_nodes(e.nodes, e.plan->plan.node_count);
    list_largest(&e, scratch);
    one_segment(e.plan);
    tni_arena_destroy(scratch);
    *plan = e.plan;
    return TN_OK;
}

void tni_plan_destroy(tni_plan *plan)
{
    if (plan)
        tni_arena_destroy(plan->arena);
}
