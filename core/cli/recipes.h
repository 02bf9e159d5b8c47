/*
 * recipes.h - the flags by which commands name a config or a checkpoint.
 */
#ifndef TENON_CLI_RECIPES_H
#define TENON_CLI_RECIPES_H

#include "cli/command.h"
#include "run/recipe.h"

/* Where a command takes its model from. */
typedef struct tni_source_flags {
    const char *config;     /* -f */
    const char *checkpoint; /* -m */
    const char *weights;    /* --weights */
    const char *backend;    /* --backend */
    const char *quantize;   /* --quantize */
    tni_flag_list set;      /* --set */
    tni_yaml *root;         /* of the config, once it is opened */
    int32_t flat;           /* it was written in the flat dialect */
    tni_use *communicator;  /* see tni_recipe_request */
} tni_source_flags;

#define TNI_FLAG_CONFIG(to_)                                                   \
    {                                                                          \
        .name = "config", .letter = 'f', .kind = TNI_FLAG_STRING,              \
        .to = &(to_)->config, .value = "FILE", .help = "the run's config"      \
    }
#define TNI_FLAG_MODEL(to_)                                                    \
    {                                                                          \
        .name = "model", .letter = 'm', .kind = TNI_FLAG_STRING,               \
        .to = &(to_)->checkpoint, .value = "FOLDER",                           \
        .help = "a checkpoint, or a run's folder for its newest one"           \
    }
#define TNI_FLAG_WEIGHTS(to_)                                                  \
    {                                                                          \
        .name = "weights", .kind = TNI_FLAG_STRING, .to = &(to_)->weights,     \
        .value = "FILE", .help = "safetensors for the model of --config"       \
    }
#define TNI_FLAG_BACKEND(to_)                                                  \
    {                                                                          \
        .name = "backend", .kind = TNI_FLAG_STRING, .to = &(to_)->backend,     \
        .value = "NAME", .help = "run on this backend instead of the config's" \
    }
#define TNI_FLAG_QUANTIZE(to_)                                                 \
    {                                                                          \
        .name = "quantize", .kind = TNI_FLAG_STRING, .to = &(to_)->quantize,   \
        .value = "FORMAT", .help = "read weights in 8 or 4 bits: q8_0 or q4_k" \
    }
#define TNI_FLAG_SET(to_)                                                      \
    {                                                                          \
        .name = "set", .kind = TNI_FLAG_LIST, .to = &(to_)->set,               \
        .value = "KEY=VALUE", .help = "change the config: train.max_steps=50"  \
    }

#define TNI_FLAG_DATA(to_)                                                     \
    {                                                                          \
        .name = "data", .letter = 'd', .kind = TNI_FLAG_STRING,                \
        .to = &(to_)->data, .value = "FILE",                                   \
        .help = "train on this file of tokens instead of data.train"           \
    }

/* Add "KEY=value" to the list. */
TN_PRINTF(3, 4)
void tni_set_add(tni_cli *cli, tni_flag_list *set, const char *format, ...);

/* The same for a flag called as the key; NULL, not given, adds nothing. */
tn_status tni_set_flag(tni_cli *cli, tni_flag_list *set, const char *key,
                       const char *value, tn_error *err);

/* Read a config file, and translate it where it is a flat one: root and flat.
 * --set speaks of the translation and is not applied yet. */
tn_status tni_source_open(tni_cli *cli, tni_source_flags *source,
                          const char *path, tn_error *err);

/* -d FILE as --set; opens the config where that has not been done. */
tn_status tni_source_set_data(tni_cli *cli, tni_source_flags *source,
                              const char *file, tn_error *err);

/*
 * The recipe of -f, or of the checkpoint -m, whose weights go to *weights; of
 * -f with --weights likewise. `weights` NULL: -f alone is asked for.
 */
tn_status tni_recipe_from_flags(tni_cli *cli, const tni_source_flags *flags,
                                uint32_t needs, tni_recipe **recipe,
                                const char **weights, tn_error *err);

#endif
