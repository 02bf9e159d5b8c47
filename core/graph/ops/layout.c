/*
 * layout.c - copy, concat and fill: elements as they are, somewhere else.
 */
#include <tenon/builder.h>

#include <string.h>

#include "graph/ops/ops.h"

/* ---- copy ---- */

tn_status tni_copy_shape(const tn_builder *b, const tn_op_node *node,
                         tn_tensor_info *out, tn_error *err)
{
    const tn_copy_attr *attr = node->attr;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    (void)err;
    out[0] = tni_dense(attr->dtype ? attr->dtype : x.dtype, x.rank, x.shape);
    return TN_OK;
}

/* The gradient has the dtype of what it is the gradient of. */
void tni_copy_gradient(tn_builder *b, const tn_op_node *node,
                       const tn_tensor *dout, uint32_t wanted, tn_tensor *din)
{
    const tn_dtype dtype = tn_info(b, node->in[0]).dtype;
    if (!tni_wants(wanted, 0) || tn_is_none(dout[0]) || !tni_is_float(dtype))
        return;
    din[0] = tn_info(b, dout[0]).dtype == dtype ? dout[0]
                                                : tn_cast(b, dout[0], dtype);
}

/* ---- concat ---- */

tn_status tni_concat_shape(const tn_builder *b, const tn_op_node *node,
                           tn_tensor_info *out, tn_error *err)
{
    const uint32_t axis = ((const tn_concat_attr *)node->attr)->axis;
    const tn_tensor_info first = tn_info(b, node->in[0]);
    int64_t size = 0;
    if (axis >= first.rank)
        return tn_fail(err, TN_ESHAPE,
                       "axis %d of %u axes, which are counted from 0",
                       (int32_t)axis, first.rank);
    for (uint32_t k = 0; k < node->in_count; k++) {
        const tn_tensor_info x = tn_info(b, node->in[k]);
        tn_tensor_info like = x;
        TN_TRY(tni_expect_same_dtype(&first, "the first part", &x, "another",
                                     err));
        TN_TRY(tni_expect_rank(&x, "a part", first.rank, first.rank, err));
        size += x.shape[axis];
        like.shape[axis] = first.shape[axis];
        if (memcmp(like.shape, first.shape, sizeof like.shape) != 0)
            return tn_fail(
                err, TN_ESHAPE, "parts %s and %s differ beside axis %u",
                tni_shape_text(&first).text, tni_shape_text(&x).text, axis);
    }
    out[0] = tni_dense(first.dtype, first.rank, first.shape);
    out[0].shape[axis] = size;
    return TN_OK;
}

void tni_concat_gradient(tn_builder *b, const tn_op_node *node,
                         const tn_tensor *dout, uint32_t wanted, tn_tensor *din)
{
    const uint32_t axis = ((const tn_concat_attr *)node->attr)->axis;
    int64_t start = 0;
    for (uint32_t k = 0; k < node->in_count && !tn_is_none(dout[0]); k++) {
        const int64_t size = tn_dim(b, node->in[k], (int32_t)axis);
        if (k >= 32 || tni_wants(wanted, k)) /* past the mask: always */
            din[k] = tn_slice(b, dout[0], (int32_t)axis, start, size);
        start += size;
    }
}

/* ---- fill ---- */

tn_status tni_fill_shape(const tn_builder *b, const tn_op_node *node,
                         tn_tensor_info *out, tn_error *err)
{
    const tn_fill_attr *attr = node->attr;
    if (attr->rank > TN_MAX_RANK)
        return tn_fail(err, TN_ESHAPE, "rank %u is above %d", attr->rank,
                       TN_MAX_RANK);
    out[0] = tni_dense(attr->dtype ? attr->dtype : b->dtype, attr->rank,
                       attr->shape);
    return TN_OK;
}
