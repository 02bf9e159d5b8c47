/*
 * layer.c - what an architecture calls while it describes one layer.
 *
 * The mode is looked at here and nowhere else. Describing for training, a cache
 * is its rows and a state is none; describing for decoding, both are leaves of
 * the STATE arena that are written in place, one row per position or whole. So
 * one forward function serves both, and the causal rule of attention (which
 * takes positions) makes the two agree.
 *
 * A cache may be stored in bf16 while the graph is f32: it is described as a
 * cast before it is written and a cast behind, and the latter is gone when
 * narrow.c has let its readers take bf16.
 */
#include "model/stack.h"

#include "graph/ops/ops.h"

static tni_scope *scope_of(tn_layer *l)
{
    return (tni_scope *)l;
}

/* ---- weights ---- */

static tn_tensor layer_weight(tn_layer *l, const char *name, uint32_t rank,
                              const int64_t *shape, tn_init init, tn_here here)
{
    tni_scope *s = scope_of(l);
    char full[256];
    snprintf(full, sizeof full, "model.layers.%u.%s", l->index, name);
    tni_weight want = {.name = full,
                       .rank = rank,
                       .init = init,
                       .layer = l->index + 1,
                       .here = here};
    for (uint32_t i = 0; i < rank && i < TN_MAX_RANK; i++)
        want.shape[i] = shape[i];
    return tni_weight_use(s->model, s->g, &want);
}

/* ---- states ---- */

static int same_shape(const tni_state *state, uint32_t rank,
                      const int64_t *shape)
{
    return state->rank == rank &&
           !memcmp(state->shape, shape, rank * sizeof *shape);
}

/* Append a state and its leaf: offsets follow the order of the description,
 * so prefill and decoding with equal batch and length share them. */
static tn_tensor add_state(tni_scope *s, const char *name, tn_dtype dtype,
                           uint32_t rank, const int64_t *shape,
                           int64_t bytes_per_token)
{
    tni_model *m = s->model;
    tni_state state = {.name = tni_arena_strdup(m->arena, name),
                       .dtype = dtype,
                       .rank = rank,
                       .offset = m->state_bytes,
                       .bytes_per_token = bytes_per_token};
    state.rows = s->io->state_rows ? s->io->state_rows : s->io->batch;
    state.bytes = tn_dtype_bytes(state.dtype) * state.rows;
    for (uint32_t i = 0; i < rank; i++) {
        state.shape[i] = shape[i];
        state.bytes *= i ? shape[i] : 1;
    }
    m->state_bytes +=
        (state.bytes + TN_ALIGNMENT - 1) / TN_ALIGNMENT * TN_ALIGNMENT;
    const tn_tensor leaf =
        tni_graph_leaf(s->g, TN_OP_STATE, TN_ARENA_STATE, state.offset,
                       state.dtype, rank, shape, state.name);
    size_t leaves = m->state_count;
    *TNI_PUSH(m->arena, m->state_leaves, leaves, m->leaf_capacity) = leaf;
    *TNI_PUSH(m->arena, m->states, m->state_count, m->state_capacity) = state;
    return leaf;
}

/* The leaf of state `name` of this layer, declared by its first use. */
static tn_tensor state_leaf(tn_layer *l, const char *name, tn_dtype dtype,
                            uint32_t rank, const int64_t *shape,
                            int64_t bytes_per_token, tn_here here)
{
    tni_scope *s = scope_of(l);
    const tni_model *m = s->model;
    char full[256];
    snprintf(full, sizeof full, "layers.%u.%s", l->index, name);
    if (!rank || shape[0] != s->io->batch) {
        l->b->api->fail(l->b, here, "state %s: its first axis is not the batch",
                        full);
        return TN_NONE;
    }
    for (size_t i = 0; i < m->state_count; i++) {
        if (strcmp(m->states[i].name, full))
            continue;
        if (same_shape(&m->states[i], rank, shape))
            return m->state_leaves[i];
        l->b->api->fail(l->b, here,
                        "state %s has another shape than at its first use",
                        full);
        return TN_NONE;
    }
    return add_state(s, full, dtype, rank, shape, bytes_per_token);
}

static tn_tensor layer_cache(tn_layer *l, const char *name, tn_tensor rows,
                             tn_here here)
{
    const tni_scope *s = scope_of(l);
    if (l->training || l->b->failed)
        return rows;
    tn_tensor_info info = tn_info(l->b, rows);
    if (info.rank < 3 || info.shape[0] != s->io->batch ||
        info.shape[1] != s->io->seq_len) {
        l->b->api->fail(l->b, here, "cache %s: rows are not (batch, time, ...)",
                        name);
        return TN_NONE;
    }
    const tn_dtype graph = l->b->dtype;
    const tn_dtype dtype = s->io->cache_dtype ? s->io->cache_dtype : graph;
    int64_t row_bytes = tn_dtype_bytes(dtype);
    for (uint32_t i = 2; i < info.rank; i++)
        row_bytes *= info.shape[i];
    info.shape[1] = s->io->state_len;
    const tn_tensor cache =
        state_leaf(l, name, dtype, info.rank, info.shape, row_bytes, here);
    rows = tni_stored_as(l->b, rows, dtype, here);
    return tni_stored_as(l->b,
                         tn_set_rows_at(l->b, cache, l->positions, rows, here),
                         graph, here);
}

static tn_tensor layer_load(tn_layer *l, const char *name, uint32_t rank,
                            const int64_t *shape, tn_here here)
{
    if (l->training || l->b->failed)
        return TN_NONE;
    return state_leaf(l, name, l->b->dtype, rank, shape, 0, here);
}

/* x, or a copy where x lies on a state, which another store may change. */
static tn_tensor of_its_own(tni_graph *g, tn_tensor x, tn_here here)
{
    const tni_value *owner = &g->values[tni_value_of(g, x)->storage];
    return owner->arena == TN_ARENA_STATE
               ? tn_copy_at(&g->builder, x, TN_DTYPE_NONE, here)
               : x;
}

static void layer_store(tn_layer *l, const char *name, tn_tensor value,
                        tn_here here)
{
    if (l->training || l->b->failed)
        return;
    const tn_tensor_info info = tn_info(l->b, value);
    const tn_tensor leaf =
        state_leaf(l, name, info.dtype, info.rank, info.shape, 0, here);
    tni_scope *s = scope_of(l);
    if (!l->b->failed)
        *TNI_PUSH(s->g->arena, s->stored, s->stored_count, s->stored_capacity) =
            (tni_stored){leaf, of_its_own(s->g, value, here), here};
}

/* What a layer has loaded stays what it was until the layer ends. */
static void assign_stored(tni_scope *s)
{
    for (size_t i = 0; i < s->stored_count && !s->g->builder.failed; i++)
        tn_assign_at(&s->g->builder, s->stored[i].state, s->stored[i].value,
                     s->stored[i].here);
    s->stored_count = 0;
}

/* i32 (B, length): where the last `length` real rows lie in (B, length + T)
 * rows, whose first `length` are real and whose padded rows are last. */
static tn_tensor last_real_rows(tn_layer *l, int64_t B, int64_t T,
                                int64_t length, tn_here here)
{
    tn_builder *b = l->b;
    const tn_tensor is_real =
        tn_with_constant_at(b, TN_MAP_LE, l->positions, 0.0, 1, here);
    const tn_tensor real = tn_broadcast(
        b, tn_reduce_at(b, TN_REDUCE_SUM, is_real, 1u << 1, here), B, length);
    const tn_map_attr attr = {
        .program = {.instruction = {{TN_MAP_INPUT, 0, 0, 0},
                                    {TN_MAP_INDEX, 0, 0, 0},
                                    {TN_MAP_CONST, 0, 0, 0},
                                    {TN_MAP_FMA, 1, 2, 0},
                                    {TN_MAP_INDEX, 1, 0, 0},
                                    {TN_MAP_ADD, 3, 4, 0}},
                    .constant = {(double)(length + T)},
                    .instruction_count = 6,
                    .constant_count = 1,
                    .input_count = 1,
                    .output_count = 1,
                    .output = {5}},
        .dtype = {TN_I32},
    };
    tn_tensor index = TN_NONE;
    tn_map_at(b, &attr, &real, &index, here);
    return index;
}

static tn_tensor layer_window(tn_layer *l, const char *name, tn_tensor rows,
                              int64_t length, tn_here here)
{
    tn_builder *b = l->b;
    const int64_t B = tn_dim(b, rows, 0), T = tn_dim(b, rows, 1);
    const int64_t shape[3] = {B, length, tn_dim(b, rows, 2)};
    const int64_t table[2] = {B * (length + T), shape[2]};
    if (l->training || b->failed)
        return TN_NONE;
    if (tn_rank(b, rows) != 3 || length < 1) {
        b->api->fail(b, here,
                     "window %s: needs rows (batch, time, size) and a length "
                     "of at least 1",
                     name);
        return TN_NONE;
    }
    const tn_tensor leaf = state_leaf(l, name, b->dtype, 3, shape, 0, here);
    const tn_tensor all =
        tn_concat_at(b, 1, 2, (const tn_tensor[]){leaf, rows}, here);
    const tn_tensor kept = tn_gather_rows_at(
        b, tn_shaped_view_at(b, all, TN_VIEW_RESHAPE, 2, table, here),
        last_real_rows(l, B, T, length, here), here);
    tn_assign_at(b, leaf, kept, here);
    return tn_slice_at(b, all, 1, 0, length, here);
}

/* ---- the rest ---- */

static tn_tensor layer_mlp(tn_layer *l, tn_tensor x, tn_here here)
{
    tni_scope *s = scope_of(l);
    const tni_mlp *mlp = &s->spec->mlp;
    s->mlp_used = 1;
    if (mlp->type)
        return mlp->type->forward(l, x, mlp->options);
    l->b->api->fail(l->b, here,
                    "architecture %s has an mlp, but %s describes none; add "
                    "intermediate_size: N, or mlp: {...}",
                    s->spec->arch_name, s->spec->place);
    return TN_NONE;
}

static void layer_auxiliary_loss(tn_layer *l, const char *name, tn_tensor value,
                                 tn_here here)
{
    tni_scope *s = scope_of(l);
    const tn_tensor_info info = tn_info(l->b, value);
    if (!l->training || tn_is_none(s->io->targets) || l->b->failed)
        return;
    if (tn_elements(&info) != 1 || info.rank != 1) {
        l->b->api->fail(l->b, here, "auxiliary loss %s: is not a scalar (1)",
                        name);
        return;
    }
    s->auxiliary =
        tn_is_none(s->auxiliary)
            ? value
            : tn_binary_at(l->b, TN_MAP_ADD, s->auxiliary, value, here);
}

static const tn_layer_api layer_api = {
    .struct_size = sizeof(tn_layer_api),
    .weight = layer_weight,
    .cache = layer_cache,
    .load = layer_load,
    .store = layer_store,
    .mlp = layer_mlp,
    .auxiliary_loss = layer_auxiliary_loss,
    .window = layer_window,
};

static tn_layer handle(const tni_scope *s, uint32_t index)
{
    const tni_model_options *o = &s->model->options;
    const tni_mlp *mlp = &s->spec->mlp;
    return (tn_layer){
        .struct_size = sizeof(tn_layer),
        .index = index,
        .layer_count = (uint32_t)s->model->layer_count,
        .training = s->io->training,
        .api = &layer_api,
        .b = &s->g->builder,
        .hidden_size = o->hidden_size,
        .intermediate_size = mlp->type ? mlp->options->intermediate_size : 0,
        .max_seq_len = o->max_seq_len,
        .norm_eps = o->norm_eps,
        .positions = s->io->training ? TN_NONE : s->io->positions,
        .rng = s->io->rng,
        .first = s->io->training ? s->io->first : TN_NONE,
    };
}

/* The stream must come out as it went in, and a described mlp must be used:
 * what is silently ignored is a wrong experiment. */
static void check_layer(tni_scope *s, tn_tensor x, tn_tensor y)
{
    tn_builder *b = &s->g->builder;
    const tn_tensor_info in = tn_info(b, x), out = tn_info(b, y);
    if (b->failed)
        return;
    if (out.rank != in.rank ||
        memcmp(in.shape, out.shape, in.rank * sizeof in.shape[0]))
        tn_builder_fail(b,
                        "architecture %s does not return (batch, time, "
                        "hidden_size) when it describes %s for %s",
                        s->spec->arch_name, s->spec->place,
                        s->layer.training ? "training" : "decoding");
    else if (s->spec->mlp.type && !s->mlp_used)
        tn_builder_fail(b,
                        "%s: architecture %s has no mlp; remove "
                        "intermediate_size and mlp",
                        s->spec->place, s->spec->arch_name);
}

/* ---- documents ---- */

static int reads(const tni_node *node, tn_tensor x)
{
    for (uint32_t i = 0; i < node->in_count; i++)
        if (node->in[i].id == x.id)
            return 1;
    return 0;
}

/* An op that could keep documents apart and was not told where they begin. */
static int mixes(const tni_node *node)
{
    const uint32_t first = tni_op_documents(node->desc);
    return first && (node->in_count <= first || tn_is_none(node->in[first]));
}

/* What an architecture does not know of would leak from one document into the
 * next, and nobody would see it: a layer that does not read where they begin,
 * in each op that can, is refused. `from`: its first node. */
static void check_documents(tni_scope *s, size_t from)
{
    tn_builder *b = &s->g->builder;
    const tn_tensor first = s->layer.first;
    int read = 0;
    for (size_t n = from; n < s->g->node_count && !b->failed; n++) {
        const tni_node *node = &s->g->nodes[n];
        read |= reads(node, first);
        if (mixes(node))
            tn_builder_fail(b,
                            "architecture %s does not keep the documents of a "
                            "row apart: %s of %s:%d is not told where they "
                            "begin (l->first); train it with segments: false "
                            "in the data",
                            s->spec->arch_name, node->desc->name,
                            node->here.file, node->here.line);
    }
    if (!read && !b->failed)
        tn_builder_fail(b,
                        "architecture %s, %s, does not keep the documents of a "
                        "row apart: nothing in it reads where they begin "
                        "(l->first); train it with segments: false in the data",
                        s->spec->arch_name, s->spec->place);
}

tn_tensor tni_layer_describe(tni_scope *s, uint32_t index, tn_tensor x)
{
    const size_t from = s->g->node_count;
    s->spec = s->model->layers[index];
    s->mlp_used = 0;
    s->layer = handle(s, index);
    s->g->layer = index + 1;
    const tn_tensor y = s->spec->arch->forward(&s->layer, x, s->spec->options);
    assign_stored(s);
    check_layer(s, x, y);
    if (!tn_is_none(s->layer.first) && !s->g->builder.failed)
        check_documents(s, from);
    s->g->layer = 0;
    return y;
}
