/*
 * narrow.c - what is stored in bf16 where precision is bf16.
 *
 * Plugins describe in f32 and the graph is differentiated in f32. This pass
 * then decides, value by value, where the bytes may be halved:
 *
 *   a value is bf16 if the op that makes it and all that read it allow it
 *   (op_table.c), and it is on no way into an assign;
 *   operands of products are bf16 in any case: an f32 value is cast for them;
 *   parameters stay f32, and products and look-ups read their bf16 copies in
 *   the COPY arena.
 *
 * A table that is only looked up has a copy for the sake of its size alone.
 * Where its f32 numbers are there in any case, in training, it has none, and
 * the few rows that are picked are rounded: the same bits.
 *
 * Arithmetic is f32 everywhere; rounding happens where a value is stored. A
 * value that fuse later computes inside its reader is not rounded at all.
 *
 * The ways into assigns are kept f32 because of the gradients of parameters:
 * micro-batches are added up in f32, so that k times b is k b.
 */
#include "graph/ops/ops.h"
#include "graph/rewrite.h"

typedef struct narrower {
    tni_graph *g;
    tni_arena *scratch;
    uint8_t *narrow;  /* by value that owns bytes: it becomes bf16 */
    tni_copied least; /* what is copied for less has no copy */
    tn_tensor *bf16;  /* by value: what stands for it where bf16 is asked for */
    const tni_node **maker; /* by value, before the pass */
} narrower;

static uint32_t owner_of(const tni_graph *g, tn_tensor x)
{
    int64_t offset;
    return tni_owner(g, x, &offset);
}

static int is_ours(const tni_node *node)
{
    return tni_computes(node) && node->phase != TNI_UPDATE;
}

static int is_alike(const tni_narrowing *n)
{
    return n->how == TNI_NARROW_ALIKE || n->how == TNI_NARROW_ROWS;
}

/* ---- which parameters have copies ---- */

/* What this input of such a node would have a copy for. */
static tni_copied reads_as(const tni_narrowing *n, uint32_t input)
{
    if (n->how == TNI_NARROW_PRODUCT && tni_narrows(n->in, input))
        return TNI_COPIED_FOR_PRODUCTS;
    return n->how == TNI_NARROW_ROWS && !input ? TNI_COPIED_FOR_LOOKUPS
                                               : TNI_COPIED_NEVER;
}

static int is_matrix(const tni_value *v)
{
    return v->arena == TN_ARENA_PARAM && v->info.dtype == TN_F32 &&
           v->info.rank >= 2;
}

tni_copied tni_copied_for(const tni_graph *g, tn_tensor param)
{
    tni_copied copied = TNI_COPIED_NEVER;
    if (!param.id || !is_matrix(tni_value_of(g, param)))
        return copied;
    for (size_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        if (!is_ours(node))
            continue;
        for (uint32_t i = 0; i < node->in_count; i++) {
            const tni_copied as = reads_as(tni_op_narrowing(node->desc), i);
            if (as > copied && owner_of(g, node->in[i]) == param.id)
                copied = as;
        }
    }
    return copied;
}

/* ---- which values are narrow ---- */

static void take_what_makers_allow(narrower *w)
{
    const tni_graph *g = w->g;
    for (size_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        if (!is_ours(node))
            continue;
        for (uint32_t k = 0; k < node->out_count; k++) {
            const uint32_t id = node->out[k].id;
            const tni_value *v = &g->values[id];
            w->narrow[id] = v->storage == id && v->info.dtype == TN_F32 &&
                            tni_narrows(tni_op_narrowing(node->desc)->out, k);
        }
    }
}

static void drop_what_readers_refuse(narrower *w)
{
    const tni_graph *g = w->g;
    for (size_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        if (!tni_computes(node))
            continue;
        const uint32_t in =
            is_ours(node) ? tni_op_narrowing(node->desc)->in : 0;
        for (uint32_t i = 0; i < node->in_count; i++)
            if (!tni_narrows(in, i))
                w->narrow[owner_of(g, node->in[i])] = 0;
    }
}

static int is_f32(const tni_graph *g, tn_tensor x)
{
    return g->values[x.id].info.dtype == TN_F32;
}

/* From the last node to the first: what goes into an assign in f32, element by
 * element. */
static void drop_ways_into_assigns(narrower *w)
{
    const tni_graph *g = w->g;
    uint8_t *assigned = tni_arena_alloc(w->scratch, g->value_count);
    for (size_t n = g->node_count; n-- > 0;) {
        const tni_node *node = &g->nodes[n];
        if (!tni_computes(node))
            continue;
        const tni_narrowing *narrowing = tni_op_narrowing(node->desc);
        int wide = node->desc->number == TN_OP_ASSIGN;
        for (uint32_t k = 0; k < node->out_count; k++)
            wide |=
                assigned[node->out[k].id] && is_f32(g, node->out[k]) &&
                (is_alike(narrowing) || narrowing->how == TNI_NARROW_ELEMENTS);
        for (uint32_t i = 0; wide && i < node->in_count; i++) {
            const uint32_t owner = owner_of(g, node->in[i]);
            if (!is_f32(g, node->in[i]))
                continue;
            assigned[owner] = 1;
            w->narrow[owner] = 0;
        }
    }
}

static int can_be_bf16(const narrower *w, tn_tensor x)
{
    const uint32_t owner = owner_of(w->g, x);
    return w->narrow[owner] || w->g->values[owner].copied ||
           w->g->values[owner].info.dtype == TN_BF16;
}

/* Operands that must be alike: one that stays f32 keeps the others. Returns
 * whether it changed any. */
static int level(narrower *w, const tni_node *node)
{
    const tni_narrowing *n = tni_op_narrowing(node->desc);
    const uint32_t out = owner_of(w->g, node->out[0]);
    int all = can_be_bf16(w, node->out[0]), changed = w->narrow[out];
    for (uint32_t i = 0; i < node->in_count; i++)
        if (tni_narrows(n->in, i))
            all &= can_be_bf16(w, node->in[i]);
    if (all)
        return 0;
    w->narrow[out] = 0;
    for (uint32_t i = 0; i < node->in_count; i++) {
        const uint32_t owner = owner_of(w->g, node->in[i]);
        changed |= w->narrow[owner];
        w->narrow[owner] = 0;
    }
    return changed;
}

static void level_all(narrower *w)
{
    for (int changed = 1; changed;) {
        changed = 0;
        for (size_t n = 0; n < w->g->node_count; n++)
            if (is_ours(&w->g->nodes[n]) &&
                is_alike(tni_op_narrowing(w->g->nodes[n].desc)))
                changed |= level(w, &w->g->nodes[n]);
    }
}

static void store_narrow(narrower *w)
{
    tni_graph *g = w->g;
    for (uint32_t id = 1; id < g->value_count; id++)
        if (!g->values[id].replaced_by &&
            w->narrow[owner_of(g, (tn_tensor){id})])
            g->values[id].info.dtype = TN_BF16;
}

/* ---- copies of parameters ---- */

static tn_tensor copy_leaf(tni_graph *g, const tni_value *param)
{
    const char *name = tni_arena_printf(
        g->arena, "bf16 copy of %s", param->name ? param->name : "a parameter");
    return tni_graph_leaf(g, TN_OP_PARAM, TN_ARENA_COPY, param->copy_offset,
                          TN_BF16, param->info.rank, param->info.shape, name);
}

/* x is a parameter or a view of one: the same of its copy. */
static tn_tensor in_copy(narrower *w, tn_tensor x)
{
    tni_graph *g = w->g;
    if (!w->bf16[x.id].id) {
        const tni_node *maker = w->maker[x.id];
        const tni_value v = *tni_value_of(g, x);
        w->bf16[x.id] = v.storage == x.id
                            ? copy_leaf(g, &v)
                            : tni_view_over(g, maker, in_copy(w, maker->in[0]));
    }
    return w->bf16[x.id];
}

/* ---- casts ---- */

/* A transient keeps its cast for all readers; bytes of an arena may change
 * between two. */
static tn_tensor cast(narrower *w, tn_tensor x, const tni_node *reader)
{
    tni_graph *g = w->g;
    if (w->bf16[x.id].id)
        return w->bf16[x.id];
    g->phase = reader->phase;
    g->layer = reader->layer;
    const tn_tensor y = tni_stored_as(&g->builder, x, TN_BF16, reader->here);
    if (g->values[owner_of(g, x)].arena == 0)
        w->bf16[x.id] = y;
    return y;
}

static tn_tensor operand(narrower *w, const tni_node *node, uint32_t i)
{
    const tni_narrowing *n = tni_op_narrowing(node->desc);
    const tn_tensor x = node->in[i];
    const int wants =
        is_alike(n) ? tni_value_of(w->g, node->out[0])->info.dtype == TN_BF16
                    : n->how == TNI_NARROW_PRODUCT;
    if (!x.id || !wants || !is_ours(node) || !tni_narrows(n->in, i) ||
        tni_value_of(w->g, x)->info.dtype != TN_F32)
        return x;
    const uint32_t copied = w->g->values[owner_of(w->g, x)].copied;
    if (copied && copied >= w->least)
        return in_copy(w, x);
    return n->how == TNI_NARROW_ROWS && copied ? x : cast(w, x, node);
}

static int looks_up_in_f32(const tni_graph *g, const tni_node *node)
{
    return tni_op_narrowing(node->desc)->how == TNI_NARROW_ROWS &&
           is_f32(g, node->in[0]) && !is_f32(g, node->out[0]);
}

/* The rows are picked in f32, then rounded. */
static void put_and_round(tni_graph *g, const tni_node *node)
{
    const tn_tensor_info info = tni_value_of(g, node->out[0])->info;
    const tn_tensor rows = tni_graph_value(g, TN_F32, info.rank, info.shape);
    tni_node wide = *node;
    wide.out = tni_arena_copy(g->arena, &rows, sizeof rows);
    tni_graph_put(g, &wide);
    g->phase = node->phase;
    g->layer = node->layer;
    tni_graph_replace(g, node->out[0],
                      tni_stored_as(&g->builder, rows, TN_BF16, node->here));
}

/* A map that only changed the dtype and now does not. */
static int is_idle(const tni_graph *g, const tni_node *node)
{
    if (node->desc->number != TN_OP_MAP || node->in_count != 1 ||
        node->out_count != 1 || tni_is_effect(g, node))
        return 0;
    const tn_program *p = tni_node_program(node);
    return p->instruction_count == 1 && p->instruction[0].op == TN_MAP_INPUT &&
           tni_value_of(g, node->in[0])->info.dtype == TN_BF16 &&
           tni_value_of(g, node->out[0])->info.dtype == TN_BF16;
}

static void rewrite_nodes(narrower *w)
{
    tni_graph *g = w->g;
    const tni_node *old = g->nodes;
    const size_t count = g->node_count;
    g->nodes = NULL;
    g->node_count = g->node_capacity = 0;
    for (size_t n = 0; n < count; n++) {
        if (is_idle(g, &old[n])) {
            tni_graph_replace(g, old[n].out[0], old[n].in[0]);
            continue;
        }
        tn_tensor *in = old[n].in;
        for (uint32_t i = 0; i < old[n].in_count; i++)
            in[i] = operand(w, &old[n], i);
        if (looks_up_in_f32(g, &old[n]))
            put_and_round(g, &old[n]);
        else
            tni_graph_put(g, &old[n]);
    }
}

static void remember_makers(narrower *w)
{
    const tni_graph *g = w->g;
    for (size_t n = 0; n < g->node_count; n++)
        for (uint32_t k = 0; k < g->nodes[n].out_count; k++)
            w->maker[g->nodes[n].out[k].id] = &g->nodes[n];
}

static void narrow(tni_graph *g, tni_copied least, tni_arena *scratch)
{
    const size_t count = g->value_count;
    narrower w = {.g = g, .scratch = scratch, .least = least};
    w.narrow = tni_arena_alloc(scratch, count);
    w.bf16 = tni_arena_alloc(scratch, count * sizeof *w.bf16);
    w.maker = tni_arena_alloc(scratch, count * sizeof(tni_node *));
    remember_makers(&w);
    take_what_makers_allow(&w);
    drop_what_readers_refuse(&w);
    drop_ways_into_assigns(&w);
    level_all(&w);
    store_narrow(&w);
    rewrite_nodes(&w);
}

tn_status tni_narrow(tni_graph *g, tni_copied least, tn_error *err)
{
    const uint32_t phase = g->phase, layer = g->layer;
    tni_arena *scratch = tni_arena_create();
    tni_graph_index(g);
    narrow(g, least, scratch);
    tni_arena_destroy(scratch);
    g->phase = phase;
    g->layer = layer;
    tni_graph_index(g);
    return tni_graph_status(g, err);
}
