/*
 * stack.h - a small decoder as an architecture would describe it, for passes
 * that need layers: norm, attention with rope, a gated MLP, residuals, the
 * fused head.
 */
#ifndef TN_STACK_H
#define TN_STACK_H

#include "passes_support.h"

enum { STACK_MAX_WEIGHTS = 128 };

typedef struct stack {
    int64_t batch, length, vocabulary, hidden, heads, inner;
    uint32_t layers;
    double dropout;
    int tied;
} stack;

typedef struct stack_graph {
    leaves l;
    tn_tensor weight[STACK_MAX_WEIGHTS], gradient[STACK_MAX_WEIGHTS];
    uint32_t weights;
    tn_tensor loss; /* (1), the sum over rows */
    tn_tensor rng;
} stack_graph;

static inline tn_tensor stack_weight(stack_graph *s, const char *name,
                                     uint32_t rank, const int64_t *shape)
{
    const tn_tensor w = add_leaf(&s->l, TN_OP_PARAM, TN_ARENA_PARAM,
                                 s->l.g->builder.dtype, name, rank, shape);
    s->weight[s->weights++] = w;
    return w;
}

static inline tn_tensor stack_attention(stack_graph *s, const stack *k,
                                        tn_tensor x)
{
    tn_builder *b = &s->l.g->builder;
    const int64_t head = k->hidden / k->heads;
    const tn_tensor wqkv =
        stack_weight(s, "wqkv", SHAPE(3 * k->hidden, k->hidden));
    const tn_tensor wo = stack_weight(s, "wo", SHAPE(k->hidden, k->hidden));
    const tn_tensor qkv = tn_reshape(b, tn_linear(b, x, wqkv), k->batch,
                                     k->length, 3 * k->heads, head);
    tn_tensor q = tn_slice(b, qkv, 2, 0, k->heads);
    tn_tensor key = tn_slice(b, qkv, 2, k->heads, k->heads);
    const tn_tensor v = tn_slice(b, qkv, 2, 2 * k->heads, k->heads);
    q = tn_rope(b, q, TN_NONE, .theta = 10000);
    key = tn_rope(b, key, TN_NONE, .theta = 10000);
    const tn_tensor o = tn_attention(b, q, key, v, TN_NONE, .scale = 0);
    return tn_linear(b, tn_reshape(b, o, k->batch, k->length, k->hidden), wo);
}

static inline tn_tensor stack_mlp(stack_graph *s, const stack *k, tn_tensor x)
{
    tn_builder *b = &s->l.g->builder;
    const tn_tensor gate = stack_weight(s, "gate", SHAPE(k->inner, k->hidden));
    const tn_tensor up = stack_weight(s, "up", SHAPE(k->inner, k->hidden));
    const tn_tensor down = stack_weight(s, "down", SHAPE(k->hidden, k->inner));
    const tn_tensor g = tn_silu(b, tn_linear(b, x, gate));
    return tn_linear(b, tn_mul(b, g, tn_linear(b, x, up)), down);
}

static inline tn_tensor stack_layer(stack_graph *s, const stack *k, tn_tensor x)
{
    tn_builder *b = &s->l.g->builder;
    const tn_tensor n1 = stack_weight(s, "norm1", SHAPE(k->hidden));
    tn_tensor a = stack_attention(s, k, tn_rms_norm(b, x, n1, 1e-5));
    if (k->dropout > 0.0)
        a = tn_dropout(b, a, s->rng, k->dropout);
    x = tn_add(b, x, a);
    const tn_tensor n2 = stack_weight(s, "norm2", SHAPE(k->hidden));
    return tn_add(b, x, stack_mlp(s, k, tn_rms_norm(b, x, n2, 1e-5)));
}

/* Forward, with the loss assigned to a metric. */
static inline stack_graph stack_describe(const stack *k, tn_dtype dtype)
{
    stack_graph s = {.l = {.g = tni_graph_create(dtype)}};
    tn_builder *b = &s.l.g->builder;
    const tn_tensor tokens = INDEX(&s.l, "tokens", k->batch, k->length);
    const tn_tensor targets = INDEX(&s.l, "targets", k->batch, k->length);
    s.rng = INDEX(&s.l, "rng", 2);
    const tn_tensor embed =
        stack_weight(&s, "embed", SHAPE(k->vocabulary, k->hidden));
    tn_tensor x = tn_gather_rows(b, embed, tokens);
    for (uint32_t i = 0; i < k->layers; i++) {
        s.l.g->layer = i + 1;
        x = stack_layer(&s, k, x);
    }
    s.l.g->layer = 0;
    const tn_tensor norm = stack_weight(&s, "norm", SHAPE(k->hidden));
    const tn_tensor head =
        k->tied ? embed
                : stack_weight(&s, "head", SHAPE(k->vocabulary, k->hidden));
    const tn_tensor rows =
        tn_reshape(b, tn_rms_norm(b, x, norm, 1e-5), -1, k->hidden);
    const tn_tensor nll =
        tn_linear_cross_entropy(b, rows, head, tn_reshape(b, targets, -1), 0.0);
    s.loss = tn_sum(b, nll, 1u);
    want(&s.l, s.loss);
    return s;
}

typedef struct stack_how {
    const tni_target *target;
    int again;     /* add to the gradients that are there */
    int recompute; /* by layer */
    int no_fuse;
} stack_how;

static inline void stack_fuse(stack_graph *s, const stack_how *how)
{
    if (!how->no_fuse)
        fuse(s->l.g, how->target);
}

/* The whole way of a training graph, all invariants checked on it. */
static inline void stack_train(stack_graph *s, const stack_how *how)
{
    tni_graph *g = s->l.g;
    tn_builder *b = &g->builder;
    stack_fuse(s, how);
    const tn_tensor loss = tni_graph_resolve(g, s->loss);
    differentiate(g, loss, s->weight, s->weights, s->gradient);
    g->phase = TNI_BACKWARD;
    for (uint32_t i = 0; i < s->weights; i++) {
        const tn_tensor_info info = tn_info(b, s->weight[i]);
        const tn_tensor slot =
            add_leaf(&s->l, TN_OP_SLOT, TN_ARENA_GRAD, info.dtype, "grad",
                     info.rank, info.shape);
        assert_false(tn_is_none(s->gradient[i]));
        tn_assign(b, slot,
                  how->again ? tn_add(b, slot, s->gradient[i])
                             : s->gradient[i]);
    }
    g->phase = TNI_FORWARD;
    share_loss(g);
    if (how->recompute)
        recompute(g);
    lower(g, how->target);
    stack_fuse(s, how);
    tn_error err = TN_ERROR_NONE;
    tn_assert_ok_err(tni_graph_verify_dense(g, &err), err);
}

#endif
