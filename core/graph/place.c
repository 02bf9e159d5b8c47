/*
 * place.c - where every transient lies.
 *
 * The order of nodes is fixed, so a transient lives from the node that writes
 * it to the last that reads it, by whatever view. Largest first, each goes to
 * the lowest offset that is free over its life. That order is simple,
 * deterministic and near the optimum on networks.
 *
 * A map may write over an input that dies with it, element by element. Both
 * are then one slot: the lives join end to end and the bytes are placed once.
 *
 * Source: Pisarchyk and Lee 2020, "Efficient Memory Management for Deep Neural
 * Net Inference", greedy by size, arXiv:2001.03288.
 */
#include "graph/place.h"

#include <stdlib.h>
#include <string.h>

#include "graph/rewrite.h"

/* Transients that share bytes one after another. */
typedef struct slot {
    int64_t bytes; /* rounded up to the alignment */
    uint32_t first, last;
    uint32_t id; /* of its first storage; 0: unused */
    int64_t offset;
} slot;

typedef struct placer {
    const tni_graph *g;
    tni_arena *scratch;
    slot *slots;       /* by storage */
    uint32_t *slot_of; /* by storage: the storage whose slot it lies in */
} placer;

static int is_transient(const tni_graph *g, uint32_t storage)
{
    return storage && g->values[storage].arena == 0;
}

static int64_t rounded_bytes(const tni_graph *g, uint32_t storage)
{
    const int64_t bytes = tni_value_bytes(g, storage);
    return (bytes + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
}

/* ---- lives ---- */

static void extend(placer *p, tn_tensor x, uint32_t n)
{
    const uint32_t storage = p->g->values[x.id].storage;
    slot *s = &p->slots[storage];
    if (!is_transient(p->g, storage))
        return;
    if (!s->id)
        *s = (slot){rounded_bytes(p->g, storage), n, n, storage, 0};
    s->last = n;
    p->slot_of[storage] = storage;
}

static void find_lives(placer *p)
{
    for (uint32_t n = 0; n < p->g->node_count; n++) {
        const tni_node *node = &p->g->nodes[n];
        if (!tni_computes(node))
            continue;
        for (uint32_t i = 0; i < node->in_count; i++)
            extend(p, node->in[i], n);
        for (uint32_t k = 0; k < node->out_count; k++)
            extend(p, node->out[k], n);
    }
}

/* ---- in place ---- */

static slot *slot_holding(const placer *p, tn_tensor x)
{
    const uint32_t storage = p->g->values[x.id].storage;
    return is_transient(p->g, storage) ? &p->slots[p->slot_of[storage]] : NULL;
}

/* Element i of `in` lies where element i of `out` would. */
static int is_in_step(const tni_graph *g, tn_tensor in, tn_tensor out)
{
    const tn_tensor_info *x = &g->values[in.id].info;
    const tn_tensor_info *y = &g->values[out.id].info;
    return tni_covers_owner(g, in) && x->rank == y->rank &&
           memcmp(x->shape, y->shape, x->rank * sizeof x->shape[0]) == 0 &&
           tn_dtype_bytes(x->dtype) == tn_dtype_bytes(y->dtype);
}

/* Whether `out` may lie on input i: nothing else of the node is there. */
static int may_overwrite(const placer *p, const tni_node *node, uint32_t n,
                         uint32_t i, uint32_t k)
{
    const slot *s = slot_holding(p, node->in[i]);
    if (!s || s->last != n || !is_in_step(p->g, node->in[i], node->out[k]))
        return 0;
    for (uint32_t other = 0; other < node->in_count; other++)
        if (slot_holding(p, node->in[other]) == s &&
            !is_in_step(p->g, node->in[other], node->out[k]))
            return 0;
    for (uint32_t other = 0; other < node->out_count; other++)
        if (other != k && slot_holding(p, node->out[other]) == s)
            return 0;
    return 1;
}

static void put_in_place(placer *p, const tni_node *node, uint32_t n,
                         uint32_t k)
{
    slot *own = slot_holding(p, node->out[k]);
    if (!own || p->g->values[node->out[k].id].storage != node->out[k].id)
        return;
    for (uint32_t i = 0; i < node->in_count; i++) {
        if (!may_overwrite(p, node, n, i, k))
            continue;
        slot *s = slot_holding(p, node->in[i]);
        s->last = own->last;
        own->id = 0;
        p->slot_of[node->out[k].id] = s->id;
        return;
    }
}

static void reuse_dying_inputs(placer *p)
{
    for (uint32_t n = 0; n < p->g->node_count; n++) {
        const tni_node *node = &p->g->nodes[n];
        if (node->desc->number == TN_OP_MAP)
            for (uint32_t k = 0; k < node->out_count; k++)
                put_in_place(p, node, n, k);
    }
}

/* ---- greedy by size ---- */

/* Larger first, then older, then by id: a total order. */
static int by_size(const void *a, const void *b)
{
    const slot *x = *(slot *const *)a, *y = *(slot *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* The lowest gap; `placed` is in order of offset. */
static int64_t find_gap(const slot *s, slot *const *placed, uint32_t count,
                        uint32_t no_reuse)
{
    int64_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        const slot *q = placed[i];
        if (!no_reuse && (q->last < s->first || q->first > s->last))
            continue;
        if (q->offset >= at + s->bytes)
            break;
        if (q->offset + q->bytes > at)
            at = q->offset + q->bytes;
    }
    return at;
}

static void insert(slot **placed, uint32_t count, slot *s)
{
    uint32_t i = count;
    for (; i > 0 && placed[i - 1]->offset > s->offset; i--)
        placed[i] = placed[i - 1];
    placed[i] = s;
}

static int64_t place_slots(placer *p, uint32_t no_reuse)
{
    const size_t most = p->g->value_count;
    slot **order = tni_arena_alloc(p->scratch, most * sizeof(slot *));
    slot **placed = tni_arena_alloc(p->scratch, most * sizeof(slot *));
    uint32_t count = 0;
    int64_t peak = 0;
    for (size_t s = 0; s < most; s++)
        if (p->slots[s].id)
            order[count++] = &p->slots[s];
    qsort(order, count, sizeof(slot *), by_size);
    for (uint32_t i = 0; i < count; i++) {
        slot *s = order[i];
        s->offset = find_gap(s, placed, i, no_reuse);
        insert(placed, i, s);
        if (s->offset + s->bytes > peak)
            peak = s->offset + s->bytes;
    }
    return peak;
}

tni_placement tni_place_transients(const tni_graph *g, uint32_t no_reuse,
                                   tni_arena *scratch)
{
    placer p = {.g = g, .scratch = scratch};
    tni_placement done = {0};
    p.slots = tni_arena_alloc(scratch, g->value_count * sizeof *p.slots);
    p.slot_of = tni_arena_alloc(scratch, g->value_count * sizeof *p.slot_of);
    done.offset = tni_arena_alloc(scratch, g->value_count * sizeof(int64_t));
    find_lives(&p);
    if (!no_reuse)
        reuse_dying_inputs(&p);
    done.bytes = place_slots(&p, no_reuse);
    for (size_t s = 0; s < g->value_count; s++)
        done.offset[s] = p.slots[p.slot_of[s]].offset;
    return done;
}
