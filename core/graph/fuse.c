/*
 * fuse.c - element-wise chains become single maps.
 *
 * The bandwidth of memory bounds element-wise work, so every value that need
 * not be written is won twice. A map p whose output a map or reduce c reads
 * element by element is joined into c, in one of four ways:
 *
 *   only c reads p         p vanishes; the joint stands where c stood
 *   others read p later    the same, and p's output stays one of the joint's
 *   others read p earlier  the joint stands where p stood, if c's inputs are
 *                          there by then
 *   p is small and all     each reader computes p for itself; p vanishes
 *   its readers can
 *
 * A fifth way needs no chain: maps that write to storage and share an input
 * (the state of an optimizer) stand side by side in one program.
 *
 * What must hold: both run over the same elements; both are of one phase and
 * one layer, so that a value which a backward pass, a recomputed layer or
 * another layer reads stays where it is; no node between the two places writes
 * what moves past it; the joint fits the backend. And memory must not grow: a
 * join makes p's inputs live until c and saves p's output, so where other work
 * runs between p and c the inputs that would have died may not be larger.
 *
 * Before differentiation the last rule is off, because p's inputs are kept for
 * the backward pass anyway, and programs only grow while their derivative still
 * fits one program.
 */
#include "graph/fuse.h"

#include "graph/ops/ops.h"

enum { ROUNDS = 4, SMALL_PROGRAM = 8, MOST_READERS = 16 };

/* ---- who reads what ---- */

static int reads_storage(const tni_graph *g, uint32_t n, uint32_t storage)
{
    const tni_node *node = &g->nodes[n];
    if (!tni_computes(node))
        return 0;
    for (uint32_t i = 0; i < node->in_count; i++)
        if (g->values[node->in[i].id].storage == storage)
            return 1;
    return 0;
}

typedef struct usage {
    uint32_t count; /* of reader entries; one node may have several */
    uint32_t first, last;
} usage;

/* Readers of a storage other than node `except`. */
static usage usage_of(const tni_fuser *f, uint32_t storage, uint32_t except)
{
    const tni_readers *r = &f->readers[storage];
    usage u = {.first = UINT32_MAX};
    for (size_t i = 0; i < r->count; i++) {
        const uint32_t n = r->node[i];
        if (n == except || !reads_storage(f->g, n, storage))
            continue;
        u.count++;
        u.first = n < u.first ? n : u.first;
        u.last = n > u.last ? n : u.last;
    }
    return u;
}

static void survey(tni_fuser *f)
{
    const tni_graph *g = f->g;
    f->readers =
        tni_arena_alloc(f->scratch, g->value_count * sizeof *f->readers);
    f->before_gradient = 1;
    for (uint32_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        *TNI_PUSH(f->scratch, f->priority, f->priority_count,
                  f->priority_capacity) = n;
        f->before_gradient &= node->phase == TNI_FORWARD;
        if (!tni_computes(node))
            continue;
        for (uint32_t i = 0; i < node->in_count; i++) {
            tni_readers *r = &f->readers[g->values[node->in[i].id].storage];
            *TNI_PUSH(f->scratch, r->node, r->count, r->capacity) = n;
        }
        if (tni_is_effect(g, node))
            *TNI_PUSH(f->scratch, f->writers, f->writer_count,
                      f->writer_capacity) = n;
    }
}

/* ---- what moving a node crosses ---- */

static int writes_input_of(const tni_graph *g, const tni_node *writer,
                           const tni_node *node)
{
    for (uint32_t k = 0; k < writer->out_count; k++) {
        if (!tni_writes_storage(g, writer, k))
            continue;
        const tni_extent w = tni_extent_of(g, writer->out[k]);
        for (uint32_t i = 0; i < node->in_count; i++) {
            const tni_extent r = tni_extent_of(g, node->in[i]);
            if (tni_extents_overlap(&w, &r))
                return 1;
        }
    }
    return 0;
}

/* Whether node n reads other bytes at `to` than at its own position. */
static int cannot_move(const tni_fuser *f, uint32_t n, uint32_t to)
{
    const uint32_t low = n < to ? n : to, high = n < to ? to : n;
    for (size_t i = 0; i < f->writer_count; i++)
        if (f->writers[i] > low && f->writers[i] < high &&
            f->g->nodes[f->writers[i]].desc &&
            writes_input_of(f->g, &f->g->nodes[f->writers[i]], &f->g->nodes[n]))
            return 1;
    return 0;
}

/* Only element-wise work stands between. */
static int are_near(const tni_graph *g, uint32_t from, uint32_t to)
{
    for (uint32_t n = from + 1; n < to; n++)
        if (tni_computes(&g->nodes[n]) && !tni_node_program(&g->nodes[n]))
            return 0;
    return 1;
}

/* Bytes of transients that nobody reads after node n, one of their readers. */
static int64_t dying_bytes(const tni_fuser *f, uint32_t n)
{
    const tni_node *node = &f->g->nodes[n];
    int64_t bytes = 0;
    for (uint32_t i = 0; i < node->in_count; i++) {
        const uint32_t s = f->g->values[node->in[i].id].storage;
        int again = f->g->values[s].arena != 0 || usage_of(f, s, n).last > n;
        for (uint32_t k = 0; k < i; k++)
            again |= f->g->values[node->in[k].id].storage == s;
        bytes += again ? 0 : tni_value_bytes(f->g, s);
    }
    return bytes;
}

static int memory_grows(const tni_fuser *f, uint32_t p, uint32_t c)
{
    const tni_node *node = &f->g->nodes[p];
    int64_t saved = 0;
    if (f->before_gradient || are_near(f->g, p, c))
        return 0;
    for (uint32_t k = 0; k < node->out_count; k++)
        saved += tni_value_bytes(f->g, node->out[k].id);
    return dying_bytes(f, p) > saved;
}

/* ---- candidates ---- */

/* Rounding to an integer is work; to a shorter float it is only a loss. */
static int has_float_outputs(const tni_graph *g, const tni_node *node)
{
    for (uint32_t k = 0; k < node->out_count; k++)
        if (!tni_is_float(g->values[node->out[k].id].info.dtype))
            return 0;
    return 1;
}

/* The map whose output input i of node c reads; UINT32_MAX: none to join. */
static uint32_t producer_of(const tni_fuser *f, uint32_t c, uint32_t i)
{
    const tni_graph *g = f->g;
    const tni_node *consumer = &g->nodes[c];
    const uint32_t storage = g->values[consumer->in[i].id].storage;
    const uint32_t p = g->values[storage].node;
    if (p == UINT32_MAX || !tni_is_map(&g->nodes[p]) ||
        tni_is_effect(g, &g->nodes[p]) || !has_float_outputs(g, &g->nodes[p]) ||
        g->nodes[p].phase != consumer->phase ||
        g->nodes[p].layer != consumer->layer)
        return UINT32_MAX;
    return p;
}

/* Node c reads outputs of p element by element, wherever it reads them. */
static int reads_aligned(const tni_graph *g, uint32_t c, uint32_t p)
{
    const tni_node *consumer = &g->nodes[c], *producer = &g->nodes[p];
    for (uint32_t i = 0; i < consumer->in_count; i++)
        for (uint32_t k = 0; k < producer->out_count; k++)
            if (g->values[consumer->in[i].id].storage == producer->out[k].id &&
                !tni_is_aligned(g, consumer, consumer->in[i]))
                return 0;
    return 1;
}

/* Outputs of p that others than c read; where those readers are. */
static uint32_t read_by_others(const tni_fuser *f, uint32_t p, uint32_t c,
                               usage *others)
{
    const tni_node *node = &f->g->nodes[p];
    uint32_t bits = 0;
    *others = (usage){.first = UINT32_MAX};
    for (uint32_t k = 0; k < node->out_count; k++) {
        const usage u = usage_of(f, node->out[k].id, c);
        if (!u.count)
            continue;
        bits |= 1u << k;
        others->count += u.count;
        others->first = u.first < others->first ? u.first : others->first;
        others->last = u.last > others->last ? u.last : others->last;
    }
    return bits;
}

/* Whether all that c reads, but what p makes, is made before position p. */
static int is_ready_at(const tni_graph *g, uint32_t c, uint32_t p)
{
    const tni_node *consumer = &g->nodes[c];
    for (uint32_t i = 0; i < consumer->in_count; i++) {
        const uint32_t storage = g->values[consumer->in[i].id].storage;
        const uint32_t maker = g->values[storage].node;
        if (maker != UINT32_MAX && maker > p)
            return 0;
    }
    return 1;
}

/* ---- the ways to join ---- */

static int join_at_consumer(tni_fuser *f, uint32_t c, uint32_t p, uint32_t keep)
{
    tni_joint j;
    if ((keep && !tni_is_map(&f->g->nodes[c])) || cannot_move(f, p, c) ||
        memory_grows(f, p, c) || !tni_join(f, c, p, keep, &j))
        return 0;
    f->g->nodes[p].desc = NULL;
    tni_commit(f, c, c, &j);
    return 1;
}

static int join_at_producer(tni_fuser *f, uint32_t c, uint32_t p, uint32_t keep)
{
    tni_joint j;
    if (!tni_is_map(&f->g->nodes[c]) || !is_ready_at(f->g, c, p) ||
        cannot_move(f, c, p) || !tni_join(f, c, p, keep, &j))
        return 0;
    f->g->nodes[p].desc = NULL;
    tni_commit(f, p, c, &j);
    return 1;
}

/* The readers of p's only output, each once; 0 where there are too many. */
static uint32_t list_readers(const tni_fuser *f, uint32_t p,
                             uint32_t reader[MOST_READERS])
{
    const uint32_t storage = f->g->nodes[p].out[0].id;
    const tni_readers *r = &f->readers[storage];
    uint32_t count = 0;
    for (size_t i = 0; i < r->count; i++) {
        int seen = !reads_storage(f->g, r->node[i], storage);
        for (uint32_t k = 0; k < count; k++)
            seen |= reader[k] == r->node[i];
        if (seen)
            continue;
        if (count == MOST_READERS)
            return 0;
        reader[count++] = r->node[i];
    }
    return count;
}

static int may_repeat(tni_fuser *f, uint32_t c, uint32_t p, tni_joint *j)
{
    const tni_node *node = &f->g->nodes[c];
    return tni_node_program(node) && !tni_is_effect(f->g, node) &&
           node->phase == f->g->nodes[p].phase &&
           node->layer == f->g->nodes[p].layer && reads_aligned(f->g, c, p) &&
           !cannot_move(f, p, c) && !memory_grows(f, p, c) &&
           tni_join(f, c, p, 0, j);
}

static int join_everywhere(tni_fuser *f, uint32_t p)
{
    uint32_t reader[MOST_READERS];
    const tni_node *node = &f->g->nodes[p];
    if (node->out_count != 1 ||
        tni_node_program(node)->instruction_count > SMALL_PROGRAM)
        return 0;
    const uint32_t count = list_readers(f, p, reader);
    if (!count)
        return 0;
    tni_joint *j = tni_arena_alloc(f->scratch, count * sizeof *j);
    for (uint32_t i = 0; i < count; i++)
        if (!may_repeat(f, reader[i], p, &j[i]))
            return 0;
    for (uint32_t i = 0; i < count; i++)
        tni_commit(f, reader[i], reader[i], &j[i]);
    f->g->nodes[p].desc = NULL;
    return 1;
}

static int join_producer(tni_fuser *f, uint32_t c, uint32_t p)
{
    usage others;
    if (!reads_aligned(f->g, c, p))
        return 0;
    const uint32_t keep = read_by_others(f, p, c, &others);
    if (!keep || others.first > c)
        if (join_at_consumer(f, c, p, keep))
            return 1;
    return keep && (join_at_producer(f, c, p, keep) || join_everywhere(f, p));
}

static int join_any_producer(tni_fuser *f, uint32_t c)
{
    const tni_node *node = &f->g->nodes[c];
    if (!tni_node_program(node) || tni_is_effect(f->g, node))
        return 0;
    for (uint32_t i = 0; i < f->g->nodes[c].in_count; i++) {
        const uint32_t p = producer_of(f, c, i);
        if (p != UINT32_MAX && join_producer(f, c, p))
            return 1;
    }
    return 0;
}

static void join_chains(tni_fuser *f)
{
    const uint32_t count = (uint32_t)f->g->node_count;
    int changed = 1;
    for (int round = 0; round < ROUNDS && changed; round++) {
        changed = 0;
        for (uint32_t c = 0; c < count; c++)
            while (join_any_producer(f, c))
                changed = 1;
    }
}

/* ---- siblings ---- */

/* A map whose outputs only go to storage. */
static int only_assigned(const tni_fuser *f, uint32_t n)
{
    const tni_graph *g = f->g;
    const tni_node *node = &g->nodes[n];
    if (!tni_is_map(node) || tni_is_effect(g, node))
        return 0;
    for (uint32_t k = 0; k < node->out_count; k++) {
        const tni_readers *r = &f->readers[node->out[k].id];
        uint32_t count = 0;
        for (size_t i = 0; i < r->count; i++) {
            if (!reads_storage(g, r->node[i], node->out[k].id))
                continue;
            count++;
            if (g->nodes[r->node[i]].desc->number != TN_OP_ASSIGN)
                return 0;
        }
        if (!count)
            return 0;
    }
    return 1;
}

static int are_siblings(const tni_fuser *f, uint32_t a, uint32_t b)
{
    const tni_node *x = &f->g->nodes[a], *y = &f->g->nodes[b];
    const tn_tensor_info *u = tni_iteration(f->g, x),
                         *v = tni_iteration(f->g, y);
    int same = u->rank == v->rank;
    for (uint32_t i = 0; same && i < u->rank; i++)
        same = u->shape[i] == v->shape[i];
    return same && x->phase == y->phase && x->layer == y->layer &&
           is_ready_at(f->g, b, a) && !cannot_move(f, b, a);
}

/* Join map b into an earlier one that shares an input with it. */
static int join_sibling(tni_fuser *f, uint32_t b)
{
    const tni_graph *g = f->g;
    for (uint32_t i = 0; i < g->nodes[b].in_count; i++) {
        const tni_readers *r =
            &f->readers[g->values[g->nodes[b].in[i].id].storage];
        for (size_t k = 0; k < r->count; k++) {
            const uint32_t a = r->node[k];
            tni_joint j;
            if (a >= b || !only_assigned(f, a) || !are_siblings(f, a, b) ||
                !tni_join_siblings(f, a, b, &j))
                continue;
            f->g->nodes[b].desc = NULL;
            tni_commit(f, a, a, &j);
            return 1;
        }
    }
    return 0;
}

static void join_siblings(tni_fuser *f)
{
    for (uint32_t b = 0; b < f->g->node_count; b++)
        if (only_assigned(f, b))
            join_sibling(f, b);
}

/* ---- the pass ---- */

static void drop_unread_outputs(tni_fuser *f)
{
    for (uint32_t n = 0; n < f->g->node_count; n++) {
        const tni_node *node = &f->g->nodes[n];
        uint32_t keep = 0;
        if (!tni_is_map(node) || node->out_count < 2 ||
            tni_is_effect(f->g, node))
            continue;
        for (uint32_t k = 0; k < node->out_count; k++)
            if (usage_of(f, node->out[k].id, UINT32_MAX).count)
                keep |= 1u << k;
        if (keep && keep != (1u << node->out_count) - 1u)
            tni_keep_outputs(f->g, n, keep);
    }
}

static uint32_t limit(uint32_t asked, uint32_t most)
{
    return asked && asked < most ? asked : most;
}

/* Results leave a graph through effects; one without any is a fragment whose
 * results nobody has asked for yet. */
static int has_effects(const tni_graph *g)
{
    for (size_t n = 0; n < g->node_count; n++)
        if (tni_is_effect(g, &g->nodes[n]))
            return 1;
    return 0;
}

tn_status tni_fuse(tni_graph *g, const tni_target *target, tn_error *err)
{
    tni_fuser f = {
        .g = g,
        .scratch = tni_arena_create(),
        .max_inputs = limit(target->map_inputs, TN_MAP_MAX_INPUTS),
        .max_instructions =
            limit(target->map_instructions, TN_MAP_MAX_INSTRUCTIONS),
    };
    tni_turn_products(g);
    survey(&f);
    for (uint32_t n = 0; n < f.priority_count; n++)
        if (tni_node_program(&g->nodes[n]))
            tni_fold_fills(&f, n);
    join_chains(&f);
    join_siblings(&f);
    drop_unread_outputs(&f);
    tni_graph_sort(g, f.priority);
    tni_arena_destroy(f.scratch);
    tni_bind_assigns(g, target);
    if (has_effects(g))
        tni_graph_prune(g);
    return tni_graph_status(g, err);
}
