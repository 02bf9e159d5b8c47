/*
 * cases_sequence.c - Mamba2's convolution and scan, and Muon's matrices.
 */
#include "cases.h"

/* ---- convolution ---- */

/* x as a layer has it: some channels of a wider projection */
static void describe_conv(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *data)
{
    const with *w = data;
    const tn_tensor given[] = {
        tn_slice(b, in[0], 2, w->number, tn_dim(b, in[1], 0)), in[1],
        w->variant & 1 ? in[2] : TN_NONE, w->variant & 2 ? in[3] : TN_NONE};
    out[0] = tn_conv1d_within_at(b, given, TN_HERE);
}

/* More taps than rows, too: then all of x meets zeros or history. */
void draw_conv(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t taps = 2 + (int64_t)roll(d, 4);
    const int64_t channels = take_size(d, &left), rows = take_size(d, &left);
    const int64_t batch = size_upto(d, left < 5 ? left : 5);
    const int64_t before = roll(d, 4), after = roll(d, 4);
    (void)parameter;
    c->with.variant = roll(d, 4);
    c->with.number = before;
    c->rig.describe = describe_conv;
    ADD_LEAF(c, batch, rows, before + channels + after);
    ADD_LEAF(c, channels, taps);
    ADD_LEAF(c, batch, taps - 1, channels);
    add_firsts(d, c, batch, rows, 0);
    wants(c, 0);
    wants(c, 1);
    c->length = taps;
    c->gradient_length = batch * rows;
}

/* ---- scan ---- */

/* (B, T, columns) -> (B, T, heads, width), from column `first` on */
static tn_tensor heads_at(tn_builder *b, tn_tensor columns, int64_t first,
                          int64_t heads, int64_t width)
{
    return tn_reshape(b, tn_slice(b, columns, 2, first, heads * width),
                      tn_dim(b, columns, 0), tn_dim(b, columns, 1), heads,
                      width);
}

/* dt, A, the columns of x, Bm and Cm side by side, and the state */
static void describe_scan(tn_builder *b, const tn_tensor *in, tn_tensor *out,
                          const void *data)
{
    const with *w = data;
    const int64_t H = tn_dim(b, in[1], 0), P = tn_dim(b, in[3], 2);
    const int64_t G = w->in_count, N = tn_dim(b, in[3], 3);
    const tn_tensor x = heads_at(b, in[2], 0, H, P);
    const tn_tensor Bm = heads_at(b, in[2], H * P, G, N);
    const tn_tensor Cm = heads_at(b, in[2], H * P + G * N, G, N);
    const tn_tensor dt = tn_slice(b, in[0], 2, 0, H);
    tn_tensor last;
    const tn_tensor given[] = {x,
                               dt,
                               in[1],
                               Bm,
                               Cm,
                               w->variant & 1 ? in[3] : TN_NONE,
                               w->variant & 2 ? in[4] : TN_NONE};
    out[0] = tn_ssd_scan_within_at(b, given, w->number, &last, TN_HERE);
    if (w->variant & 1)
        out[1] = last;
}

/* Either from zeros, with gradients, or from a state and on to the next one;
 * chunks that divide the length and chunks that do not. */
void draw_scan(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t width = take_size(d, &left), steps = take_size(d, &left);
    const int64_t states = take_size(d, &left);
    const int64_t groups = size_upto(d, left < 2 ? left : 2);
    const int64_t heads = groups * (1 + (int64_t)roll(d, 3));
    const int64_t batch = size_upto(d, left / groups < 3 ? left / groups : 3);
    (void)parameter;
    c->with.variant = roll(d, 4);
    c->with.number = chance(d, 4) ? 0 : size_upto(d, 64);
    c->rig.describe = describe_scan;
    c->rig.out_count = c->with.variant & 1 ? 2 : 1;
    c->with.in_count = (uint32_t)groups;
    tn_rig_leaf *dt = ADD_LEAF(c, batch, steps, heads + (int64_t)roll(d, 2));
    dt->low = 0.05;
    dt->high = 1.0;
    tn_rig_leaf *decay = ADD_LEAF(c, heads);
    decay->low = -2.0;
    decay->high = -0.1;
    ADD_LEAF(c, batch, steps, heads * width + 2 * groups * states);
    ADD_LEAF(c, batch, heads, width, states);
    add_firsts(d, c, batch, steps, 0);
    for (uint32_t i = 0; i < 3 && !(c->with.variant & 1); i++)
        wants(c, i);
    c->length = states + steps;
    c->gradient_length = states + width + batch * steps * heads;
}

/* ---- matrices ---- */

static void describe_newton_schulz(tn_builder *b, const tn_tensor *in,
                                   tn_tensor *out, const void *data)
{
    const with *w = data;
    out[0] = tn_newton_schulz_at(b, in[0], &w->attr.newton_schulz, TN_HERE);
}

void draw_newton_schulz(dice *d, op_case *c, uint32_t parameter)
{
    int64_t left = d->work;
    const int64_t rows = take_size(d, &left), columns = take_size(d, &left);
    (void)parameter;
    c->with.attr.newton_schulz = (tn_newton_schulz_attr){
        .steps = 1 + (int64_t)roll(d, 6),
        .a = 3.4445,
        .b = -4.7750,
        .c = 2.0315,
        .eps = 1e-7,
    };
    c->rig.describe = describe_newton_schulz;
    ADD_LEAF(c, size_upto(d, left < 3 ? left : 3), rows, columns);
}
