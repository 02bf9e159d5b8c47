/*
 * recipe.h - a config file as the typed description of a run.
 *
 * Reading a recipe checks everything that can be checked without a device: the
 * sections, each plugin's options, the model's shapes, which optimizer updates
 * which parameter. The tree it was read from is completed on the way: written
 * out, it reproduces the run.
 */
#ifndef TENON_RECIPE_H
#define TENON_RECIPE_H

#include <tenon/optimizer.h>
#include <tenon/schedule.h>

#include "model/model.h"
#include "run/data.h"

/* One entry of `optimizer:`. */
typedef struct tni_group {
    const char *match; /* patterns: "*norm*|*bias" */
    tni_use optimizer;
    double lr;
    int64_t first, elements; /* its stretch of the parameter slab */
    uint32_t weights;        /* how many parameters it holds */
} tni_group;

typedef struct tni_train_options {
    int64_t max_steps; /* with TNI_NEED_TRAINING what the run really takes */
    int64_t epochs;    /* 0: off */
    int64_t batch_size, seq_len, grad_accum;
    double grad_clip; /* 0: off */
    int64_t eval_every, eval_batches, log_every;
    int32_t recompute; /* TNI_RECOMPUTE_ */
    int64_t prefetch;
} tni_train_options;

typedef struct tni_checkpoint_options {
    const char *dir;
    int64_t every; /* 0: only at the end */
    int64_t keep;
} tni_checkpoint_options;

enum { TNI_RECIPE_F32, TNI_RECIPE_BF16, TNI_RECIPE_F64 };
enum { TNI_QUANTIZE_NONE, TNI_QUANTIZE_Q8_0, TNI_QUANTIZE_Q4_K };

typedef struct tni_recipe {
    tni_reader reader;
    tni_yaml *root; /* resolved */
    const char *name;
    int64_t seed;
    int32_t precision;
    int32_t quantize; /* for reading a model only */
    tni_use backend;  /* no name: the best there is */
    tni_use tokenizer;
    tni_model *model;
    const char *init_from; /* NULL: drawn at random */
    tni_mixture train_data, val_data;
    tni_group *groups;
    uint32_t group_count;
    const uint32_t *group_of; /* by weight */
    tni_use schedule;         /* no name: constant */
    tni_use communicator;     /* no name: one process */
    uint32_t rank, ranks;     /* of this process, by ranks.c; 0 of 1 before */
    tni_train_options train;
    int64_t asked_steps; /* train.max_steps before train.epochs bounds it */
    tni_checkpoint_options checkpoint;
} tni_recipe;

/* Of the batch_size rows of a micro-batch, how many this process computes, and
 * which is the first. */
static inline int64_t tni_recipe_rows(const tni_recipe *recipe)
{
    return recipe->train.batch_size / recipe->ranks;
}

static inline int64_t tni_recipe_first_row(const tni_recipe *recipe)
{
    return recipe->rank * tni_recipe_rows(recipe);
}

/* Parts a command cannot do without; the others are read where present. */
enum {
    TNI_NEED_MODEL = 0, /* always */
    TNI_NEED_TOKENIZER = 1u << 0,
    TNI_NEED_TRAINING = 1u << 1, /* data.train and optimizer */
    TNI_SKIP_TRAINING = 1u << 2, /* do not open data, optimizers, schedules */
};

/*
 * Load `path`, apply `set`, read all sections. The arena and registry outlive
 * the recipe, which lives in the arena.
 */
typedef struct tni_recipe_request {
    const char *path;
    tni_yaml *root; /* the file's tree where it is read already; it is filled
                       in; NULL: read `path` */
    const char *const *set;
    uint32_t set_count;
    uint32_t needs;
    tni_use *communicator; /* filled in although the rest fails; may be NULL */
} tni_recipe_request;

tn_status tni_recipe_load(tni_arena *arena, tni_registry *registry,
                          const tn_host *host,
                          const tni_recipe_request *request,
                          tni_recipe **recipe, tn_error *err);

/* What a run is called whose config has no name, and where it lies whose config
 * says nothing of checkpoint.dir. */
const char *tni_recipe_name(tni_arena *arena, const char *path);
const char *tni_recipe_dir(tni_arena *arena, const char *name);

/* The schedule's multiplier for the update numbered `step` from 0. */
double tni_recipe_multiplier(const tni_recipe *recipe, int64_t step);

/* 1 where `name` matches one of the patterns: `*` any text, `|` or. */
int tni_match(const char *patterns, const char *name);

/*
 * steps.c: bring train.max_steps down to what train.epochs allows, where it is
 * given. An epoch is as many steps as meet every token and every row; the last
 * of them is filled up from the next epoch. Opens the training data to count.
 */
tn_status tni_recipe_count_steps(tni_recipe *recipe, tn_error *err);
/* The same for a run that is taken up at `step`, whose steps have met `rows`
 * rows, perhaps in batches of another size. */
void tni_recipe_count_rest(tni_recipe *recipe, const tn_dataset_info *info,
                           int64_t step, int64_t rows);

/* groups.c: read `optimizer:`, give each weight to the first group that matches
 * it, order the slab by groups. */
tn_status tni_groups_read(tni_recipe *recipe, tni_yaml *node, tn_error *err);

#endif
