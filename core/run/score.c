/*
 * score.c - the loss of every token, by the plan for rows of its length.
 */
#include "run/score.h"

#include <math.h>
#include <stdlib.h>

#include "run/training.h"
#include "run/weights.h"

enum { SHORTEST = 32 };

static int64_t length_of(const tni_scorer *s, uint32_t which)
{
    const int64_t length = (int64_t)SHORTEST << which;
    return length < s->seq_len ? length : s->seq_len;
}

static uint32_t plan_for(const tni_scorer *s, int64_t tokens)
{
    uint32_t which = 0;
    while (length_of(s, which) < tokens && which + 1 < TNI_SCORER_PLANS)
        which++;
    return which;
}

int64_t tni_scorer_length(const tni_scorer *s, int64_t tokens)
{
    return length_of(s, plan_for(s, tokens));
}

/* Where tokens, targets and firsts lie: at fixed places, whatever the length.
 */
static int64_t pitch(const tni_scorer *s)
{
    const int64_t bytes = s->batch_size * s->seq_len * 4;
    return (bytes + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
}

static tn_tensor input(const tni_scorer *s, tni_graph *g, int64_t place,
                       const int64_t shape[2], const char *name)
{
    return tni_graph_leaf(g, TN_OP_INPUT, TN_ARENA_INPUT, place * pitch(s),
                          TN_I32, 2, shape, name);
}

/* The page of training.c, forward only. */
static tn_status describe(tni_scorer *s, tni_graph *g, int64_t length,
                          uint32_t *id, tn_error *err)
{
    const int64_t shape[2] = {s->batch_size, length};
    const int64_t count = s->batch_size * length;
    const tni_model_io io = {
        .batch = shape[0],
        .seq_len = length,
        .tokens = input(s, g, 0, shape, "tokens"),
        .targets = input(s, g, 1, shape, "targets"),
        .first = s->apart ? input(s, g, 2, shape, "first") : TN_NONE,
        .training = 1,
    };
    tni_model_out out = {0};
    tni_model_describe(s->session->recipe->model, g, &io, &out);
    const tn_tensor slot = tni_graph_leaf(g, TN_OP_SLOT, TN_ARENA_METRIC, 0,
                                          g->builder.dtype, 1, &count, "nll");
    tn_assign(&g->builder, slot, out.nll);
    TN_TRY(tni_session_narrow(s->session, g, err));
    return tni_session_plan(s->session, g, "score", id, err);
}

static tn_status plan(tni_scorer *s, uint32_t which, tn_error *err)
{
    tni_graph *g = tni_graph_create(s->session->dtype);
    uint32_t id = 0;
    const tn_status status = describe(s, g, length_of(s, which), &id, err);
    tni_graph_destroy(g);
    s->plan[which] = id + 1;
    return status;
}

static tn_status create(tni_scorer *s, const tni_recipe *r, const char *weights,
                        tn_error *err)
{
    const int64_t longest = tni_model_max_seq_len(r->model);
    const size_t count = (size_t)(s->batch_size * s->seq_len);
    if (s->seq_len < 1 || s->seq_len > longest)
        return tn_fail(err, TN_EINVALID,
                       "rows of %lld tokens are outside [1, model.max_seq_len "
                       "%lld]",
                       (long long)s->seq_len, (long long)longest);
    TN_TRY(tni_session_open(r, &s->session, err));
    s->nll = calloc(count, sizeof *s->nll);
    s->firsts = calloc(count, sizeof *s->firsts);
    if (!s->nll || !s->firsts)
        return tn_fail(err, TN_ENOMEM, "no memory for %zu scores", count);
    tni_session_reserve(s->session, TN_ARENA_INPUT, 3 * pitch(s));
    tni_session_reserve(s->session, TN_ARENA_METRIC,
                        (int64_t)count * s->session->real_bytes);
    TN_TRY(plan(s, 0, err)); /* the arenas of weights become known */
    TN_TRY(tni_session_commit(s->session, err));
    return tni_weights_load(s->session, weights, err);
}

tn_status tni_scorer_create(const tni_recipe *recipe, const char *weights,
                            int64_t batch_size, int64_t seq_len, int apart,
                            tni_scorer **scorer, tn_error *err)
{
    tni_scorer *s = calloc(1, sizeof *s);
    if (!s)
        return tn_fail(err, TN_ENOMEM, "no memory to score with");
    s->batch_size = batch_size;
    s->seq_len = seq_len;
    s->apart = apart;
    const tn_status status = create(s, recipe, weights, err);
    if (status == TN_OK)
        *scorer = s;
    else
        tni_scorer_destroy(s);
    return status;
}

void tni_scorer_destroy(tni_scorer *s)
{
    if (!s)
        return;
    tni_session_close(s->session);
    free(s->nll);
    free(s->firsts);
    free(s);
}

tn_status tni_scorer_run(tni_scorer *s, int64_t length, const int32_t *tokens,
                         const int32_t *targets, const int32_t *segments,
                         tn_error *err)
{
    const int64_t count = s->batch_size * length, bytes = count * 4;
    const uint32_t which = plan_for(s, length);
    if (!s->plan[which])
        TN_TRY(plan(s, which, err));
    TN_TRY(
        tni_session_upload(s->session, TN_ARENA_INPUT, 0, tokens, bytes, err));
    TN_TRY(tni_session_upload(s->session, TN_ARENA_INPUT, pitch(s), targets,
                              bytes, err));
    if (s->apart) {
        tni_training_firsts(segments, s->batch_size, length, s->firsts);
        TN_TRY(tni_session_upload(s->session, TN_ARENA_INPUT, 2 * pitch(s),
                                  s->firsts, bytes, err));
    }
    TN_TRY(tni_session_run(s->session, s->plan[which] - 1, err));
    return tni_session_download_reals(s->session, s->nll, TN_ARENA_METRIC, 0,
                                      count, err);
}

tn_status tni_score_check(const char *what, double loss, tn_error *err)
{
    if (isfinite(loss))
        return TN_OK;
    return tn_fail(err, TN_ENONFINITE,
                   "%s: the loss is %g: the weights are damaged or the run "
                   "that made them diverged",
                   what, loss);
}
