/*
 * rewrite.h - what passes that move, merge and bind nodes ask about a graph.
 *
 * A pass works on the node list in place: it marks nodes dead (desc NULL),
 * appends new ones at the end, and lets tni_graph_sort() bring the list back
 * into an order that data and effects allow.
 */
#ifndef TENON_REWRITE_H
#define TENON_REWRITE_H

#include "graph/passes.h"

/* The bytes a value may touch: of an arena, or of a transient's storage. */
typedef struct tni_extent {
    tn_arena arena;   /* 0: transient */
    uint32_t storage; /* its owner, for transients */
    int64_t low, high;
} tni_extent;

/* The owner of x's bytes and where x's element 0 lies in it, in elements;
 * right also while views over a value that was bound are not indexed yet. */
uint32_t tni_owner(const tni_graph *g, tn_tensor x, int64_t *offset);
tni_extent tni_extent_of(const tni_graph *g, tn_tensor x);
int tni_extents_overlap(const tni_extent *a, const tni_extent *b);

/* Whether x is all bytes of its owner in row-major order. */
int tni_covers_owner(const tni_graph *g, tn_tensor x);

/* Whether x and y read the same bytes in the same order. */
int tni_same_operand(const tni_graph *g, tn_tensor x, tn_tensor y);

static inline int64_t tni_value_bytes(const tni_graph *g, uint32_t id)
{
    const tn_tensor_info *info = &g->values[id].info;
    return tn_dtype_span(info->dtype, tn_elements(info));
}

/* Output k writes bytes that another value owns: an effect, or an output that
 * fuse bound to the target of an assign. */
static inline int tni_writes_storage(const tni_graph *g, const tni_node *node,
                                     uint32_t k)
{
    return node->desc->tier != TN_TIER_VIEW &&
           g->values[node->out[k].id].storage != node->out[k].id;
}

/* Any output of it does. */
int tni_is_effect(const tni_graph *g, const tni_node *node);

/* It reads or writes bytes: neither leaf nor view nor dead. */
static inline int tni_computes(const tni_node *node)
{
    return node->desc && node->desc->tier >= TN_TIER_PRIMITIVE;
}

/* The program of a MAP or REDUCE; NULL for other nodes. */
const tn_program *tni_node_program(const tni_node *node);

/* Bit i: input i is the seed of RANDOM instructions, not an element. */
uint32_t tni_program_seeds(const tn_program *p);

/* Append a node that exists already: for passes that rebuild the list. */
void tni_graph_put(tni_graph *g, const tni_node *node);

/* Append the view that `of` is, over x instead of its own input. */
tn_tensor tni_view_over(tni_graph *g, const tni_node *of, tn_tensor x);

/*
 * Drop dead nodes and bring the rest into the order of `priority` (by node;
 * NULL: their present order) as far as data allows, ties by position. Accesses
 * to the same bytes, one of them a write, keep the order they have.
 */
void tni_graph_sort(tni_graph *g, const uint32_t *priority);

/* Whether the node stays as it is when the graph is lowered (lower.c). */
int tni_has_kernel(const tni_graph *g, const tni_target *target,
                   const tni_node *node, tni_arena *scratch);

/* First part of tni_lower and of tni_fuse, turn.c; last of tni_fuse, bind.c. */
void tni_turn_products(tni_graph *g);
void tni_bind_assigns(tni_graph *g, const tni_target *target);

#endif
