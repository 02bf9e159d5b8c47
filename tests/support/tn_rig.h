/*
 * tn_rig.h - run a described graph on a backend, from values to values.
 *
 * A test describes a few ops between leaves; the rig does what a run does:
 * passes, placement, arenas, compile, upload, run, download. Every byte that no
 * leaf covers holds a pattern that is NaN in every float dtype and out of range
 * as an index, and leaves stand apart with such bytes between them. After each
 * run every byte that the plan had no business to write must be as it was:
 * tn_rig_run() fails the test and says which arena and byte is not.
 *
 * Values travel as double, whatever the dtype of a tensor. Helpers that cannot
 * go on fail the running test with a sentence.
 */
#ifndef TN_RIG_H
#define TN_RIG_H

#include "tn_test.h"

#include <tenon/backend.h>
#include <tenon/builder.h>

enum { TN_RIG_MAX_INPUTS = 12, TN_RIG_MAX_OUTPUTS = 20 };

/* ---- backends ---- */

typedef struct tn_rig tn_rig; /* an open device, with a pool of its own */

/* options: YAML, "{threads: 2}". Fails the test where it cannot be opened. */
tn_rig *tn_rig_open(const char *backend, const char *options);
void tn_rig_close(tn_rig *rig);

/* Whether the backend takes this option, and computes in this dtype. */
int tn_rig_has_option(const tn_rig *rig, const char *name);
int tn_rig_computes(const tn_rig *rig, tn_dtype dtype);

/* What the backend's best device scores: 1 is an oracle, or a GPU in software,
 * which gets fewer cases. */
uint32_t tn_rig_score(const tn_rig *rig);

/* Names of the backend plugins that lie in TENON_PLUGIN_PATH and whose probe
 * says that they can run here, sorted; the caller frees each. Says aloud which
 * it leaves out. */
uint32_t tn_rig_backends(const char *names[], uint32_t capacity);

/* ---- what to run ---- */

/* A leaf. Floats are drawn from [low, high), integers from low .. high; both 0
 * means [-1, 1). Drawn floats are exact in f32, so that graphs of both
 * precisions see the same numbers. */
typedef struct tn_rig_leaf {
    tn_op op;       /* TN_OP_PARAM, INPUT, SCALAR, STATE, SLOT; 0: INPUT */
    tn_dtype dtype; /* 0: the graph's */
    uint32_t rank;
    int64_t shape[TN_MAX_RANK];
    double low, high;
    const double *values; /* instead of drawing; row-major */
} tn_rig_leaf;

typedef struct tn_rig_case {
    tn_rig_leaf in[TN_RIG_MAX_INPUTS];
    uint32_t in_count;
    uint32_t out_count;
    /* Inputs, as bits, with respect to which sum(out * seed) is
     * differentiated: seed is drawn from [-1, 1). The gradients follow the
     * outputs in the order of their inputs. */
    uint32_t wrt;
    /* Inputs, as bits, whose bytes after the run are outputs too: they stand
     * between the described outputs and the gradients. */
    uint32_t shown;
    uint32_t seed; /* of everything drawn */
    /* 1: described as an optimizer's update is, where sums may be added into
     * place; the forward's are left alone for their gradients. */
    uint32_t update;
    void (*describe)(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                     const void *with);
    const void *with;
} tn_rig_case;

typedef struct tn_rig_how {
    tn_dtype dtype; /* of the graph: TN_F32 or TN_F64 */
    uint32_t no_fuse;
    uint32_t no_reuse; /* every transient its own bytes */
    /* 1: as precision bf16 does it. Real inputs and matrices are bf16, and so
     * are those outputs that may be; gradients are f32. */
    uint32_t narrow;
} tn_rig_how;

/* ---- running ---- */

typedef struct tn_rig_program tn_rig_program;

/* Describe, pass, place, compile. On failure NULL, and err tells. */
tn_rig_program *tn_rig_build(tn_rig *rig, const tn_rig_case *c,
                             const tn_rig_how *how, tn_error *err);
void tn_rig_free(tn_rig_program *p);

/* Replace the values of an input. */
void tn_rig_set(tn_rig_program *p, uint32_t input, const double *values);
/* Put every arena into its first state, run, check the bytes. */
tn_status tn_rig_run(tn_rig_program *p, tn_error *err);

/* Outputs as described, inputs shown, gradients; count 0 and values NULL where
 * no gradient flows. The program owns the values until the next run. */
typedef struct tn_rig_result {
    const double *values;
    int64_t count;
    tn_dtype dtype;
} tn_rig_result;

uint32_t tn_rig_output_count(const tn_rig_program *p);
tn_rig_result tn_rig_output(const tn_rig_program *p, uint32_t i);

/* The values that a case begins with: of input i, and of the seed of output o.
 * `out` holds as many as the tensor has. */
int64_t tn_rig_leaf_count(const tn_rig_leaf *leaf);
void tn_rig_draw(const tn_rig_case *c, uint32_t input, double *out);
void tn_rig_draw_seed(const tn_rig_case *c, uint32_t output, int64_t count,
                      double *out);

/* The compiled plan, for tests that ask more. */
const tn_plan *tn_rig_plan(const tn_rig_program *p);

#endif
