/*
 * checkpoint.h - a run's folder and the checkpoints in it.
 *
 *     runs/shakespeare/
 *         config.yaml          the resolved config: reproduces the run
 *         metrics.jsonl  loss.svg
 *         step-00001000/       one checkpoint
 *             model.safetensors       weights under their Hugging Face names
 *             config.json             Hugging Face's form where there is one
 *             optimizer.safetensors   WEIGHT.STATE
 *             trainer.json            step, rows, tokens, data cursor, manifest
 *             config.yaml
 *
 * A checkpoint is written into a temporary folder, every file and the folder
 * are synced, then one rename makes it appear: killed at any moment, a run has
 * its last good checkpoint. ".tmp-step-00001000" and ".tmp-old-step-00001000"
 * are never read and are removed when the run next starts.
 */
#ifndef TENON_CHECKPOINT_H
#define TENON_CHECKPOINT_H

#include "run/training.h"

/* What resuming needs besides weights and optimizer state. */
typedef struct tni_progress {
    int64_t step; /* updates done */
    int64_t rows; /* of data.train that those took; -1: nobody counted */
    int64_t tokens;
    tni_data_cursor cursor; /* of data.train */
} tni_progress;

/*
 * Make the run's folder, take it for this process (*lock, closed with
 * close(2)), remove leftovers of killed runs. TN_EREFUSED where another
 * process trains in it.
 */
tn_status tni_run_folder_open(const char *dir, int *lock, tn_error *err);

/* The newest checkpoint in `dir` that is whole, NULL where there is none.
 * Damaged ones are skipped with a warning. */
tn_status tni_checkpoint_latest(tni_arena *arena, const tn_host *host,
                                const char *dir, const char **path,
                                tn_error *err);

/* TN_OK where `path` is a whole checkpoint. */
tn_status tni_checkpoint_check(const char *path, tn_error *err);

/* Save into the recipe's checkpoint.dir and drop all but the newest `keep`.
 * `path` receives where. On failure nothing new is left behind. */
tn_status tni_checkpoint_save(tni_training *training,
                              const tni_progress *progress, char *path,
                              size_t size, tn_error *err);

/* Weights, optimizer state and progress, bit for bit. */
tn_status tni_checkpoint_restore(tni_training *training, const char *path,
                                 tni_progress *progress, tn_error *err);

/* The resolved config, which reproduces the run. */
tn_status tni_config_write(const tni_recipe *recipe, const char *path,
                           tn_error *err);

/* ---- same_run.c ---- */

/* How a sentence ends that refuses to go on from a checkpoint. */
#define TNI_RESUMES_WITH                                                       \
    "a run resumes with the model and optimizer it was started with (to "      \
    "start anew from its weights use init.from)"

/* TN_OK where the config in the checkpoint describes the recipe's model and
 * optimizer plugins; TN_EINVALID with the key that differs. */
tn_status tni_checkpoint_is_of(const tni_recipe *recipe, const char *folder,
                               tn_error *err);

/* ---- trainer_state.c ---- */

tn_status tni_progress_write(const tni_training *training,
                             const tni_progress *progress, const char *path,
                             tn_error *err);
tn_status tni_progress_read(const char *path, tni_progress *progress,
                            tn_error *err);

/* ---- set_aside.c ---- */

/* A folder that holds checkpoints or reports is renamed to the first of NAME.1,
 * NAME.2 ... that is free; *lock is of the new one then. */
tn_status tni_run_set_aside(const tni_reader *reader, const char *dir,
                            int *lock, tn_error *err);
/* The same for the checkpoints that are newer than `step`, alone. */
tn_status tni_run_set_newer_aside(const tni_reader *reader, const char *dir,
                                  int64_t step, tn_error *err);

/* ---- run_folder.c ---- */

/* Steps of the checkpoints in `dir`, newest first, in the arena. */
tn_status tni_checkpoint_steps(tni_arena *arena, const char *dir,
                               const int64_t **steps, size_t *count,
                               tn_error *err);
/* "dir/step-00000100" */
void tni_checkpoint_path(char *to, size_t size, const char *dir, int64_t step);
/* Remove a checkpoint so that a kill on the way leaves no half of it. */
tn_status tni_checkpoint_remove(const char *path, tn_error *err);

#endif
