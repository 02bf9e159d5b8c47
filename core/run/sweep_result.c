/*
 * sweep_result.c - what the folders of a sweep's runs tell.
 *
 * A run is done when a whole checkpoint of its last step lies beside the very
 * config that it would be started with. Nothing else is written down.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/checkpoint.h"
#include "run/sweep.h"

enum { MOST_CONFIG_BYTES = 4 << 20, MOST_POINTS = 500 };

/* The tree as the run's config.yaml has it. */
static char *text_of(tni_arena *arena, const tni_yaml *root)
{
    char *text = NULL, *copy = NULL;
    size_t bytes;
    FILE *to = open_memstream(&text, &bytes);
    if (to && tni_yaml_write(root, to) == TN_OK && fflush(to) == 0)
        copy = tni_arena_strdup(arena, text);
    if (to)
        fclose(to);
    free(text);
    return copy;
}

tn_status tni_sweep_state(const tni_recipe *r, int *state, tn_error *err)
{
    tni_arena *arena = r->reader.arena;
    const char *dir = r->checkpoint.dir, *checkpoint;
    tni_progress progress = {0};
    char *theirs;
    const tn_status read =
        tni_file_read(arena, tni_path_join(arena, dir, "config.yaml"),
                      MOST_CONFIG_BYTES, &theirs, NULL, NULL);
    *state = TNI_SWEEP_NEW;
    if (read != TN_OK)
        return TN_OK;
    const char *ours = text_of(arena, r->root);
    if (!ours)
        return tn_fail(err, TN_ENOMEM, "no memory to compare configs");
    *state = TNI_SWEEP_OTHER;
    if (strcmp(ours, theirs) != 0)
        return TN_OK;
    *state = TNI_SWEEP_CUT_OFF;
    TN_TRY(tni_checkpoint_latest(arena, r->reader.host, dir, &checkpoint, err));
    if (!checkpoint)
        return TN_OK;
    TN_TRY(tni_progress_read(tni_path_join(arena, checkpoint, "trainer.json"),
                             &progress, err));
    if (progress.step >= r->train.max_steps)
        *state = TNI_SWEEP_DONE;
    return TN_OK;
}

/* What the run has reported; none where its folder is another's. */
static size_t metrics_of(tni_arena *arena, const tni_sweep_run *run,
                         tni_metrics **metrics)
{
    size_t count = 0;
    if (run->state == TNI_SWEEP_OTHER ||
        tni_metrics_read(arena, run->dir, metrics, &count, NULL) != TN_OK)
        return 0;
    return count;
}

tni_sweep_result tni_sweep_result_of(const tni_sweep_run *run)
{
    tni_sweep_result result = {0};
    tni_arena *arena = tni_arena_create();
    tni_metrics *m;
    const size_t count = metrics_of(arena, run, &m);
    for (size_t i = 0; i < count; i++) {
        result.step = m[i].step;
        result.loss = m[i].loss;
        result.tokens_per_second += m[i].tokens_per_second / (double)count;
        if (m[i].has_val) {
            result.has_val = 1;
            result.val_loss = m[i].val_loss;
        }
    }
    tni_arena_destroy(arena);
    return result;
}

tn_status tni_sweep_draw(const tni_sweep *s, tn_error *err)
{
    tni_arena *arena = tni_arena_create();
    tni_named_curve *runs =
        tni_arena_alloc(arena, (s->run_count + 1) * sizeof *runs);
    size_t drawn = 0;
    for (uint32_t i = 0; i < s->run_count; i++) {
        tni_metrics *metrics;
        const size_t count = metrics_of(arena, &s->runs[i], &metrics);
        runs[drawn].name = s->runs[i].name;
        if (count && tni_curve_make(arena, metrics, count, MOST_POINTS,
                                    &runs[drawn].curve, NULL) == TN_OK)
            drawn++;
    }
    const tn_status status =
        drawn ? tni_curves_save(tni_path_join(arena, s->dir, "sweep.svg"),
                                s->name, runs, drawn, err)
              : TN_OK;
    tni_arena_destroy(arena);
    return status;
}
