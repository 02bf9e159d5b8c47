/*
 * update.c - from the summed gradients to new parameters, as one graph.
 *
 *     loss  = loss_sum / tokens
 *     norm  = sqrt(sum g^2) / tokens               the global norm
 *     scale = min(1, clip / (norm + 1e-6)) / tokens    PyTorch's clipping
 *     ok    = finite(loss) and finite(norm), and no step before was not
 *     optimizer.step(param, g * scale, state)      for each group
 *
 * The optimizers run behind a guard: every assignment one of them describes
 * becomes select(ok, new, old). So a step with a bad loss changes nothing, nor
 * does the one that was started before the host knew of it, and an optimizer's
 * author need not think of it. Where precision is bf16 the guard
 * writes the bf16 copies besides, wherever an optimizer assigns parameters that
 * have them, or a part of them.
 */
#include "run/training.h"

#include "graph/ops/ops.h"

/* The builder's own table, with `op` replaced. A builder knows the guard by its
 * table: the guard begins with it. */
typedef struct {
    tn_builder_api api;
    const tn_builder_api *inner;
    tn_tensor ok;
    tn_tensor param, copy; /* copy: in bf16, or none */
} guard;

/* Where writing x writes to: x's own place, or that of which it is a view. */
static const tni_value *owner_of(const tn_builder *b, tn_tensor x)
{
    const tni_graph *g = (const tni_graph *)(const void *)b;
    return &g->values[tni_value_of(g, x)->storage];
}

/* Of the parameters, now that x of them has been assigned. */
static void renew_copy(tn_builder *b, const guard *self, tn_tensor x,
                       tn_tensor value, tn_here here)
{
    if (!self->copy.id || owner_of(b, x) != owner_of(b, self->param))
        return;
    if (x.id != self->param.id) /* a view: of all, whatever it leaves out */
        value = self->param;
    tn_assign_at(b, self->copy, tni_stored_as(b, value, TN_BF16, here), here);
}

/* Rows are written whatever the loss was. */
static void refuse_rows(tn_builder *b, tn_tensor x, tn_here here)
{
    const tni_value *owner = owner_of(b, x);
    if (owner->arena)
        b->api->fail(b, here,
                     "set_rows: an optimizer changes %s by tn_assign, which "
                     "changes nothing where the loss is not finite",
                     owner->name);
}

static void guarded_op(tn_builder *b, tn_op op, const tn_tensor *in,
                       uint32_t in_count, const void *attr, uint32_t attr_size,
                       tn_tensor *out, uint32_t out_count, tn_here here)
{
    const guard *self = (const guard *)(const void *)b->api;
    tn_tensor kept[2];
    b->api = self->inner;
    if (op == TN_OP_ASSIGN && in_count == 2) {
        kept[0] = in[0];
        kept[1] = tn_ternary_at(b, TN_MAP_SELECT, self->ok, in[1], in[0], here);
        in = kept;
    }
    b->api->op(b, op, in, in_count, attr, attr_size, out, out_count, here);
    if (op == TN_OP_ASSIGN && !b->failed)
        renew_copy(b, self, in[0], in[1], here);
    if (op == TN_OP_SET_ROWS && !b->failed)
        refuse_rows(b, in[0], here);
    b->api = &self->api;
}

static guard guard_of(const tn_builder *b, tn_tensor ok, tn_tensor param,
                      tn_tensor copy)
{
    guard self = {.api = *b->api,
                  .inner = b->api,
                  .ok = ok,
                  .param = param,
                  .copy = copy};
    self.api.op = guarded_op;
    return self;
}

/* A stretch of a slab: `shape` from element `first` on. */
typedef struct {
    uint32_t rank;
    int64_t shape[TN_MAX_RANK];
    int64_t first; /* in the slab */
    int64_t uses;  /* of a table's rows (lookups.c); 0: it is none */
} stretch;

static tn_tensor slab_leaf(tni_graph *g, tn_op op, tn_arena arena,
                           int64_t offset, const stretch *s, const char *name)
{
    return tni_graph_leaf(g, op, arena, offset, g->builder.dtype, s->rank,
                          s->shape, name);
}

/* The weight of group that begins at `offset`, or NULL. */
static const tni_weight *weight_at(const tni_training *t, uint32_t group,
                                   int64_t offset)
{
    uint32_t count;
    const tni_weight *w = tni_model_weights(t->recipe->model, &count);
    for (uint32_t i = 0; i < count; i++)
        if (t->recipe->group_of[i] == group && w[i].offset == offset)
            return &w[i];
    return NULL;
}

/* From element `first` on, which is before `end`: a table whose gradient is
 * valid where its rows are used, or all up to the next one. */
static stretch stretch_from(const tni_training *t, int64_t first, int64_t end)
{
    stretch s = {.rank = 1, .shape = {end - first}, .first = first};
    uint32_t count;
    const tni_weight *w = tni_model_weights(t->recipe->model, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (!t->uses[i] || w[i].offset < first)
            continue;
        if (w[i].offset == first)
            return (stretch){.rank = 2,
                             .shape = {w[i].shape[0], w[i].shape[1]},
                             .first = first,
                             .uses = t->uses[i]};
        if (w[i].offset < first + s.shape[0])
            s.shape[0] = w[i].offset - first;
    }
    return s;
}

/* Where the weights behind it begin. */
static int64_t behind(const stretch *s)
{
    int64_t elements = 1;
    for (uint32_t i = 0; i < s->rank; i++)
        elements *= s->shape[i];
    return tni_weight_aligned(s->first + elements);
}

static tn_tensor gradients_of(const tni_training *t, tni_graph *g,
                              const stretch *s)
{
    const tn_tensor all =
        slab_leaf(g, TN_OP_SLOT, TN_ARENA_GRAD,
                  s->first * t->session->real_bytes, s, "gradients");
    return s->uses ? tni_lookups_read(t, g, s->uses, all) : all;
}

/* The bf16 copies of a stretch whose weights all have one, or none has. */
static tn_tensor copy_leaf(const tni_training *t, tni_graph *g, uint32_t group,
                           const stretch *s)
{
    const tni_weight *w = weight_at(t, group, s->first);
    if (!tni_session_copies(t->session, w))
        return TN_NONE;
    return tni_graph_leaf(g, TN_OP_PARAM, TN_ARENA_COPY, w->copy_offset,
                          TN_BF16, s->rank, s->shape, "bf16 copies");
}

static void describe_slot(const tni_training *t, tni_graph *g, uint32_t group,
                          const stretch *s, tn_tensor scale, tn_tensor ok)
{
    const tni_group *of = &t->recipe->groups[group];
    const tn_optimizer *o = of->optimizer.vtable;
    const int64_t real = t->session->real_bytes;
    tn_builder *b = &g->builder;
    tn_slot slot = {
        .struct_size = sizeof slot,
        .param = slab_leaf(g, TN_OP_PARAM, TN_ARENA_PARAM, s->first * real, s,
                           "parameters"),
        .lr = tni_scalar_leaf(g, TNI_SCALAR_LR + group),
        .step = tni_scalar_leaf(g, TNI_SCALAR_STEP),
    };
    slot.grad = tn_mul(b, gradients_of(t, g, s), scale);
    for (uint32_t i = 0; i < o->state_count; i++)
        slot.state[i] =
            slab_leaf(g, TN_OP_SLOT, TN_ARENA_OPTIMIZER,
                      t->state_offset[group * TN_OPTIMIZER_MAX_STATE + i] +
                          (s->first - of->first) * real,
                      s, o->state[i].name);

    guard self = guard_of(b, ok, slot.param, copy_leaf(t, g, group, s));
    b->api = &self.api;
    o->step(b, &slot, of->optimizer.options);
    b->api = self.inner;
}

static int are_alike(const tni_weight *a, const tni_weight *b)
{
    if (a->rank != b->rank || a->copied != b->copied)
        return 0;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i])
            return 0;
    return 1;
}

/* (m, rows, cols): this weight and those like it that follow without a gap. */
static stretch matrices_from(const tni_training *t, uint32_t group,
                             const tni_weight *w)
{
    const int experts = w->rank == 3;
    stretch s = {.rank = 3,
                 .shape = {experts ? w->shape[0] : 1, w->shape[w->rank - 2],
                           w->shape[w->rank - 1]},
                 .first = w->offset};
    const int64_t each = s.shape[0];
    for (int64_t end = w->offset + w->elements;; end += w->elements) {
        const tni_weight *next = weight_at(t, group, end);
        if (!next || !are_alike(next, w))
            return s;
        s.shape[0] += each;
    }
}

static void describe_matrices(const tni_training *t, tni_graph *g,
                              uint32_t group, tn_tensor scale, tn_tensor ok)
{
    const tni_group *of = &t->recipe->groups[group];
    for (int64_t at = of->first; at < of->first + of->elements;) {
        const stretch s = matrices_from(t, group, weight_at(t, group, at));
        describe_slot(t, g, group, &s, scale, ok);
        at = behind(&s);
    }
}

/* Where in the group the weights begin that have bf16 copies. */
static int64_t first_copied(const tni_training *t, uint32_t group)
{
    const tni_group *of = &t->recipe->groups[group];
    int64_t first = of->first + of->elements;
    uint32_t count;
    const tni_weight *w = tni_model_weights(t->recipe->model, &count);
    for (uint32_t i = 0; i < count; i++)
        if (w[i].group == group && tni_session_copies(t->session, &w[i]) &&
            w[i].offset < first)
            first = w[i].offset;
    return first;
}

static void describe_between(const tni_training *t, tni_graph *g,
                             uint32_t group, int64_t first, int64_t end,
                             tn_tensor scale, tn_tensor ok)
{
    while (first < end) {
        const stretch s = stretch_from(t, first, end);
        describe_slot(t, g, group, &s, scale, ok);
        first = behind(&s);
    }
}

static void describe_group(const tni_training *t, tni_graph *g, uint32_t group,
                           tn_tensor scale, tn_tensor ok)
{
    const tni_group *of = &t->recipe->groups[group];
    const tn_optimizer *o = of->optimizer.vtable;
    const int64_t copied = first_copied(t, group);
    if (o->per_matrix) {
        describe_matrices(t, g, group, scale, ok);
        return;
    }
    describe_between(t, g, group, of->first, copied, scale, ok);
    describe_between(t, g, group, copied, of->first + of->elements, scale, ok);
}

/* Of all gradients. */
static tn_tensor sum_of_squares(const tni_training *t, tni_graph *g)
{
    tn_builder *b = &g->builder;
    tn_tensor sum = TN_NONE;
    for (int64_t first = 0; first < t->slab_elements;) {
        const stretch s = stretch_from(t, first, t->slab_elements);
        const tn_tensor x = gradients_of(t, g, &s);
        const tn_tensor part = tn_sum(b, tn_square(b, x), tn_all_axes(b, x));
        sum = tn_is_none(sum) ? part : tn_add(b, sum, part);
        first = behind(&s);
    }
    return tn_reshape(b, sum, 1);
}

static tn_tensor clip_scale(tn_builder *b, tn_tensor norm, tn_tensor tokens,
                            double clip)
{
    if (clip <= 0.0)
        return tn_rdiv(b, 1.0, tokens);
    const tn_tensor coefficient =
        tn_at_most(b, tn_rdiv(b, clip, tn_shift(b, norm, 1e-6)), 1.0);
    return tn_div(b, coefficient, tokens);
}

void tni_describe_update(const tni_training *t, tni_graph *g)
{
    tn_builder *b = &g->builder;
    g->phase = TNI_UPDATE;

    /* a step without a single target divides by 1 and changes little */
    const tn_tensor tokens =
        tn_at_least(b, tni_metric_leaf(g, TNI_METRIC_TOKENS), 1.0);
    const tn_tensor norm = tn_div(b, tn_sqrt(b, sum_of_squares(t, g)), tokens);
    const tn_tensor loss =
        tn_div(b, tni_metric_leaf(g, TNI_METRIC_LOSS_SUM), tokens);
    const tn_tensor went_well =
        tn_rsub(b, 1.0, tni_metric_leaf(g, TNI_METRIC_FAILED));
    const tn_tensor ok =
        tn_and(b, went_well, tn_and(b, tn_finite(b, loss), tn_finite(b, norm)));
    const tn_tensor scale =
        clip_scale(b, norm, tokens, t->recipe->train.grad_clip);

    for (uint32_t group = 0; group < t->recipe->group_count; group++)
        describe_group(t, g, group, scale, ok);
    tni_metric_set(g, TNI_METRIC_LOSS, loss);
    tni_metric_set(g, TNI_METRIC_GRAD_NORM, norm);
    tni_metric_set(g, TNI_METRIC_OK, ok);
    tni_metric_set(g, TNI_METRIC_FAILED, tn_rsub(b, 1.0, ok));
    tni_metric_set(
        g, TNI_METRIC_AUXILIARY,
        tn_div(b, tni_metric_leaf(g, TNI_METRIC_AUXILIARY_SUM), tokens));
}
