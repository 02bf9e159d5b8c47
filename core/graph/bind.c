/*
 * bind.c - results are written where they are wanted.
 *
 * assign(target, x) copies. Where x is computed by one node and nobody can tell
 * the difference, that node writes the target's bytes itself and the assign is
 * gone. Nobody can tell when, between that node and the assign, no other node
 * touches the target (the node itself may, if it is a map that reads exactly
 * the element it writes), and after the assign nobody writes the target as long
 * as x is read.
 *
 * assign(target, target + x1 + x2) adds. Where xi comes from an op that can
 * add into place, and the sum is its only reader, that op adds into the target
 * itself; what the sum still holds after that stays a map, in place. The same
 * for x1 + x2 without the target: the first overwrites, the others add. This
 * is how micro-batches accumulate, and how the two gradients of a tied
 * embedding meet, without a temporary as large as the weight. A graph that has
 * only a forward pass keeps its sums: their gradient may still be asked for.
 *
 * An assign that stays, and a map that adds, move up to right behind what they
 * read: a gradient should not wait for the end of the backward pass.
 */
#include <string.h>

#include "graph/program.h"
#include "graph/rewrite.h"

typedef struct node_list {
    uint32_t *node;
    size_t count, capacity;
} node_list;

typedef struct binder {
    tni_graph *g;
    const tni_target *target;
    tni_arena *scratch;
    node_list touches[TN_ARENA_COUNT]; /* nodes at an arena's bytes, in order */
    node_list *readers;                /* by storage, before any binding */
} binder;

/* A value that could be written to a target's bytes by its maker. */
typedef struct binding {
    uint32_t value; /* an owner */
    uint32_t maker;
} binding;

/* ---- surveying ---- */

static void note(binder *b, node_list *list, uint32_t node)
{
    if (!list->count || list->node[list->count - 1] != node)
        *TNI_PUSH(b->scratch, list->node, list->count, list->capacity) = node;
}

static void survey(binder *b)
{
    const tni_graph *g = b->g;
    b->readers =
        tni_arena_alloc(b->scratch, g->value_count * sizeof *b->readers);
    for (uint32_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        if (!tni_computes(node))
            continue;
        for (uint32_t i = 0; i < node->in_count; i++) {
            const tni_extent e = tni_extent_of(g, node->in[i]);
            note(b, &b->touches[e.arena], n);
            note(b, &b->readers[g->values[node->in[i].id].storage], n);
        }
        for (uint32_t k = 0; k < node->out_count; k++)
            note(b, &b->touches[tni_extent_of(g, node->out[k]).arena], n);
    }
}

/* Node n now writes bytes of this arena. */
static void note_touch(binder *b, tn_arena arena, uint32_t n)
{
    node_list *list = &b->touches[arena];
    *TNI_PUSH(b->scratch, list->node, list->count, list->capacity) = n;
    for (size_t i = list->count - 1; i > 0 && list->node[i - 1] > n; i--) {
        list->node[i] = list->node[i - 1];
        list->node[i - 1] = n;
    }
}

/* ---- asking ---- */

static int reads(const tni_graph *g, const tni_node *node, const tni_extent *e)
{
    for (uint32_t i = 0; i < node->in_count; i++) {
        const tni_extent r = tni_extent_of(g, node->in[i]);
        if (tni_extents_overlap(e, &r))
            return 1;
    }
    return 0;
}

static int writes(const tni_graph *g, const tni_node *node, const tni_extent *e)
{
    for (uint32_t k = 0; k < node->out_count; k++) {
        const tni_extent w = tni_extent_of(g, node->out[k]);
        if (tni_extents_overlap(e, &w))
            return 1;
    }
    return 0;
}

static int is_among(const binding *list, uint32_t count, uint32_t node)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i].maker == node)
            return 1;
    return 0;
}

/* Whether a node between the two, but those of the list, is at these bytes. */
static int touched_between(const binder *b, const tni_extent *e, uint32_t from,
                           uint32_t to, const binding *but, uint32_t but_count)
{
    const node_list *list = &b->touches[e->arena];
    for (size_t i = 0; i < list->count; i++) {
        const uint32_t n = list->node[i];
        const tni_node *node = &b->g->nodes[n];
        if (n > from && n < to && node->desc && !is_among(but, but_count, n) &&
            (reads(b->g, node, e) || writes(b->g, node, e)))
            return 1;
    }
    return 0;
}

/* Whether the bytes change after node `from`, while `value` is still read. */
static int overwritten_while_read(const binder *b, const tni_extent *e,
                                  uint32_t from, uint32_t value)
{
    const node_list *readers = &b->readers[value];
    const node_list *list = &b->touches[e->arena];
    uint32_t last = from;
    for (size_t i = 0; i < readers->count; i++)
        if (readers->node[i] > last && b->g->nodes[readers->node[i]].desc)
            last = readers->node[i];
    for (size_t i = 0; i < list->count; i++) {
        const uint32_t n = list->node[i];
        if (n > from && n <= last && b->g->nodes[n].desc &&
            writes(b->g, &b->g->nodes[n], e))
            return 1;
    }
    return 0;
}

/* x as all of a transient that a node makes, which is not yet to be expanded
 * into others. */
static int find_maker(const binder *b, tn_tensor x, binding *made)
{
    const tni_graph *g = b->g;
    const uint32_t owner = g->values[x.id].storage;
    const uint32_t maker = g->values[owner].node;
    *made = (binding){owner, maker};
    return g->values[owner].storage == owner && g->values[owner].arena == 0 &&
           maker != UINT32_MAX && tni_computes(&g->nodes[maker]) &&
           tni_covers_owner(g, x) &&
           tni_has_kernel(g, b->target, &g->nodes[maker], b->scratch);
}

/* Whether in is the element of `value` at every step, if value lay at e. */
static int is_in_step(const tni_graph *g, tn_tensor in, uint32_t value,
                      const tni_extent *e)
{
    const tn_tensor_info *x = &g->values[in.id].info;
    const tn_tensor_info *y = &g->values[value].info;
    return tni_extent_of(g, in).low == e->low && tni_info_is_dense(x) &&
           x->dtype == y->dtype && x->rank == y->rank &&
           memcmp(x->shape, y->shape, x->rank * sizeof x->shape[0]) == 0;
}

/* Whether the maker itself may write to e while it reads its inputs. */
static int maker_allows(const tni_graph *g, const binding *made,
                        const tni_extent *e)
{
    const tni_node *node = &g->nodes[made->maker];
    const int is_map = node->desc->number == TN_OP_MAP;
    if (writes(g, node, e))
        return 0;
    for (uint32_t i = 0; i < node->in_count; i++) {
        const tni_extent r = tni_extent_of(g, node->in[i]);
        if (tni_extents_overlap(e, &r) &&
            !(is_map && is_in_step(g, node->in[i], made->value, e)))
            return 0;
    }
    return 1;
}

/* ---- binding ---- */

static void bind_value(binder *b, const binding *made, tn_tensor target)
{
    tni_graph *g = b->g;
    int64_t offset;
    const uint32_t owner = tni_owner(g, target, &offset);
    g->values[made->value].storage = owner;
    g->values[made->value].offset = offset;
    note_touch(b, g->values[owner].arena, made->maker);
}

static void bind_assign(binder *b, uint32_t a)
{
    tni_graph *g = b->g;
    const tni_node *assign = &g->nodes[a];
    const tn_tensor target = assign->in[0], x = assign->in[1];
    const tni_extent e = tni_extent_of(g, target);
    binding made;
    if (!find_maker(b, x, &made) || !maker_allows(g, &made, &e) ||
        touched_between(b, &e, made.maker, a, NULL, 0) ||
        overwritten_while_read(b, &e, a, made.value))
        return;
    bind_value(b, &made, target);
    tni_graph_replace(g, assign->out[0], x);
    g->nodes[a].desc = NULL;
}

/* ---- sums ---- */

static int operand_count(const tn_instruction *s)
{
    return tni_instruction_arity(s->op, NULL);
}

/* How often register r is read; `by` is the last instruction that does. */
static uint32_t uses_of(const tn_program *p, uint32_t r, uint32_t *by)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->instruction_count; i++) {
        const tn_instruction *s = &p->instruction[i];
        const uint8_t operand[] = {s->a, s->b, s->c};
        for (int k = 0; k < operand_count(s); k++)
            if (operand[k] == r) {
                count++;
                *by = i;
            }
    }
    return count;
}

/* The only register that loads input i; -1: none or several. */
static int register_of(const tn_program *p, uint32_t i)
{
    int found = -1;
    for (uint32_t r = 0; r < p->instruction_count; r++) {
        const tn_instruction *s = &p->instruction[r];
        if ((s->op != TN_MAP_INPUT && s->op != TN_MAP_RANDOM) || s->a != i)
            continue;
        if (found >= 0 || s->op == TN_MAP_RANDOM)
            return -1;
        found = (int)r;
    }
    return found;
}

/* Whether the program's only output is input i plus something without it. */
static int is_addend(const tn_program *p, uint32_t i)
{
    const int loaded = register_of(p, i);
    uint32_t r = (uint32_t)loaded, by = 0;
    if (loaded < 0 || p->output_count != 1)
        return 0;
    while (r != p->output[0]) {
        if (uses_of(p, r, &by) != 1 || p->instruction[by].op != TN_MAP_ADD)
            return 0;
        r = by;
    }
    return uses_of(p, r, &by) == 0;
}

/* The program without its addend `i`, which is not its only input. */
static void remove_addend(tn_program *p, uint32_t i)
{
    uint32_t sum = 0;
    const uint32_t r = (uint32_t)register_of(p, i);
    uses_of(p, r, &sum);
    const tn_instruction add = p->instruction[sum];
    const uint8_t other = add.a == r ? add.b : add.a;
    for (uint32_t k = sum + 1; k < p->instruction_count; k++) {
        tn_instruction *s = &p->instruction[k];
        uint8_t *operand[] = {&s->a, &s->b, &s->c};
        for (int o = 0; o < operand_count(s); o++)
            if (*operand[o] == sum)
                *operand[o] = other;
    }
    if (p->output[0] == sum)
        p->output[0] = other;
    tni_program_simplify(p);
    tni_program_merge_inputs(p, i ? 0 : 1, i);
}

/* ---- adding in place ---- */

typedef struct accumulation {
    uint32_t assign, sum; /* nodes */
    tni_extent e;         /* of the target */
    int target;           /* the sum's input that is the target; -1: none */
    binding term[TN_MAP_MAX_INPUTS];
    uint32_t term_count;
} accumulation;

static int has_one_reader(const binder *b, uint32_t value, uint32_t reader)
{
    const node_list *readers = &b->readers[value];
    for (size_t i = 0; i < readers->count; i++)
        if (readers->node[i] != reader && b->g->nodes[readers->node[i]].desc)
            return 0;
    return 1;
}

/* The sum reads the target at most once, as an addend, element by element. */
static int find_target(const tni_graph *g, accumulation *c, uint32_t value)
{
    const tni_node *sum = &g->nodes[c->sum];
    c->target = -1;
    for (uint32_t i = 0; i < sum->in_count; i++) {
        const tni_extent r = tni_extent_of(g, sum->in[i]);
        if (!tni_extents_overlap(&c->e, &r))
            continue;
        if (c->target >= 0 || !is_in_step(g, sum->in[i], value, &c->e) ||
            !is_addend(tni_node_program(sum), i))
            return 0;
        c->target = (int)i;
    }
    return 1;
}

static int is_term(const binder *b, const accumulation *c, uint32_t i,
                   binding *made)
{
    const tni_graph *g = b->g;
    const tni_node *sum = &g->nodes[c->sum];
    const tn_tensor x = sum->in[i];
    if (!find_maker(b, x, made) || !has_one_reader(b, made->value, c->sum) ||
        g->values[x.id].info.dtype != g->values[sum->out[0].id].info.dtype ||
        !is_addend(tni_node_program(sum), i))
        return 0;
    const tni_node *maker = &g->nodes[made->maker];
    const uint32_t k = g->values[made->value].output;
    return (tni_op_accumulates(maker->desc) >> k & 1u) &&
           !reads(g, maker, &c->e) && !writes(g, maker, &c->e);
}

static void find_terms(const binder *b, accumulation *c)
{
    const tni_node *sum = &b->g->nodes[c->sum];
    for (uint32_t i = 0; i < sum->in_count; i++) {
        binding made;
        if ((int)i == c->target || !is_term(b, c, i, &made) ||
            is_among(c->term, c->term_count, made.maker))
            continue;
        uint32_t at = c->term_count++;
        for (; at && c->term[at - 1].maker > made.maker; at--)
            c->term[at] = c->term[at - 1];
        c->term[at] = made;
    }
}

/* From the first term to the assign only the terms and the sum are there. */
static int is_undisturbed(const binder *b, const accumulation *c)
{
    binding alone[TN_MAP_MAX_INPUTS + 1];
    memcpy(alone, c->term, c->term_count * sizeof *alone);
    alone[c->term_count] = (binding){0, c->sum};
    return !touched_between(b, &c->e, c->term[0].maker, c->assign, alone,
                            c->term_count + 1);
}

static void drop_term(tni_graph *g, uint32_t sum, uint32_t value)
{
    tni_node *node = &g->nodes[sum];
    tn_map_attr *attr = tni_arena_copy(g->arena, node->attr, sizeof *attr);
    uint32_t i = 0;
    while (g->values[node->in[i].id].storage != value)
        i++;
    remove_addend(&attr->program, i);
    memmove(&node->in[i], &node->in[i + 1],
            (node->in_count - i - 1) * sizeof *node->in);
    node->in_count--;
    node->attr = attr;
}

static void add_in_place(binder *b, const accumulation *c)
{
    tni_graph *g = b->g;
    const tn_tensor target = g->nodes[c->assign].in[0];
    for (uint32_t t = 0; t < c->term_count; t++) {
        const binding *term = &c->term[t];
        if (g->nodes[c->sum].in_count > 1)
            drop_term(g, c->sum, term->value);
        if (t || c->target >= 0)
            g->nodes[term->maker].accumulate |=
                1u << g->values[term->value].output;
        bind_value(b, term, target);
    }
}

/* What is left of the sum: nothing, where only the target or a term is. */
static void accumulate_assign(binder *b, uint32_t a)
{
    tni_graph *g = b->g;
    const tni_node *assign = &g->nodes[a];
    accumulation c = {.assign = a, .e = tni_extent_of(g, assign->in[0])};
    binding sum;
    if (!find_maker(b, assign->in[1], &sum) ||
        g->nodes[sum.maker].desc->number != TN_OP_MAP ||
        g->nodes[sum.maker].out_count != 1 || !has_one_reader(b, sum.value, a))
        return;
    c.sum = sum.maker;
    if (!find_target(g, &c, sum.value))
        return;
    find_terms(b, &c);
    const uint32_t inputs = g->nodes[c.sum].in_count;
    if (!c.term_count || (c.target < 0 && c.term_count < inputs) ||
        !is_undisturbed(b, &c))
        return;
    add_in_place(b, &c);
    if (c.term_count + (c.target >= 0) < inputs)
        return; /* target = target + the rest, in place */
    tni_graph_replace(g, g->nodes[a].out[0], g->nodes[a].in[0]);
    g->nodes[c.sum].desc = NULL;
    g->nodes[a].desc = NULL;
}

/* ---- moving up ---- */

static int moves_up(const tni_graph *g, const tni_node *node)
{
    return node->desc->number == TN_OP_ASSIGN ||
           (node->desc->number == TN_OP_MAP && tni_is_effect(g, node));
}

/* Each node at its place, but views, assigns and maps that write to storage
 * right behind what they read. */
static uint32_t *settle(const tni_graph *g, tni_arena *scratch)
{
    uint32_t *priority =
        tni_arena_alloc(scratch, (g->node_count + 1) * sizeof *priority);
    for (uint32_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        priority[n] = n;
        if (!node->desc || (tni_computes(node) && !moves_up(g, node)))
            continue;
        priority[n] = 0;
        for (uint32_t i = 0; i < node->in_count; i++) {
            const uint32_t maker = g->values[node->in[i].id].node;
            if (maker < n && priority[maker] > priority[n])
                priority[n] = priority[maker];
        }
    }
    return priority;
}

static int is_forward_only(const tni_graph *g)
{
    for (size_t n = 0; n < g->node_count; n++)
        if (g->nodes[n].phase != TNI_FORWARD)
            return 0;
    return 1;
}

void tni_bind_assigns(tni_graph *g, const tni_target *target)
{
    binder b = {.g = g, .target = target, .scratch = tni_arena_create()};
    tni_graph_index(g);
    survey(&b);
    const uint32_t sums = is_forward_only(g) ? 0 : (uint32_t)g->node_count;
    for (uint32_t n = 0; n < sums; n++)
        if (g->nodes[n].desc && g->nodes[n].desc->number == TN_OP_ASSIGN)
            accumulate_assign(&b, n);
    for (uint32_t n = 0; n < g->node_count; n++)
        if (g->nodes[n].desc && g->nodes[n].desc->number == TN_OP_ASSIGN)
            bind_assign(&b, n);
    tni_graph_sort(g, settle(g, b.scratch));
    tni_arena_destroy(b.scratch);
}
