/*
 * passes_support.h - what the tests of the passes have in common: graphs of
 * leaves, a target, counting, and the whole way to a plan with a check of every
 * invariant between any two passes.
 */
#ifndef TN_PASSES_SUPPORT_H
#define TN_PASSES_SUPPORT_H

#include "tn_test.h"

#include <tenon/backend.h>
#include <tenon/builder.h>

#include "graph/passes.h"

#define SHAPE(...)                                                             \
    (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),            \
        (const int64_t[])                                                      \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

static inline uint32_t supports_all(void *of, const tn_plan_node *node)
{
    (void)of;
    (void)node;
    return 1;
}

/* Every composite native; none native. */
static const tni_target native = {.supports = supports_all,
                                  .flags = TN_READS_FIRST};
static const tni_target primitive = {.supports = NULL};

/* ---- leaves: each arena is filled from the front, 256-aligned ---- */

typedef struct leaves {
    tni_graph *g;
    int64_t used[TN_ARENA_COUNT];
} leaves;

static inline tn_tensor add_leaf(leaves *l, tn_op op, tn_arena arena,
                                 tn_dtype dtype, const char *name,
                                 uint32_t rank, const int64_t *shape)
{
    int64_t bytes = tn_dtype_bytes(dtype);
    const int64_t at = l->used[arena];
    for (uint32_t i = 0; i < rank; i++)
        bytes *= shape[i];
    l->used[arena] = (at + bytes + 255) / 256 * 256;
    return tni_graph_leaf(l->g, op, arena, at, dtype, rank, shape, name);
}

#define PARAM(l, name, ...)                                                    \
    add_leaf(l, TN_OP_PARAM, TN_ARENA_PARAM, TN_F32, name, SHAPE(__VA_ARGS__))
#define INPUT(l, name, ...)                                                    \
    add_leaf(l, TN_OP_INPUT, TN_ARENA_INPUT, TN_F32, name, SHAPE(__VA_ARGS__))
#define INDEX(l, name, ...)                                                    \
    add_leaf(l, TN_OP_INPUT, TN_ARENA_INPUT, TN_I32, name, SHAPE(__VA_ARGS__))
#define GRAD(l, name, ...)                                                     \
    add_leaf(l, TN_OP_SLOT, TN_ARENA_GRAD, TN_F32, name, SHAPE(__VA_ARGS__))
#define STATE(l, name, ...)                                                    \
    add_leaf(l, TN_OP_STATE, TN_ARENA_STATE, TN_F32, name, SHAPE(__VA_ARGS__))
#define MOMENT(l, name, ...)                                                   \
    add_leaf(l, TN_OP_SLOT, TN_ARENA_OPTIMIZER, TN_F32, name,                  \
             SHAPE(__VA_ARGS__))
#define METRIC(l, name, ...)                                                   \
    add_leaf(l, TN_OP_SLOT, TN_ARENA_METRIC, TN_F32, name, SHAPE(__VA_ARGS__))

/* Ask for x: assign it to a metric of its shape. */
static inline void want(leaves *l, tn_tensor x)
{
    const tn_tensor_info info = tn_info(&l->g->builder, x);
    const tn_tensor to = add_leaf(l, TN_OP_SLOT, TN_ARENA_METRIC, info.dtype,
                                  "wanted", info.rank, info.shape);
    tn_assign(&l->g->builder, to, x);
}

/* ---- looking ---- */

static inline uint32_t count_nodes(const tni_graph *g, tn_op op)
{
    uint32_t count = 0;
    for (size_t n = 0; n < g->node_count; n++)
        count += g->nodes[n].desc->number == op;
    return count;
}

/* Nodes that compute: neither leaf nor view. */
static inline uint32_t count_work(const tni_graph *g)
{
    uint32_t count = 0;
    for (size_t n = 0; n < g->node_count; n++)
        count += g->nodes[n].desc->tier >= TN_TIER_PRIMITIVE;
    return count;
}

static inline const tni_node *find_node(const tni_graph *g, tn_op op)
{
    for (size_t n = 0; n < g->node_count; n++)
        if (g->nodes[n].desc->number == op)
            return &g->nodes[n];
    return NULL;
}

/* Where output k of a node is written. */
static inline tn_arena arena_of(const tni_graph *g, const tni_node *node,
                                uint32_t k)
{
    return g->values[g->values[node->out[k].id].storage].arena;
}

static inline void assert_sound(const tni_graph *g)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_graph_status(g, &err), err);
    tn_assert_ok_err(tni_graph_verify(g, &err), err);
}

static inline void fuse(tni_graph *g, const tni_target *target)
{
    tn_error err = TN_ERROR_NONE;
    assert_sound(g);
    tn_assert_ok_err(tni_fuse(g, target, &err), err);
    assert_sound(g);
}

static inline void lower(tni_graph *g, const tni_target *target)
{
    tn_error err = TN_ERROR_NONE;
    assert_sound(g);
    tn_assert_ok_err(tni_lower(g, target, &err), err);
    assert_sound(g);
    tn_assert_ok_err(tni_graph_verify_dense(g, &err), err);
}

static inline void share_loss(tni_graph *g)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_share_loss(g, &err), err);
    assert_sound(g);
}

static inline void recompute(tni_graph *g)
{
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_recompute(g, TNI_RECOMPUTE_LAYER, &err), err);
    assert_sound(g);
}

/* Gradients of sum(y) with respect to wrt[]. */
static inline void differentiate(tni_graph *g, tn_tensor y,
                                 const tn_tensor *wrt, uint32_t count,
                                 tn_tensor *dwrt)
{
    tn_error err = TN_ERROR_NONE;
    const tn_tensor_info info = tn_info(&g->builder, y);
    const tn_tensor seed = tn_fill_at(&g->builder, 1.0, info.dtype, info.rank,
                                      info.shape, TN_HERE);
    assert_sound(g);
    tn_assert_ok_err(tni_differentiate(g, &y, &seed, 1, wrt, count, dwrt, &err),
                     err);
    assert_sound(g);
}

static inline tni_plan *place(const tni_graph *g, uint32_t no_reuse)
{
    tn_error err = TN_ERROR_NONE;
    const tni_place_options options = {.name = "test", .no_reuse = no_reuse};
    tni_plan *plan = NULL;
    tn_assert_ok_err(tni_place(g, &options, &plan, &err), err);
    return plan;
}

#endif
