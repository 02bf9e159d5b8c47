/*
 * expect.c - the words in which shape rules say what they want.
 *
 * A shape rule reads as a list of expectations followed by the shapes of the
 * outputs; the sentences are made here so that they sound alike. The builder
 * adds the place, the op and the operands' names.
 */
#include "graph/ops/ops.h"

#include <inttypes.h>
#include <string.h>

tni_text tni_shape_text(const tn_tensor_info *info)
{
    tni_text t = {"("};
    size_t used = 1;
    for (uint32_t i = 0; i < info->rank && used < sizeof t.text; i++)
        used += (size_t)snprintf(t.text + used, sizeof t.text - used,
                                 i ? ", %" PRId64 : "%" PRId64, info->shape[i]);
    if (used < sizeof t.text)
        snprintf(t.text + used, sizeof t.text - used, ")");
    return t;
}

int tni_is_float(tn_dtype dtype)
{
    return dtype == TN_F32 || dtype == TN_F64 || dtype == TN_BF16 ||
           dtype == TN_F16;
}

tn_dtype tni_statistic_dtype(const tn_builder *b)
{
    return b->dtype == TN_F64 ? TN_F64 : TN_F32;
}

tn_status tni_expect_rank(const tn_tensor_info *x, const char *what,
                          uint32_t least, uint32_t most, tn_error *err)
{
    if (x->rank >= least && x->rank <= most)
        return TN_OK;
    if (least == most)
        return tn_fail(err, TN_ESHAPE, "%s has %u axes %s, needs %u", what,
                       x->rank, tni_shape_text(x).text, least);
    return tn_fail(err, TN_ESHAPE, "%s has %u axes %s, needs %u to %u", what,
                   x->rank, tni_shape_text(x).text, least, most);
}

tn_status tni_expect_float(const tn_tensor_info *x, const char *what,
                           tn_error *err)
{
    if (tni_is_float(x->dtype))
        return TN_OK;
    return tn_fail(err, TN_ESHAPE, "%s is %s, needs a floating type", what,
                   tn_dtype_name(x->dtype));
}

tn_status tni_expect_i32(const tn_tensor_info *x, const char *what,
                         tn_error *err)
{
    if (x->dtype == TN_I32)
        return TN_OK;
    return tn_fail(err, TN_ESHAPE, "%s is %s, needs I32", what,
                   tn_dtype_name(x->dtype));
}

tn_status tni_expect_same_dtype(const tn_tensor_info *x, const char *what_x,
                                const tn_tensor_info *y, const char *what_y,
                                tn_error *err)
{
    if (x->dtype == y->dtype)
        return TN_OK;
    return tn_fail(err, TN_ESHAPE, "%s is %s and %s is %s; cast one of them",
                   what_x, tn_dtype_name(x->dtype), what_y,
                   tn_dtype_name(y->dtype));
}

tn_status tni_expect_same_shape(const tn_tensor_info *x, const char *what_x,
                                const tn_tensor_info *y, const char *what_y,
                                tn_error *err)
{
    if (x->rank == y->rank &&
        memcmp(x->shape, y->shape, x->rank * sizeof x->shape[0]) == 0)
        return TN_OK;
    return tn_fail(err, TN_ESHAPE, "%s %s and %s %s have different shapes",
                   what_x, tni_shape_text(x).text, what_y,
                   tni_shape_text(y).text);
}

tn_status tni_expect_size(const tn_tensor_info *x, const char *what,
                          uint32_t axis, int64_t size, tn_error *err)
{
    if (x->shape[axis] == size)
        return TN_OK;
    return tn_fail(err, TN_ESHAPE,
                   "axis %u of %s %s has size %" PRId64 ", needs %" PRId64,
                   axis, what, tni_shape_text(x).text, x->shape[axis], size);
}

tn_status tni_expect_of_rows(const tn_builder *b, tn_tensor numbers,
                             const char *what, const tn_tensor_info *x,
                             tn_error *err)
{
    if (tn_is_none(numbers))
        return TN_OK;
    const tn_tensor_info info = tn_info(b, numbers);
    TN_TRY(tni_expect_i32(&info, what, err));
    TN_TRY(tni_expect_rank(&info, what, 2, 2, err));
    TN_TRY(tni_expect_size(&info, what, 0, x->shape[0], err));
    return tni_expect_size(&info, what, 1, x->shape[1], err);
}

tn_tensor_info tni_dense(tn_dtype dtype, uint32_t rank, const int64_t *shape)
{
    tn_tensor_info info = {.dtype = dtype, .rank = rank};
    for (uint32_t i = 0; i < rank && i < TN_MAX_RANK; i++)
        info.shape[i] = shape[i];
    tni_info_make_dense(&info);
    return info;
}

tn_tensor_info tni_dense_like(const tn_tensor_info *x)
{
    return tni_dense(x->dtype, x->rank, x->shape);
}
