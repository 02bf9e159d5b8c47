/*
 * sweep.h - many runs from one file.
 *
 *     sweep:
 *       list:
 *         - {name: narrow, model.hidden_size: 64}
 *         - {name: wide, model.hidden_size: 128, optimizer.lr: 5.0e-4}
 *       grid:
 *         seed: [1, 2, 3]
 *       name: "{name}-{seed}"
 *
 * The keys are paths as --set has them, the values any YAML. Each entry of
 * `list` is combined with each point of `grid`, whose first key changes
 * slowest; either may be left out. A run is named by its own values,
 * "hidden_size=64,seed=1", unless `name` says how or an entry sets `name`. Its
 * folder is called like it and lies in the checkpoint.dir of the file.
 */
#ifndef TENON_SWEEP_H
#define TENON_SWEEP_H

#include "run/curve.h"
#include "run/recipe.h"

typedef struct tni_sweep_run {
    const char *name, *dir;
    /* All that makes the file this run, for --set: its values, its name, its
     * folder. */
    const char **set;
    uint32_t set_count;
    const char **values; /* by column, "" where this run says nothing */
    int state;           /* of its folder, as below */
} tni_sweep_run;

typedef struct tni_sweep {
    const char *name, *dir;
    const char **keys; /* the columns: every path that is swept */
    uint32_t key_count;
    tni_sweep_run *runs;
    uint32_t run_count;
} tni_sweep;

/* Read `sweep:` of the config at `path`, whose tree is `root`. */
tn_status tni_sweep_read(tni_arena *arena, const char *path,
                         const tni_yaml *root, tni_sweep *sweep, tn_error *err);

/* ---- sweep_result.c ---- */

/* How far a run is, by what its folder holds. */
enum {
    TNI_SWEEP_NEW,     /* nothing is there */
    TNI_SWEEP_OTHER,   /* a run of another config is there */
    TNI_SWEEP_CUT_OFF, /* this run, not yet at its end */
    TNI_SWEEP_DONE,    /* this run, saved after its last step */
};

/* `recipe` is the run's own, read as for training. */
tn_status tni_sweep_state(const tni_recipe *recipe, int *state, tn_error *err);

/* What a run reached; zeros where it has reported nothing, and where `state`
 * says that another is in its folder. */
typedef struct tni_sweep_result {
    int64_t step;
    double loss; /* of the last report */
    int32_t has_val;
    double val_loss; /* of the last evaluation */
    double tokens_per_second;
} tni_sweep_result;

tni_sweep_result tni_sweep_result_of(const tni_sweep_run *run);

/* sweep.svg in the sweep's folder: all runs that have reported something. */
tn_status tni_sweep_draw(const tni_sweep *sweep, tn_error *err);

#endif
