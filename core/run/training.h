/*
 * training.h - the plans of a training run and how one step calls them.
 *
 *     first   forward and backward of a micro-batch, writes the gradients
 *     next    the same, adds to them
 *     update  divides by the tokens, clips, lets the optimizers assign
 *     eval    forward only
 *
 * They share the arenas. The loss and the token count are sums over the
 * micro-batches, divided once, in update: uneven batches are exact. An update
 * whose loss or gradient is not finite assigns the old values, and so does
 * every one behind it: the host may have started some before it hears of it.
 */
#ifndef TENON_TRAINING_H
#define TENON_TRAINING_H

#include "run/session.h"

/* Places in the METRIC arena, 256 bytes apart. */
enum {
    TNI_METRIC_LOSS_SUM, /* of this step's micro-batches */
    TNI_METRIC_TOKENS,
    TNI_METRIC_AUXILIARY_SUM,
    TNI_METRIC_STOPPING, /* ranks that were asked to stop */
    TNI_METRIC_SUMMED,   /* those before it are summed over ranks */
    TNI_METRIC_LOSS = TNI_METRIC_SUMMED, /* what update makes of them */
    TNI_METRIC_AUXILIARY,
    TNI_METRIC_GRAD_NORM,
    TNI_METRIC_OK,
    TNI_METRIC_FAILED, /* this step or one before it was not ok */
    TNI_METRIC_RANKS,  /* doubles, while ranks.c sums them */
    TNI_METRIC_COUNT   /* eval writes each target's cross-entropy behind them */
};

/* Places in the SCALAR arena. */
enum {
    TNI_SCALAR_RNG,  /* i32 (2): seed, step */
    TNI_SCALAR_STEP, /* real: 1 at the first update */
    TNI_SCALAR_LR,   /* real: one per group from here on */
};

typedef struct tni_training {
    tni_session *session;
    const tni_recipe *recipe;
    uint32_t first, next, update, eval; /* plans */
    int64_t slab_elements;     /* of PARAM, and of GRAD before the uses */
    int64_t gradient_elements; /* of GRAD */
    /* by weight: of a table of which a step looks up few rows, where in GRAD,
     * in elements, lies how often it did each (lookups.c); of others 0 */
    int64_t *uses;
    int64_t *state_offset;  /* bytes in OPTIMIZER, by group and state */
    unsigned char *scalars; /* the SCALAR arena's image */
    int64_t scalar_bytes;
    unsigned char metrics[TNI_METRIC_COUNT * TN_ALIGNMENT];
    /* (B, T), B being this process's rows: at which row of its own each row's
     * document begins; NULL: rows are not kept to documents */
    int32_t *firsts;
} tni_training;

typedef struct tni_step_result {
    double loss;      /* mean cross-entropy over the step's tokens, nats */
    double auxiliary; /* auxiliary losses per token */
    double grad_norm; /* before clipping */
    double tokens;    /* that were trained on */
    int ok;           /* 0: not finite, nothing was changed */
    int stopping;     /* a rank was asked to stop before this step's update */
} tni_step_result;

/* Steps that may be started and not yet known the result of. */
enum { TNI_TRAINING_AHEAD = 2 };

/* Describe and place the four plans: sizes are known, nothing is allocated. */
tn_status tni_training_create(const tni_recipe *recipe, tni_training **training,
                              tn_error *err);
/* Allocate and compile. */
tn_status tni_training_commit(tni_training *training, tn_error *err);
void tni_training_destroy(tni_training *training); /* NULL is fine */

/* Micro-batch `index` of step `step` (from 0); the first one starts the sums
 * over. */
tn_status tni_training_accumulate(tni_training *training, int64_t step,
                                  int64_t index, const tn_batch *batch,
                                  tn_error *err);
/* Start to update step `step` with each group's lr times `multiplier`. */
tn_status tni_training_start_update(tni_training *training, int64_t step,
                                    double multiplier, tn_error *err);
/* Wait for that step, and not for one that was started since. */
tn_status tni_training_result(tni_training *training, int64_t step,
                              tni_step_result *result, tn_error *err);
/* Both. */
tn_status tni_training_update(tni_training *training, int64_t step,
                              double multiplier, tni_step_result *result,
                              tn_error *err);
/* How many steps may be started before the result of the first is taken: where
 * the backend can tell a result while the next step runs, TNI_TRAINING_AHEAD.
 */
int64_t tni_training_ahead(const tni_training *training);
/* The cross-entropy of each target of this process's rows of a batch: (B, T),
 * B being their number. */
tn_status tni_training_score(tni_training *training, const tn_batch *batch,
                             float *nll, tn_error *err);

/* Where `state` of a weight of the model lies in OPTIMIZER, in bytes. */
int64_t tni_training_state_offset(const tni_training *training,
                                  const tni_weight *weight, uint32_t state);

/* ---- shared by training.c, update.c, lookups.c and diagnose.c ---- */

/* The leaf of a METRIC or SCALAR place: a real (1). */
tn_tensor tni_metric_leaf(tni_graph *g, uint32_t metric);
tn_tensor tni_scalar_leaf(tni_graph *g, uint32_t scalar);
void tni_metric_set(tni_graph *g, uint32_t metric, tn_tensor value);
/* Those of a batch; `apart`: where documents begin is one of them. */
tni_model_io tni_training_inputs(const tni_training *training, tni_graph *g,
                                 int apart);
/* lookups.c: find out whether a weight is such a table, by its gradient in the
 * plan that is made first; write the gradient of one that is to its slot (V,
 * C), adding to what is there where `add`; read it from there. */
void tni_lookups_find(tni_training *training, tni_graph *g, uint32_t weight,
                      tn_tensor gradient);
void tni_lookups_write(const tni_training *training, tni_graph *g, int64_t uses,
                       tn_tensor slot, tn_tensor gradient, int add);
tn_tensor tni_lookups_read(const tni_training *training, tni_graph *g,
                           int64_t uses, tn_tensor slot);
/* update.c */
void tni_describe_update(const tni_training *training, tni_graph *g);

/* Numbers of documents to places, both (rows, seq_len): a place of a row has
 * the place where its document begins. segments NULL: rows are one document. */
void tni_training_firsts(const int32_t *segments, int64_t rows, int64_t seq_len,
                         int32_t *firsts);

/* This process's rows of the batch into the INPUT arena. */
tn_status tni_training_upload(tni_training *training, const tn_batch *batch,
                              tn_error *err);

/*
 * diagnose.c - a phrase for the user: the first thing that is not finite in
 * the step whose batches `data` gives next. Ends the run: gradients are lost.
 */
tn_status tni_training_diagnose(tni_training *training, tni_data *data,
                                tn_batch *batch, char *phrase, size_t size,
                                tn_error *err);

#endif
