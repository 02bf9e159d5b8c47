/*
 * arch.c - a tiny model of two such layers, on the oracle, in double.
 *
 * What must hold for any decoder layer, whatever its mathematics: gradient
 * reaches every weight and is the slope of the loss; no output depends on a
 * later token or on another sequence, or document where one is told of them;
 * decoding in pieces equals the whole.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <tenon/arch.h>

#include "cli/checks/stage.h"
#include "model/model.h"
#include "run/training.h"

enum { BATCH = 2, TOKENS = 8, VOCABULARY = 29, ROWS = BATCH * TOKENS };

/* ---- the tiny model ---- */

typedef struct tiny {
    const tni_subject *subject;
    tni_model *model;
    int64_t slab;    /* elements */
    double *weights; /* slab of them */
    tni_stage stage;
} tiny;

static tn_status try_model(const tni_subject *s, const char *mlp,
                           const char *entries, tni_model **model,
                           tn_error *err)
{
    tni_yaml *node;
    const char *text = tni_arena_printf(
        s->arena,
        "vocab_size: %d\nhidden_size: 32\nmax_seq_len: %d\nlayers:\n"
        "  - {arch: %s, repeat: 2%s%s}\n",
        VOCABULARY, TOKENS, s->component->name, mlp, entries);
    TN_TRY(tni_config_parse(s->arena, "check-plugin", text, strlen(text), &node,
                            err));
    return tni_model_create(s->arena, s->registry, node, model, err);
}

/* With the first guess for required options that the architecture accepts, and
 * with a feed-forward part if it has one. The first error is the one to tell:
 * that a layer has no mlp is only said when all else is well. */
static tn_status create_model(const tni_subject *s, tni_model **model,
                              tn_error *err)
{
    tn_error first = {0};
    const char *entries;
    for (uint32_t i = 0; (entries = tni_subject_entries(s, i)); i++) {
        tn_error second = {0};
        if (try_model(s, ", intermediate_size: 40", entries, model, &first) ==
                TN_OK ||
            try_model(s, "", entries, model, &second) == TN_OK)
            return TN_OK;
    }
    return tn_fail(err, first.status, "%s", first.message);
}

/* Weights a little away from where they start: a layer whose last projection
 * starts at zero would hide everything before it. */
static void draw_weights(tiny *t)
{
    float *first = calloc((size_t)t->slab, sizeof *first);
    double *noise =
        tni_arena_alloc(t->subject->arena, (size_t)t->slab * sizeof *noise);
    t->weights = tni_arena_alloc(t->subject->arena,
                                 (size_t)t->slab * sizeof *t->weights);
    if (first)
        tni_model_initialize(t->model, 11, first);
    tni_stage_draw(23, 0, -0.1, 0.1, t->slab, noise);
    for (int64_t i = 0; first && i < t->slab; i++)
        t->weights[i] = (double)first[i] + noise[i];
    free(first);
}

static tn_status open_tiny(const tni_subject *s, tiny *t, tn_error *err)
{
    const tn_component *oracle = NULL;
    *t = (tiny){.subject = s};
    TN_TRY(tni_stage_oracle(s, &oracle, err));
    TN_TRY(create_model(s, &t->model, err));
    t->slab = tni_model_slab_elements(t->model);
    draw_weights(t);
    TN_TRY(tni_stage_open(s, oracle, TN_F64, &t->stage, err));
    t->stage.used[TN_ARENA_PARAM] = t->slab * (int64_t)sizeof(double);
    tni_session_reserve(t->stage.session, TN_ARENA_PARAM,
                        t->stage.used[TN_ARENA_PARAM]);
    return TN_OK;
}

static tn_status write_weights(tiny *t, const double *weights, tn_error *err)
{
    const tni_prop slab = {
        .arena = TN_ARENA_PARAM, .dtype = TN_F64, .count = t->slab};
    return tni_stage_write(&t->stage, &slab, weights, err);
}

/* Token ids, as doubles: drawn once, the same in every check. */
static void draw_tokens(double *tokens, uint32_t stream)
{
    tni_stage_draw(5, stream, 0, VOCABULARY, ROWS, tokens);
    for (int i = 0; i < ROWS; i++)
        tokens[i] = floor(tokens[i]);
}

/* ---- a training step: nll of every row, gradient of its sum ---- */

typedef struct training {
    tiny t;
    tni_prop tokens, targets, rng, nll, auxiliary;
    tni_prop first;     /* count 0: rows are one document each */
    tni_prop *gradient; /* by weight; count 0 where none flows */
    tn_here stop;       /* where it stops gradients, if it does */
    const tni_weight *weights;
    uint32_t weight_count;
    uint32_t plan;
} training;

static tni_model_io training_io(training *r, tni_graph *g, int apart)
{
    static const int64_t shape[2] = {BATCH, TOKENS};
    static const int64_t two = 2;
    tni_stage *s = &r->t.stage;
    r->tokens = tni_stage_leaf(s, g, TN_OP_INPUT, TN_ARENA_INPUT, TN_I32, 2,
                               shape, "tokens");
    r->targets = tni_stage_leaf(s, g, TN_OP_INPUT, TN_ARENA_INPUT, TN_I32, 2,
                                shape, "targets");
    r->rng = tni_stage_leaf(s, g, TN_OP_SCALAR, TN_ARENA_SCALAR, TN_I32, 1,
                            &two, "rng");
    if (apart)
        r->first = tni_stage_leaf(s, g, TN_OP_INPUT, TN_ARENA_INPUT, TN_I32, 2,
                                  shape, "first");
    return (tni_model_io){.batch = BATCH,
                          .seq_len = TOKENS,
                          .training = 1,
                          .tokens = r->tokens.leaf,
                          .targets = r->targets.leaf,
                          .first = r->first.leaf,
                          .rng = r->rng.leaf};
}

static tn_status add_gradients(training *r, tni_graph *g,
                               const tni_model_out *out, tn_error *err)
{
    tni_arena *arena = r->t.subject->arena;
    tn_builder *b = &g->builder;
    const int has_auxiliary = !tn_is_none(out->auxiliary);
    const tn_tensor y[2] = {tni_graph_resolve(g, out->nll),
                            tni_graph_resolve(g, out->auxiliary)};
    const tn_tensor seed[2] = {tn_fill(b, 1.0, ROWS), tn_fill(b, 1.0, 1)};
    const uint32_t n = r->weight_count;
    tn_tensor *wrt = tni_arena_alloc(arena, n * sizeof *wrt);
    tn_tensor *dwrt = tni_arena_alloc(arena, n * sizeof *dwrt);
    for (uint32_t i = 0; i < n; i++)
        wrt[i] = tni_model_param(r->t.model, i);
    g->phase = TNI_BACKWARD;
    TN_TRY(tni_differentiate(g, y, seed, has_auxiliary ? 2 : 1, wrt, n, dwrt,
                             err));
    for (uint32_t i = 0; i < n; i++)
        r->gradient[i] = tni_stage_keep(&r->t.stage, g, dwrt[i]);
    return tni_graph_status(g, err);
}

/* The last tn_stop_gradient. */
static tn_here stop_of(const tni_graph *g)
{
    tn_here here = {0};
    for (size_t n = 0; n < g->node_count; n++)
        if (g->nodes[n].desc->number == TN_OP_STOP_GRADIENT)
            here = g->nodes[n].here;
    return here;
}

static tn_status describe_training(training *r, tni_graph *g, int apart,
                                   tn_error *err)
{
    tni_stage *s = &r->t.stage;
    const tni_model_io io = training_io(r, g, apart);
    tni_model_out out = {0};
    tni_model_describe(r->t.model, g, &io, &out);
    TN_TRY(tni_graph_status(g, err));
    r->stop = stop_of(g);
    TN_TRY(tni_fuse(g, &s->session->device.target, err));
    TN_TRY(add_gradients(r, g, &out, err));
    TN_TRY(tni_share_loss(g, err));
    r->nll = tni_stage_keep(s, g, tni_graph_resolve(g, out.nll));
    r->auxiliary = tni_stage_keep(s, g, tni_graph_resolve(g, out.auxiliary));
    return tni_stage_plan(s, g, &r->plan, err);
}

static tn_status open_training_of(const tni_subject *s, int apart, training *r,
                                  tn_error *err)
{
    double targets[ROWS];
    const double rng[2] = {1, 1};
    *r = (training){0};
    TN_TRY(open_tiny(s, &r->t, err));
    r->weights = tni_model_weights(r->t.model, &r->weight_count);
    r->gradient =
        tni_arena_alloc(s->arena, r->weight_count * sizeof *r->gradient);
    tni_graph *g = tni_graph_create(TN_F64);
    const tn_status status = describe_training(r, g, apart, err);
    tni_graph_destroy(g);
    if (status != TN_OK)
        return status;
    TN_TRY(tni_stage_ready(&r->t.stage, err));
    draw_tokens(targets, 1);
    TN_TRY(tni_stage_write(&r->t.stage, &r->targets, targets, err));
    TN_TRY(tni_stage_write(&r->t.stage, &r->rng, rng, err));
    return write_weights(&r->t, r->t.weights, err);
}

static tn_status open_training(const tni_subject *s, training *r, tn_error *err)
{
    return open_training_of(s, 0, r, err);
}

static tn_status run_training(training *r, const double *tokens, double *nll,
                              tn_error *err)
{
    TN_TRY(tni_stage_write(&r->t.stage, &r->tokens, tokens, err));
    TN_TRY(tni_stage_run(&r->t.stage, r->plan, err));
    return tni_stage_read(&r->t.stage, &r->nll, nll, err);
}

/* ---- checks of a training step ---- */

static tn_status check_describes(const tni_subject *s, tn_error *err)
{
    training r;
    double tokens[ROWS], nll[ROWS];
    TN_TRY(open_training(s, &r, err));
    draw_tokens(tokens, 0);
    TN_TRY(run_training(&r, tokens, nll, err));
    tni_stage_close(&r.t.stage);
    for (int i = 0; i < ROWS; i++)
        if (!isfinite(nll[i]) || nll[i] <= 0)
            return tn_fail(err, TN_ENONFINITE,
                           "the loss of row %d is %g; it must be finite and "
                           "above 0",
                           i, nll[i]);
    return TN_OK;
}

static tn_status check_one_gradient(training *r, uint32_t i, tn_error *err)
{
    const tni_weight *w = &r->weights[i];
    double *values = tni_arena_alloc(
        r->t.subject->arena, (size_t)r->gradient[i].count * sizeof *values + 1);
    double largest = 0;
    if (r->gradient[i].count == 0)
        return tn_fail(err, TN_EINVALID,
                       "%s:%d: no gradient reaches %s: it takes no part in "
                       "the loss",
                       w->here.file ? w->here.file : "?", w->here.line,
                       w->name);
    TN_TRY(tni_stage_read(&r->t.stage, &r->gradient[i], values, err));
    for (int64_t j = 0; j < r->gradient[i].count; j++) {
        if (!isfinite(values[j]))
            return tn_fail(err, TN_ENONFINITE, "the gradient of %s is %g",
                           w->name, values[j]);
        largest = fmax(largest, fabs(values[j]));
    }
    if (largest > 0)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "%s:%d: the gradient of %s is 0 everywhere: it cannot learn",
                   w->here.file ? w->here.file : "?", w->here.line, w->name);
}

static tn_status check_reach(const tni_subject *s, tn_error *err)
{
    training r;
    double tokens[ROWS], nll[ROWS];
    TN_TRY(open_training(s, &r, err));
    draw_tokens(tokens, 0);
    TN_TRY(run_training(&r, tokens, nll, err));
    for (uint32_t i = 0; i < r.weight_count; i++)
        TN_TRY(check_one_gradient(&r, i, err));
    tni_stage_close(&r.t.stage);
    return TN_OK;
}

static tn_status loss_at(training *r, const double *weights,
                         const double *tokens, double *loss, tn_error *err)
{
    double nll[ROWS], auxiliary = 0;
    TN_TRY(write_weights(&r->t, weights, err));
    TN_TRY(run_training(r, tokens, nll, err));
    if (r->auxiliary.count)
        TN_TRY(tni_stage_read(&r->t.stage, &r->auxiliary, &auxiliary, err));
    *loss = auxiliary;
    for (int i = 0; i < ROWS; i++)
        *loss += nll[i];
    return TN_OK;
}

static tn_status refuse_slope(const training *r, double measured, double slope,
                              tn_error *err)
{
    if (r->stop.file)
        return tn_fail(err, TNI_CHECK_SKIPPED,
                       "%s:%d stops a gradient (tn_stop_gradient): the loss "
                       "has slope %.9g in a random direction, its gradient "
                       "says %.9g, and whether that is meant cannot be told",
                       r->stop.file, r->stop.line, measured, slope);
    return tn_fail(err, TN_EINVALID,
                   "the loss has slope %.9g in a random direction, its "
                   "gradient says %.9g",
                   measured, slope);
}

/* Along random directions d in weight space, <gradient, d> is the slope of the
 * loss: (L(w + h d) - L(w - h d)) / 2h. A layer that stops gradients may mean
 * another one. */
static tn_status check_slope(const tni_subject *s, tn_error *err)
{
    enum { DIRECTIONS = 3 };
    const double h = 1e-5;
    training r;
    double tokens[ROWS], here, ahead, behind;
    TN_TRY(open_training(s, &r, err));
    draw_tokens(tokens, 0);
    const size_t bytes = (size_t)r.t.slab * sizeof(double);
    double *d = tni_arena_alloc(s->arena, bytes);
    double *moved = tni_arena_alloc(s->arena, bytes);
    double *gradient = tni_arena_alloc(s->arena, bytes);
    TN_TRY(loss_at(&r, r.t.weights, tokens, &here, err));
    for (uint32_t i = 0; i < r.weight_count; i++)
        if (r.gradient[i].count)
            TN_TRY(tni_stage_read(&r.t.stage, &r.gradient[i],
                                  gradient + r.weights[i].offset, err));
    for (uint32_t k = 0; k < DIRECTIONS; k++) {
        double slope = 0, scale = 0;
        tni_stage_draw(31, k, -1, 1, r.t.slab, d);
        for (int64_t i = 0; i < r.t.slab; i++) {
            slope += gradient[i] * d[i];
            scale += fabs(gradient[i] * d[i]);
            moved[i] = r.t.weights[i] + h * d[i];
        }
        TN_TRY(loss_at(&r, moved, tokens, &ahead, err));
        for (int64_t i = 0; i < r.t.slab; i++)
            moved[i] = r.t.weights[i] - h * d[i];
        TN_TRY(loss_at(&r, moved, tokens, &behind, err));
        const double measured = (ahead - behind) / (2 * h);
        if (!(fabs(measured - slope) <= 1e-5 * (scale + fabs(here))))
            return refuse_slope(&r, measured, slope, err);
    }
    tni_stage_close(&r.t.stage);
    return TN_OK;
}

/* Another token at position `at` of row 1: rows before it, and all of row 0,
 * must have the same loss to the last bit. */
static tn_status check_causal(const tni_subject *s, tn_error *err)
{
    training r;
    double tokens[ROWS], changed[ROWS], nll[ROWS], other[ROWS];
    TN_TRY(open_training(s, &r, err));
    draw_tokens(tokens, 0);
    TN_TRY(run_training(&r, tokens, nll, err));
    for (int at = 0; at < TOKENS; at++) {
        memcpy(changed, tokens, sizeof changed);
        changed[TOKENS + at] = fmod(changed[TOKENS + at] + 1, VOCABULARY);
        TN_TRY(run_training(&r, changed, other, err));
        for (int i = 0; i < TOKENS; i++)
            if (memcmp(&nll[i], &other[i], sizeof nll[i]))
                return tn_fail(err, TN_EINVALID,
                               "token %d of one sequence changes the loss at "
                               "%d of another: sequences mix",
                               at, i);
        for (int i = 0; i < at; i++)
            if (memcmp(&nll[TOKENS + i], &other[TOKENS + i], sizeof nll[i]))
                return tn_fail(err, TN_EINVALID,
                               "position %d sees the token at %d, which comes "
                               "after it: the layer is not causal",
                               i, at);
        if (!memcmp(&nll[TOKENS + at], &other[TOKENS + at], sizeof nll[at]))
            return tn_fail(err, TN_EINVALID,
                           "the loss at position %d does not depend on the "
                           "token there",
                           at);
    }
    tni_stage_close(&r.t.stage);
    return TN_OK;
}

/* To rounding: what is cut into chunks adds in another order. */
static int are_close(double x, double y)
{
    return fabs(x - y) <= 1e-9 * (1 + fabs(x));
}

/* Two documents in each row: another token in the first one changes nothing in
 * the second. A layer that says it cannot keep them apart is asked no more. */
static tn_status check_documents(const tni_subject *s, tn_error *err)
{
    enum { SECOND = TOKENS / 2 + 1 };
    training r;
    tn_error why = {0};
    double tokens[ROWS], first[ROWS], nll[ROWS], other[ROWS];
    if (open_training_of(s, 1, &r, &why) != TN_OK)
        return tn_fail(err, TNI_CHECK_SKIPPED, "%s", why.message);
    draw_tokens(tokens, 0);
    for (int i = 0; i < ROWS; i++)
        first[i] = i % TOKENS < SECOND ? 0 : SECOND;
    TN_TRY(tni_stage_write(&r.t.stage, &r.first, first, err));
    TN_TRY(run_training(&r, tokens, nll, err));
    for (int at = 0; at < SECOND; at++)
        tokens[at] = fmod(tokens[at] + 1, VOCABULARY);
    TN_TRY(run_training(&r, tokens, other, err));
    tni_stage_close(&r.t.stage);
    for (int i = SECOND; i < TOKENS; i++)
        if (!are_close(nll[i], other[i]))
            return tn_fail(err, TN_EINVALID,
                           "position %d, of a document that begins at %d, sees "
                           "the one before it",
                           i, SECOND);
    return TN_OK;
}

/* ---- decoding ---- */

/* Logits of `length` new tokens at a time, or of all at once as training sees
 * them (state_len 0). */
typedef struct piece {
    int64_t length;
    tni_prop tokens, positions, logits;
    uint32_t plan;
} piece;

static tn_status describe_piece(tiny *t, tni_graph *g, piece *p, int decodes,
                                tn_error *err)
{
    const int64_t shape[2] = {BATCH, p->length};
    int64_t state_bytes = 0;
    uint32_t state_count;
    tni_model_out out = {0};
    tni_stage *s = &t->stage;
    p->tokens = tni_stage_leaf(s, g, TN_OP_INPUT, TN_ARENA_INPUT, TN_I32, 2,
                               shape, "tokens");
    p->positions = tni_stage_leaf(s, g, TN_OP_INPUT, TN_ARENA_INPUT, TN_I32, 2,
                                  shape, "positions");
    const tni_model_io io = {.batch = BATCH,
                             .seq_len = p->length,
                             .training = !decodes,
                             .tokens = p->tokens.leaf,
                             .positions = decodes ? p->positions.leaf : TN_NONE,
                             .state_len = decodes ? TOKENS : 0};
    tni_model_describe(t->model, g, &io, &out);
    TN_TRY(tni_graph_status(g, err));
    if (decodes) {
        tni_model_states(t->model, &state_count, &state_bytes);
        tni_session_reserve(s->session, TN_ARENA_STATE, state_bytes);
    }
    p->logits = tni_stage_keep(s, g, out.logits);
    return tni_stage_plan(s, g, &p->plan, err);
}

static tn_status plan_piece(tiny *t, piece *p, int64_t length, int decodes,
                            tn_error *err)
{
    tni_graph *g = tni_graph_create(TN_F64);
    p->length = length;
    const tn_status status = describe_piece(t, g, p, decodes, err);
    tni_graph_destroy(g);
    return status;
}

/* How far each sequence is, and how many of its next tokens a run takes: the
 * rest of the piece is padding, at position -1. */
typedef struct progress {
    int64_t done[BATCH], take[BATCH];
} progress;

static int is_padding(const piece *p, const progress *at, int64_t row)
{
    return row % p->length >= at->take[row / p->length];
}

/* Logits go to their places in (BATCH, TOKENS, VOCABULARY). */
static tn_status run_piece(tiny *t, const piece *p, const double *tokens,
                           progress *at, double *logits, tn_error *err)
{
    double part[ROWS], positions[ROWS];
    double answer[ROWS * VOCABULARY];
    int64_t place[ROWS] = {0};
    for (int64_t row = 0; row < BATCH * p->length; row++) {
        const int64_t b = row / p->length;
        const int64_t position = at->done[b] + row % p->length;
        place[row] = b * TOKENS + position;
        part[row] = is_padding(p, at, row) ? 0 : tokens[place[row]];
        positions[row] = is_padding(p, at, row) ? -1 : (double)position;
    }
    TN_TRY(tni_stage_write(&t->stage, &p->tokens, part, err));
    TN_TRY(tni_stage_write(&t->stage, &p->positions, positions, err));
    TN_TRY(tni_stage_run(&t->stage, p->plan, err));
    TN_TRY(tni_stage_read(&t->stage, &p->logits, answer, err));
    for (int64_t row = 0; row < BATCH * p->length; row++)
        if (!is_padding(p, at, row))
            memcpy(logits + place[row] * VOCABULARY, answer + row * VOCABULARY,
                   VOCABULARY * sizeof *logits);
    for (int b = 0; b < BATCH; b++)
        at->done[b] += at->take[b];
    return TN_OK;
}

/* One token of every sequence that has one left; 0 when none has. */
static int take_one(progress *at)
{
    int any = 0;
    for (int b = 0; b < BATCH; b++) {
        at->take[b] = at->done[b] < TOKENS;
        any |= at->take[b] > 0;
    }
    return any;
}

static tn_status compare_logits(const double *whole, const double *pieces,
                                tn_error *err)
{
    double largest = 0;
    for (int i = 0; i < ROWS * VOCABULARY; i++) {
        largest = fmax(largest, fabs(whole[i]));
        if (!are_close(whole[i], pieces[i]))
            return tn_fail(err, TN_EINVALID,
                           "at position %d decoding gives a logit of %.9g, "
                           "the whole sequence %.9g",
                           i / VOCABULARY % TOKENS, pieces[i], whole[i]);
    }
    if (!(largest > 0))
        return tn_fail(err, TN_EINVALID, "all logits are 0");
    return TN_OK;
}

/* Prompts of these lengths, as one piece of `length`; then one by one. */
static tn_status decode_and_compare(const tni_subject *s, int64_t length,
                                    const int64_t prompts[BATCH], tn_error *err)
{
    tiny t;
    piece whole, prompt, single;
    double tokens[ROWS];
    const size_t bytes = ROWS * VOCABULARY * sizeof(double);
    double *expected = tni_arena_alloc(s->arena, bytes);
    double *decoded = tni_arena_alloc(s->arena, bytes);
    progress all = {.take = {TOKENS, TOKENS}};
    progress at = {.take = {prompts[0], prompts[1]}};
    draw_tokens(tokens, 0);
    TN_TRY(open_tiny(s, &t, err));
    TN_TRY(plan_piece(&t, &whole, TOKENS, 0, err));
    TN_TRY(plan_piece(&t, &prompt, length, 1, err));
    TN_TRY(plan_piece(&t, &single, 1, 1, err));
    TN_TRY(tni_stage_ready(&t.stage, err));
    TN_TRY(write_weights(&t, t.weights, err));
    TN_TRY(run_piece(&t, &whole, tokens, &all, expected, err));
    TN_TRY(run_piece(&t, &prompt, tokens, &at, decoded, err));
    while (take_one(&at))
        TN_TRY(run_piece(&t, &single, tokens, &at, decoded, err));
    tni_stage_close(&t.stage);
    return compare_logits(expected, decoded, err);
}

static tn_status check_decoding(const tni_subject *s, tn_error *err)
{
    return decode_and_compare(s, 1, (const int64_t[]){1, 1}, err);
}

static tn_status check_prompt(const tni_subject *s, tn_error *err)
{
    return decode_and_compare(s, 5, (const int64_t[]){5, 5}, err);
}

/* The second sequence is shorter than the piece, and ends later. */
static tn_status check_padding(const tni_subject *s, tn_error *err)
{
    return decode_and_compare(s, 5, (const int64_t[]){5, 3}, err);
}

static const tni_check checks[] = {
    {"describes a training step that runs", check_describes, NULL},
    {"lets gradient reach every weight", check_reach, NULL},
    {"has the gradient that its loss has", check_slope, NULL},
    {"sees no later token and no other sequence", check_causal, NULL},
    {"keeps the documents of a row apart", check_documents, NULL},
    {"decodes token by token what it computes at once", check_decoding, NULL},
    {"decodes on from a prompt what it computes at once", check_prompt, NULL},
    {"lets padded rows leave no trace", check_padding, NULL},
};

const tni_check_list tni_checks_arch = TNI_CHECK_LIST(checks);
