/*
 * rope.c - rotary position embedding (Su et al. 2021, arXiv:2104.09864).
 *
 * Pair i of a head turns by position * theta^(-2i / dims); turning back is the
 * same op with the sign of the angle flipped, and since a rotation's transpose
 * is its inverse, that is the gradient.
 */
#include <tenon/builder.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "graph/ops/ops.h"
#include "graph/workspace.h"

tn_status tni_rope_shape(const tn_builder *b, const tn_op_node *node,
                         tn_tensor_info *out, tn_error *err)
{
    const tn_rope_attr *attr = node->attr;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    TN_TRY(tni_expect_rank(&x, "x", 4, 4, err));
    TN_TRY(tni_expect_float(&x, "x", err));
    const int64_t dims = attr->dims ? attr->dims : x.shape[3];
    if (dims < 2 || dims > x.shape[3] || dims % 2)
        return tn_fail(err, TN_ESHAPE,
                       "turns %" PRId64 " elements of a head of %" PRId64
                       ", needs an even number up to that",
                       dims, x.shape[3]);
    if (!(attr->theta > 0.0) || isinf(attr->theta))
        return tn_fail(err, TN_ESHAPE, "theta is %g, needs to be above 0",
                       attr->theta);
    if (!tn_is_none(tni_in(node, 1))) {
        const tn_tensor_info positions = tn_info(b, node->in[1]);
        TN_TRY(tni_expect_i32(&positions, "positions", err));
        TN_TRY(tni_expect_rank(&positions, "positions", 2, 2, err));
        TN_TRY(tni_expect_size(&positions, "positions", 0, x.shape[0], err));
        TN_TRY(tni_expect_size(&positions, "positions", 1, x.shape[1], err));
    }
    out[0] = tni_dense_like(&x);
    return TN_OK;
}

void tni_rope_gradient(tn_builder *b, const tn_op_node *node,
                       const tn_tensor *dout, uint32_t wanted, tn_tensor *din)
{
    tn_rope_attr attr = *(const tn_rope_attr *)node->attr;
    attr.inverse = !attr.inverse;
    if (tni_wants(wanted, 0) && !tn_is_none(dout[0]))
        din[0] = tn_rope_at(b, dout[0], tni_in(node, 1), &attr, TN_HERE);
}

/* ---- what it is ---- */

/* The axis of x (B, T, H, half, 2), or (B, T, H, 2, half), that counts pairs;
 * the other one tells the two elements of a pair apart. */
static uint32_t pair_axis(const tn_rope_attr *attr)
{
    return attr->interleaved ? 3 : 4;
}

/* position / theta^(2 i / dims): one rounding more or less moves far rows by
 * much, so these are the operations of the reference implementations. */
static tni_register angle(tni_work *w, const tn_rope_attr *attr, int64_t dims,
                          tni_register position)
{
    const tni_register pair = tni_work_emit(
        w, (tni_work_instruction){.op = TN_MAP_INDEX,
                                  .a = (tni_register)pair_axis(attr)});
    const tni_register exponent = tni_work_op(
        w, TN_MAP_DIV,
        tni_work_op(w, TN_MAP_MUL, pair, tni_work_constant(w, 2.0), 0),
        tni_work_constant(w, (double)dims), 0);
    const tni_register power = tni_work_op(
        w, TN_MAP_POW, tni_work_constant(w, attr->theta), exponent, 0);
    const tni_register frequency =
        tni_work_op(w, TN_MAP_DIV, tni_work_constant(w, 1.0), power, 0);
    return tni_work_op(w, TN_MAP_MUL, position, frequency, 0);
}

/* (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin) */
static void turn(tn_builder *b, const tn_rope_attr *attr, int64_t dims,
                 const tn_tensor in[3], tn_tensor out[2])
{
    const int has_positions = !tn_is_none(in[2]);
    tni_work w = {.output_count = 2};
    const tni_register position =
        has_positions
            ? tni_work_input(&w, 2)
            : tni_work_emit(&w,
                            (tni_work_instruction){.op = TN_MAP_INDEX, .a = 1});
    const tni_register x1 = tni_work_input(&w, 0), x2 = tni_work_input(&w, 1);
    const tni_register a = angle(&w, attr, dims, position);
    const tni_register c = tni_work_op(&w, TN_MAP_COS, a, 0, 0);
    tni_register s = tni_work_op(&w, TN_MAP_SIN, a, 0, 0);
    if (attr->inverse)
        s = tni_work_op(&w, TN_MAP_NEG, s, 0, 0);
    w.output[0] =
        tni_work_op(&w, TN_MAP_SUB, tni_work_op(&w, TN_MAP_MUL, x1, c, 0),
                    tni_work_op(&w, TN_MAP_MUL, x2, s, 0), 0);
    w.output[1] =
        tni_work_op(&w, TN_MAP_ADD, tni_work_op(&w, TN_MAP_MUL, x2, c, 0),
                    tni_work_op(&w, TN_MAP_MUL, x1, s, 0), 0);
    tni_map_written(b, &w, in, has_positions ? 3 : 2, out);
}

void tni_rope_decompose(tn_builder *b, const tn_op_node *node, tn_tensor *out)
{
    const tn_rope_attr *attr = node->attr;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    const int64_t *n = x.shape;
    const int64_t dims = attr->dims ? attr->dims : n[3];
    const int32_t two = attr->interleaved ? 4 : 3;
    const tn_tensor turning = tn_slice(b, node->in[0], 3, 0, dims);
    const tn_tensor pairs =
        attr->interleaved ? tn_reshape(b, turning, n[0], n[1], n[2], -1, 2)
                          : tn_reshape(b, turning, n[0], n[1], n[2], 2, -1);
    tn_tensor in[3] = {tn_slice(b, pairs, two, 0, 1),
                       tn_slice(b, pairs, two, 1, 1), tni_in(node, 1)};
    tn_tensor turned[2] = {TN_NONE, TN_NONE};
    if (!tn_is_none(in[2]))
        in[2] = tn_reshape(b, in[2], n[0], n[1], 1, 1, 1);
    turn(b, attr, dims, in, turned);
    const tn_tensor joined =
        tn_reshape(b, tn_concat_at(b, (uint32_t)two, 2, turned, TN_HERE), n[0],
                   n[1], n[2], dims);
    out[0] = dims == n[3]
                 ? joined
                 : tn_concat(b, 3, joined,
                             tn_slice(b, node->in[0], 3, dims, n[3] - dims));
}

/* two multiplications and one addition per element; angles are shared */
double tni_rope_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    return 3.0 * (double)tn_elements(&x);
}
