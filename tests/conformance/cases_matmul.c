/*
 * cases_matmul.c - matrix products: every transpose, batches that broadcast,
 * operands that are parts of larger matrices, groups of rows.
 */
#include "cases.h"

enum { TRANSPOSED = 1, PITCHED = 2 };

/* An operand whose view is (batch.., rows, columns): the leaf may be its
 * transpose, and may be wider than what is used of it. */
static void add_operand(op_case *c, uint32_t look, uint32_t batch_rank,
                        const int64_t *batch, int64_t rows, int64_t columns)
{
    int64_t shape[TN_MAX_RANK];
    uint32_t rank = 0;
    for (; rank < batch_rank; rank++)
        shape[rank] = batch[rank];
    shape[rank++] = look & TRANSPOSED ? columns : rows;
    shape[rank++] =
        (look & TRANSPOSED ? rows : columns) + (look & PITCHED ? 3 : 0);
    add_leaf(c, rank, shape);
}

static tn_tensor look_at(tn_builder *b, tn_tensor x, uint32_t look)
{
    if (look & PITCHED)
        x = tn_slice(b, x, -1, 2, tn_dim(b, x, -1) - 3);
    return look & TRANSPOSED ? tn_transpose(b, x) : x;
}

static void describe_matmul(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *data)
{
    const with *w = data;
    out[0] = tn_matmul(b, look_at(b, in[0], w->flags[0]),
                       look_at(b, in[1], w->flags[1]));
}

void draw_matmul(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work, a[2], b[2];
    const int64_t k = take_size(d, &left), m = take_size(d, &left);
    const int64_t n = take_size(d, &left);
    const uint32_t a_rank = roll(d, 3), b_rank = roll(d, 3);
    (void)parameter;
    for (uint32_t i = 0; i < 2; i++) {
        a[i] = size_upto(d, left < 5 ? left : 5);
        left /= a[i];
        b[i] = chance(d, 3) ? 1 : a[i];
        a[i] = chance(d, 3) ? 1 : a[i];
    }
    c->with.flags[0] = roll(d, 4);
    c->with.flags[1] = roll(d, 4);
    c->rig.describe = describe_matmul;
    add_operand(c, c->with.flags[0], a_rank, a + 2 - a_rank, m, k);
    add_operand(c, c->with.flags[1], b_rank, b + 2 - b_rank, k, n);
    wants(c, 0);
    wants(c, 1);
    c->length = k;
    c->gradient_length = 25 * (m > n ? m : n);
}

static void describe_linear(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *data)
{
    const with *w = data;
    tn_tensor y = tn_linear(b, in[0], in[1]);
    if (w->variant)
        y = tn_add(b, y, in[2]);
    out[0] = y;
}

void draw_linear(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t from = take_size(d, &left), to = take_size(d, &left);
    const int64_t rows = take_size(d, &left), batch = take_size(d, &left);
    (void)parameter;
    c->with.variant = roll(d, 2);
    c->rig.describe = describe_linear;
    ADD_LEAF(c, batch, rows, from);
    ADD_LEAF(c, to, from)->op = TN_OP_PARAM;
    ADD_LEAF(c, to)->op = TN_OP_PARAM;
    wants(c, 0);
    wants(c, 1);
    if (c->with.variant)
        wants(c, 2);
    c->length = from;
    c->gradient_length = batch * rows > to ? batch * rows : to;
}

/* ---- by expert ---- */

static void describe_grouped(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                             const void *data)
{
    const with *w = data;
    const tn_tensor m = look_at(b, in[1], w->flags[0]);
    out[0] = tn_grouped_matmul_at(b, in[0], m, in[2], (int)w->variant, TN_HERE);
}

/* With a variant: the product of transposed groups, the weights' gradient. */
void draw_grouped_matmul(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t inner = take_size(d, &left), rows = take_size(d, &left);
    const int64_t columns = take_size(d, &left), experts = size_upto(d, 7);
    c->with.variant = parameter;
    c->rig.describe = describe_grouped;
    ADD_LEAF(c, rows, inner);
    if (parameter) {
        ADD_LEAF(c, rows, columns);
    } else {
        c->with.flags[0] = roll(d, 2) ? TRANSPOSED : 0;
        add_operand(c, c->with.flags[0], 1, &experts, inner, columns);
    }
    double *offsets = c->with.values;
    for (int64_t e = 1; e < experts; e++) {
        const double least = offsets[e - 1];
        offsets[e] =
            least + (double)roll(d, (uint32_t)(rows - (int64_t)least + 1));
    }
    offsets[experts] = (double)rows;
    ADD_INDEX(c, 0, rows, experts + 1)->values = offsets;
    wants(c, 0);
    wants(c, 1);
    c->length = parameter ? rows : inner;
    c->gradient_length = rows + inner + columns;
}
