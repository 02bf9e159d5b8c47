/*
 * fuse.h - shared by the files of fusion: fuse.c decides what to join,
 * fuse_join.c joins it.
 */
#ifndef TENON_FUSE_H
#define TENON_FUSE_H

#include "graph/program.h"
#include "graph/rewrite.h"

/* Nodes that read a storage; entries of nodes that no longer do are stale. */
typedef struct tni_readers {
    uint32_t *node;
    size_t count, capacity;
} tni_readers;

/*
 * The graph while it is fused. Positions are indices in the node list, which
 * keeps its order until the end: joined nodes stand where one of their parts
 * stood, dead ones have no desc, views are appended behind all others and
 * belong at `priority`.
 */
typedef struct tni_fuser {
    tni_graph *g;
    tni_arena *scratch;
    uint32_t max_inputs;
    uint32_t max_instructions;
    int before_gradient;  /* forward programs still get derivatives */
    tni_readers *readers; /* by storage */
    uint32_t *writers;    /* nodes that write bytes of an arena, in order */
    size_t writer_count, writer_capacity;
    uint32_t *priority; /* by node */
    size_t priority_count, priority_capacity;
} tni_fuser;

/* What a join would be. */
typedef struct tni_joint {
    tn_program program;
    tn_tensor in[2 * TN_MAP_MAX_INPUTS];
    uint32_t in_count;
    tn_tensor out[TN_MAP_MAX_OUTPUTS];
    tn_dtype dtype[TN_MAP_MAX_OUTPUTS];
    uint32_t out_count;
} tni_joint;

static inline int tni_is_map(const tni_node *node)
{
    return node->desc && node->desc->number == TN_OP_MAP;
}

/* The shape a MAP or REDUCE runs over. */
const tn_tensor_info *tni_iteration(const tni_graph *g, const tni_node *node);

/* Whether `x`, an input of `consumer`, reads the elements of its owner in the
 * order in which the owner's maker computes them. */
int tni_is_aligned(const tni_graph *g, const tni_node *consumer, tn_tensor x);

/* Node c with all that it reads of map p computed inside; also those outputs
 * of p in the mask `keep`. 0 where it cannot be or does not fit. */
int tni_join(tni_fuser *f, uint32_t c, uint32_t p, uint32_t keep, tni_joint *j);

/* Maps a and b, which read nothing of each other, as one: outputs of a, b. */
int tni_join_siblings(tni_fuser *f, uint32_t a, uint32_t b, tni_joint *j);

/* Let the joint stand at `at`, in the role of node `as`. */
void tni_commit(tni_fuser *f, uint32_t at, uint32_t as, const tni_joint *j);

/* Replace inputs of node n that are constant everywhere by constants. */
void tni_fold_fills(tni_fuser *f, uint32_t n);

/* Drop those outputs of map n that are not in the mask. */
void tni_keep_outputs(tni_graph *g, uint32_t n, uint32_t keep);

#endif
