/*
 * weights.c - the parameter slab: which weights there are and where each lies.
 *
 * All weights share one slab, so that clipping, all-reduce and AdamW are single
 * nodes. Parameter groups are contiguous stretches of it, and within a group
 * equal shapes stand side by side, in the order of their first use:
 *
 *     | group 0: a (8, 4)  c (8, 4)  b (16)... | group 1: ...
 *
 * Every weight starts at a multiple of 128 elements (TN_ALIGNMENT bytes also
 * where it is a bf16 copy); the gaps are zero and stay zero, for their gradient
 * is. Those that have no bf16 copy come first in their group, those that are
 * read as blocks last: so what decoding in bf16 or in blocks needs of the f32
 * slab is a short stretch at its front.
 *
 * The COPY arena holds the bf16 copies in the slab's order, gaps included:
 * first those that products read, which training has, then those of tables that
 * are only looked up, which it has not (narrow.c); then blocks (blocks.c).
 */
#include <math.h>

#include "graph/passes.h"
#include "model/initialize.h"
#include "model/stack.h"

#define MAX_ELEMENTS ((int64_t)1 << 44)

/* ---- registry ---- */

void tni_weights_begin(tni_model *model)
{
    model->next = 0;
    for (size_t i = 0; i < model->weight_count; i++)
        model->params[i] = TN_NONE;
}

/* The weight's index, weight_count where there is none. Descriptions ask in
 * the same order, so the next one is nearly always the one. */
static size_t find(const tni_model *model, const char *name)
{
    const size_t n = model->weight_count;
    if (model->next < n && !strcmp(model->weights[model->next].name, name))
        return model->next;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(model->weights[i].name, name))
            return i;
    return n;
}

/* Give std its value: 0 means the model's own. */
static tn_init resolve(const tni_model *model, tn_init init)
{
    const double range = model->options.initializer_range;
    if (init.kind == TN_INIT_RESIDUAL)
        return tn_init_normal(range / sqrt(2.0 * (double)model->layer_count));
    if (init.kind == TN_INIT_NORMAL && init.b == 0.0)
        init.b = range;
    return init;
}

/* "(8, 4)" */
static const char *shape_text(const tni_weight *w, char *text, size_t bytes)
{
    size_t used = 0;
    for (uint32_t i = 0; i < w->rank && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%lld",
                                 i ? ", " : "(", (long long)w->shape[i]);
    if (used < bytes)
        snprintf(text + used, bytes - used, ")");
    return text;
}

/* Elements, or 0 where the shape is none that a weight can have. */
static int64_t count_elements(const tni_weight *w)
{
    int64_t n = 1;
    if (w->rank < 1 || w->rank > TN_MAX_RANK)
        return 0;
    for (uint32_t i = 0; i < w->rank; i++)
        if (w->shape[i] < 1 || __builtin_mul_overflow(n, w->shape[i], &n) ||
            n > MAX_ELEMENTS)
            return 0;
    return n;
}

static int declare(tni_model *model, tn_builder *b, const tni_weight *want)
{
    char text[160];
    tni_weight w = *want;
    w.elements =
        tni_weight_is_stack(want) && want->rank < 2 ? 0 : count_elements(want);
    if (!w.elements) {
        b->api->fail(b, want->here, "weight %s: a shape of %s is impossible",
                     want->name, shape_text(want, text, sizeof text));
        return 0;
    }
    if (!model->learning) {
        b->api->fail(b, want->here,
                     "weight %s is asked for here, but not when training",
                     want->name);
        return 0;
    }
    w.name = tni_arena_strdup(model->arena, want->name);
    w.init = resolve(model, want->init);
    size_t params = model->weight_count;
    *TNI_PUSH(model->arena, model->params, params, model->param_capacity) =
        TN_NONE;
    *TNI_PUSH(model->arena, model->weights, model->weight_count,
              model->weight_capacity) = w;
    return 1;
}

static int same_shape(tn_builder *b, const tni_weight *have,
                      const tni_weight *want)
{
    char then[160], now[160];
    if (have->rank == want->rank &&
        !memcmp(have->shape, want->shape, have->rank * sizeof have->shape[0]))
        return 1;
    b->api->fail(b, want->here, "weight %s: has shape %s, asked for as %s",
                 want->name, shape_text(have, then, sizeof then),
                 shape_text(want, now, sizeof now));
    return 0;
}

static tn_tensor leaf_of(tni_graph *g, const tni_weight *w)
{
    const tn_dtype dtype = g->builder.dtype;
    const tn_tensor leaf = tni_graph_leaf(g, TN_OP_PARAM, TN_ARENA_PARAM,
                                          w->offset * tn_dtype_bytes(dtype),
                                          dtype, w->rank, w->shape, w->name);
    tni_value *v = tni_value_of(g, leaf);
    if (leaf.id) {
        v->copied = w->copied;
        v->block_dtype = w->block_dtype;
        v->copy_offset = w->copy_offset;
    }
    return leaf;
}

tn_tensor tni_weight_use(tni_model *model, tni_graph *g, const tni_weight *want)
{
    tn_builder *b = &g->builder;
    if (b->failed)
        return TN_NONE;
    const size_t i = find(model, want->name);
    if (i == model->weight_count && !declare(model, b, want))
        return TN_NONE;
    const tni_weight *w = &model->weights[i];
    if (!same_shape(b, w, want))
        return TN_NONE;
    model->next = i + 1;
    if (tn_is_none(model->params[i]))
        model->params[i] = leaf_of(g, w);
    return model->params[i];
}

const tni_weight *tni_model_weights(const tni_model *model, uint32_t *count)
{
    *count = (uint32_t)model->weight_count;
    return model->weights;
}

const tni_weight *tni_model_weight(const tni_model *model, const char *name)
{
    const size_t i = find(model, name);
    return i < model->weight_count ? &model->weights[i] : NULL;
}

tn_tensor tni_model_param(const tni_model *model, uint32_t i)
{
    return i < model->weight_count ? model->params[i] : TN_NONE;
}

int64_t tni_model_parameter_count(const tni_model *model)
{
    int64_t n = 0;
    for (size_t i = 0; i < model->weight_count; i++)
        n += model->weights[i].elements;
    return n;
}

int tni_weight_is_multiplied(const tni_model *model, const tni_weight *w)
{
    const int embeds = !strcmp(w->name, "model.embed_tokens.weight");
    return w->rank >= 2 && (!embeds || model->options.tie_embeddings);
}

int64_t tni_model_matrix_parameters(const tni_model *model)
{
    int64_t n = 0;
    for (size_t i = 0; i < model->weight_count; i++)
        if (tni_weight_is_multiplied(model, &model->weights[i]))
            n += model->weights[i].elements;
    return n;
}

/* ---- layout ---- */

/* By what they are copied for; then blocks. */
enum { BLOCKS = TNI_COPIED_FOR_PRODUCTS + 1, STOREYS };

static uint32_t storey(const tni_weight *w)
{
    return w->block_dtype ? (uint32_t)BLOCKS : w->copied;
}

/* Elements that are taken: of the slab, and by each storey's weights. */
typedef struct {
    int64_t slab, storey[STOREYS];
} taken;

static int alike(const tni_weight *a, const tni_weight *b)
{
    return a->rank == b->rank && storey(a) == storey(b) &&
           !memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]);
}

/* The copy's place is among those of its storey. */
static void place(tni_weight *w, taken *t)
{
    const int64_t room = tni_weight_aligned(w->elements);
    w->offset = t->slab;
    w->copy_offset = 2 * t->storey[storey(w)];
    t->slab += room;
    t->storey[storey(w)] += room;
}

/* Place weight i of a group and all later ones of the group that are alike. */
static void place_alike(tni_model *model, size_t i, taken *t)
{
    tni_weight *first = &model->weights[i];
    for (size_t j = i; j < model->weight_count; j++) {
        tni_weight *w = &model->weights[j];
        if (w->group == first->group && w->offset < 0 && alike(w, first))
            place(w, t);
    }
}

static void place_lookups_behind_products(tni_model *model, const taken *t)
{
    const int64_t products = 2 * t->storey[TNI_COPIED_FOR_PRODUCTS];
    for (size_t i = 0; i < model->weight_count; i++)
        if (storey(&model->weights[i]) == TNI_COPIED_FOR_LOOKUPS)
            model->weights[i].copy_offset += products;
    model->copy_bytes = products + 2 * t->storey[TNI_COPIED_FOR_LOOKUPS];
}

int64_t tni_model_layout(tni_model *model, const uint32_t *group_of,
                         uint32_t group_count, int64_t *group_first,
                         int64_t *group_elements)
{
    taken t = {0};
    for (size_t i = 0; i < model->weight_count; i++) {
        model->weights[i].group = group_of ? group_of[i] : 0;
        model->weights[i].offset = -1;
    }
    for (uint32_t group = 0; group < group_count; group++) {
        const int64_t first = t.slab;
        for (uint32_t level = 0; level < STOREYS; level++)
            for (size_t i = 0; i < model->weight_count; i++)
                if (model->weights[i].group == group &&
                    storey(&model->weights[i]) == level &&
                    model->weights[i].offset < 0)
                    place_alike(model, i, &t);
        if (group_first)
            group_first[group] = first;
        if (group_elements)
            group_elements[group] = t.slab - first;
    }
    place_lookups_behind_products(model, &t);
    return model->slab_elements = t.slab;
}

int64_t tni_model_slab_elements(const tni_model *model)
{
    return model->slab_elements;
}

/* ---- first values ---- */

void tni_model_initialize(const tni_model *model, uint64_t seed, float *slab)
{
    tni_arena *arena = tni_arena_create();
    uint32_t count;
    const tni_weight *w = tni_model_stored(model, arena, &count);
    memset(slab, 0, (size_t)model->slab_elements * sizeof *slab);
    for (uint32_t i = 0; i < count; i++)
        tni_weight_initialize(&w[i], seed, slab + w[i].offset);
    tni_arena_destroy(arena);
}
