/*
 * passes.h - from a description to a plan, in the order in which they run.
 *
 *     describe (builder.h) -> fuse -> differentiate -> share_loss
 *         -> [quantise] -> [narrow] -> recompute -> lower -> fuse -> place
 *
 * Each pass leaves a graph that tni_graph_verify accepts. Fusing before
 * differentiating lets the backward pass save a chain's inputs instead of
 * every step of it.
 *
 * Results leave a graph through effects. Whoever wants a value, also as y of
 * tni_differentiate, assigns it or something computed from it before the first
 * fuse; a value that nobody reads, or that only a joined map read, is gone.
 */
#ifndef TENON_PASSES_H
#define TENON_PASSES_H

#include "graph/graph.h"

/* What a backend can do, as the passes need to know it. */
typedef struct tni_target {
    uint32_t map_inputs; /* 0: map.h's maximum */
    uint32_t map_instructions;
    /* Whether a composite has a native kernel; NULL: none has. */
    uint32_t (*supports)(void *of, const tn_plan_node *node);
    void *of;
    uint32_t flags; /* of tn_backend_caps */
} tni_target;

/*
 * Append the gradient of sum(y[i] * seed[i]) with respect to wrt[0..count):
 * dwrt[j] is none where nothing flows. Differentiates at composite level;
 * gradients of broadcasts are summed back centrally, those of views are their
 * adjoints (slices that tile an axis become one concat), those of map programs
 * are programs. Nodes it appends carry TNI_BACKWARD and their forward node's
 * layer and place.
 */
tn_status tni_differentiate(tni_graph *g, const tn_tensor *y,
                            const tn_tensor *seed, uint32_t y_count,
                            const tn_tensor *wrt, uint32_t wrt_count,
                            tn_tensor *dwrt, tn_error *err);

/* Where LINEAR_CROSS_ENTROPY_BWD recomputes the nll of a forward node and does
 * not depend on it, let it stand for the forward node; readers of the loss move
 * behind it. */
tn_status tni_share_loss(tni_graph *g, tn_error *err);

/* What reads the bf16 copy of a parameter, where precision is bf16. The model
 * asks once, of the graph of training, and tells all others (tni_value). */
typedef enum tni_copied {
    TNI_COPIED_NEVER,
    TNI_COPIED_FOR_LOOKUPS,  /* for nothing else */
    TNI_COPIED_FOR_PRODUCTS, /* and for look-ups, if there are any */
} tni_copied;

/* Of this parameter, as this graph reads it. */
tni_copied tni_copied_for(const tni_graph *g, tn_tensor param);

/* For precision bf16: store in bf16 what op_table.c says may be, and let
 * products and look-ups read parameters from their bf16 copies in the COPY
 * arena: those copied for `least` or more. Of others rows are looked up in f32
 * and rounded, and products cast them. Arithmetic and everything else stay f32.
 * Nodes of TNI_UPDATE are left alone. */
tn_status tni_narrow(tni_graph *g, tni_copied least, tn_error *err);

/* For inference: let what reads parameters that have weights in blocks
 * (tni_value.block_dtype) read those. Before tni_narrow. */
tn_status tni_quantise(tni_graph *g, tn_error *err);

/* Whether all that reads this parameter in the described graph can read blocks
 * of this dtype instead, and something does. */
int tni_reads_blocks(const tni_graph *g, tn_tensor param, tn_dtype dtype);

enum { TNI_RECOMPUTE_NONE, TNI_RECOMPUTE_LAYER };

/* Activation checkpointing: for each layer keep only its input; clone the rest
 * of its forward nodes (TNI_RECOMPUTE) before their first backward reader.
 * Effects are never cloned. Results are the same bits. */
tn_status tni_recompute(tni_graph *g, uint32_t policy, tn_error *err);

/* Expand composites without a native kernel (again, until only primitives and
 * native composites are left); insert dense copies where an op needs them. */
tn_status tni_lower(tni_graph *g, const tni_target *target, tn_error *err);

/* Whether the backend has a kernel for every composite of the graph. */
int tni_is_native(const tni_graph *g, const tni_target *target);

/* Join element-wise chains into single maps, and a map into the reduce that
 * reads it; make matmul & co. write or accumulate straight into the target of
 * a following ASSIGN where nothing can tell the difference; prune. A graph
 * without effects is a fragment and keeps what nobody reads. */
tn_status tni_fuse(tni_graph *g, const tni_target *target, tn_error *err);

typedef struct tni_place_options {
    const char *name;
    uint32_t no_reuse; /* 1: every transient its own bytes (tests) */
} tni_place_options;

/* A plan and what `tenon plan` prints of it. Owns its memory; borrows nothing
 * from the graph, which may be destroyed. */
typedef struct tni_largest {
    const char *name; /* the value's, or "op @file:line" */
    tn_operand operand;
    int64_t bytes;
} tni_largest;

typedef struct tni_plan {
    tn_plan plan;
    tni_arena *arena;
    double flops;
    int64_t peak_transient; /* bytes, = plan.arena_bytes[TN_ARENA_TRANSIENT] */
    tni_largest largest[16];
    uint32_t largest_count;
} tni_plan;

/*
 * Lifetimes, offsets and hazards: transients greedy by size into the lowest
 * gap that is free over their lifetime, 256-byte alignment, map outputs on a
 * dying input where plan.h allows it; then groups from the byte ranges that
 * nodes read and write. The same graph gives the same plan.
 */
tn_status tni_place(const tni_graph *g, const tni_place_options *options,
                    tni_plan **plan, tn_error *err);
void tni_plan_destroy(tni_plan *plan);

#endif
