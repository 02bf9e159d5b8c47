/*
 * run_rig.h - a tiny model in a folder of its own, for tests of core/run.
 */
#ifndef TN_RUN_RIG_H
#define TN_RUN_RIG_H

#include "tn_test.h"

#include <unistd.h>

#include "base/file.h"
#include "plugin/host.h"
#include "run/recipe.h"

typedef struct run_rig {
    char folder[64];
    char config[96];
    tn_host *host;
    tni_arena *arena;
    tni_registry *registry;
} run_rig;

/* Two layers with grouped queries; the oracle in double, so that equalities
 * are tight. */
static const char run_rig_config[] =
    "backend: reference\n"
    "precision: f64\n"
    "tokenizer: byte\n"
    "model:\n"
    "  vocab_size: 256\n"
    "  hidden_size: 16\n"
    "  max_seq_len: 32\n"
    "  layers:\n"
    "    - {arch: transformer, repeat: 2, num_heads: 2, num_kv_heads: 1,\n"
    "       intermediate_size: 24}\n"
    "data:\n"
    "  train: {plugin: text_file, path: text.txt, split: [0, 0.8]}\n"
    "  val: {plugin: text_file, path: text.txt, split: [0.8, 1]}\n"
    "optimizer: {plugin: adamw, lr: 1.0e-2}\n"
    "train: {max_steps: 6, batch_size: 2, seq_len: 8, log_every: 2,\n"
    "        eval_every: 3, eval_batches: 2}\n"
    "checkpoint: {dir: run, every: 2, keep: 2}\n";

static inline void run_rig_text(const char *path)
{
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    for (int i = 0; i < 200; i++)
        fprintf(to, "%d times %d is %d.\n", i % 7, i % 11, i % 7 * (i % 11));
    fclose(to);
}

static inline void run_rig_write(const char *path, const char *text)
{
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    fputs(text, to);
    fclose(to);
}

static inline run_rig *run_rig_create(void)
{
    run_rig *rig = calloc(1, sizeof *rig);
    char text[96];
    assert_non_null(rig);
    strcpy(rig->folder, "/tmp/tenon_run_XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    snprintf(rig->config, sizeof rig->config, "%s/c.yaml", rig->folder);
    snprintf(text, sizeof text, "%s/text.txt", rig->folder);
    run_rig_text(text);
    run_rig_write(rig->config, run_rig_config);
    rig->host = tni_host_create();
    rig->arena = tni_arena_create();
    rig->registry = tni_registry_create(rig->host);
    return rig;
}

static inline void run_rig_destroy(run_rig *rig)
{
    tni_folder_remove(rig->folder, NULL);
    tni_registry_destroy(rig->registry);
    tni_arena_destroy(rig->arena);
    tni_host_destroy(rig->host);
    free(rig);
}

/* The rig's config with `set` (NULL-ended, may be NULL) applied. */
static inline tn_status run_rig_try(run_rig *rig, const char *const *set,
                                    tni_recipe **recipe, tn_error *err)
{
    tni_recipe_request request = {.path = rig->config, .set = set};
    while (set && set[request.set_count])
        request.set_count++;
    return tni_recipe_load(rig->arena, rig->registry, rig->host, &request,
                           recipe, err);
}

static inline tni_recipe *run_rig_recipe(run_rig *rig, const char *const *set)
{
    tni_recipe *recipe = NULL;
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(run_rig_try(rig, set, &recipe, &err), err);
    return recipe;
}

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline int run_rig_setup(void **state)
{
    *state = run_rig_create();
    return 0;
}

static inline int run_rig_teardown(void **state)
{
    run_rig_destroy(*state);
    return 0;
}

#endif
