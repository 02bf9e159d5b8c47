/*
 * model_rig.h - a model from a few lines of YAML, described and run.
 *
 * Opens the real plugins: architectures through the registry, and the oracle
 * (or another backend) to compute. Real numbers travel as double; on a backend
 * that computes in f32 the rig converts at the border.
 */
#ifndef MODEL_RIG_H
#define MODEL_RIG_H

#include "tn_test.h"

#include <tenon/backend.h>

#include "graph/passes.h"
#include "model/model.h"

typedef struct model_rig {
    tni_arena *arena;
    tn_host *host;
    tni_registry *registry;
    tni_yaml *node; /* of `model:`, completed */
    tni_model *model;
    tn_error err;
    tn_status status; /* of tni_model_create */

    /* after model_rig_device() */
    const tn_backend *backend;
    tn_device *device;
    tn_dtype dtype;
    tn_buffer *state; /* lives from one decoding run to the next */
    int64_t state_bytes;
} model_rig;

/* The text is what stands under `model:`; it is called "test.yaml" in errors.
 * A model that is refused leaves rig->status and rig->err. */
void model_rig_open(model_rig *rig, const char *text);
/* Fails the test where the model is refused. */
void model_rig_open_ok(model_rig *rig, const char *text);
void model_rig_close(model_rig *rig);

/* Open a backend and choose the dtype to compute in. */
void model_rig_device(model_rig *rig, const char *backend, tn_dtype dtype);

/* Elements of the slab; values for it, drawn or read by offset. */
int64_t model_rig_slab(const model_rig *rig);
void model_rig_draw(const model_rig *rig, uint64_t seed, double *slab);

/* What to compute. tokens, targets, positions: i32 (B, T). */
typedef struct model_run {
    int64_t batch, seq_len, state_len;
    const int32_t *tokens;
    const int32_t *targets;   /* NULL: logits */
    const int32_t *positions; /* NULL: training */
    const int32_t *first;     /* where documents begin; NULL: rows are one */
    const int32_t *last;      /* flat rows whose logits are asked for */
    int64_t last_count;
    const double *params; /* the slab */
    uint32_t reset;       /* 1: states start at zero */

    double *nll;        /* (B*T), with targets */
    double *logits;     /* (rows, V), without */
    double *gradient;   /* the slab's shape: of sum(nll); NULL: not wanted */
    uint32_t unreached; /* out: weights without a gradient */
} model_run;

void model_rig_run(model_rig *rig, model_run *run);

/* Describe only, into a graph that the caller destroys. */
tni_graph *model_rig_describe(model_rig *rig, const model_run *run,
                              tni_model_out *out);

#endif
