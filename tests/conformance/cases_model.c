/*
 * cases_model.c - the composites, with every attribute they have, and a whole
 * layer of a transformer, where they meet.
 */
#include "cases.h"

/* ---- norms ---- */

/* (.., columns) of rank 1 to 4 */
static void add_rows_leaf(dice *d, op_case *c)
{
    const uint32_t rank = 1 + roll(d, 4);
    int64_t shape[4], left = d->work;
    for (uint32_t i = rank; i-- > 0;)
        shape[i] = take_size(d, &left);
    add_leaf(c, rank, shape);
    wants(c, 0);
    c->length = shape[rank - 1];
    c->gradient_length = tn_rig_leaf_count(&c->rig.in[0]);
}

static void describe_rms_norm(tn_builder *b, const tn_tensor *in,
                              tn_tensor *out, const void *data)
{
    const with *w = data;
    out[0] = tn_rms_norm(b, in[0], in[1], w->real);
}

void draw_rms_norm(dice *d, op_case *c, uint32_t parameter)
{
    (void)parameter;
    c->with.real = chance(d, 2) ? 1e-5 : 1e-2;
    c->rig.describe = describe_rms_norm;
    add_rows_leaf(d, c);
    ADD_LEAF(c, c->length)->op = TN_OP_PARAM;
    c->rig.in[0].low = 0.25; /* rows of one element have steep gradients */
    c->rig.in[0].high = 2.0;
    wants(c, 1);
}

static void describe_softmax(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                             const void *data)
{
    const with *w = data;
    out[0] = tn_softmax(b, tn_scale(b, in[0], w->real));
}

void draw_softmax(dice *d, op_case *c, uint32_t parameter)
{
    (void)parameter;
    c->with.real = chance(d, 3) ? 20.0 : 2.0;
    c->rig.describe = describe_softmax;
    add_rows_leaf(d, c);
}

/* ---- rope ---- */

static void describe_rope(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *data)
{
    const with *w = data;
    out[0] = tn_rope_at(b, in[0], w->variant ? in[1] : TN_NONE, &w->attr.rope,
                        TN_HERE);
}

void draw_rope(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work / 2 + 1;
    const int64_t half = take_size(d, &left), steps = take_size(d, &left);
    const int64_t heads = take_size(d, &left), batch = take_size(d, &left);
    const int64_t extra = chance(d, 3) ? 1 + (int64_t)roll(d, 5) : 0;
    (void)parameter;
    c->with.variant = roll(d, 2);
    c->with.attr.rope = (tn_rope_attr){
        .theta = chance(d, 2) ? 10000.0 : 500000.0,
        .dims = extra || chance(d, 2) ? 2 * half : 0,
        .interleaved = roll(d, 2),
        .inverse = roll(d, 2),
    };
    c->rig.describe = describe_rope;
    ADD_LEAF(c, batch, steps, heads, 2 * half + extra);
    wants(c, 0);
    ADD_INDEX(c, -1, 4000, batch, steps);
    c->length = c->with.variant ? 4000 : steps;
}

/* ---- attention ---- */

/* How q, k and v lie: dense, as part of longer vectors, head by head; or the
 * values within the keys, as a latent cache has them. */
enum { DENSE, PITCHED, TURNED, LOOKS, WITHIN = LOOKS };

static void add_vectors(op_case *c, uint32_t look, int64_t batch, int64_t rows,
                        int64_t heads, int64_t size)
{
    if (look == PITCHED)
        size += 3;
    if (look == TURNED)
        ADD_LEAF(c, batch, heads, rows, size);
    else
        ADD_LEAF(c, batch, rows, heads, size);
}

static tn_tensor vectors_in(tn_builder *b, tn_tensor x, uint32_t look)
{
    if (look == PITCHED)
        return tn_slice(b, x, 3, 2, tn_dim(b, x, 3) - 3);
    return look == TURNED ? tn_permute(b, x, 0, 2, 1, 3) : x;
}

static void describe_attention(tn_builder *b, const tn_tensor *in,
                               tn_tensor *out, const void *data)
{
    const with *w = data;
    const tn_tensor q = vectors_in(b, in[0], w->flags[0]);
    const tn_tensor k = vectors_in(b, in[1], w->flags[1]);
    const tn_tensor v = w->flags[2] == WITHIN
                            ? tn_slice(b, k, 3, 0, w->number)
                            : vectors_in(b, in[2], w->flags[2]);
    const tn_tensor qkv[] = {q, k, v, w->variant & 1 ? in[3] : TN_NONE,
                             w->variant & 2 ? in[4] : TN_NONE};
    out[0] = tn_attention_within_at(b, qkv, &w->attr.attention, TN_HERE);
}

/* Positions with padding, and beyond the last key, as while decoding. */
void draw_attention(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t size = take_size(d, &left), keys = take_size(d, &left);
    const int64_t rows = take_size(d, &left);
    const int64_t groups = size_upto(d, left < 3 ? left : 3);
    const int64_t heads = groups * (1 + (int64_t)roll(d, 3));
    const int64_t batch = size_upto(d, left / groups < 3 ? left / groups : 3);
    const int64_t value_size = chance(d, 2) ? size : size_upto(d, size);
    (void)parameter;
    c->with.variant = roll(d, 4);
    c->with.attr.attention = (tn_attention_attr){
        .scale = chance(d, 2) ? 0.0 : real_in(d, 0.1, 1.0),
        .softcap = chance(d, 2) ? 0.0 : real_in(d, 0.5, 3.0),
        .window = chance(d, 2) ? 0 : size_upto(d, keys),
        .bidirectional = roll(d, 3) == 0,
    };
    c->with.number = value_size;
    c->with.flags[0] = roll(d, LOOKS);
    c->with.flags[1] = roll(d, LOOKS);
    c->with.flags[2] = roll(d, LOOKS + 1);
    c->rig.describe = describe_attention;
    add_vectors(c, c->with.flags[0], batch, rows, heads, size);
    add_vectors(c, c->with.flags[1], batch, keys, groups, size);
    add_vectors(c, c->with.flags[2], batch, keys, groups, value_size);
    ADD_INDEX(c, -1, keys - 1, batch, rows);
    add_firsts(d, c, batch, rows, chance(d, 4));
    for (uint32_t i = 0; i < 3; i++)
        if (c->with.flags[i] != WITHIN)
            wants(c, i);
    c->length = size + keys;
    c->gradient_length = size + keys + rows * heads / groups;
}

/* ---- loss ---- */

static void describe_loss(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *data)
{
    const with *w = data;
    out[0] = tn_linear_cross_entropy(b, in[0], in[1], in[2], w->real);
}

void draw_loss(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t columns = take_size(d, &left), classes = take_size(d, &left);
    const int64_t rows = take_size(d, &left);
    (void)parameter;
    c->with.real = chance(d, 2) ? 0.0 : real_in(d, 1.0, 5.0);
    c->rig.describe = describe_loss;
    ADD_LEAF(c, rows, columns);
    ADD_LEAF(c, classes, columns)->op = TN_OP_PARAM;
    ADD_INDEX(c, -1, classes - 1, rows);
    wants(c, 0);
    wants(c, 1);
    c->length = columns + classes;
    c->gradient_length = columns + classes + rows;
}

/* ---- dropout ---- */

static void describe_dropout(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                             const void *data)
{
    const with *w = data;
    out[0] = tn_dropout(b, in[0], in[1], w->real);
    out[1] = tn_dropout(b, out[0], in[1], w->real);
}

void draw_dropout(dice *d, op_case *c, uint32_t parameter)
{
    (void)parameter;
    c->with.real = chance(d, 4) ? 0.0 : real_in(d, 0.1, 0.75);
    c->rig.describe = describe_dropout;
    c->rig.out_count = 2;
    add_rows_leaf(d, c);
    c->length = c->gradient_length = 1;
    ADD_INDEX(c, 0, 1000000, 2)->op = TN_OP_SCALAR;
}

/* ---- all together ---- */

/* norm, projections, rope, attention, residual, gated MLP, loss: the shapes of
 * a transformer layer at B=2, as an architecture would describe it. */
static void describe_layer(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                           const void *data)
{
    const with *w = data;
    const int64_t t = w->number, h = 2, s = 4;
    const tn_tensor x = tn_gather_rows(b, in[0], in[1]);
    const tn_tensor n = tn_rms_norm(b, x, in[3], 1e-5);
    const tn_tensor qkv = tn_reshape(b, tn_linear(b, n, in[4]), 2, t, 3 * h, s);
    const tn_tensor q =
        tn_rope(b, tn_slice(b, qkv, 2, 0, h), TN_NONE, .theta = 100);
    const tn_tensor k =
        tn_rope(b, tn_slice(b, qkv, 2, h, h), TN_NONE, .theta = 100);
    const tn_tensor v = tn_slice(b, qkv, 2, 2 * h, h);
    const tn_tensor o = tn_attention(b, q, k, v, TN_NONE, .scale = 0);
    const tn_tensor y =
        tn_add(b, x, tn_linear(b, tn_reshape(b, o, 2, t, h * s), in[5]));
    const tn_tensor m = tn_rms_norm(b, y, in[3], 1e-5);
    const tn_tensor up = tn_linear(b, m, in[6]);
    const tn_tensor gated = tn_mul(b, tn_silu(b, tn_slice(b, up, 2, 0, 5)),
                                   tn_slice(b, up, 2, 5, 5));
    const tn_tensor z = tn_add(b, y, tn_linear(b, gated, in[7]));
    const tn_tensor rows = tn_reshape(b, z, 2 * t, h * s);
    const tn_tensor nll =
        tn_linear_cross_entropy(b, rows, in[0], tn_reshape(b, in[2], -1), 0.0);
    out[0] = tn_sum(b, nll, 1u);
}

/* Sizes are given by the weights: 11 classes, hidden 8, 2 heads of 4. */
void draw_layer(dice *d, op_case *c, uint32_t parameter)
{
    const int64_t t = size_upto(d, d->work < 100 ? 3 : 33);
    (void)parameter;
    c->with.number = t;
    c->rig.describe = describe_layer;
    ADD_LEAF(c, 11, 8)->op = TN_OP_PARAM;
    ADD_INDEX(c, 0, 10, 2, t);
    ADD_INDEX(c, -1, 10, 2, t);
    ADD_LEAF(c, 8)->op = TN_OP_PARAM;
    ADD_LEAF(c, 24, 8)->op = TN_OP_PARAM;
    ADD_LEAF(c, 8, 8)->op = TN_OP_PARAM;
    ADD_LEAF(c, 10, 8)->op = TN_OP_PARAM;
    ADD_LEAF(c, 8, 5)->op = TN_OP_PARAM;
    c->rig.wrt = 0xf9;
    c->length = 64 * t;
    c->gradient_length = 64 + 32 * t;
}
