/*
 * cases_shape.c - reductions, running sums, and everything that moves values:
 * views in all combinations, copies, casts, concat, fill, adding into place.
 */
#include "cases.h"

static void draw_shape(dice *d, uint32_t rank, int64_t *shape)
{
    int64_t left = d->work;
    for (uint32_t i = rank; i-- > 0;)
        shape[i] = take_size(d, &left);
}

static int64_t count_of(const int64_t *shape, uint32_t rank)
{
    int64_t count = 1;
    for (uint32_t i = 0; i < rank; i++)
        count *= shape[i];
    return count;
}

/* ---- reduce ---- */

enum { PLAIN, OF_PRODUCT, OF_EXP };

static void describe_reduce(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *data)
{
    const with *w = data;
    tn_tensor x = in[0];
    if (w->variant == OF_PRODUCT)
        x = tn_mul(b, x, in[1]);
    else if (w->variant == OF_EXP)
        x = tn_exp(b, x);
    out[0] = tn_reduce_at(b, w->flags[0], x, w->flags[1], TN_HERE);
}

void draw_reduce(dice *d, op_case *c, uint32_t kind)
{
    int64_t shape[4];
    const uint32_t rank = 1 + roll(d, 4);
    draw_shape(d, rank, shape);
    c->with.variant = roll(d, 3);
    c->with.flags[0] = kind;
    c->with.flags[1] = 1 + roll(d, (1u << rank) - 1);
    c->rig.describe = describe_reduce;
    add_leaf(c, rank, shape);
    wants(c, 0);
    if (c->with.variant == OF_PRODUCT) { /* one row, or one element, repeated */
        const uint32_t own = chance(d, 2) ? rank : 1;
        add_leaf(c, own, shape + rank - own);
        wants(c, 1);
    }
    for (uint32_t i = 0; i < rank; i++)
        if (kind == TN_REDUCE_SUM && c->with.flags[1] >> i & 1u)
            c->length *= shape[i];
    c->gradient_length = count_of(shape, rank);
}

static void describe_cumsum(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *data)
{
    const with *w = data;
    out[0] = tn_cumsum_at(b, in[0], &w->attr.cumsum, TN_HERE);
}

void draw_cumsum(dice *d, op_case *c, uint32_t parameter)
{
    int64_t shape[4];
    const uint32_t rank = 1 + roll(d, 4);
    (void)parameter;
    draw_shape(d, rank, shape);
    c->with.attr.cumsum =
        (tn_cumsum_attr){roll(d, rank), roll(d, 2), roll(d, 2)};
    c->rig.describe = describe_cumsum;
    add_leaf(c, rank, shape);
    wants(c, 0);
    c->length = shape[c->with.attr.cumsum.axis];
}

/* ---- views and copies ---- */

/* Permute, slice every axis, and sometimes repeat along a new first axis. */
static tn_tensor apply_view(tn_builder *b, tn_tensor x, const with *w)
{
    int64_t axis[TN_MAX_RANK];
    for (uint32_t i = 0; i < w->view.rank; i++)
        axis[i] = w->view.axis[i];
    x = tn_shaped_view_at(b, x, TN_VIEW_PERMUTE, w->view.rank, axis, TN_HERE);
    for (uint32_t i = 0; i < w->view.rank; i++)
        x = tn_slice_at(b, x, (int32_t)i, w->view.start[i], w->view.length[i],
                        TN_HERE);
    if (w->number) {
        int64_t shape[TN_MAX_RANK] = {w->number};
        const tn_tensor_info info = tn_info(b, x);
        for (uint32_t i = 0; i < info.rank; i++)
            shape[i + 1] = info.shape[i];
        x = tn_shaped_view_at(b, x, TN_VIEW_BROADCAST, info.rank + 1, shape,
                              TN_HERE);
    }
    return x;
}

static void draw_view(dice *d, op_case *c)
{
    int64_t shape[4];
    with_view *v = &c->with.view;
    v->rank = 1 + roll(d, 4);
    draw_shape(d, v->rank, shape);
    add_leaf(c, v->rank, shape);
    wants(c, 0);
    for (uint32_t i = 0; i < v->rank; i++)
        v->axis[i] = i;
    for (uint32_t i = v->rank; i-- > 1;) { /* a fair shuffle */
        const uint32_t k = roll(d, i + 1), axis = v->axis[i];
        v->axis[i] = v->axis[k];
        v->axis[k] = axis;
    }
    for (uint32_t i = 0; i < v->rank; i++) {
        const int64_t size = shape[v->axis[i]];
        v->start[i] = chance(d, 2) ? 0 : (int64_t)roll(d, (uint32_t)size);
        v->length[i] = chance(d, 2)
                           ? size - v->start[i]
                           : 1 + roll(d, (uint32_t)(size - v->start[i]));
    }
    c->with.number = chance(d, 3) ? 1 + (int64_t)roll(d, 3) : 0;
    c->gradient_length = 4;
}

/* The view itself, a copy of it, and its last axes folded into one, which is
 * a copy where strides cannot say it. */
static void describe_copy(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *data)
{
    const tn_tensor x = apply_view(b, in[0], data);
    out[0] = tn_copy(b, x);
    out[1] = tn_square(b, x);
    out[2] = tn_scale(b, tn_reshape(b, x, -1), 3.0);
}

void draw_copy(dice *d, op_case *c, uint32_t parameter)
{
    (void)parameter;
    draw_view(d, c);
    c->rig.describe = describe_copy;
    c->rig.out_count = 3;
}

static void describe_cast(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *data)
{
    const with *w = data;
    const tn_tensor x = apply_view(b, in[0], data);
    out[0] = tn_cast(b, x, w->flags[0]);
    out[1] = tn_cast(b, out[0], b->dtype);
}

/* Values are rounded to the narrow type on the way and come back exactly. */
void draw_cast(dice *d, op_case *c, uint32_t dtype)
{
    draw_view(d, c);
    c->rig.wrt = 0;
    c->with.flags[0] = dtype;
    c->rig.describe = describe_cast;
    c->rig.out_count = 2;
    if (dtype == TN_I32) {
        c->rig.in[0].low = -1000.0;
        c->rig.in[0].high = 1000.0;
    }
}

/* ---- concat, and its inverse ---- */

/* What is joined may be a part of something larger, or lie turned. */
enum { WHOLE, PARTS };

static void describe_concat(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *data)
{
    const with *w = data;
    tn_tensor x[4];
    for (uint32_t i = 0; i < w->in_count; i++) {
        x[i] = in[i];
        if (w->variant == PARTS)
            x[i] = tn_slice(b, x[i], -1, 1, tn_dim(b, x[i], -1) - 1);
        if (w->variant == PARTS && i % 2 && tn_rank(b, x[i]) > 1)
            x[i] = tn_transpose(b, x[i]);
    }
    out[0] = tn_concat_at(b, w->attr.concat.axis, w->in_count, x, TN_HERE);
}

static void add_part(op_case *c, uint32_t rank, const int64_t *part, int turned)
{
    int64_t shape[4];
    memcpy(shape, part, rank * sizeof *shape);
    if (turned && rank > 1) {
        shape[rank - 1] = part[rank - 2];
        shape[rank - 2] = part[rank - 1];
    }
    shape[rank - 1] += 1;
    add_leaf(c, rank, shape);
}

void draw_concat(dice *d, op_case *c, uint32_t variant)
{
    int64_t shape[4];
    const uint32_t rank = 1 + roll(d, 4), axis = roll(d, rank);
    c->with.variant = variant;
    c->with.in_count = 1 + roll(d, 4);
    c->with.attr.concat.axis = axis;
    c->rig.describe = describe_concat;
    d->work = d->work / c->with.in_count + 1;
    draw_shape(d, rank, shape);
    for (uint32_t i = 0; i < c->with.in_count; i++) {
        shape[axis] = i ? size_upto(d, shape[axis]) : shape[axis];
        if (variant == PARTS)
            add_part(c, rank, shape, i % 2);
        else
            add_leaf(c, rank, shape);
        wants(c, i);
    }
}

/* Slices that tile an axis, each put to its own use: their gradients must meet
 * again in the right order, with holes where a slice is not used. */
static void describe_slices(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *data)
{
    const with *w = data;
    const int32_t axis = (int32_t)w->flags[0];
    int64_t start = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->in_count; i++) {
        const int64_t length = w->view.length[i];
        const tn_tensor part =
            tn_slice_at(b, in[0], axis, start, length, TN_HERE);
        start += length;
        if (i == w->flags[1])
            continue;
        out[n++] = i % 2 ? tn_square(b, part) : tn_tanh(b, part);
    }
}

void draw_slices(dice *d, op_case *c, uint32_t parameter)
{
    int64_t shape[3], left = 0;
    const uint32_t rank = 1 + roll(d, 3), axis = roll(d, rank);
    (void)parameter;
    d->work = d->work / 4 + 1;
    draw_shape(d, rank, shape);
    c->with.in_count = 2 + roll(d, 3);
    for (uint32_t i = 0; i < c->with.in_count; i++)
        left += c->with.view.length[i] = size_upto(d, 7);
    shape[axis] = left;
    c->with.flags[0] = axis;
    c->with.flags[1] = roll(d, 2 * c->with.in_count);
    c->rig.describe = describe_slices;
    c->rig.out_count =
        c->with.in_count - (c->with.flags[1] < c->with.in_count ? 1 : 0);
    add_leaf(c, rank, shape);
    wants(c, 0);
}

/* ---- fill ---- */

static void describe_fill(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *data)
{
    const with *w = data;
    const tn_fill_attr *a = &w->attr.fill;
    (void)in;
    out[0] = tn_fill_at(b, a->value, a->dtype, a->rank, a->shape, TN_HERE);
}

void draw_fill(dice *d, op_case *c, uint32_t parameter)
{
    tn_fill_attr *a = &c->with.attr.fill;
    (void)parameter;
    a->rank = 1 + roll(d, 4);
    a->dtype = chance(d, 3) ? TN_I32 : TN_DTYPE_NONE;
    a->value = a->dtype ? (double)roll(d, 100) - 50.0 : real_in(d, -3.0, 3.0);
    draw_shape(d, a->rank, a->shape);
    c->rig.describe = describe_fill;
}

/* ---- adding into place ---- */

/* total = total + f(x, w): what a second micro-batch does to gradients, which
 * fusion turns into accumulate bits. */
static void describe_accumulate(tn_builder *b, const tn_tensor *in,
                                tn_tensor *out, const void *data)
{
    const with *w = data;
    tn_tensor y;
    switch (w->variant) {
    case 0:
        y = tn_matmul(b, tn_transpose(b, in[1]), in[2]);
        break;
    case 1:
        y = tn_reshape(b, tn_sum(b, tn_mul(b, in[1], in[2]), 1u << 0), -1);
        break;
    default:
        y = tn_scatter_add_rows(b, in[3], in[1], w->number);
        break;
    }
    (void)out;
    tn_assign(b, in[0], tn_add(b, in[0], y));
}

void draw_accumulate(dice *d, op_case *c, uint32_t variant)
{
    int64_t left = d->work;
    const int64_t columns = take_size(d, &left), rows = take_size(d, &left);
    const int64_t third = take_size(d, &left);
    c->with.variant = variant;
    c->rig.describe = describe_accumulate;
    c->rig.update = 1;
    c->rig.out_count = 0;
    c->rig.shown = 1;
    c->with.number = third;
    if (variant == 0)
        ADD_LEAF(c, columns, third);
    else if (variant == 1)
        ADD_LEAF(c, columns);
    else
        ADD_LEAF(c, third, columns);
    c->rig.in[0].op = TN_OP_SLOT;
    ADD_LEAF(c, rows, columns);
    ADD_LEAF(c, rows, variant == 0 ? third : columns);
    ADD_INDEX(c, -1, third - 1, rows);
    c->length = rows + 1;
}
