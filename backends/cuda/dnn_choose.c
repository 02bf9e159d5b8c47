/*
 * dnn_choose.c - whose attention: cuDNN's or ours.
 *
 * The first time an attention of some shape comes, both are tried
 * (dnn_trial.c). The choice is kept on disk, with the plan. Without a cache on
 * disk ours is taken, so that bits never depend on a clock.
 */
#include "dnn.h"

#include <stdlib.h>
#include <string.h>

enum { CANDIDATES = 2 };

/* A code of one byte: plans are longer. */
static const char ours[] = "-";

/* ---- what it takes ---- */

/* What was tried (test_dnn.c, test_dnn_choose.c), and no more. */
static int can_take(const gpu_attention_args *a, const tn_operand *q)
{
    const int64_t *strides[] = {a->q_stride, a->k_stride, a->v_stride};
    uint64_t bits = a->q | a->k | a->v;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            bits |= 2 * (uint64_t)strides[i][k];
    return q->dtype == TN_BF16 && !a->positions && !a->first &&
           a->cap == 0.0f && a->rows == a->keys && (a->causal || !a->window) &&
           a->key_size % 8 == 0 && a->value_size % 8 == 0 && bits % 16 == 0;
}

/* What decides which is faster, and what a plan is made for. */
static void name_problem(const tn_device *d, const gpu_attention_args *a,
                         int backward, char *text, size_t size)
{
    int at = snprintf(text, size,
                      "%s: %s batch %d rows %d keys %d heads %d %d sizes %d %d "
                      "window %d causal %u",
                      d->card.name, backward ? "attention_bwd" : "attention",
                      a->batch, a->rows, a->keys, a->heads, a->groups,
                      a->key_size, a->value_size, a->window, a->causal);
    const int64_t *strides[] = {a->q_stride, a->k_stride, a->v_stride};
    for (int i = 0; i < 3; i++)
        at += snprintf(text + at, size - (size_t)at, " %lld %lld %lld",
                       (long long)strides[i][0], (long long)strides[i][1],
                       (long long)strides[i][2]);
}

/* ---- choosing ---- */

/* What is kept, that another process may have found before, is what settle()
 * reads. */
static void keep(gpu_cache *cache, const char *problem, const void *code,
                 size_t bytes)
{
    gpu_cache_keep(cache, problem, gpu_hash(problem, strlen(problem)), code,
                   bytes);
}

/* Where no plan can be made, or a trial has no room, nothing is kept: another
 * day it may be otherwise. */
static tn_status choose_anew(tn_device *d, const tn_plan_node *n,
                             const gpu_attention_args *a, int backward,
                             const char *problem, tn_error *err)
{
    gpu_dnn_text texts[CANDIDATES];
    tn_error why = {0};
    int winner;
    const int count = gpu_dnn_recommend(d->dnn, a, backward, texts, CANDIDATES);
    if (!count)
        return TN_OK;
    const tn_status status =
        gpu_dnn_try(d, n, a, backward, problem, texts, count, &winner, &why);
    if (status == TN_OK && winner < 0)
        keep(&d->dnn->chosen, problem, ours, 1);
    else if (status == TN_OK)
        keep(&d->dnn->chosen, problem, texts[winner].bytes,
             (size_t)texts[winner].count);
    for (int i = 0; i < count; i++)
        free(texts[i].bytes);
    if (status == TN_OK || status == TN_ENOMEM)
        return TN_OK;
    return tn_fail(err, status,
                   "backend cuda: trying cuDNN's attention: %s; set backend: "
                   "{plugin: cuda, cudnn: false} to do without it",
                   why.message);
}

static const gpu_dnn_plan *find(const gpu_dnn *dnn, const char *problem)
{
    const gpu_dnn_plan *p = dnn->plans;
    while (p && strcmp(p->problem, problem) != 0)
        p = p->next;
    return p;
}

/* What the cache says, or else one that has no plan: ours. */
static const gpu_dnn_plan *settle(gpu_dnn *dnn, const char *problem)
{
    const gpu_cached *c = gpu_cache_find(&dnn->chosen, problem,
                                         gpu_hash(problem, strlen(problem)));
    gpu_dnn_plan *plan =
        c && c->bytes > 1 ? gpu_dnn_load_plan(dnn, c->code, c->bytes) : NULL;
    char *copy = malloc(strlen(problem) + 1);
    if (!plan)
        plan = calloc(1, sizeof *plan);
    if (!plan || !copy) {
        gpu_dnn_unload_plan(dnn, plan);
        free(copy);
        return NULL;
    }
    plan->problem = strcpy(copy, problem);
    plan->next = dnn->plans;
    return dnn->plans = plan;
}

static int is_known(const gpu_dnn *dnn, const char *problem)
{
    return gpu_cache_find(&dnn->chosen, problem,
                          gpu_hash(problem, strlen(problem))) != NULL;
}

tn_status gpu_dnn_choose(tn_device *d, const tn_plan_node *n,
                         const gpu_attention_args *a, int backward,
                         const gpu_dnn_plan **plan, tn_error *err)
{
    char problem[400];
    *plan = NULL;
    if (!d->cudnn || !can_take(a, &n->in[backward ? 1 : 0]))
        return TN_OK;
    TN_TRY(gpu_enter(d, err));
    if (!d->dnn)
        gpu_dnn_open(d);
    if (!d->dnn) {
        d->cudnn = 0;
        return TN_OK;
    }
    if (d->dnn->is_trial) {
        if (d->dnn->is_backward == (uint32_t)backward)
            *plan = d->dnn->tried;
        return TN_OK;
    }
    if (!d->dnn->chosen.path[0])
        return TN_OK;
    name_problem(d, a, backward, problem, sizeof problem);
    const gpu_dnn_plan *settled = find(d->dnn, problem);
    if (!settled && !is_known(d->dnn, problem))
        TN_TRY(choose_anew(d, n, a, backward, problem, err));
    if (!settled)
        settled = settle(d->dnn, problem);
    if (settled && settled->plan)
        *plan = settled;
    return TN_OK;
}
