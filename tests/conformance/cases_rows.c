/*
 * cases_rows.c - tables addressed by rows, and choosing.
 */
#include "cases.h"

#include <math.h>

/* ---- gather, scatter ---- */

enum { TABLE_DENSE, TABLE_TRANSPOSED, TABLE_SLICED };

static void describe_gather(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *data)
{
    const with *w = data;
    tn_tensor table = in[0];
    if (w->variant == TABLE_TRANSPOSED)
        table = tn_transpose(b, table);
    else if (w->variant == TABLE_SLICED)
        table = tn_slice(b, table, 1, 1, w->number);
    out[0] = tn_gather_rows(b, table, in[1]);
}

void draw_gather(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t width = take_size(d, &left), rows = take_size(d, &left);
    const int64_t batch = take_size(d, &left), steps = take_size(d, &left);
    (void)parameter;
    c->with.variant = roll(d, 3);
    c->with.number = width;
    c->rig.describe = describe_gather;
    if (c->with.variant == TABLE_TRANSPOSED)
        ADD_LEAF(c, width, rows);
    else
        ADD_LEAF(c, rows, width + (c->with.variant == TABLE_SLICED ? 2 : 0));
    if (chance(d, 2))
        ADD_INDEX(c, -1, rows - 1, batch, steps);
    else
        ADD_INDEX(c, -1, rows - 1, batch * steps);
    wants(c, 0);
    c->gradient_length = batch * steps;
}

static void describe_scatter(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                             const void *data)
{
    const with *w = data;
    out[0] = tn_scatter_add_rows(b, in[0], in[1], w->number);
}

void draw_scatter(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t width = take_size(d, &left), batch = take_size(d, &left);
    const int64_t steps = take_size(d, &left);
    (void)parameter;
    c->with.number = size_upto(d, d->work / width + 1);
    c->rig.describe = describe_scatter;
    ADD_INDEX(c, -1, c->with.number - 1, batch, steps);
    ADD_LEAF(c, batch, steps, width);
    wants(c, 1);
    c->length = batch * steps;
}

/* ---- set_rows ---- */

/* Rows of a cache are written, then the whole cache is read. */
static void describe_set_rows(tn_builder *b, const tn_tensor *in,
                              tn_tensor *out, const void *data)
{
    const with *w = data;
    (void)w;
    const tn_tensor after = tn_set_rows(b, in[0], in[1], in[2]);
    out[0] = tn_scale(b, after, 2.0);
}

/* Distinct rows in each batch, some of them -1: what two writes of one row
 * would leave is not said. */
void draw_set_rows(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work < MAX_VALUES ? d->work : MAX_VALUES;
    const int64_t width = take_size(d, &left), batch = take_size(d, &left);
    const int64_t rows = take_size(d, &left), steps = size_upto(d, rows);
    (void)parameter;
    c->rig.describe = describe_set_rows;
    ADD_LEAF(c, batch, rows, width)->op = TN_OP_STATE;
    for (int64_t b = 0; b < batch; b++) {
        const uint32_t first = roll(d, (uint32_t)rows);
        for (int64_t t = 0; t < steps; t++)
            c->with.values[b * steps + t] =
                chance(d, 5) ? -1.0 : (double)((first + t) % rows);
    }
    ADD_INDEX(c, -1, rows - 1, batch, steps)->values = c->with.values;
    ADD_LEAF(c, batch, steps, width);
}

/* ---- choosing ---- */

static void describe_topk(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *data)
{
    const with *w = data;
    const tn_tensor x =
        w->variant ? tn_scale(b, tn_round(b, tn_scale(b, in[0], 3.0)), 0.5)
                   : in[0];
    tn_topk(b, x, w->number, &out[0], &out[1]);
}

static void add_rows_leaf(dice *d, op_case *c)
{
    int64_t left = d->work;
    const int64_t columns = take_size(d, &left);
    if (chance(d, 3))
        ADD_LEAF(c, columns);
    else if (chance(d, 2))
        ADD_LEAF(c, take_size(d, &left), columns);
    else
        ADD_LEAF(c, size_upto(d, 3), take_size(d, &left), columns);
}

/* With a variant, values are few and ties many. */
void draw_topk(dice *d, op_case *c, uint32_t parameter)
{
    (void)parameter;
    c->rig.describe = describe_topk;
    c->rig.out_count = 2;
    c->with.variant = roll(d, 2);
    add_rows_leaf(d, c);
    c->with.number = size_upto(d, c->rig.in[0].shape[c->rig.in[0].rank - 1]);
    if (!c->with.variant)
        wants(c, 0);
}

static void describe_argmax(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *data)
{
    const with *w = data;
    const tn_tensor x =
        w->variant ? tn_round(b, tn_scale(b, in[0], 3.0)) : in[0];
    out[0] = tn_argmax(b, x);
}

void draw_argmax(dice *d, op_case *c, uint32_t parameter)
{
    (void)parameter;
    c->rig.describe = describe_argmax;
    c->with.variant = roll(d, 2);
    add_rows_leaf(d, c);
}

/* Logits as they are, a few values with many ties, or half of them infinite. */
static void describe_sample(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                            const void *data)
{
    const with *w = data;
    const tn_tensor x = w->variant == 0 ? in[0]
                        : w->variant == 1
                            ? tn_scale(b, tn_round(b, in[0]), 0.5)
                            : tn_log(b, tn_at_least(b, in[0], 0.0));
    out[0] = tn_sample_tokens(b, x, in[1], in[2]);
}

/* Numbers that f32 has, u with 24 bits. */
static void draw_how(dice *d, double how[3])
{
    static const double temperature[] = {0.0, 0.25, 1.0, 2.5};
    how[0] = temperature[roll(d, 4)];
    how[1] = chance(d, 3) ? 1.0 : (double)(float)real_in(d, 0.02, 0.99);
    how[2] = floor(real_in(d, 0.0, 1.0) * 0x1p24) / 0x1p24;
}

void draw_sample(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t rows = size_upto(d, 3), classes = take_size(d, &left);
    double *how = c->with.values, *limits = how + 3 * rows;
    (void)parameter;
    c->rig.describe = describe_sample;
    c->with.variant = roll(d, 3);
    for (int64_t r = 0; r < rows; r++) {
        draw_how(d, how + 3 * r);
        limits[2 * r] = (double)roll(d, (uint32_t)classes + 2);
        limits[2 * r + 1] =
            chance(d, 3) ? (double)roll(d, (uint32_t)classes) : (double)classes;
    }
    tn_rig_leaf *logits = ADD_LEAF(c, rows, classes);
    logits->low = -8.0;
    logits->high = 8.0;
    ADD_LEAF(c, rows, 3)->values = how;
    ADD_INDEX(c, 0, classes + 1, rows, 2)->values = limits;
}

static void describe_expert_plan(tn_builder *b, const tn_tensor *in,
                                 tn_tensor *out, const void *data)
{
    const with *w = data;
    tn_expert_plan(b, in[0], w->number, out);
}

/* Some experts get nothing. */
void draw_expert_plan(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t rows = take_size(d, &left), choices = size_upto(d, 8);
    (void)parameter;
    c->rig.describe = describe_expert_plan;
    c->rig.out_count = 3;
    c->with.number = size_upto(d, 33);
    ADD_INDEX(c, 0, c->with.number - 1, rows, choices);
}
