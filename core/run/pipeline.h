/*
 * pipeline.h - stages that follow one another: tokenizer, pretraining, tuning.
 *
 *     name: tiny
 *     dir: runs/tiny
 *     stages:
 *       - name: tokenizer
 *         command: tokenizer train -i a.txt --vocab-size 512 -o runs/tiny/bpe
 *       - {name: base, config: configs/base.yaml}
 *       - {name: sft, config: configs/sft.yaml, set: [train.max_steps=50]}
 *     samples:
 *       - {stage: base, prompt: "Once"}
 *       - {stage: sft, chat: "Who are you?"}
 *
 * A stage is a command of this program or the training of a config. What was
 * done is written down beside the results: a record for each stage, with the
 * hash of all that it depends on: its words, the files they name (by size and
 * time), the stages before it. A stage whose record is complete and has the
 * same hash, and whose result is there, is skipped; a training that was cut
 * off goes on; anything else starts anew, and what it made before is set aside.
 */
#ifndef TENON_PIPELINE_H
#define TENON_PIPELINE_H

#include "base/sha256.h"
#include "run/recipe.h"

typedef struct tni_pipeline_stage {
    const char *name;
    const char *command; /* NULL: trains `config` */
    const char *config;
    tn_strings set;
    const char *output; /* where its result goes; NULL: nobody knows */
} tni_pipeline_stage;

typedef struct tni_pipeline_sample {
    const char *stage;
    const char *prompt; /* text to go on from, or NULL */
    const char *chat;   /* a question to answer, or NULL */
    int64_t max_tokens;
    double temperature;
} tni_pipeline_sample;

typedef struct tni_pipeline {
    tni_reader reader; /* base: the folder that commands run in */
    const char *name, *dir;
    tni_pipeline_stage *stages;
    uint32_t stage_count;
    tni_pipeline_sample *samples;
    uint32_t sample_count;
} tni_pipeline;

/* Read the file at `path`, whose tree is `root`, and check each stage as far as
 * that is possible before those before it have run. */
tn_status tni_pipeline_read(const tni_reader *reader, const char *path,
                            const tni_yaml *root, tni_pipeline *pipeline,
                            tn_error *err);

/* A command's words: parted by white space, '...' and "..." kept together. */
tn_status tni_pipeline_words(tni_arena *arena, const tni_pipeline_stage *stage,
                             const char *const **words, size_t *count,
                             tn_error *err);

/* What a stage calls so, absolute, without slashes at its end: one file or
 * folder has one path. */
const char *tni_pipeline_path(const tni_pipeline *pipeline, const char *name);

/* The recipe of a training stage; `needs` as in tni_recipe_load. */
tn_status tni_pipeline_recipe(const tni_pipeline *pipeline,
                              const tni_pipeline_stage *stage, uint32_t needs,
                              tni_recipe **recipe, tn_error *err);

/* ---- pipeline_record.c ---- */

enum {
    TNI_STAGE_NEW,
    TNI_STAGE_CHANGED, /* what is there was made in another way */
    TNI_STAGE_CUT_OFF,
    TNI_STAGE_DONE
};

typedef struct tni_pipeline_record {
    char hash[TNI_SHA256_HEX]; /* of the stage and all before it */
    int32_t complete;
    int32_t made;   /* the output was not there before the stage */
    double seconds; /* over all attempts */
} tni_pipeline_record;

/*
 * How far the stage is: `before` is the hash of the one before it, "" for the
 * first; `record` receives its hash, and the seconds of what is to be gone on
 * with.
 */
tn_status tni_pipeline_state(const tni_pipeline *pipeline,
                             const tni_pipeline_stage *stage,
                             const char *before, tni_pipeline_record *record,
                             int *state, tn_error *err);

/* The folder that a command has made becomes NAME.1, so that the command does
 * not find it. One that holds results of other stages stays. */
tn_status tni_pipeline_set_aside(const tni_pipeline *pipeline,
                                 const tni_pipeline_stage *stage,
                                 tn_error *err);

tn_status tni_pipeline_record_write(const tni_pipeline *pipeline,
                                    const tni_pipeline_stage *stage,
                                    const tni_pipeline_record *record,
                                    tn_error *err);
tn_status tni_pipeline_record_read(const tni_pipeline *pipeline,
                                   const tni_pipeline_stage *stage,
                                   tni_pipeline_record *record, tn_error *err);

/* ---- pipeline_report.c ---- */

/* report.md in the pipeline's folder: what was run, on what, how it went, and
 * samples of what it makes. */
tn_status tni_pipeline_report(const tni_pipeline *pipeline, tn_error *err);

#endif
