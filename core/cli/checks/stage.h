/*
 * stage.h - run a described graph once or a few times, on any backend.
 *
 * A session without a config: leaves are placed one behind the other in their
 * arenas, values go in and out as double.
 */
#ifndef TENON_CHECKS_STAGE_H
#define TENON_CHECKS_STAGE_H

#include "cli/checks/checks.h"
#include "run/session.h"

typedef struct tni_stage {
    tni_session *session;
    tni_recipe recipe; /* of which the session needs little */
    int64_t used[TN_ARENA_COUNT];
} tni_stage;

/* A tensor of the stage: where it lies, and how much. */
typedef struct tni_prop {
    tn_tensor leaf;
    tn_arena arena;
    tn_dtype dtype;
    int64_t offset, count;
} tni_prop;

/* `backend`: a component that has been found. Its score is not asked. */
tn_status tni_stage_open(const tni_subject *subject,
                         const tn_component *backend, tn_dtype dtype,
                         tni_stage *stage, tn_error *err);
void tni_stage_close(tni_stage *stage);

/* The oracle, or TNI_CHECK_SKIPPED where it is not installed. */
tn_status tni_stage_oracle(const tni_subject *subject,
                           const tn_component **backend, tn_error *err);

/* dtype 0: the graph's. */
tni_prop tni_stage_leaf(tni_stage *stage, tni_graph *g, tn_op op,
                        tn_arena arena, tn_dtype dtype, uint32_t rank,
                        const int64_t *shape, const char *name);
/* The same place in another graph of this stage. */
tn_tensor tni_stage_again(tni_graph *g, const tni_prop *prop, tn_op op,
                          uint32_t rank, const int64_t *shape,
                          const char *name);
/* Assign x to a slot that can be read back; count 0 where x is none. */
tni_prop tni_stage_keep(tni_stage *stage, tni_graph *g, tn_tensor x);

tn_status tni_stage_plan(tni_stage *stage, tni_graph *g, uint32_t *plan,
                         tn_error *err);
tn_status tni_stage_ready(tni_stage *stage, tn_error *err);

tn_status tni_stage_write(tni_stage *stage, const tni_prop *prop,
                          const double *values, tn_error *err);
tn_status tni_stage_read(tni_stage *stage, const tni_prop *prop, double *values,
                         tn_error *err);
tn_status tni_stage_run(tni_stage *stage, uint32_t plan, tn_error *err);

/* Numbers in [low, high) that are exact in f32, the same for the same
 * (seed, stream). */
void tni_stage_draw(uint32_t seed, uint32_t stream, double low, double high,
                    int64_t count, double *out);

#endif
