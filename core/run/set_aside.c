/*
 * set_aside.c - what an older run left stays when another begins in its folder.
 *
 * A new run does not write among the checkpoints of an old one: the old folder
 * becomes NAME.1, and the new run begins in an empty one. Nor does a run that
 * goes back to an older checkpoint write among the newer ones, which would
 * count as the newest again: those go to NAME.1, with the reports that led to
 * them.
 */
#include <unistd.h>

#include "base/file.h"
#include "run/checkpoint.h"
#include "run/metrics.h"

/* The step up to which the folder tells of a run, by a checkpoint or a report;
 * -1: it holds none. */
static tn_status reached(const char *dir, int64_t *step, tn_error *err)
{
    tni_arena *scratch = tni_arena_create();
    const int64_t *steps;
    tni_metrics *reports;
    size_t count, report_count;
    const tn_status status =
        tni_checkpoint_steps(scratch, dir, &steps, &count, err);
    *step = status == TN_OK && count ? steps[0] : -1;
    if (tni_metrics_read(scratch, dir, &reports, &report_count, NULL) ==
            TN_OK &&
        report_count && reports[report_count - 1].step > *step)
        *step = reports[report_count - 1].step;
    tni_arena_destroy(scratch);
    return status;
}

tn_status tni_run_set_aside(const tni_reader *reader, const char *dir,
                            int *lock, tn_error *err)
{
    const char *other = tni_path_aside(reader->arena, dir);
    int64_t step;
    TN_TRY(reached(dir, &step, err));
    if (step < 0)
        return TN_OK;
    TN_TRY(tni_file_rename(dir, other, err));
    reader->host->log(reader->host, TN_LOG_INFO,
                      "%s held a run that reached step %lld; it is now %s", dir,
                      (long long)step, other);
    close(*lock);
    *lock = -1;
    return tni_run_folder_open(dir, lock, err);
}

/* A file that is not there needs no copy. */
static tn_status copy(const char *from, const char *to, const char *name,
                      tn_error *err)
{
    tni_arena *scratch = tni_arena_create();
    const char *path = tni_path_join(scratch, from, name);
    tn_status status = TN_OK;
    char *bytes;
    size_t count;
    if (tni_path_exists(path)) {
        status = tni_file_read(scratch, path, SIZE_MAX, &bytes, &count, err);
        if (status == TN_OK)
            status = tni_file_replace(tni_path_join(scratch, to, name), bytes,
                                      count, err);
    }
    tni_arena_destroy(scratch);
    return status;
}

tn_status tni_run_set_newer_aside(const tni_reader *reader, const char *dir,
                                  int64_t step, tn_error *err)
{
    tni_arena *arena = reader->arena;
    const char *other = tni_path_aside(arena, dir);
    const int64_t *steps;
    size_t count;
    TN_TRY(tni_checkpoint_steps(arena, dir, &steps, &count, err));
    if (!count || steps[0] <= step)
        return TN_OK;
    TN_TRY(tni_folder_make(other, err));
    TN_TRY(copy(dir, other, "config.yaml", err));
    TN_TRY(copy(dir, other, "metrics.jsonl", err));
    for (size_t i = 0; i < count && steps[i] > step; i++) {
        char from[4096], to[4096];
        tni_checkpoint_path(from, sizeof from, dir, steps[i]);
        tni_checkpoint_path(to, sizeof to, other, steps[i]);
        TN_TRY(tni_file_rename(from, to, err));
    }
    reader->host->log(reader->host, TN_LOG_INFO,
                      "%s went on to step %lld; what is newer than step %lld "
                      "is now in %s",
                      dir, (long long)steps[0], (long long)step, other);
    return TN_OK;
}
