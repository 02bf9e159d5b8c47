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

/* two multiplications and one addition per element; angles are shared */
double tni_rope_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    return 3.0 * (double)tn_elements(&x);
}
