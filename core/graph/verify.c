/*
 * verify.c - whether a graph is what graph.h says it is.
 *
 * Passes rewrite graphs; each leaves one that holds these invariants, and a
 * pass that does not is found here, beside its name, and not three passes later
 * as wrong numbers. A refusal names the node and the place in the describer's
 * source: it is a bug of Tenon's or of a custom op's rules.
 */
#include "graph/graph.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "graph/ops/ops.h"
#include "graph/program.h"
#include "graph/rewrite.h"

typedef struct check {
    const tni_graph *g;
    uint8_t *defined; /* by value: a node before this one made it */
    size_t n;         /* the node at hand */
    tn_error *err;
} check;

TN_PRINTF(2, 3)
static tn_status refuse(const check *c, const char *format, ...)
{
    const tni_node *node = &c->g->nodes[c->n];
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return tn_fail(c->err, TN_ESHAPE,
                   "graph: node %zu, %s of %s:%d: %s (a bug of Tenon's or of "
                   "a custom op's rules)",
                   c->n, node->desc ? node->desc->name : "?",
                   node->here.file ? node->here.file : "?", node->here.line,
                   text);
}

/* ---- operands ---- */

static tn_status check_inputs(const check *c, const tni_node *node)
{
    const tn_op_desc *d = node->desc;
    if (node->in_count < d->min_in || node->in_count > d->max_in)
        return refuse(c, "%u inputs, takes %u to %u", node->in_count, d->min_in,
                      d->max_in);
    for (uint32_t i = 0; i < node->in_count; i++) {
        const uint32_t id = node->in[i].id;
        if (id >= c->g->value_count)
            return refuse(c, "input %u is value %u of %zu", i, id,
                          c->g->value_count);
        if (id == 0 && i >= d->min_in)
            continue;
        if (!c->defined[id])
            return refuse(c, "input %u, value %u, is not made before", i, id);
        if (c->g->values[id].replaced_by)
            return refuse(c, "input %u, value %u, was replaced by value %u", i,
                          id, c->g->values[id].replaced_by);
    }
    return TN_OK;
}

static tn_status check_outputs(const check *c, const tni_node *node)
{
    for (uint32_t i = 0; i < node->out_count; i++) {
        const uint32_t id = node->out[i].id;
        if (id == 0 || id >= c->g->value_count)
            return refuse(c, "output %u is value %u of %zu", i, id,
                          c->g->value_count);
        if (c->defined[id])
            return refuse(c, "output %u, value %u, is made twice", i, id);
        c->defined[id] = 1;
    }
    return TN_OK;
}

static int same_layout(const tn_tensor_info *x, const tn_tensor_info *y)
{
    for (uint32_t i = 0; i < x->rank; i++)
        if (x->shape[i] != 1 && x->stride[i] != y->stride[i])
            return 0;
    return 1;
}

static int same_shape(const tn_tensor_info *x, const tn_tensor_info *y)
{
    return x->rank == y->rank &&
           memcmp(x->shape, y->shape, x->rank * sizeof x->shape[0]) == 0;
}

/* Rules speak of graphs as they are described; what narrow.c stores in bf16 is
 * f32 to them, and what quantise.c stores in blocks of the graph's dtype. */
static void described_info(const tn_builder *b, tn_tensor x,
                           tn_tensor_info *info)
{
    const tni_graph *g = (const tni_graph *)(const void *)b;
    memset(info, 0, sizeof *info);
    if (x.id == 0 || x.id >= g->value_count)
        return;
    *info = tni_value_of(g, x)->info;
    if (info->dtype == TN_BF16)
        info->dtype = TN_F32;
    else if (tn_dtype_block(info->dtype) > 1)
        info->dtype = b->dtype;
}

static const tn_builder_api described = {
    .struct_size = sizeof described,
    .info = described_info,
};

static int may_be(const tni_node *node, uint32_t output, tn_dtype is,
                  tn_dtype said)
{
    const tni_narrowing *n = tni_op_narrowing(node->desc);
    if (tn_dtype_block(is) > 1)
        return node->desc->tier == TN_TIER_VIEW;
    if (is != TN_BF16 || node->desc->tier == TN_TIER_VIEW)
        return is == said || is == TN_BF16;
    return said == TN_BF16 || (said == TN_F32 && tni_narrows(n->out, output));
}

/* Operands that have one dtype, where any is bf16. */
static tn_status check_dtypes(const check *c, const tni_node *node)
{
    const tni_narrowing *n = tni_op_narrowing(node->desc);
    const int alike = n->how == TNI_NARROW_ALIKE || n->how == TNI_NARROW_ROWS;
    tn_dtype dtype =
        alike ? tni_value_of(c->g, node->out[0])->info.dtype : TN_DTYPE_NONE;
    if (node->desc->number == TN_OP_COPY || !tni_computes(node) ||
        (!alike && n->how != TNI_NARROW_PRODUCT))
        return TN_OK;
    for (uint32_t i = 0; i < node->in_count; i++) {
        const tn_dtype of = tni_value_of(c->g, node->in[i])->info.dtype;
        if (!node->in[i].id || !tni_narrows(n->in, i) || tn_dtype_block(of) > 1)
            continue;
        if (dtype && of != dtype)
            return refuse(c, "input %u is %s and others are %s", i,
                          tn_dtype_name(of), tn_dtype_name(dtype));
        dtype = of;
    }
    return TN_OK;
}

/* What the shape rule says of these inputs is what the outputs are. */
static tn_status check_rule(const check *c, const tni_node *node)
{
    tni_graph seen_by_rules = *c->g;
    tn_tensor_info *said = calloc(node->out_count + 1, sizeof *said);
    tn_tensor *none = calloc(node->out_count + 1, sizeof *none);
    const tn_op_node seen = {node->attr, node->in, none, node->in_count,
                             node->out_count};
    tn_error why = {0};
    tn_status status = TN_OK;
    seen_by_rules.builder.api = &described;
    if (!said || !none)
        status = tn_fail(c->err, TN_ENOMEM, "no memory to verify a graph");
    else if (node->desc->shape(&seen_by_rules.builder, &seen, said, &why) !=
             TN_OK)
        status = refuse(c, "%s", why.message);
    for (uint32_t i = 0; status == TN_OK && i < node->out_count; i++) {
        const tn_tensor_info *is = &tni_value_of(c->g, node->out[i])->info;
        if (!same_shape(&said[i], is) ||
            !may_be(node, i, is->dtype, said[i].dtype))
            status = refuse(c, "output %u is %s %s, its rule says %s %s", i,
                            tn_dtype_name(is->dtype), tni_shape_text(is).text,
                            tn_dtype_name(said[i].dtype),
                            tni_shape_text(&said[i]).text);
    }
    free(said);
    free(none);
    return status;
}

/* ---- storage ---- */

/* Bound by fuse: written straight into what an assign would copy it to. */
static int is_bound(const check *c, const tni_node *node, uint32_t output)
{
    const tni_value *v = tni_value_of(c->g, node->out[output]);
    return !tni_op_is_over_first(node->desc) &&
           v->storage != node->out[output].id &&
           c->g->values[v->storage].arena != 0;
}

/* Views and effects lie where their first input says; all else is dense, and
 * its own or bound. */
static tn_status check_storage(const check *c, const tni_node *node)
{
    for (uint32_t i = 0; i < node->out_count; i++) {
        const tni_value *v = tni_value_of(c->g, node->out[i]);
        tni_value want = {.info = v->info, .storage = node->out[i].id};
        tni_info_make_dense(&want.info);
        if (is_bound(c, node, i)) {
            want.storage = v->storage;
            want.offset = v->offset;
        }
        if (tni_op_is_over_first(node->desc) &&
            !tni_overlay(node->desc, node->attr,
                         tni_value_of(c->g, node->in[0]), &want))
            return refuse(c, "reshapes an input whose strides forbid it");
        if (v->storage != want.storage || v->offset != want.offset)
            return refuse(c,
                          "output %u lies on value %u at %" PRId64
                          ", not on value %u at %" PRId64,
                          i, v->storage, v->offset, want.storage, want.offset);
        if (!same_layout(&v->info, &want.info))
            return refuse(c, "output %u has other strides than it must", i);
    }
    return TN_OK;
}

/* Strides stay inside the storage, whatever the views were. */
static tn_status check_reach(const check *c, const tni_node *node)
{
    for (uint32_t i = 0; i < node->out_count; i++) {
        const tni_value *v = tni_value_of(c->g, node->out[i]);
        const int64_t size = tn_elements(&c->g->values[v->storage].info);
        int64_t last = v->offset;
        for (uint32_t k = 0; k < v->info.rank; k++)
            last += (v->info.shape[k] - 1) * v->info.stride[k];
        if (v->offset < 0 || last >= size)
            return refuse(c,
                          "output %u reaches element %" PRId64
                          " of a storage of %" PRId64,
                          i, last, size);
    }
    return TN_OK;
}

/* ---- what single ops are promised ---- */

static const tn_program *program_of(const tni_node *node)
{
    if (node->desc->number == TN_OP_MAP)
        return &((const tn_map_attr *)node->attr)->program;
    if (node->desc->number == TN_OP_REDUCE)
        return &((const tn_reduce_attr *)node->attr)->program;
    return NULL;
}

static int is_random_input(const tn_program *p, uint32_t input)
{
    for (uint32_t i = 0; i < p->instruction_count; i++)
        if (p->instruction[i].op == TN_MAP_RANDOM &&
            p->instruction[i].a == input)
            return 1;
    return 0;
}

/* Inputs of map and reduce have the iteration shape, all of them. */
static tn_status check_program(const check *c, const tni_node *node)
{
    const tn_program *p = program_of(node);
    const tn_tensor_info *shape = NULL;
    tn_error why = {0};
    if (!p)
        return TN_OK;
    if (tni_program_check(p, &why) != TN_OK)
        return refuse(c, "%s", why.message);
    if (p->input_count != node->in_count)
        return refuse(c, "%u inputs, its program reads %u", node->in_count,
                      p->input_count);
    for (uint32_t i = 0; i < node->in_count; i++) {
        const tn_tensor_info *x = &tni_value_of(c->g, node->in[i])->info;
        if (is_random_input(p, i))
            continue;
        if (shape &&
            (x->rank != shape->rank ||
             memcmp(x->shape, shape->shape, x->rank * sizeof x->shape[0]) != 0))
            return refuse(c, "inputs of shapes %s and %s in one program",
                          tni_shape_text(shape).text, tni_shape_text(x).text);
        shape = x;
    }
    return TN_OK;
}

static tn_status check_matmul(const check *c, const tni_node *node)
{
    if (node->desc->number != TN_OP_MATMUL)
        return TN_OK;
    const tn_tensor_info *y = &tni_value_of(c->g, node->out[0])->info;
    for (uint32_t i = 0; i < 2; i++) {
        const tn_tensor_info *x = &tni_value_of(c->g, node->in[i])->info;
        if (x->rank != y->rank ||
            memcmp(x->shape, y->shape, (x->rank - 2) * sizeof x->shape[0]) != 0)
            return refuse(c, "operand %u, %s, has not the result's batch axes",
                          i, tni_shape_text(x).text);
        if (!tni_is_matmul_operand(x))
            return refuse(
                c, "operand %u has no stride of 1 in its last two axes", i);
    }
    return TN_OK;
}

static tn_status check_accumulate(const check *c, const tni_node *node)
{
    if (node->accumulate & ~tni_op_accumulates(node->desc))
        return refuse(c, "accumulates into outputs 0x%x, may into 0x%x",
                      node->accumulate, tni_op_accumulates(node->desc));
    return TN_OK;
}

/* ---- the whole ---- */

static tn_status check_node(const check *c)
{
    const tni_node *node = &c->g->nodes[c->n];
    if (!node->desc)
        return refuse(c, "has no op");
    TN_TRY(check_inputs(c, node));
    TN_TRY(check_outputs(c, node));
    if (node->desc->shape)
        TN_TRY(check_rule(c, node));
    TN_TRY(check_dtypes(c, node));
    TN_TRY(check_storage(c, node));
    TN_TRY(check_reach(c, node));
    TN_TRY(check_program(c, node));
    TN_TRY(check_matmul(c, node));
    return check_accumulate(c, node);
}

typedef tn_status node_check(const check *c);

static tn_status check_all(const tni_graph *g, node_check *of, tn_error *err)
{
    check c = {.g = g, .err = err};
    tn_status status = TN_OK;
    c.defined = calloc(g->value_count + 1, 1);
    if (!c.defined)
        return tn_fail(err, TN_ENOMEM, "no memory to verify a graph");
    for (; status == TN_OK && c.n < g->node_count; c.n++)
        status = of(&c);
    free(c.defined);
    return status;
}

tn_status tni_graph_verify(const tni_graph *g, tn_error *err)
{
    return check_all(g, check_node, err);
}

/* ---- after lower ---- */

static tn_status check_dense(const check *c)
{
    const tni_node *node = &c->g->nodes[c->n];
    for (uint32_t i = 0; i < node->in_count; i++)
        if (!tni_op_accepts(node->desc, i,
                            &tni_value_of(c->g, node->in[i])->info))
            return refuse(c, "input %u is strided; lower must copy it", i);
    return TN_OK;
}

tn_status tni_graph_verify_dense(const tni_graph *g, tn_error *err)
{
    TN_TRY(tni_graph_verify(g, err));
    return check_all(g, check_dense, err);
}
