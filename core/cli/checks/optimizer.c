/*
 * optimizer.c - one update after the other on the oracle, in double.
 */
#include <math.h>
#include <string.h>
#include <tenon/optimizer.h>

#include "cli/checks/stage.h"

enum { ELEMENTS = 64, STEPS = 6, MIDDLE = 3 };

/* How the elements come: in so many slots of this shape. */
typedef struct cut {
    uint32_t slots, rank;
    int64_t shape[3];
} cut;

static const cut as_matrices = {1, 3, {2, 4, 8}};
static const cut as_slab = {1, 1, {ELEMENTS}};
static const cut as_tables = {2, 2, {4, 8}};

typedef struct update {
    tni_stage stage;
    const tn_optimizer *optimizer;
    tni_prop param, grad, lr, step, state[TN_OPTIMIZER_MAX_STATE];
    uint32_t plan;
} update;

static void place(update *u, tni_graph *g)
{
    const int64_t all = ELEMENTS, one = 1;
    tni_stage *s = &u->stage;
    u->param = tni_stage_leaf(s, g, TN_OP_PARAM, TN_ARENA_PARAM, 0, 1, &all,
                              "parameter");
    u->grad =
        tni_stage_leaf(s, g, TN_OP_SLOT, TN_ARENA_GRAD, 0, 1, &all, "gradient");
    u->lr =
        tni_stage_leaf(s, g, TN_OP_SCALAR, TN_ARENA_SCALAR, 0, 1, &one, "lr");
    u->step =
        tni_stage_leaf(s, g, TN_OP_SCALAR, TN_ARENA_SCALAR, 0, 1, &one, "step");
    for (uint32_t i = 0; i < u->optimizer->state_count; i++)
        u->state[i] = tni_stage_leaf(s, g, TN_OP_SLOT, TN_ARENA_OPTIMIZER, 0, 1,
                                     &all, u->optimizer->state[i].name);
}

/* Of all elements those of slot `i`. */
static tn_tensor part_of(tni_graph *g, tni_prop all, tn_op op, const cut *c,
                         uint32_t i, const char *name)
{
    all.offset += i * (ELEMENTS / c->slots) * tn_dtype_bytes(all.dtype);
    return tni_stage_again(g, &all, op, c->rank, c->shape, name);
}

static tn_status describe(update *u, tni_graph *g, const cut *c,
                          const void *options, tn_error *err)
{
    const tn_optimizer *o = u->optimizer;
    place(u, g);
    for (uint32_t i = 0; i < c->slots; i++) {
        tn_slot slot = {
            .struct_size = (uint32_t)sizeof slot,
            .param = part_of(g, u->param, TN_OP_PARAM, c, i, "parameter"),
            .grad = part_of(g, u->grad, TN_OP_SLOT, c, i, "gradient"),
            .lr = u->lr.leaf,
            .step = u->step.leaf,
        };
        for (uint32_t k = 0; k < o->state_count; k++)
            slot.state[k] =
                part_of(g, u->state[k], TN_OP_SLOT, c, i, o->state[k].name);
        o->step(&g->builder, &slot, options);
    }
    return tni_graph_status(g, err);
}

static tn_status open_update_so(const tni_subject *subject, const cut *c,
                                update *u, tn_error *err)
{
    const tn_component *oracle = NULL;
    const void *options = NULL;
    u->optimizer = subject->component->vtable;
    TN_TRY(tni_stage_oracle(subject, &oracle, err));
    TN_TRY(tni_subject_options(subject, &options, err));
    TN_TRY(tni_stage_open(subject, oracle, TN_F64, &u->stage, err));
    tni_graph *g = tni_graph_create(TN_F64);
    tn_status status = describe(u, g, c, options, err);
    if (status == TN_OK)
        status = tni_stage_plan(&u->stage, g, &u->plan, err);
    tni_graph_destroy(g);
    if (status == TN_OK)
        status = tni_stage_ready(&u->stage, err);
    return status;
}

static tn_status open_update(const tni_subject *subject, update *u,
                             tn_error *err)
{
    const tn_optimizer *o = subject->component->vtable;
    return open_update_so(subject, o->per_matrix ? &as_matrices : &as_slab, u,
                          err);
}

/* Gradients differ from step to step, and are the same in every run. */
static tn_status run_step(update *u, int step, tn_error *err)
{
    double gradient[ELEMENTS];
    const double number = step + 1, lr = 0.01;
    tni_stage_draw(7, (uint32_t)step, -1, 1, ELEMENTS, gradient);
    TN_TRY(tni_stage_write(&u->stage, &u->grad, gradient, err));
    TN_TRY(tni_stage_write(&u->stage, &u->step, &number, err));
    TN_TRY(tni_stage_write(&u->stage, &u->lr, &lr, err));
    return tni_stage_run(&u->stage, u->plan, err);
}

/* Everything that a checkpoint holds. */
typedef struct saved {
    double param[ELEMENTS];
    double state[TN_OPTIMIZER_MAX_STATE][ELEMENTS];
} saved;

static tn_status save(update *u, saved *to, tn_error *err)
{
    memset(to, 0, sizeof *to);
    TN_TRY(tni_stage_read(&u->stage, &u->param, to->param, err));
    for (uint32_t i = 0; i < u->optimizer->state_count; i++)
        TN_TRY(tni_stage_read(&u->stage, &u->state[i], to->state[i], err));
    return TN_OK;
}

static tn_status restore(update *u, const saved *from, tn_error *err)
{
    TN_TRY(tni_stage_write(&u->stage, &u->param, from->param, err));
    for (uint32_t i = 0; i < u->optimizer->state_count; i++)
        TN_TRY(tni_stage_write(&u->stage, &u->state[i], from->state[i], err));
    return TN_OK;
}

static void first_values(saved *s)
{
    memset(s, 0, sizeof *s);
    tni_stage_draw(3, 0, -0.5, 0.5, ELEMENTS, s->param);
}

/* ---- the checks ---- */

static tn_status check_states(const tni_subject *s, tn_error *err)
{
    const tn_optimizer *o = s->component->vtable;
    if (o->state_count > TN_OPTIMIZER_MAX_STATE)
        return tn_fail(err, TN_EINVALID, "it asks for %u states; there are %d",
                       o->state_count, TN_OPTIMIZER_MAX_STATE);
    for (uint32_t i = 0; i < o->state_count; i++) {
        if (!o->state[i].name || !o->state[i].name[0])
            return tn_fail(err, TN_EINVALID, "state %u has no name", i);
        for (uint32_t j = 0; j < i; j++)
            if (!strcmp(o->state[i].name, o->state[j].name))
                return tn_fail(err, TN_EINVALID, "two states are called %s",
                               o->state[i].name);
    }
    return TN_OK;
}

static tn_status check_finite(const double *values, const char *what,
                              tn_error *err)
{
    for (int i = 0; i < ELEMENTS; i++)
        if (!isfinite(values[i]))
            return tn_fail(err, TN_ENONFINITE, "%s[%d] is %g after %d steps",
                           what, i, values[i], STEPS);
    return TN_OK;
}

static tn_status check_steps(const tni_subject *s, tn_error *err)
{
    update u = {0};
    saved values;
    TN_TRY(open_update(s, &u, err));
    first_values(&values);
    TN_TRY(restore(&u, &values, err));
    for (int step = 0; step < STEPS; step++)
        TN_TRY(run_step(&u, step, err));
    TN_TRY(save(&u, &values, err));
    tni_stage_close(&u.stage);
    TN_TRY(check_finite(values.param, "the parameter", err));
    for (uint32_t i = 0; i < u.optimizer->state_count; i++)
        TN_TRY(check_finite(values.state[i], u.optimizer->state[i].name, err));
    return TN_OK;
}

/* From zero, so that decay has nothing to pull at. */
static tn_status check_direction(const tni_subject *s, tn_error *err)
{
    update u = {0};
    saved values = {0};
    double gradient[ELEMENTS], along = 0;
    TN_TRY(open_update(s, &u, err));
    TN_TRY(restore(&u, &values, err));
    TN_TRY(run_step(&u, 0, err));
    TN_TRY(save(&u, &values, err));
    tni_stage_close(&u.stage);
    tni_stage_draw(7, 0, -1, 1, ELEMENTS, gradient);
    for (int i = 0; i < ELEMENTS; i++)
        along += gradient[i] * values.param[i];
    if (along < 0)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "the first step goes up the gradient: step times gradient "
                   "is %g",
                   along);
}

static tn_status check_resume(const tni_subject *s, tn_error *err)
{
    update whole = {0}, before = {0}, after = {0};
    saved first, end, middle, resumed;
    first_values(&first);
    TN_TRY(open_update(s, &whole, err));
    TN_TRY(restore(&whole, &first, err));
    for (int step = 0; step < STEPS; step++)
        TN_TRY(run_step(&whole, step, err));
    TN_TRY(save(&whole, &end, err));
    tni_stage_close(&whole.stage);

    TN_TRY(open_update(s, &before, err));
    TN_TRY(restore(&before, &first, err));
    for (int step = 0; step < MIDDLE; step++)
        TN_TRY(run_step(&before, step, err));
    TN_TRY(save(&before, &middle, err));
    tni_stage_close(&before.stage);

    TN_TRY(open_update(s, &after, err));
    TN_TRY(restore(&after, &middle, err));
    for (int step = MIDDLE; step < STEPS; step++)
        TN_TRY(run_step(&after, step, err));
    TN_TRY(save(&after, &resumed, err));
    tni_stage_close(&after.stage);
    if (!memcmp(&end, &resumed, sizeof end))
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "%d steps, saved, restored and %d more give other bits than "
                   "%d steps: something is kept that is no state",
                   MIDDLE, STEPS - MIDDLE, STEPS);
}

/* The core cuts slots where it likes: before a table of which few rows are
 * looked up, before weights with bf16 copies. */
static tn_status check_cuts(const tni_subject *s, tn_error *err)
{
    static const cut *const cuts[2] = {&as_slab, &as_tables};
    const tn_optimizer *o = s->component->vtable;
    saved after[2];
    if (o->per_matrix)
        return tn_fail(err, TNI_CHECK_SKIPPED, "it works matrix by matrix");
    for (int i = 0; i < 2; i++) {
        update u = {0};
        first_values(&after[i]);
        TN_TRY(open_update_so(s, cuts[i], &u, err));
        TN_TRY(restore(&u, &after[i], err));
        for (int step = 0; step < STEPS; step++)
            TN_TRY(run_step(&u, step, err));
        TN_TRY(save(&u, &after[i], err));
        tni_stage_close(&u.stage);
    }
    if (!memcmp(&after[0], &after[1], sizeof after[0]))
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "%d parameters in one slot and as two tables get other "
                   "values: slots are cut as the core likes, and nothing may "
                   "depend on their shape; .per_matrix = 1 hands over whole "
                   "matrices",
                   ELEMENTS);
}

static const tni_check checks[] = {
    {"names its states, each differently", check_states, NULL},
    {"describes a step that runs and stays finite", check_steps, NULL},
    {"steps against the gradient", check_direction, NULL},
    {"resumes from its saved state bit for bit", check_resume, NULL},
    {"works element by element, however slots are cut", check_cuts, NULL},
};

const tni_check_list tni_checks_optimizer = TNI_CHECK_LIST(checks);
