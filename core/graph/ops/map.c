/*
 * map.c - element-wise programs, alone and before a reduction.
 *
 * All inputs of a map are seen with the iteration shape: the builder makes the
 * broadcasts views of their own, so their gradients are sums that the view's
 * rule writes and the map's gradient is nothing but another program.
 *
 * The one exception is the input of RANDOM: two i32 (seed, step), never
 * broadcast.
 */
#include <tenon/builder.h>

#include <inttypes.h>
#include <string.h>

#include "graph/ops/ops.h"
#include "graph/workspace.h"

/* ---- shapes ---- */

/* Bits of the inputs that `op` reads. */
static uint32_t inputs_read_by(const tn_program *p, tn_map_op op)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < p->instruction_count; i++)
        if (p->instruction[i].op == op)
            bits |= 1u << p->instruction[i].a;
    return bits;
}

static tn_status check_random(const tn_builder *b, const tn_program *p,
                              const tn_tensor *in, tn_error *err)
{
    const uint32_t random = inputs_read_by(p, TN_MAP_RANDOM);
    if (random & inputs_read_by(p, TN_MAP_INPUT))
        return tn_fail(err, TN_ESHAPE,
                       "an input of `random` is read by `input`, too");
    for (uint32_t i = 0; i < p->input_count; i++) {
        const tn_tensor_info x = tn_info(b, in[i]);
        if (!(random >> i & 1u))
            continue;
        if (x.dtype != TN_I32 || x.rank != 1 || x.shape[0] != 2)
            return tn_fail(err, TN_ESHAPE,
                           "the input of `random` is %s %s, needs I32 (2): "
                           "seed and step",
                           tn_dtype_name(x.dtype), tni_shape_text(&x).text);
    }
    return TN_OK;
}

/* Broadcast every input but random's to the shape that they have together. */
static tn_status prepare(tni_graph *g, const tn_program *p, tn_tensor *in,
                         uint32_t in_count, tn_here here, tn_error *err)
{
    tn_builder *b = &g->builder;
    tn_tensor_info joint = {0};
    TN_TRY(tni_program_check(p, err));
    if (in_count != p->input_count)
        return tn_fail(err, TN_ESHAPE, "%u inputs given, the program reads %u",
                       in_count, p->input_count);
    TN_TRY(check_random(b, p, in, err));
    const uint32_t random = inputs_read_by(p, TN_MAP_RANDOM);
    for (uint32_t i = 0; i < in_count; i++) {
        const tn_tensor_info x = tn_info(b, in[i]);
        if (!(random >> i & 1u))
            TN_TRY(tni_broadcast_shapes(&joint, &x, err));
    }
    for (uint32_t i = 0; i < in_count; i++)
        if (!(random >> i & 1u))
            in[i] = tni_broadcast(g, in[i], joint.rank, joint.shape, here);
    return TN_OK;
}

tn_status tni_map_prepare(tni_graph *g, tn_tensor *in, uint32_t in_count,
                          const void *attr, tn_here here, tn_error *err)
{
    return prepare(g, &((const tn_map_attr *)attr)->program, in, in_count, here,
                   err);
}

tn_status tni_reduce_prepare(tni_graph *g, tn_tensor *in, uint32_t in_count,
                             const void *attr, tn_here here, tn_error *err)
{
    return prepare(g, &((const tn_reduce_attr *)attr)->program, in, in_count,
                   here, err);
}

/* The shape over which a program runs: that of any input but random's. */
static tn_status iteration(const tn_builder *b, const tn_program *p,
                           const tn_op_node *node, tn_tensor_info *shape,
                           tn_error *err)
{
    const uint32_t random = inputs_read_by(p, TN_MAP_RANDOM);
    uint32_t i = 0;
    while (i < node->in_count && (random >> i & 1u))
        i++;
    if (i == node->in_count)
        return tn_fail(err, TN_ESHAPE,
                       "no input gives it a shape; use fill for a constant");
    *shape = tn_info(b, node->in[i]);
    for (uint32_t k = 0; k < p->instruction_count; k++)
        if (p->instruction[k].op == TN_MAP_INDEX &&
            p->instruction[k].a >= shape->rank)
            return tn_fail(err, TN_ESHAPE,
                           "`index` of axis %u in a shape of %u axes",
                           p->instruction[k].a, shape->rank);
    return TN_OK;
}

tn_status tni_map_shape(const tn_builder *b, const tn_op_node *node,
                        tn_tensor_info *out, tn_error *err)
{
    const tn_map_attr *a = node->attr;
    tn_tensor_info shape;
    TN_TRY(iteration(b, &a->program, node, &shape, err));
    if (node->out_count != a->program.output_count)
        return tn_fail(err, TN_ESHAPE,
                       "%u outputs asked for, the program has "
                       "%u",
                       node->out_count, a->program.output_count);
    for (uint32_t i = 0; i < node->out_count; i++)
        out[i] = tni_dense(a->dtype[i] ? a->dtype[i] : b->dtype, shape.rank,
                           shape.shape);
    return TN_OK;
}

tn_status tni_reduce_shape(const tn_builder *b, const tn_op_node *node,
                           tn_tensor_info *out, tn_error *err)
{
    const tn_reduce_attr *a = node->attr;
    tn_tensor_info shape;
    TN_TRY(iteration(b, &a->program, node, &shape, err));
    if (a->program.output_count != 1)
        return tn_fail(err, TN_ESHAPE, "its program has %u outputs, needs 1",
                       a->program.output_count);
    if (a->kind < TN_REDUCE_SUM || a->kind > TN_REDUCE_MIN)
        return tn_fail(err, TN_EUNSUPPORTED, "kind %u is unknown", a->kind);
    if (a->axes >> shape.rank)
        return tn_fail(err, TN_ESHAPE,
                       "axis mask 0x%x names more than the %u "
                       "axes of %s",
                       a->axes, shape.rank, tni_shape_text(&shape).text);
    for (uint32_t i = 0; i < shape.rank; i++)
        if (a->axes >> i & 1u)
            shape.shape[i] = 1;
    out[0] = tni_dense(b->dtype, shape.rank, shape.shape);
    return TN_OK;
}

/* A program of one instruction has that instruction's name. */
const char *tni_map_label(const void *attr)
{
    const tn_program *p = &((const tn_map_attr *)attr)->program;
    const char *label = "map", *name;
    uint32_t work = 0;
    for (uint32_t i = 0;
         i < p->instruction_count && i < TN_MAP_MAX_INSTRUCTIONS; i++) {
        const tn_map_op op = p->instruction[i].op;
        if (tni_instruction_arity(op, &name) <= 0)
            continue;
        work++;
        label = name;
    }
    return work == 1 ? label : "map";
}

/* ---- maps written by decompositions ---- */

/* Decompositions write a dozen instructions: they fit. */
static tn_program packed(tni_work *w, uint32_t in_count)
{
    tn_program p = {0};
    w->input_count = in_count;
    (void)tni_work_pack(w, &p);
    return p;
}

void tni_map_written(tn_builder *b, tni_work *w, const tn_tensor *in,
                     uint32_t in_count, tn_tensor *out)
{
    tn_map_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.program = packed(w, in_count);
    tn_map_at(b, &attr, in, out, TN_HERE);
}

tn_tensor tni_map_written1(tn_builder *b, tni_work *w, uint16_t y,
                           const tn_tensor *in, uint32_t in_count)
{
    tn_tensor out = TN_NONE;
    w->output[0] = y;
    w->output_count = 1;
    tni_map_written(b, w, in, in_count, &out);
    return out;
}

tn_tensor tni_reduce_written(tn_builder *b, tni_work *w, uint16_t y,
                             uint32_t kind, uint32_t axes, const tn_tensor *in,
                             uint32_t in_count)
{
    tn_reduce_attr attr;
    memset(&attr, 0, sizeof attr);
    w->output[0] = y;
    w->output_count = 1;
    attr.program = packed(w, in_count);
    attr.kind = kind;
    attr.axes = axes;
    return tn_op1_at(b, TN_OP_REDUCE, in, in_count, &attr,
                     (uint32_t)sizeof attr, TN_HERE);
}

tn_tensor tni_stored_as(tn_builder *b, tn_tensor x, tn_dtype dtype,
                        tn_here here)
{
    tn_map_attr attr;
    tn_tensor y = TN_NONE;
    if (tn_info(b, x).dtype == dtype)
        return x;
    memset(&attr, 0, sizeof attr);
    attr.program.instruction[0].op = TN_MAP_INPUT;
    attr.program.instruction_count = 1;
    attr.program.input_count = 1;
    attr.program.output_count = 1;
    attr.dtype[0] = dtype;
    tn_map_at(b, &attr, &x, &y, here);
    return y;
}

/* ---- counting ---- */

static double program_flops(const tn_program *p)
{
    double n = 0.0;
    for (uint32_t i = 0; i < p->instruction_count; i++) {
        const tn_map_op op = p->instruction[i].op;
        n += tni_instruction_arity(op, NULL) < 1 ? 0.0
             : op == TN_MAP_FMA                  ? 2.0
                                                 : 1.0;
    }
    return n;
}

double tni_map_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_tensor_info y = tn_info(b, node->out[0]);
    const tn_map_attr *a = node->attr;
    return program_flops(&a->program) * (double)tn_elements(&y);
}

double tni_reduce_flops(const tn_builder *b, const tn_op_node *node)
{
    const tn_reduce_attr *a = node->attr;
    tn_tensor_info x = {0};
    iteration(b, &a->program, node, &x, NULL);
    return (1.0 + program_flops(&a->program)) * (double)tn_elements(&x);
}
