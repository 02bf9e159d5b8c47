/*
 * recompute.c - activation checkpointing as a graph transform.
 *
 * The backward nodes of a layer read many values that its forward nodes made,
 * and all of these stay in memory while the later layers run. With the policy
 * `layer` they do not: right before the first backward node of a layer, the
 * forward nodes that its backward needs are run once more on the layer's
 * inputs, and the backward reads these clones. What remains between the two
 * passes is what one layer hands to another.
 *
 * Layers go from last to first, because the clones of a layer decide what it
 * still needs of the layers before it. A clone has its original's attributes,
 * also the stream of a random draw, so it computes the same bits; its phase
 * keeps fuse.c from merging it with the forward nodes it repeats.
 */
#include <string.h>

#include "graph/ops/ops.h"
#include "graph/rewrite.h"

typedef struct layer_clones {
    tni_node *nodes;
    size_t count, capacity;
    size_t before; /* first backward node of the layer; SIZE_MAX: none */
} layer_clones;

typedef struct remaker {
    tni_graph *g;
    tni_arena *scratch;
    uint8_t *kept;       /* by storage: stays for others than its own layer */
    uint8_t *wanted;     /* by node: clone it */
    uint32_t *clone;     /* by value: its clone, or 0 */
    layer_clones *layer; /* [0] unused */
    uint32_t layers;
} remaker;

static const tni_node *maker_of(const tni_graph *g, uint32_t value)
{
    const uint32_t n = g->values[value].node;
    return n == UINT32_MAX ? NULL : &g->nodes[n];
}

static int is_forward(const tni_node *node, uint32_t layer)
{
    return node && node->layer == layer && node->phase == TNI_FORWARD;
}

/* Whether the layer's clones may make `value` again. */
static int is_remade(const remaker *r, uint32_t layer, uint32_t value)
{
    const uint32_t storage = r->g->values[value].storage;
    const tni_node *maker = maker_of(r->g, storage);
    return is_forward(maker_of(r->g, value), layer) &&
           is_forward(maker, layer) && tni_computes(maker) &&
           !r->kept[storage] && !tni_is_effect(r->g, maker);
}

/* `reader` of layer `layer` runs in the backward pass: what it reads of other
 * layers stays. */
static void keep_what_others_read(remaker *r, const tni_node *reader)
{
    for (uint32_t i = 0; i < reader->in_count; i++) {
        const uint32_t storage = r->g->values[reader->in[i].id].storage;
        const tni_node *maker = maker_of(r->g, storage);
        if (maker && maker->layer != reader->layer)
            r->kept[storage] = 1;
    }
}

static void survey(remaker *r)
{
    for (size_t n = 0; n < r->g->node_count; n++) {
        const tni_node *node = &r->g->nodes[n];
        if (node->phase != TNI_BACKWARD)
            continue;
        keep_what_others_read(r, node);
        if (node->layer && r->layer[node->layer].before == SIZE_MAX)
            r->layer[node->layer].before = n;
    }
}

static void want_inputs(remaker *r, uint32_t layer, const tni_node *reader)
{
    for (uint32_t i = 0; i < reader->in_count; i++) {
        const uint32_t value = reader->in[i].id;
        if (value && is_remade(r, layer, value))
            r->wanted[r->g->values[value].node] = 1;
    }
}

/* Mark the forward nodes of the layer that its backward needs. */
static void want_layer(remaker *r, uint32_t layer)
{
    const tni_graph *g = r->g;
    for (size_t n = g->node_count; n-- > 0;) {
        const tni_node *node = &g->nodes[n];
        if (node->layer != layer)
            continue;
        if (node->phase == TNI_BACKWARD || r->wanted[n])
            want_inputs(r, layer, node);
    }
}

static tn_tensor clone_value(remaker *r, tn_tensor old)
{
    const tn_tensor_info info = r->g->values[old.id].info;
    const tn_tensor x =
        tni_graph_value(r->g, info.dtype, info.rank, info.shape);
    r->clone[old.id] = x.id;
    return x;
}

static tn_tensor *redirected(const remaker *r, const tni_node *node)
{
    tn_tensor *in =
        tni_arena_copy(r->g->arena, node->in, node->in_count * sizeof *in);
    for (uint32_t i = 0; i < node->in_count; i++)
        if (r->clone[in[i].id])
            in[i].id = r->clone[in[i].id];
    return in;
}

static tni_node clone_node(remaker *r, const tni_node *node)
{
    tni_graph *g = r->g;
    tni_node copy = *node;
    copy.phase = TNI_RECOMPUTE;
    copy.in = redirected(r, node);
    copy.out = tni_arena_alloc(g->arena, node->out_count * sizeof *copy.out);
    for (uint32_t k = 0; k < node->out_count; k++)
        copy.out[k] = clone_value(r, node->out[k]);
    if (tni_op_is_over_first(node->desc))
        tni_overlay(node->desc, node->attr, tni_value_of(g, copy.in[0]),
                    tni_value_of(g, copy.out[0]));
    return copy;
}

static void clone_layer(remaker *r, uint32_t layer)
{
    const tni_graph *g = r->g;
    layer_clones *l = &r->layer[layer];
    want_layer(r, layer);
    for (size_t n = 0; n < g->node_count; n++) {
        if (g->nodes[n].layer != layer || !r->wanted[n])
            continue;
        const tni_node copy = clone_node(r, &g->nodes[n]);
        keep_what_others_read(r, &g->nodes[n]);
        *TNI_PUSH(r->scratch, l->nodes, l->count, l->capacity) = copy;
    }
    for (size_t n = l->before; n < g->node_count; n++)
        if (g->nodes[n].layer == layer && g->nodes[n].phase == TNI_BACKWARD)
            g->nodes[n].in = redirected(r, &g->nodes[n]);
}

static void insert_clones(remaker *r)
{
    tni_graph *g = r->g;
    tni_node *list = NULL;
    size_t count = 0, capacity = 0;
    for (size_t n = 0; n < g->node_count; n++) {
        const uint32_t layer = g->nodes[n].layer;
        if (layer && r->layer[layer].before == n)
            for (size_t i = 0; i < r->layer[layer].count; i++)
                *TNI_PUSH(g->arena, list, count, capacity) =
                    r->layer[layer].nodes[i];
        *TNI_PUSH(g->arena, list, count, capacity) = g->nodes[n];
    }
    g->nodes = list;
    g->node_count = count;
    g->node_capacity = capacity;
}

static uint32_t count_layers(const tni_graph *g)
{
    uint32_t most = 0;
    for (size_t n = 0; n < g->node_count; n++)
        if (g->nodes[n].layer > most)
            most = g->nodes[n].layer;
    return most;
}

static void recompute_layers(tni_graph *g, tni_arena *scratch)
{
    remaker r = {.g = g, .scratch = scratch, .layers = count_layers(g)};
    r.kept = tni_arena_alloc(scratch, g->value_count);
    r.wanted = tni_arena_alloc(scratch, g->node_count + 1);
    r.clone = tni_arena_alloc(scratch, g->value_count * sizeof *r.clone);
    r.layer = tni_arena_alloc(scratch, (r.layers + 1) * sizeof *r.layer);
    for (uint32_t i = 0; i <= r.layers; i++)
        r.layer[i].before = SIZE_MAX;
    survey(&r);
    for (uint32_t layer = r.layers; layer > 0; layer--)
        clone_layer(&r, layer);
    insert_clones(&r);
}

tn_status tni_recompute(tni_graph *g, uint32_t policy, tn_error *err)
{
    if (policy == TNI_RECOMPUTE_NONE)
        return TN_OK;
    if (policy != TNI_RECOMPUTE_LAYER)
        return tn_fail(err, TN_EINVALID, "recompute: policy %u is unknown",
                       policy);
    tni_arena *scratch = tni_arena_create();
    tni_graph_index(g);
    recompute_layers(g, scratch);
    tni_arena_destroy(scratch);
    tni_graph_index(g);
    return tni_graph_status(g, err);
}
