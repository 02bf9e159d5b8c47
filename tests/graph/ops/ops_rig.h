/*
 * ops_rig.h - a few ops run on the oracle twice: by its own formula, and as the
 * primitives that the core makes of them.
 */
#ifndef OPS_RIG_H
#define OPS_RIG_H

#include "tn_rig.h"

#include "graph/graph.h"

/* A case of inputs with these values; add them in order. */
static inline void give(tn_rig_case *c, const double *values, uint32_t rank,
                        const int64_t *shape)
{
    tn_rig_leaf *leaf = &c->in[c->in_count++];
    leaf->rank = rank;
    leaf->values = values;
    memcpy(leaf->shape, shape, rank * sizeof *shape);
}
#define SHAPE(...)                                                             \
    (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),            \
        (const int64_t[])                                                      \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

static const char *const by_formula = "{}";
static const char *const by_primitives = "{native: false}";

/* Run; every output one after another into `all`. */
static inline void run_on(const char *options, tn_dtype dtype,
                          const tn_rig_case *c, double *all)
{
    const tn_rig_how how = {.dtype = dtype};
    tn_error err = TN_ERROR_NONE;
    tn_rig *rig = tn_rig_open("reference", options);
    tn_rig_program *p = tn_rig_build(rig, c, &how, &err);
    tn_assert_ok_err(err.status, err);
    tn_assert_ok_err(tn_rig_run(p, &err), err);
    for (uint32_t i = 0; i < tn_rig_output_count(p); i++) {
        const tn_rig_result r = tn_rig_output(p, i);
        memcpy(all, r.values, (size_t)r.count * sizeof *all);
        all += r.count;
    }
    tn_rig_free(p);
    tn_rig_close(rig);
}

/* Both ways give `want`, in double. */
static inline void gives(const tn_rig_case *c, const double *want, size_t count,
                         double tolerance)
{
    double *got = malloc(count * sizeof *got);
    run_on(by_formula, TN_F64, c, got);
    tn_assert_close_double(got, want, count, tolerance, 0);
    run_on(by_primitives, TN_F64, c, got);
    tn_assert_close_double(got, want, count, tolerance, 0);
    free(got);
}

/* Leaves of these shapes, for shape rules and costs. */
static inline tn_tensor leaf_of(tni_graph *g, uint32_t rank,
                                const int64_t *shape)
{
    return tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, 0, TN_F32, rank,
                          shape, NULL);
}

static inline double cost_of(const tni_graph *g, tn_tensor y)
{
    const tni_node *n = &g->nodes[tni_value_of(g, y)->node];
    const tn_op_node node = {n->attr, n->in, n->out, n->in_count, n->out_count};
    return n->desc->flops(&g->builder, &node);
}

/* The graph failed, and says so; it is then gone. */
static inline void refuses(tni_graph *g, const char *sentence)
{
    tn_error err = TN_ERROR_NONE;
    assert_int_equal(tni_graph_status(g, &err), TN_ESHAPE);
    tn_assert_error_says(err, sentence);
    tni_graph_destroy(g);
}

#endif
