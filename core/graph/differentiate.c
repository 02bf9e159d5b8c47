/*
 * differentiate.c - reverse mode, from the results back to the parameters.
 *
 * One walk over the nodes from last to first. When a node is reached, all its
 * readers have been visited, so what flows into its outputs is complete: it is
 * summed, and the op's own gradient rule says what flows on into the inputs
 * that lead to something asked for. Where an op has no rule (integers, effects,
 * STOP_GRADIENT) the gradient stops.
 *
 * Slices are the one case that is not node by node. A projection that makes q,
 * k and v is sliced three times, and three zero-padded sums would write the
 * whole tensor three times. Slices of one value are collected until its maker
 * is reached; those along one axis that do not overlap become one concat, gaps
 * filled with zeros.
 *
 * The walk describes with the same builder as everybody else; nodes it adds
 * are stamped with the layer and place of the node they are the gradient of.
 */
#include <string.h>

#include "graph/ops/ops.h"
#include "graph/rewrite.h"

/* A gradient that arrives at a part of an axis. */
typedef struct slice {
    int64_t start, length;
    tn_tensor grad;
    uint32_t axis;
    uint32_t taken; /* already in a concat */
} slice;

/* What has arrived at one value so far. */
typedef struct inflow {
    tn_tensor whole; /* sum of what came whole */
    slice *slices;
    size_t slice_count, slice_capacity;
} inflow;

typedef struct backward {
    tni_graph *g;
    tni_arena *scratch;
    inflow *into;       /* by value id */
    uint8_t *leads;     /* by value id: depends on something in wrt */
    uint32_t node_mark; /* nodes from here on are not stamped yet */
} backward;

/* ---- stamps ---- */

static void begin_node(backward *w, const tni_node *node)
{
    w->g->phase = TNI_BACKWARD;
    w->g->layer = node->layer;
    w->node_mark = (uint32_t)w->g->node_count;
}

static void end_node(backward *w, tn_here here)
{
    for (size_t n = w->node_mark; n < w->g->node_count; n++)
        w->g->nodes[n].here = here;
}

/* ---- arriving ---- */

/* The axes of x along which `like` was broadcast to it. */
static uint32_t broadcast_axes(const tn_tensor_info *x,
                               const tn_tensor_info *like)
{
    const uint32_t lead = x->rank > like->rank ? x->rank - like->rank : 0;
    uint32_t axes = 0;
    for (uint32_t i = 0; i < x->rank; i++)
        if (x->shape[i] != 1 && (i < lead || like->shape[i - lead] == 1))
            axes |= 1u << i;
    return axes;
}

/* Whether a gradient of shape x, summed over these, has the elements of
 * `like`. */
static int sums_to(const tn_tensor_info *x, const tn_tensor_info *like)
{
    const uint32_t axes = broadcast_axes(x, like);
    int64_t left = 1;
    for (uint32_t i = 0; i < x->rank; i++)
        left *= axes >> i & 1u ? 1 : x->shape[i];
    return left == tn_elements(like);
}

static tn_tensor sum_to_shape(tn_builder *b, tn_tensor x,
                              const tn_tensor_info *like)
{
    const tn_tensor_info info = tn_info(b, x);
    const uint32_t axes = broadcast_axes(&info, like);
    if (axes)
        x = tn_sum(b, x, axes);
    return tn_shaped_view_at(b, x, TN_VIEW_RESHAPE, like->rank, like->shape,
                             TN_HERE);
}

static int same_shape(const tn_tensor_info *x, const tn_tensor_info *y)
{
    return x->rank == y->rank &&
           memcmp(x->shape, y->shape, x->rank * sizeof x->shape[0]) == 0;
}

static tn_tensor add(tn_builder *b, tn_tensor x, tn_tensor y)
{
    tn_map_attr attr = {.program = {.input_count = 2,
                                    .output_count = 1,
                                    .instruction_count = 3,
                                    .output = {2},
                                    .instruction = {{TN_MAP_INPUT, 0, 0, 0},
                                                    {TN_MAP_INPUT, 1, 0, 0},
                                                    {TN_MAP_ADD, 0, 1, 0}}},
                        .dtype = {tn_info(b, x).dtype}};
    const tn_tensor in[] = {x, y};
    tn_tensor sum = TN_NONE;
    tn_map_at(b, &attr, in, &sum, TN_HERE);
    return sum;
}

static void arrive(backward *w, tn_tensor at, tn_tensor grad)
{
    tn_builder *b = &w->g->builder;
    const tn_tensor_info to = tn_info(b, at), from = tn_info(b, grad);
    inflow *f = &w->into[at.id];
    if (!same_shape(&to, &from))
        grad = sum_to_shape(b, grad, &to);
    f->whole = tn_is_none(f->whole) ? grad : add(b, f->whole, grad);
}

static void arrive_slice(backward *w, tn_tensor at, const tn_view_attr *a,
                         tn_tensor grad)
{
    const int64_t size = tn_dim(&w->g->builder, at, (int32_t)a->axis[0]);
    inflow *f = &w->into[at.id];
    *TNI_PUSH(w->scratch, f->slices, f->slice_count, f->slice_capacity) =
        (slice){.start = a->start < 0 ? a->start + size : a->start,
                .length = a->length,
                .grad = grad,
                .axis = a->axis[0]};
}

/* ---- slices ---- */

static tn_tensor zeros(backward *w, const tn_tensor_info *like, uint32_t axis,
                       int64_t length)
{
    int64_t shape[TN_MAX_RANK];
    memcpy(shape, like->shape, sizeof shape);
    shape[axis] = length;
    return tn_fill_at(&w->g->builder, 0.0, like->dtype, like->rank, shape,
                      TN_HERE);
}

/* The slice along `axis` that begins soonest at or after `from`. */
static slice *next_slice(inflow *f, uint32_t axis, int64_t from)
{
    slice *next = NULL;
    for (size_t i = 0; i < f->slice_count; i++) {
        slice *s = &f->slices[i];
        if (!s->taken && s->axis == axis && s->start >= from &&
            (!next || s->start < next->start))
            next = s;
    }
    return next;
}

/* One pass along an axis: slices side by side, zeros between them. */
static tn_tensor join_slices(backward *w, inflow *f, uint32_t axis,
                             const tn_tensor_info *whole)
{
    enum { MOST = 64, ROOM = 2 }; /* a gap and the slice after it */
    tn_tensor part[MOST];
    uint32_t count = 0;
    int64_t at = 0;
    slice *s;
    while (count + ROOM < MOST && (s = next_slice(f, axis, at))) {
        if (s->start > at)
            part[count++] = zeros(w, whole, axis, s->start - at);
        part[count++] = s->grad;
        at = s->start + s->length;
        s->taken = 1;
    }
    if (at < whole->shape[axis])
        part[count++] = zeros(w, whole, axis, whole->shape[axis] - at);
    return count == 1
               ? part[0]
               : tn_concat_at(&w->g->builder, axis, count, part, TN_HERE);
}

/* All that arrived at x, as one tensor or none. */
static tn_tensor total(backward *w, tn_tensor x)
{
    inflow *f = &w->into[x.id];
    const tn_tensor_info info = w->g->values[x.id].info;
    for (size_t i = 0; i < f->slice_count; i++)
        while (!f->slices[i].taken)
            arrive(w, x, join_slices(w, f, f->slices[i].axis, &info));
    f->slice_count = 0;
    return f->whole;
}

/* ---- the walk ---- */

static void mark_what_leads_to(backward *w, const tn_tensor *wrt,
                               uint32_t count)
{
    const tni_graph *g = w->g;
    for (uint32_t i = 0; i < count; i++)
        w->leads[wrt[i].id] = 1;
    for (size_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        uint8_t any = 0;
        for (uint32_t i = 0; i < node->in_count; i++)
            any |= w->leads[node->in[i].id];
        if (!any || !node->desc->gradient)
            continue;
        for (uint32_t k = 0; k < node->out_count; k++)
            w->leads[node->out[k].id] |=
                (uint8_t)tni_is_float(g->values[node->out[k].id].info.dtype);
    }
}

/* Bits of the inputs that lead somewhere; those past the mask always may. */
static uint32_t wanted_inputs(const backward *w, const tni_node *node)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < node->in_count && i < 32; i++)
        if (w->leads[node->in[i].id])
            bits |= 1u << i;
    return bits;
}

static int any_input_leads(const backward *w, const tni_node *node)
{
    for (uint32_t i = 0; i < node->in_count; i++)
        if (w->leads[node->in[i].id])
            return 1;
    return 0;
}

static int is_slice(const tni_node *node)
{
    return node->desc->number == TN_OP_VIEW &&
           ((const tn_view_attr *)node->attr)->kind == TN_VIEW_SLICE;
}

/* Rules of custom ops are other people's. */
static int is_gradient_of(backward *w, const tni_node *node, uint32_t i,
                          tn_tensor din)
{
    tn_builder *b = &w->g->builder;
    const tn_tensor_info x = tn_info(b, node->in[i]), dx = tn_info(b, din);
    if (b->failed || sums_to(&dx, &x))
        return !b->failed;
    b->api->fail(b, node->here,
                 "%s: its gradient rule gives input %u, which is %s, a "
                 "gradient of %s",
                 node->desc->name, i, tni_shape_text(&x).text,
                 tni_shape_text(&dx).text);
    return 0;
}

static void pass_on(backward *w, const tni_node *node, const tn_tensor *dout)
{
    const tn_op_node call = {node->attr, node->in, node->out, node->in_count,
                             node->out_count};
    tn_tensor *din =
        tni_arena_alloc(w->scratch, (node->in_count + 1) * sizeof *din);
    node->desc->gradient(&w->g->builder, &call, dout, wanted_inputs(w, node),
                         din);
    for (uint32_t i = 0; i < node->in_count; i++)
        if (!tn_is_none(din[i]) && w->leads[node->in[i].id] &&
            is_gradient_of(w, node, i, din[i]))
            arrive(w, node->in[i], din[i]);
}

static void visit(backward *w, tni_node node)
{
    uint32_t arrived = 0;
    if (!any_input_leads(w, &node) || !node.desc->gradient)
        return;
    tn_tensor *dout =
        tni_arena_alloc(w->scratch, node.out_count * sizeof *dout);
    begin_node(w, &node);
    for (uint32_t k = 0; k < node.out_count; k++) {
        dout[k] = total(w, node.out[k]);
        arrived |= dout[k].id;
    }
    if (arrived && is_slice(&node))
        arrive_slice(w, node.in[0], node.attr, dout[0]);
    else if (arrived)
        pass_on(w, &node, dout);
    end_node(w, node.here);
}

/* ---- the ends ---- */

static tn_status check_alive(const tni_graph *g, const char *what, uint32_t i,
                             tn_tensor x, tn_error *err)
{
    if (x.id && x.id < g->value_count && g->values[x.id].node != UINT32_MAX)
        return TN_OK;
    return tn_fail(err, TN_EINVALID,
                   "differentiate: %s[%u] is not in the graph; a pass before "
                   "this one keeps only what is assigned or read",
                   what, i);
}

static tn_status check_seed(const tni_graph *g, uint32_t i, tn_tensor y,
                            tn_tensor seed, tn_error *err)
{
    if (same_shape(&g->values[y.id].info, &g->values[seed.id].info))
        return TN_OK;
    return tn_fail(err, TN_ESHAPE,
                   "differentiate: seed[%u] %s has not the shape of y[%u] %s",
                   i, tni_shape_text(&g->values[seed.id].info).text, i,
                   tni_shape_text(&g->values[y.id].info).text);
}

static tn_status seed_results(backward *w, const tn_tensor *y,
                              const tn_tensor *seed, uint32_t count,
                              tn_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const tn_tensor at = tni_graph_resolve(w->g, y[i]);
        const tn_tensor from = tni_graph_resolve(w->g, seed[i]);
        TN_TRY(check_alive(w->g, "y", i, at, err));
        TN_TRY(check_alive(w->g, "seed", i, from, err));
        TN_TRY(check_seed(w->g, i, at, from, err));
        const tni_node maker = w->g->nodes[w->g->values[at.id].node];
        begin_node(w, &maker);
        if (w->leads[at.id])
            arrive(w, at, from);
        end_node(w, maker.here);
    }
    return TN_OK;
}

static tn_status walk(backward *w, const tn_tensor *y, const tn_tensor *seed,
                      uint32_t y_count, tn_error *err)
{
    tni_graph *g = w->g;
    const size_t forward = g->node_count;
    TN_TRY(seed_results(w, y, seed, y_count, err));
    for (size_t n = forward; n-- > 0 && !g->builder.failed;)
        visit(w, g->nodes[n]);
    return tni_graph_status(g, err);
}

static tn_status collect(backward *w, const tn_tensor *wrt, uint32_t count,
                         tn_tensor *dwrt, tn_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const tni_node node = w->g->nodes[w->g->values[wrt[i].id].node];
        begin_node(w, &node);
        dwrt[i] = total(w, wrt[i]);
        end_node(w, node.here);
    }
    return tni_graph_status(w->g, err);
}

static tn_status differentiate(backward *w, const tn_tensor *y,
                               const tn_tensor *seed, uint32_t y_count,
                               const tn_tensor *wrt, uint32_t wrt_count,
                               tn_tensor *dwrt, tn_error *err)
{
    tn_tensor *now = tni_arena_alloc(w->scratch, (wrt_count + 1) * sizeof *now);
    for (uint32_t j = 0; j < wrt_count; j++) {
        now[j] = tni_graph_resolve(w->g, wrt[j]);
        TN_TRY(check_alive(w->g, "wrt", j, now[j], err));
    }
    w->into = tni_arena_alloc(w->scratch, w->g->value_count * sizeof *w->into);
    w->leads = tni_arena_alloc(w->scratch, w->g->value_count);
    mark_what_leads_to(w, now, wrt_count);
    TN_TRY(walk(w, y, seed, y_count, err));
    return collect(w, now, wrt_count, dwrt, err);
}

tn_status tni_differentiate(tni_graph *g, const tn_tensor *y,
                            const tn_tensor *seed, uint32_t y_count,
                            const tn_tensor *wrt, uint32_t wrt_count,
                            tn_tensor *dwrt, tn_error *err)
{
    const uint32_t phase = g->phase, layer = g->layer;
    backward w = {.g = g, .scratch = tni_arena_create()};
    tni_graph_index(g);
    const tn_status status =
        differentiate(&w, y, seed, y_count, wrt, wrt_count, dwrt, err);
    tni_arena_destroy(w.scratch);
    g->phase = phase;
    g->layer = layer;
    return status;
}
