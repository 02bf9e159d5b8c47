/*
 * view.c - other looks at the same storage: affine layouts and their adjoints.
 *
 * A view is (storage, offset, shape, strides); a view of a view is again one
 * over the first storage, so chains cost nothing. Permute, slice and broadcast
 * always have strides. Reshape has them where every run of old axes that it
 * joins is contiguous; elsewhere the builder copies first.
 */
#include <tenon/builder.h>

#include <inttypes.h>
#include <string.h>

#include "graph/ops/ops.h"

/* ---- sizes ---- */

static tn_status reshape_sizes(const tn_view_attr *a, const tn_tensor_info *x,
                               tn_tensor_info *y, tn_error *err)
{
    const int64_t total = tn_elements(x);
    int64_t known = 1;
    uint32_t free_axis = TN_MAX_RANK;
    *y = (tn_tensor_info){.dtype = x->dtype, .rank = a->rank};
    for (uint32_t i = 0; i < a->rank; i++) {
        y->shape[i] = a->shape[i];
        if (a->shape[i] == -1 && free_axis == TN_MAX_RANK)
            free_axis = i;
        else if (a->shape[i] < 1 || a->shape[i] > INT64_MAX / known)
            return tn_fail(err, TN_ESHAPE,
                           "%s cannot become a shape whose axis %u is %" PRId64,
                           tni_shape_text(x).text, i, a->shape[i]);
        else
            known *= a->shape[i];
    }
    if (free_axis < TN_MAX_RANK)
        y->shape[free_axis] = known <= total ? total / known : 1;
    if (tn_elements(y) != total)
        return tn_fail(err, TN_ESHAPE,
                       "%s has %" PRId64 " elements, %s has %" PRId64,
                       tni_shape_text(x).text, total, tni_shape_text(y).text,
                       tn_elements(y));
    return TN_OK;
}

static tn_status permute_sizes(const tn_view_attr *a, const tn_tensor_info *x,
                               tn_tensor_info *y, tn_error *err)
{
    uint32_t seen = 0;
    *y = (tn_tensor_info){.dtype = x->dtype, .rank = a->rank};
    if (a->rank != x->rank)
        return tn_fail(err, TN_ESHAPE, "permutes %u axes of a tensor with %u",
                       a->rank, x->rank);
    for (uint32_t i = 0; i < a->rank; i++) {
        if (a->axis[i] >= x->rank || seen >> a->axis[i] & 1u)
            return tn_fail(err, TN_ESHAPE,
                           "axis %u appears twice or is above %u in a "
                           "permutation",
                           a->axis[i], x->rank - 1);
        seen |= 1u << a->axis[i];
        y->shape[i] = x->shape[a->axis[i]];
    }
    return TN_OK;
}

static tn_status slice_sizes(const tn_view_attr *a, const tn_tensor_info *x,
                             tn_tensor_info *y, tn_error *err)
{
    const uint32_t axis = a->axis[0];
    if (axis >= x->rank)
        return tn_fail(err, TN_ESHAPE, "axis %d of %u axes", (int32_t)axis,
                       x->rank);
    const int64_t size = x->shape[axis];
    const int64_t start = a->start < 0 ? a->start + size : a->start;
    if (start < 0 || start >= size || a->length < 1 || a->length > size - start)
        return tn_fail(err, TN_ESHAPE,
                       "slice of %" PRId64 " from %" PRId64
                       " leaves axis %u of size %" PRId64,
                       a->length, a->start, axis, size);
    *y = (tn_tensor_info){.dtype = x->dtype, .rank = x->rank};
    memcpy(y->shape, x->shape, sizeof y->shape);
    y->shape[axis] = a->length;
    return TN_OK;
}

static tn_status broadcast_sizes(const tn_view_attr *a, const tn_tensor_info *x,
                                 tn_tensor_info *y, tn_error *err)
{
    *y = (tn_tensor_info){.dtype = x->dtype, .rank = a->rank};
    memcpy(y->shape, a->shape, sizeof y->shape);
    for (uint32_t i = 0; i < x->rank; i++) {
        const int64_t from = x->shape[x->rank - 1 - i];
        const int64_t to =
            i < a->rank ? a->shape[a->rank - 1 - i] : 0; /* too few axes */
        if (from != to && (from != 1 || to == 0))
            return tn_fail(err, TN_ESHAPE, "%s does not broadcast to %s",
                           tni_shape_text(x).text, tni_shape_text(y).text);
    }
    return TN_OK;
}

static tn_status view_sizes(const tn_view_attr *a, const tn_tensor_info *x,
                            tn_tensor_info *y, tn_error *err)
{
    if (a->rank > TN_MAX_RANK)
        return tn_fail(err, TN_ESHAPE, "rank %u is above %d", a->rank,
                       TN_MAX_RANK);
    switch (a->kind) {
    case TN_VIEW_RESHAPE:
        return reshape_sizes(a, x, y, err);
    case TN_VIEW_PERMUTE:
        return permute_sizes(a, x, y, err);
    case TN_VIEW_SLICE:
        return slice_sizes(a, x, y, err);
    case TN_VIEW_BROADCAST:
        return broadcast_sizes(a, x, y, err);
    default:
        return tn_fail(err, TN_EUNSUPPORTED, "kind %u is unknown", a->kind);
    }
}

tn_status tni_view_shape(const tn_builder *b, const tn_op_node *node,
                         tn_tensor_info *out, tn_error *err)
{
    const tn_tensor_info x = tn_info(b, node->in[0]);
    return view_sizes(node->attr, &x, out, err);
}

tn_status tni_stop_gradient_shape(const tn_builder *b, const tn_op_node *node,
                                  tn_tensor_info *out, tn_error *err)
{
    (void)err;
    out[0] = tn_info(b, node->in[0]);
    return TN_OK;
}

/* ---- strides ---- */

/* Whether axes first .. last - 1 of x are one run of equally spaced elements.
 */
static int is_run(const tn_tensor_info *x, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i + 1 < last; i++)
        if (x->stride[i] != x->shape[i + 1] * x->stride[i + 1])
            return 0;
    return 1;
}

/* x without its axes of size 1, whose strides mean nothing. */
static tn_tensor_info squeeze(const tn_tensor_info *x)
{
    tn_tensor_info s = {.dtype = x->dtype};
    for (uint32_t i = 0; i < x->rank; i++) {
        if (x->shape[i] == 1)
            continue;
        s.shape[s.rank] = x->shape[i];
        s.stride[s.rank++] = x->stride[i];
    }
    return s;
}

/*
 * Walk both shapes from the left, cutting them into the smallest groups of
 * axes with equal products; each old group must be one run, over which the new
 * axes then count.
 */
int tni_reshape_strides(const tn_tensor_info *x, uint32_t rank,
                        const int64_t *shape, int64_t *stride)
{
    const tn_tensor_info old = squeeze(x);
    uint32_t i = 0, j = 0; /* first axes of the groups: old, new */
    while (i < old.rank) {
        uint32_t i_end = i + 1, j_end = j + 1;
        int64_t n_old = old.shape[i], n_new = shape[j];
        while (n_old != n_new) {
            if (n_new < n_old)
                n_new *= shape[j_end++];
            else
                n_old *= old.shape[i_end++];
        }
        if (!is_run(&old, i, i_end))
            return 0;
        int64_t pitch = old.stride[i_end - 1];
        for (uint32_t k = j_end; k-- > j; pitch *= shape[k])
            stride[k] = pitch;
        i = i_end;
        j = j_end;
    }
    for (; j < rank; j++)
        stride[j] = 1; /* sizes of 1 at the end */
    return 1;
}

static void overlay_broadcast(const tn_tensor_info *x, tn_tensor_info *y)
{
    const uint32_t lead = y->rank - x->rank;
    for (uint32_t i = 0; i < y->rank; i++)
        y->stride[i] = i < lead || x->shape[i - lead] != y->shape[i]
                           ? 0
                           : x->stride[i - lead];
}

static int overlay_view(const tn_view_attr *a, const tni_value *x, tni_value *y)
{
    switch (a->kind) {
    case TN_VIEW_RESHAPE:
        return tni_reshape_strides(&x->info, y->info.rank, y->info.shape,
                                   y->info.stride);
    case TN_VIEW_PERMUTE:
        for (uint32_t i = 0; i < a->rank; i++)
            y->info.stride[i] = x->info.stride[a->axis[i]];
        break;
    case TN_VIEW_SLICE: {
        const int64_t size = x->info.shape[a->axis[0]];
        const int64_t start = a->start < 0 ? a->start + size : a->start;
        memcpy(y->info.stride, x->info.stride, sizeof y->info.stride);
        y->offset = x->offset + start * x->info.stride[a->axis[0]];
        break;
    }
    case TN_VIEW_BROADCAST:
        overlay_broadcast(&x->info, &y->info);
        break;
    default:
        break; /* view_sizes let no other kind in */
    }
    return 1;
}

int tni_overlay(const tn_op_desc *desc, const void *attr, const tni_value *x,
                tni_value *y)
{
    y->storage = x->storage;
    y->offset = x->offset;
    if (desc->number == TN_OP_VIEW)
        return overlay_view(attr, x, y);
    y->info = x->info;
    return 1;
}

tn_status tni_view_prepare(tni_graph *g, tn_tensor *in, uint32_t in_count,
                           const void *attr, tn_here here, tn_error *err)
{
    const tn_view_attr *a = attr;
    const tn_tensor_info x = tn_info(&g->builder, in[0]);
    tn_tensor_info y;
    int64_t stride[TN_MAX_RANK];
    (void)in_count;
    if (a->kind != TN_VIEW_RESHAPE)
        return TN_OK;
    TN_TRY(view_sizes(a, &x, &y, err));
    if (!tni_reshape_strides(&x, y.rank, y.shape, stride))
        in[0] = tn_copy_at(&g->builder, in[0], TN_DTYPE_NONE, here);
    return TN_OK;
}

/* ---- broadcasting ---- */

tn_tensor tni_broadcast(tni_graph *g, tn_tensor x, uint32_t rank,
                        const int64_t *shape, tn_here here)
{
    const tn_tensor_info info = tn_info(&g->builder, x);
    if (info.rank == rank &&
        memcmp(info.shape, shape, rank * sizeof *shape) == 0)
        return x;
    return tn_shaped_view_at(&g->builder, x, TN_VIEW_BROADCAST, rank, shape,
                             here);
}

tn_status tni_broadcast_shapes(tn_tensor_info *into, const tn_tensor_info *x,
                               tn_error *err)
{
    const uint32_t rank = into->rank > x->rank ? into->rank : x->rank;
    tn_tensor_info joint = {.dtype = into->dtype, .rank = rank};
    for (uint32_t i = 0; i < rank; i++) { /* from the last axis */
        const int64_t a = i < into->rank ? into->shape[into->rank - 1 - i] : 1;
        const int64_t c = i < x->rank ? x->shape[x->rank - 1 - i] : 1;
        if (a != c && a != 1 && c != 1)
            return tn_fail(err, TN_ESHAPE,
                           "shapes %s and %s do not broadcast: %" PRId64
                           " against %" PRId64,
                           tni_shape_text(into).text, tni_shape_text(x).text, a,
                           c);
        joint.shape[rank - 1 - i] = a == 1 ? c : a;
    }
    *into = joint;
    return TN_OK;
}

/* ---- adjoints ---- */

/* Sum over the axes that grew, then drop the ones that were not there. */
static tn_tensor broadcast_adjoint(tn_builder *b, const tn_tensor_info *x,
                                   tn_tensor dy)
{
    const tn_tensor_info y = tn_info(b, dy);
    const uint32_t lead = y.rank - x->rank;
    uint32_t grown = 0;
    for (uint32_t i = 0; i < y.rank; i++)
        if (y.shape[i] != (i < lead ? 1 : x->shape[i - lead]))
            grown |= 1u << i;
    if (grown)
        dy = tn_sum(b, dy, grown);
    return tn_shaped_view_at(b, dy, TN_VIEW_RESHAPE, x->rank, x->shape,
                             TN_HERE);
}

static tn_tensor permute_adjoint(tn_builder *b, const tn_view_attr *a,
                                 tn_tensor dy)
{
    int64_t back[TN_MAX_RANK];
    for (uint32_t i = 0; i < a->rank; i++)
        back[a->axis[i]] = i;
    return tn_shaped_view_at(b, dy, TN_VIEW_PERMUTE, a->rank, back, TN_HERE);
}

/* The slice among zeros. */
static tn_tensor slice_adjoint(tn_builder *b, const tn_view_attr *a,
                               const tn_tensor_info *x, tn_tensor dy)
{
    const uint32_t axis = a->axis[0];
    const int64_t size = x->shape[axis];
    const int64_t before = a->start < 0 ? a->start + size : a->start;
    const int64_t sizes[] = {before, a->length, size - before - a->length};
    tn_tensor part[3];
    uint32_t count = 0;
    for (int i = 0; i < 3; i++) {
        int64_t shape[TN_MAX_RANK];
        memcpy(shape, x->shape, sizeof shape);
        shape[axis] = sizes[i];
        if (i == 1)
            part[count++] = dy;
        else if (sizes[i] > 0)
            part[count++] = tn_fill_at(b, 0.0, tn_info(b, dy).dtype, x->rank,
                                       shape, TN_HERE);
    }
    return count == 1 ? dy : tn_concat_at(b, axis, count, part, TN_HERE);
}

void tni_view_gradient(tn_builder *b, const tn_op_node *node,
                       const tn_tensor *dout, uint32_t wanted, tn_tensor *din)
{
    const tn_view_attr *a = node->attr;
    const tn_tensor_info x = tn_info(b, node->in[0]);
    if (!tni_wants(wanted, 0) || tn_is_none(dout[0]))
        return;
    switch (a->kind) {
    case TN_VIEW_RESHAPE:
        din[0] = tn_shaped_view_at(b, dout[0], TN_VIEW_RESHAPE, x.rank, x.shape,
                                   TN_HERE);
        break;
    case TN_VIEW_PERMUTE:
        din[0] = permute_adjoint(b, a, dout[0]);
        break;
    case TN_VIEW_SLICE:
        din[0] = slice_adjoint(b, a, &x, dout[0]);
        break;
    case TN_VIEW_BROADCAST:
        din[0] = broadcast_adjoint(b, &x, dout[0]);
        break;
    default:
        break; /* view_sizes let no other kind in */
    }
}
