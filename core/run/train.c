/*
 * train.c - the loop: batches, an update, and now and then a look at it.
 *
 *     open()     plans, weights or a checkpoint, data, the run's folder
 *     start()    next batch -> accumulate ... -> update
 *     finish()   what it came to: loss, norm, or what went wrong
 *     report(), evaluate(), save() when they are due
 *
 * Where the backend can tell the result of a step while the next one runs, the
 * next one is started first: the device never waits for the host, and the loss
 * is known one step later. Before anything looks at the weights (an evaluation,
 * a checkpoint, the end), every step that was started is finished.
 *
 * Of several processes (ranks.h) each does the same; the first one alone writes
 * and reports.
 */
#include "run/train.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "run/curve.h"
#include "run/evaluate.h"
#include "run/footprint.h"
#include "run/weights.h"

typedef struct {
    tni_recipe own; /* which knows its rank */
    const tni_recipe *recipe;
    const tni_train_request *request;
    const tni_train_observer *observer;
    tni_ranks ranks;
    int stopping; /* a rank was asked to, and all know */
    tni_training *training;
    tn_tokenizer_handle tokenizer;
    tni_data data;
    tn_batch batch;
    tni_evaluator evaluator;
    int has_val;
    int lock;
    FILE *log; /* metrics.jsonl */
    tni_progress progress;
    int64_t started; /* steps, of which progress.step are finished */
    tni_data_cursor cursor[TNI_TRAINING_AHEAD]; /* where those began */
    int64_t saved_step;                         /* -1: nothing is saved */
    char saved[4096];                           /* the last good checkpoint */
    double mark;                                /* since when the clock runs */
    double seconds;             /* of steps since the last report */
    int64_t steps, step_tokens; /* in those seconds */
} run;

static const tni_train_observer nobody;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- before step 1 ---- */

static tn_status check_tokenizer(const run *r, tn_error *err)
{
    const int64_t have = tni_model_vocab_size(r->recipe->model);
    if (!r->tokenizer.vtable)
        return TN_OK;
    const int64_t need =
        (int64_t)r->tokenizer.vtable->vocab_size(r->tokenizer.self);
    if (need <= have)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "model.vocab_size: %lld is less than the %lld ids of "
                   "tokenizer %s",
                   (long long)have, (long long)need, r->recipe->tokenizer.name);
}

static tn_status open_data(run *r, tn_error *err)
{
    const tni_recipe *recipe = r->recipe;
    TN_TRY(tni_tokenizer_open(recipe->reader.host, &recipe->tokenizer,
                              &r->tokenizer, err));
    TN_TRY(check_tokenizer(r, err));
    const tn_dataset_request request = tni_data_request(recipe, &r->tokenizer);
    TN_TRY(tni_data_open(recipe->reader.host, &recipe->train_data, &request,
                         recipe->train.prefetch, &r->data, err));
    r->batch = tni_batch_create(recipe);
    if (!r->batch.tokens)
        return tn_fail(err, TN_ENOMEM, "no memory for a batch");
    if (!recipe->val_data.name)
        return TN_OK;
    TN_TRY(tni_evaluator_open(r->training, &r->tokenizer,
                              recipe->train.eval_batches, &r->evaluator, err));
    r->evaluator.ranks = &r->ranks;
    r->has_val = 1;
    return TN_OK;
}

/* The checkpoint to go on from, NULL to begin anew. */
static tn_status find_checkpoint(const run *r, const char **path, tn_error *err)
{
    const tni_reader *reader = &r->recipe->reader;
    const char *resume = r->request->resume;
    *path = NULL;
    if (!resume)
        return TN_OK;
    const int automatic = strcmp(resume, "auto") == 0;
    const char *where = automatic ? r->recipe->checkpoint.dir : resume;
    if (!automatic &&
        tni_path_exists(tni_path_join(reader->arena, where, "trainer.json"))) {
        *path = where;
        return tni_checkpoint_check(where, err);
    }
    TN_TRY(
        tni_checkpoint_latest(reader->arena, reader->host, where, path, err));
    if (*path || automatic)
        return TN_OK;
    return tn_fail(err, TN_ENOTFOUND,
                   "--resume %s: neither a checkpoint nor a folder with "
                   "step-NNNNNNNN in it",
                   resume);
}

static int64_t rows_of_a_step(const run *r)
{
    return r->recipe->train.batch_size * r->recipe->train.grad_accum;
}

static tn_status start_weights(run *r, const char *resume_from, tn_error *err)
{
    tni_session *session = r->training->session;
    if (!resume_from)
        return r->recipe->init_from
                   ? tni_weights_load(session, r->recipe->init_from, err)
                   : tni_weights_draw(session, err);
    TN_TRY(tni_checkpoint_is_of(r->recipe, resume_from, err));
    TN_TRY(tni_checkpoint_restore(r->training, resume_from, &r->progress, err));
    TN_TRY(tni_data_restore(&r->data, &r->progress.cursor, err));
    if (r->progress.rows < 0) /* as if today's batch had been that of all */
        r->progress.rows = r->progress.step * rows_of_a_step(r);
    tni_recipe_count_rest(&r->own, &r->data.info, r->progress.step,
                          r->progress.rows);
    snprintf(r->saved, sizeof r->saved, "%s", resume_from);
    r->saved_step = r->progress.step;
    return TN_OK;
}

/* Whether the run goes on from a checkpoint of its own folder. */
static int goes_on(const run *r, const char *resume_from)
{
    tni_arena *arena = r->recipe->reader.arena;
    if (!resume_from)
        return 0;
    const char *path = tni_path_absolute(arena, resume_from);
    return strcmp(tni_path_dirname(arena, path),
                  tni_path_absolute(arena, r->recipe->checkpoint.dir)) == 0;
}

static tn_status open_folder(run *r, const char *resume_from, tn_error *err)
{
    const char *dir = r->recipe->checkpoint.dir;
    if (r->ranks.rank)
        return TN_OK;
    TN_TRY(tni_run_folder_open(dir, &r->lock, err));
    TN_TRY(goes_on(r, resume_from)
               ? tni_run_set_newer_aside(&r->recipe->reader, dir,
                                         r->progress.step, err)
               : tni_run_set_aside(&r->recipe->reader, dir, &r->lock, err));
    TN_TRY(tni_config_write(
        r->recipe, tni_path_join(r->recipe->reader.arena, dir, "config.yaml"),
        err));
    return tni_metrics_open(dir, r->progress.step, &r->log, err);
}

static void tell_start(const run *r, const char *resumed_from)
{
    const tni_session *s = r->training->session;
    const tni_train_options *o = &r->recipe->train;
    const double tokens = (double)(tni_recipe_rows(r->recipe) * o->seq_len);
    const tni_train_start start = {
        .step = r->progress.step,
        .max_steps = o->max_steps,
        .resumed_from = resumed_from,
        .parameters = tni_model_parameter_count(r->recipe->model),
        .tokens_per_step = rows_of_a_step(r) * o->seq_len,
        .flops_per_token = s->compiled[r->training->first].plan->flops / tokens,
        .memory_bytes = tni_session_resident_bytes(s),
        .backend = s->device.name,
        .device = s->device.info.name,
        .processes = r->ranks.size,
        .dir = r->recipe->checkpoint.dir,
    };
    if (r->observer->start)
        r->observer->start(r->observer->to, &start);
}

/* Status 0 and no step look like a mistake, and may be one. */
static void tell_end(const run *r)
{
    const tn_host *host = r->recipe->reader.host;
    const int64_t last = r->recipe->train.max_steps;
    if (r->progress.step > last && !r->ranks.rank)
        host->log(host, TN_LOG_WARNING,
                  "train.max_steps: %lld is below step %lld of the checkpoint; "
                  "nothing is left to train",
                  (long long)last, (long long)r->progress.step);
}

static int is_interrupted(const run *r)
{
    return r->request->stop && *r->request->stop;
}

static tn_status agree(run *r, tn_error *err)
{
    return tni_ranks_agree(&r->ranks, r->training, r->progress.step, err);
}

static tn_status prepare(run *r, const char **resume_from, tn_error *err)
{
    TN_TRY(tni_training_create(r->recipe, &r->training, err));
    TN_TRY(tni_footprint_check(r->training, err));
    TN_TRY(tni_footprint_explain(r->training,
                                 tni_training_commit(r->training, err), err));
    TN_TRY(tni_ranks_attach(&r->ranks, r->training->session, err));
    TN_TRY(open_data(r, err));
    TN_TRY(find_checkpoint(r, resume_from, err));
    return start_weights(r, *resume_from, err);
}

static tn_status open(run *r, tn_error *err)
{
    const char *resume_from;
    TN_TRY(tni_ranks_open(&r->own, &r->ranks, err));
    if (r->ranks.rank)
        r->observer = &nobody;
    TN_TRY(tni_ranks_meet(&r->ranks, prepare(r, &resume_from, err), err));
    r->started = r->progress.step;
    TN_TRY(agree(r, err));
    TN_TRY(tni_ranks_meet(&r->ranks, open_folder(r, resume_from, err), err));
    tell_start(r, resume_from);
    tell_end(r);
    return TN_OK;
}

/* ---- the loop ---- */

static tni_data_cursor *cursor_of(run *r, int64_t step)
{
    return &r->cursor[step % TNI_TRAINING_AHEAD];
}

/* Gradients of all micro-batches of a step. */
static tn_status accumulate(run *r, int64_t step, tn_error *err)
{
    for (int64_t i = 0; i < r->recipe->train.grad_accum; i++) {
        TN_TRY(tni_data_next(&r->data, &r->batch, err));
        TN_TRY(tni_training_accumulate(r->training, step, i, &r->batch, err));
    }
    return TN_OK;
}

/* The parameters are still those of the bad step; its gradients, over which a
 * later step may have gone, are made again. */
static tn_status went_wrong(run *r, const tni_step_result *result,
                            tn_error *err)
{
    const int64_t step = r->progress.step;
    char phrase[256];
    TN_TRY(tni_data_restore(&r->data, cursor_of(r, step), err));
    TN_TRY(accumulate(r, step, err));
    TN_TRY(tni_data_restore(&r->data, cursor_of(r, step), err));
    TN_TRY(tni_training_diagnose(r->training, &r->data, &r->batch, phrase,
                                 sizeof phrase, err));
    /* each has found by now what there is in its rows */
    TN_TRY(tni_ranks_meet(&r->ranks, TN_OK, err));
    r->ranks.together = 1;
    return tn_fail(err, TN_ENONFINITE,
                   "step %lld: the loss is %g and the gradient norm %g; %s. "
                   "Last good checkpoint: %s. Try a lower optimizer.lr, a "
                   "longer warm-up or a smaller train.grad_clip",
                   (long long)step + 1, result->loss, result->grad_norm, phrase,
                   r->saved_step >= 0 ? r->saved : "none yet");
}

/* One optimizer step: gradients of all its micro-batches, then the update. */
static tn_status start(run *r, tn_error *err)
{
    const int64_t step = r->started;
    tni_data_save(&r->data, cursor_of(r, step));
    TN_TRY(accumulate(r, step, err));
    TN_TRY(tni_ranks_join(&r->ranks, r->training, is_interrupted(r), err));
    TN_TRY(tni_training_start_update(
        r->training, step, tni_recipe_multiplier(r->recipe, step), err));
    r->started++;
    return TN_OK;
}

/* The oldest step that was started. */
static tn_status finish(run *r, tni_metrics *m, tn_error *err)
{
    const tni_recipe *recipe = r->recipe;
    const int64_t step = r->progress.step;
    tni_step_result result;
    TN_TRY(tni_training_result(r->training, step, &result, err));
    if (!result.ok)
        return went_wrong(r, &result, err);

    r->stopping |= result.stopping;
    r->progress.step++;
    r->progress.rows += rows_of_a_step(r);
    r->progress.tokens += (int64_t)result.tokens;
    r->seconds += now() - r->mark;
    r->mark = now();
    r->steps++;
    r->step_tokens += rows_of_a_step(r) * recipe->train.seq_len;
    *m = (tni_metrics){.step = r->progress.step,
                       .loss = result.loss,
                       .auxiliary = result.auxiliary,
                       .grad_norm = result.grad_norm,
                       .learning_rate = recipe->groups[0].lr *
                                        tni_recipe_multiplier(recipe, step),
                       .tokens = r->progress.tokens};
    return TN_OK;
}

/* Epochs seen and the speed since the last report. */
static void add_rates(const run *r, tni_metrics *m)
{
    const int64_t windows = r->data.info.rows_per_epoch;
    m->epoch = windows ? (double)r->progress.rows / (double)windows : 0.0;
    m->steps_per_second = (double)r->steps / r->seconds;
    m->tokens_per_second = (double)r->step_tokens / r->seconds;
}

static tn_status report(run *r, const tni_metrics *m, tn_error *err)
{
    char line[1024];
    size_t used = tni_metrics_json(m, line, sizeof line - 1);
    line[used++] = '\n';
    if (r->log && fwrite(line, 1, used, r->log) != used)
        return tn_fail(err, TN_EIO, "%s/metrics.jsonl: cannot write: %s",
                       r->recipe->checkpoint.dir, strerror(errno));
    if (r->observer->report)
        r->observer->report(r->observer->to, m);
    r->seconds = 0.0;
    r->steps = 0;
    r->step_tokens = 0;
    return TN_OK;
}

static tn_status write_checkpoint(run *r, char *path, size_t size,
                                  tn_error *err)
{
    const char *dir = r->recipe->checkpoint.dir;
    tni_checkpoint_path(path, size, dir, r->progress.step);
    if (r->ranks.rank)
        return TN_OK;
    TN_TRY(tni_checkpoint_save(r->training, &r->progress, path, size, err));
    return tni_curve_save(dir, r->recipe->name, err);
}

/* Of parameters that are the same on every rank; and none goes on, or ends,
 * before they are written. */
static tn_status save(run *r, tn_error *err)
{
    char path[sizeof r->saved];
    if (r->saved_step == r->progress.step)
        return TN_OK;
    TN_TRY(agree(r, err));
    tni_data_save(&r->data, &r->progress.cursor);
    TN_TRY(tni_ranks_meet(&r->ranks,
                          write_checkpoint(r, path, sizeof path, err), err));
    memcpy(r->saved, path, sizeof path);
    r->saved_step = r->progress.step;
    if (r->observer->saved)
        r->observer->saved(r->observer->to, path, r->progress.step);
    return TN_OK;
}

static int is_stopping(const run *r)
{
    return r->ranks.size > 1 ? r->stopping : is_interrupted(r);
}

static int due(int64_t at, int64_t every)
{
    return every > 0 && at % every == 0;
}

static tn_status evaluate(run *r, tni_metrics *m, tn_error *err)
{
    tni_score score;
    TN_TRY(tni_evaluate(&r->evaluator, &score, err));
    m->has_val = 1;
    m->val_loss = score.loss;
    m->val_bits_per_byte = score.bits_per_byte;
    return TN_OK;
}

/* Something looks at the weights as this step leaves them. */
static int is_looked_at(const run *r, int64_t step)
{
    const tni_recipe *recipe = r->recipe;
    return step == recipe->train.max_steps ||
           (r->has_val && due(step, recipe->train.eval_every)) ||
           due(step, recipe->checkpoint.every);
}

static int may_start(const run *r)
{
    const int64_t under_way = r->started - r->progress.step;
    if (!under_way)
        return 1;
    return under_way < tni_training_ahead(r->training) &&
           !is_looked_at(r, r->started) && !is_stopping(r);
}

/* A step is finished: look at what it left, where that is due. */
static tn_status look(run *r, tni_metrics *m, tn_error *err)
{
    const tni_recipe *recipe = r->recipe;
    const int64_t at = r->progress.step, last = recipe->train.max_steps;
    add_rates(r, m);
    if (r->observer->step)
        r->observer->step(r->observer->to, m);
    const int stopping = is_stopping(r) && r->started == at;
    if (r->has_val && !stopping &&
        (due(at, recipe->train.eval_every) || at == last))
        TN_TRY(evaluate(r, m, err));
    if (due(at, recipe->train.log_every) || at == last || m->has_val)
        TN_TRY(report(r, m, err));
    if (due(at, recipe->checkpoint.every) || at == last || stopping)
        TN_TRY(save(r, err));
    r->ranks.together = stopping;
    if (stopping && at < last)
        return tn_fail(err, TN_EINTERRUPTED,
                       "interrupted after step %lld; continue with "
                       "--resume auto (saved in %s)",
                       (long long)at, r->saved);
    return TN_OK;
}

static tn_status loop(run *r, tn_error *err)
{
    while (r->progress.step < r->recipe->train.max_steps) {
        tni_metrics m;
        if (r->started == r->progress.step)
            r->mark = now(); /* looking at weights is no part of a step */
        while (may_start(r))
            TN_TRY(start(r, err));
        TN_TRY(finish(r, &m, err));
        TN_TRY(look(r, &m, err));
    }
    return TN_OK;
}

static void close_run(run *r, tn_status status)
{
    if (r->log)
        fclose(r->log);
    if (r->lock >= 0)
        close(r->lock);
    if (r->has_val)
        tni_evaluator_close(&r->evaluator);
    tni_batch_destroy(&r->batch);
    tni_data_close(&r->data);
    tni_tokenizer_close(&r->tokenizer);
    tni_ranks_close(&r->ranks, status);
    tni_training_destroy(r->training);
}

tn_status tni_train(const tni_train_request *request, tn_error *err)
{
    run r = {.own = *request->recipe,
             .recipe = &r.own,
             .ranks = {.size = 1},
             .request = request,
             .observer = request->observer ? request->observer : &nobody,
             .lock = -1,
             .saved_step = -1};
    tn_status status = open(&r, err);
    if (status == TN_OK)
        status = loop(&r, err);
    if (status != TN_OK)
        tni_ranks_sign(&r.ranks, err);
    close_run(&r, status);
    return status;
}
