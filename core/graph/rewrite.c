/*
 * rewrite.c - where bytes are, and the one legal way to reorder nodes.
 *
 * Two things order nodes: a value is made before it is read, and accesses to
 * the same bytes keep their order where one of them writes. Only bytes in
 * arenas are ever written twice, and in most graphs few nodes touch an arena
 * that anything writes; all others are ordered by data alone.
 */
#include "graph/rewrite.h"

#include <string.h>

#include "graph/ops/ops.h"

/* ---- bytes ---- */

uint32_t tni_owner(const tni_graph *g, tn_tensor x, int64_t *offset)
{
    const tni_value *v = &g->values[x.id];
    uint32_t id = v->storage;
    int64_t at = v->offset;
    while (g->values[id].storage != id) {
        at += g->values[id].offset;
        id = g->values[id].storage;
    }
    *offset = at;
    return id;
}

tni_extent tni_extent_of(const tni_graph *g, tn_tensor x)
{
    const tn_tensor_info *info = &g->values[x.id].info;
    int64_t offset, last = 0;
    const uint32_t owner = tni_owner(g, x, &offset);
    for (uint32_t i = 0; i < info->rank; i++)
        last += (info->shape[i] - 1) * info->stride[i];
    const int64_t start =
        g->values[owner].arena_offset + tn_dtype_span(info->dtype, offset);
    return (tni_extent){g->values[owner].arena, owner, start,
                        start + tn_dtype_span(info->dtype, last + 1)};
}

int tni_extents_overlap(const tni_extent *a, const tni_extent *b)
{
    return a->arena == b->arena && (a->arena || a->storage == b->storage) &&
           a->low < b->high && b->low < a->high;
}

int tni_covers_owner(const tni_graph *g, tn_tensor x)
{
    const tn_tensor_info *info = &g->values[x.id].info;
    int64_t offset;
    const uint32_t owner = tni_owner(g, x, &offset);
    return offset == 0 && info->dtype == g->values[owner].info.dtype &&
           tn_elements(info) == tn_elements(&g->values[owner].info) &&
           tni_info_is_dense(info);
}

/* The stride of an axis with one element says nothing. */
static int same_layout(const tn_tensor_info *x, const tn_tensor_info *y)
{
    if (x->dtype != y->dtype || x->rank != y->rank)
        return 0;
    for (uint32_t i = 0; i < x->rank; i++)
        if (x->shape[i] != y->shape[i] ||
            (x->shape[i] != 1 && x->stride[i] != y->stride[i]))
            return 0;
    return 1;
}

int tni_same_operand(const tni_graph *g, tn_tensor x, tn_tensor y)
{
    const tni_extent a = tni_extent_of(g, x), b = tni_extent_of(g, y);
    return x.id == y.id ||
           (a.arena == b.arena && (a.arena || a.storage == b.storage) &&
            a.low == b.low &&
            same_layout(&g->values[x.id].info, &g->values[y.id].info));
}

/* ---- nodes ---- */

int tni_is_effect(const tni_graph *g, const tni_node *node)
{
    for (uint32_t k = 0; k < node->out_count; k++)
        if (tni_writes_storage(g, node, k))
            return 1;
    return 0;
}

const tn_program *tni_node_program(const tni_node *node)
{
    if (!node->desc)
        return NULL;
    if (node->desc->number == TN_OP_MAP)
        return &((const tn_map_attr *)node->attr)->program;
    if (node->desc->number == TN_OP_REDUCE)
        return &((const tn_reduce_attr *)node->attr)->program;
    return NULL;
}

uint32_t tni_program_seeds(const tn_program *p)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < p->instruction_count; i++)
        if (p->instruction[i].op == TN_MAP_RANDOM)
            bits |= 1u << p->instruction[i].a;
    return bits;
}

void tni_graph_put(tni_graph *g, const tni_node *node)
{
    for (uint32_t k = 0; k < node->out_count; k++)
        g->values[node->out[k].id].node = (uint32_t)g->node_count;
    *TNI_PUSH(g->arena, g->nodes, g->node_count, g->node_capacity) = *node;
}

tn_tensor tni_view_over(tni_graph *g, const tni_node *of, tn_tensor x)
{
    tni_node view = *of;
    const tn_tensor_info info = tni_value_of(g, of->out[0])->info;
    const tn_tensor y = tni_graph_value(g, tni_value_of(g, x)->info.dtype,
                                        info.rank, info.shape);
    tni_overlay(of->desc, of->attr, tni_value_of(g, x), tni_value_of(g, y));
    view.in = tni_arena_copy(g->arena, &x, sizeof x);
    view.out = tni_arena_copy(g->arena, &y, sizeof y);
    tni_graph_put(g, &view);
    return y;
}

/* ---- sorting ---- */

typedef struct edge {
    uint32_t to;
    uint32_t next; /* of the same origin, 0: last */
} edge;

typedef struct access {
    tni_extent extent;
    uint32_t node;
    uint32_t is_write;
} access;

typedef struct sorter {
    tni_graph *g;
    tni_arena *scratch;
    const uint32_t *priority;
    edge *edges; /* [0] is none */
    size_t edge_count, edge_capacity;
    uint32_t *first_edge; /* by node */
    uint32_t *waits;      /* by node: edges into it */
    uint32_t *heap;       /* nodes that are ready */
    uint32_t heap_count;
    uint8_t written[TN_ARENA_COUNT];
} sorter;

static void add_edge(sorter *s, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    edge *e = TNI_PUSH(s->scratch, s->edges, s->edge_count, s->edge_capacity);
    *e = (edge){to, s->first_edge[from]};
    s->first_edge[from] = (uint32_t)(s->edge_count - 1);
    s->waits[to]++;
}

static void add_data_edges(sorter *s)
{
    const tni_graph *g = s->g;
    for (uint32_t n = 0; n < g->node_count; n++)
        for (uint32_t i = 0; i < g->nodes[n].in_count; i++) {
            const uint32_t maker = g->values[g->nodes[n].in[i].id].node;
            if (maker != UINT32_MAX)
                add_edge(s, maker, n);
        }
}

static void find_written_arenas(sorter *s)
{
    const tni_graph *g = s->g;
    for (size_t n = 0; n < g->node_count; n++)
        for (uint32_t k = 0; k < g->nodes[n].out_count; k++)
            if (tni_writes_storage(g, &g->nodes[n], k))
                s->written[tni_extent_of(g, g->nodes[n].out[k]).arena] = 1;
}

/* Order one access after the earlier ones that it conflicts with. */
static void add_access(sorter *s, access **list, size_t *count,
                       size_t *capacity, access a)
{
    if (!a.extent.arena || !s->written[a.extent.arena])
        return;
    for (size_t i = 0; i < *count; i++)
        if (((*list)[i].is_write || a.is_write) &&
            tni_extents_overlap(&(*list)[i].extent, &a.extent))
            add_edge(s, (*list)[i].node, a.node);
    *TNI_PUSH(s->scratch, *list, *count, *capacity) = a;
}

static void add_effect_edges(sorter *s)
{
    const tni_graph *g = s->g;
    access *list = NULL;
    size_t count = 0, capacity = 0;
    find_written_arenas(s);
    for (uint32_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        if (!tni_computes(node))
            continue;
        for (uint32_t i = 0; i < node->in_count; i++)
            if (node->in[i].id)
                add_access(s, &list, &count, &capacity,
                           (access){tni_extent_of(g, node->in[i]), n, 0});
        for (uint32_t k = 0; k < node->out_count; k++)
            if (tni_writes_storage(g, node, k))
                add_access(s, &list, &count, &capacity,
                           (access){tni_extent_of(g, node->out[k]), n, 1});
    }
}

static int comes_first(const sorter *s, uint32_t a, uint32_t b)
{
    const uint32_t pa = s->priority[a], pb = s->priority[b];
    return pa != pb ? pa < pb : a < b;
}

static void heap_push(sorter *s, uint32_t node)
{
    uint32_t at = s->heap_count++;
    while (at && comes_first(s, node, s->heap[(at - 1) / 2])) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = node;
}

static uint32_t heap_pop(sorter *s)
{
    const uint32_t top = s->heap[0], last = s->heap[--s->heap_count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= s->heap_count)
            break;
        if (child + 1 < s->heap_count &&
            comes_first(s, s->heap[child + 1], s->heap[child]))
            child++;
        if (!comes_first(s, s->heap[child], last))
            break;
        s->heap[at] = s->heap[child];
        at = child;
    }
    s->heap[at] = last;
    return top;
}

/* Kahn's algorithm with a heap for the queue. */
static void emit_in_order(sorter *s)
{
    tni_graph *g = s->g;
    const size_t count = g->node_count;
    tni_node *sorted = tni_arena_alloc(s->scratch, count * sizeof *sorted);
    size_t kept = 0;
    for (uint32_t n = 0; n < count; n++)
        if (s->waits[n] == 0)
            heap_push(s, n);
    while (s->heap_count) {
        const uint32_t n = heap_pop(s);
        sorted[kept++] = g->nodes[n];
        for (uint32_t e = s->first_edge[n]; e; e = s->edges[e].next)
            if (--s->waits[s->edges[e].to] == 0)
                heap_push(s, s->edges[e].to);
    }
    memcpy(g->nodes, sorted, kept * sizeof *sorted);
    g->node_count = kept;
}

/* Drop dead nodes; the priorities of those that stay. */
static const uint32_t *bury_dead(tni_graph *g, const uint32_t *priority,
                                 tni_arena *scratch)
{
    uint32_t *kept_priority =
        tni_arena_alloc(scratch, (g->node_count + 1) * sizeof *kept_priority);
    size_t kept = 0;
    for (uint32_t n = 0; n < g->node_count; n++) {
        if (!g->nodes[n].desc)
            continue;
        kept_priority[kept] = priority ? priority[n] : n;
        g->nodes[kept++] = g->nodes[n];
    }
    g->node_count = kept;
    return kept_priority;
}

void tni_graph_sort(tni_graph *g, const uint32_t *priority)
{
    tni_arena *scratch = tni_arena_create();
    sorter s = {.g = g,
                .scratch = scratch,
                .priority = bury_dead(g, priority, scratch)};
    const size_t count = g->node_count + 1;
    tni_graph_index(g);
    s.first_edge = tni_arena_alloc(scratch, count * sizeof *s.first_edge);
    s.waits = tni_arena_alloc(scratch, count * sizeof *s.waits);
    s.heap = tni_arena_alloc(scratch, count * sizeof *s.heap);
    TNI_PUSH(scratch, s.edges, s.edge_count, s.edge_capacity)->to = 0;
    add_data_edges(&s);
    add_effect_edges(&s);
    emit_in_order(&s);
    tni_arena_destroy(scratch);
    tni_graph_index(g);
}
