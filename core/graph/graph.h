/*
 * graph.h - the graph under construction, shared by the files of this folder.
 *
 * A graph is a list of nodes in program order over a list of values. Values are
 * SSA: one node makes each; SET_ROWS and ASSIGN return a new value over the
 * same storage, so an effect is a dependency like any other, and program order
 * decides between an effect and the reads of the old value. Views are values
 * over another value's storage and have nodes (tier VIEW) that compute nothing.
 *
 * Passes rewrite the node list; value ids stay valid for the graph's life, so
 * handles that describers keep (gradients, metrics) survive every pass through
 * tni_graph_resolve().
 *
 * The graph never runs anything and knows no backend, model or plugin.
 */
#ifndef TENON_GRAPH_H
#define TENON_GRAPH_H

#include <tenon/builder.h>
#include <tenon/plan.h>

#include "base/arena.h"

typedef struct tni_value {
    tn_tensor_info info;
    uint32_t node;    /* index in graph->nodes of the maker (after passes that
                         reorder: refreshed by tni_graph_index) */
    uint32_t output;  /* which of its outputs */
    uint32_t storage; /* id of the value that owns the bytes: itself, or another
                         for views, effects, and outputs that fuse bound to the
                         target of an assign */
    uint32_t replaced_by; /* another id that now stands for this one, or 0 */
    int64_t offset; /* of element 0, in elements from the storage's start */
    /* Where the bytes are. Owners only. 0: transient, placed by place.c. */
    tn_arena arena;
    int64_t arena_offset; /* bytes */
    const char *name;     /* for people; may be NULL */
    /* Of a parameter: what it has a bf16 copy for (a tni_copied), or the dtype
     * of its weights in blocks, or 0; and where in the COPY arena either lies,
     * in bytes. */
    uint32_t copied;
    tn_dtype block_dtype;
    int64_t copy_offset;
} tni_value;

enum { TNI_FORWARD, TNI_BACKWARD, TNI_RECOMPUTE, TNI_UPDATE };

typedef struct tni_node {
    const tn_op_desc *desc;
    const void *attr; /* desc->attr_size bytes in the graph's arena */
    tn_tensor *in;
    tn_tensor *out;
    uint32_t in_count;
    uint32_t out_count;
    uint32_t accumulate; /* see tn_plan_node */
    uint32_t layer;      /* 1-based decoder layer, 0 outside */
    uint32_t phase;
    tn_here here; /* file is a base name: no path of a machine */
} tni_node;

typedef struct tni_graph {
    tn_builder builder; /* first: a tn_builder * is its tni_graph * */
    tni_arena *arena;
    tni_value *values; /* values[0] is "none" */
    size_t value_count, value_capacity;
    tni_node *nodes;
    size_t node_count, node_capacity;
    uint32_t layer; /* stamped on nodes as they are appended */
    uint32_t phase;
    tn_error error; /* the sticky one */
} tni_graph;

/* ---- life ---- */

/* dtype: TN_F32, or TN_F64 for the oracle. The graph owns its arena. */
tni_graph *tni_graph_create(tn_dtype dtype);
void tni_graph_destroy(tni_graph *g);

/* The sticky error, or TN_OK. */
tn_status tni_graph_status(const tni_graph *g, tn_error *err);

/* ---- describing (builder.c) ---- */

/* A leaf: op one of PARAM, INPUT, SCALAR, STATE, SLOT, at a fixed place. */
tn_tensor tni_graph_leaf(tni_graph *g, tn_op op, tn_arena arena, int64_t offset,
                         tn_dtype dtype, uint32_t rank, const int64_t *shape,
                         const char *name);

/* What stands for x now, after passes have replaced it. */
tn_tensor tni_graph_resolve(const tni_graph *g, tn_tensor x);
void tni_graph_replace(tni_graph *g, tn_tensor old, tn_tensor by);

/* ---- for passes ---- */

static inline tni_value *tni_value_of(const tni_graph *g, tn_tensor x)
{
    return &g->values[x.id];
}

/* A fresh owner value, dense, transient. */
tn_tensor tni_graph_value(tni_graph *g, tn_dtype dtype, uint32_t rank,
                          const int64_t *shape);

/* Recompute values[].node/output and drop replaced handles from inputs. */
void tni_graph_index(tni_graph *g);

/* Remove nodes without effect whose outputs nobody reads. Effects (ASSIGN,
 * SET_ROWS) are the roots. */
void tni_graph_prune(tni_graph *g);

int tni_info_is_dense(const tn_tensor_info *info);

/* ---- facts about ops (op_table.c, from ops.def) ---- */

/* NULL for a number that is no built-in op. */
const tn_op_desc *tni_op_desc(tn_op op);

/* Bit i: outputs[i] of this op may be added into place (plan.h). */
uint32_t tni_op_accumulates(const tn_op_desc *desc);

/* Whether plan.h lets this input be laid out as x is. */
int tni_op_accepts(const tn_op_desc *desc, uint32_t input,
                   const tn_tensor_info *x);

/* The number of this op's optional input `first`, which keeps the documents of
 * a row apart; 0: it has none, and either looks at no other row or cannot keep
 * them apart. */
uint32_t tni_op_documents(const tn_op_desc *desc);

/* What a node reads and writes at the least: each operand once, elements that
 * repeat once, of a table the rows that are picked. */
double tni_node_bytes(const tn_plan_node *node);

/* What of this op may be stored in bf16. Bit i of `in` and `out`: operand i;
 * all bits also mean those past 32. */
enum {
    TNI_NARROW_FREE,     /* each operand by itself */
    TNI_NARROW_ALIKE,    /* these operands have one dtype */
    TNI_NARROW_ROWS,     /* alike, and rows of input 0 are looked up */
    TNI_NARROW_PRODUCT,  /* these inputs are bf16, cast where they are not */
    TNI_NARROW_ELEMENTS, /* free, and an element of y is of elements of x */
};
typedef struct tni_narrowing {
    uint32_t in, out;
    uint32_t how;
    uint32_t blocks; /* inputs that may be weights in blocks (quantise.c) */
} tni_narrowing;
const tni_narrowing *tni_op_narrowing(const tn_op_desc *desc);

static inline int tni_narrows(uint32_t mask, uint32_t operand)
{
    return operand < 32 ? (mask >> operand & 1u) != 0 : mask == ~0u;
}

/* Whether MATMUL may see these strides (plan.h); rank 2 at least. */
int tni_is_matmul_operand(const tn_tensor_info *x);

/* ---- checking ---- */

/* The invariants above, between passes. TN_ESHAPE names node and place: a bug
 * of Tenon's or of a custom op, never of the user. */
tn_status tni_graph_verify(const tni_graph *g, tn_error *err);

/* plan.h's promise about strides besides, which holds from lower on. */
tn_status tni_graph_verify_dense(const tni_graph *g, tn_error *err);

/* One line per node, for people and for tests. */
void tni_graph_dump(const tni_graph *g, FILE *to);

#endif
