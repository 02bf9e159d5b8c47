/*
 * place.h - the parts of tni_place: where transients go (place.c), which nodes
 * may run together (hazards.c), the flat arrays (emit.c).
 */
#ifndef TENON_PLACE_H
#define TENON_PLACE_H

#include "graph/passes.h"

typedef struct tni_placement {
    int64_t *offset; /* by storage: bytes in the transient arena */
    int64_t bytes;   /* of the arena */
} tni_placement;

tni_placement tni_place_transients(const tni_graph *g, uint32_t no_reuse,
                                   tni_arena *scratch);

/* Set `group` of each node from the bytes that nodes touch. */
void tni_group_nodes(tn_plan_node *nodes, uint32_t count);

#endif
