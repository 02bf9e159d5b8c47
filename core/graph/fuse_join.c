/*
 * fuse_join.c - two programs become one.
 *
 * All inputs of a map have its iteration shape, so joining is joining programs:
 * an input that is the other map's output becomes a register. Inputs that read
 * the same bytes in the same order are merged. Where producer and consumer
 * disagree about the shape of the same elements (one sees (B, T, C), the other
 * (B T, C)), the producer's inputs are reshaped, which strides can often say.
 */
#include "graph/fuse.h"

#include <string.h>

#include "graph/ops/ops.h"

/* ---- alignment ---- */

const tn_tensor_info *tni_iteration(const tni_graph *g, const tni_node *node)
{
    const uint32_t seeds = tni_program_seeds(tni_node_program(node));
    uint32_t i = 0;
    while (i + 1 < node->in_count && (seeds >> i & 1u))
        i++;
    return &g->values[tni_is_map(node) ? node->out[0].id : node->in[i].id].info;
}

static int same_shape(const tn_tensor_info *x, const tn_tensor_info *y)
{
    return x->rank == y->rank &&
           memcmp(x->shape, y->shape, x->rank * sizeof x->shape[0]) == 0;
}

/* A gradient that must stop may not be computed inside its reader. */
static int stops_gradient(const tni_graph *g, tn_tensor x, uint32_t owner)
{
    while (x.id != owner) {
        const uint32_t n = g->values[x.id].node;
        if (n == UINT32_MAX || !g->nodes[n].desc ||
            g->nodes[n].desc->number != TN_OP_VIEW)
            return 1;
        x = g->nodes[n].in[0];
    }
    return 0;
}

int tni_is_aligned(const tni_graph *g, const tni_node *consumer, tn_tensor x)
{
    const tn_tensor_info *info = &g->values[x.id].info;
    return tni_covers_owner(g, x) &&
           same_shape(info, tni_iteration(g, consumer)) &&
           !stops_gradient(g, x, g->values[x.id].storage);
}

/* ---- operands ---- */

static int reads_input(const tn_program *p, uint32_t input)
{
    for (uint32_t i = 0; i < p->instruction_count; i++) {
        const tn_instruction *s = &p->instruction[i];
        if ((s->op == TN_MAP_INPUT || s->op == TN_MAP_RANDOM) && s->a == input)
            return 1;
    }
    return 0;
}

/* Forget inputs that are not read; one must stay to give the shape. */
static uint32_t drop_unread(tn_program *p, tn_tensor *in, uint32_t count)
{
    for (uint32_t i = count; i-- > 0 && count > 1;) {
        if (reads_input(p, i) ||
            (!i && tni_program_seeds(p) == (1u << count) - 2u))
            continue;
        tni_program_merge_inputs(p, 0, i);
        memmove(&in[i], &in[i + 1], (count - i - 1) * sizeof *in);
        count--;
    }
    return count;
}

/* The same bytes; and while there are gradients to come, they flow into both or
 * into neither. */
static int are_one(const tni_fuser *f, tn_tensor x, tn_tensor y)
{
    const tni_graph *g = f->g;
    return tni_same_operand(g, x, y) &&
           (!f->before_gradient ||
            stops_gradient(g, x, g->values[x.id].storage) ==
                stops_gradient(g, y, g->values[y.id].storage));
}

/* Merge inputs of the joint that are the same operand. */
static void merge_inputs(const tni_fuser *f, tni_joint *j)
{
    for (uint32_t a = 0; a < j->in_count; a++)
        for (uint32_t b = j->in_count; --b > a;) {
            if (!are_one(f, j->in[a], j->in[b]))
                continue;
            tni_program_merge_inputs(&j->program, a, b);
            memmove(&j->in[b], &j->in[b + 1],
                    (j->in_count - b - 1) * sizeof *j->in);
            j->in_count--;
        }
    tni_program_simplify(&j->program);
    j->in_count = drop_unread(&j->program, j->in, j->in_count);
}

static int uses_index(const tn_program *p)
{
    for (uint32_t i = 0; i < p->instruction_count; i++)
        if (p->instruction[i].op == TN_MAP_INDEX)
            return 1;
    return 0;
}

static tn_tensor append_reshape(tni_fuser *f, tn_tensor x,
                                const tn_tensor_info *shape, uint32_t reader)
{
    tni_graph *g = f->g;
    const tni_node stamp = g->nodes[reader];
    tn_view_attr *attr = tni_arena_alloc(g->arena, sizeof *attr);
    attr->kind = TN_VIEW_RESHAPE;
    attr->rank = shape->rank;
    memcpy(attr->shape, shape->shape, sizeof attr->shape);
    const tn_tensor y = tni_graph_value(g, g->values[x.id].info.dtype,
                                        shape->rank, shape->shape);
    const tn_op_desc *view = tni_op_desc(TN_OP_VIEW);
    tni_overlay(view, attr, tni_value_of(g, x), tni_value_of(g, y));
    tni_value_of(g, y)->node = (uint32_t)g->node_count;
    *TNI_PUSH(g->arena, g->nodes, g->node_count, g->node_capacity) = (tni_node){
        .desc = view,
        .attr = attr,
        .in = tni_arena_copy(g->arena, &x, sizeof x),
        .out = tni_arena_copy(g->arena, &y, sizeof y),
        .in_count = 1,
        .out_count = 1,
        .layer = stamp.layer,
        .phase = stamp.phase,
        .here = stamp.here,
    };
    const uint32_t priority = f->priority[reader];
    *TNI_PUSH(f->scratch, f->priority, f->priority_count,
              f->priority_capacity) = priority;
    return y;
}

/* Input i of producer p as it looks over `shape`; none where it does not. */
static tn_tensor seen_as(tni_fuser *f, uint32_t p, uint32_t i, uint32_t reader,
                         const tn_tensor_info *shape)
{
    const tni_node *node = &f->g->nodes[p];
    const tn_program *program = tni_node_program(node);
    const tn_tensor x = node->in[i];
    int64_t stride[TN_MAX_RANK];
    if (same_shape(tni_iteration(f->g, node), shape) ||
        (tni_program_seeds(program) >> i & 1u))
        return x;
    if (uses_index(program) ||
        !tni_reshape_strides(&f->g->values[x.id].info, shape->rank,
                             shape->shape, stride))
        return TN_NONE;
    return append_reshape(f, x, shape, reader);
}

/* ---- joining ---- */

static tn_dtype output_dtype(const tni_graph *g, const tni_node *node,
                             uint32_t k)
{
    return g->values[node->out[k].id].info.dtype;
}

static void begin(const tni_graph *g, const tni_node *node, tni_joint *j)
{
    memset(j, 0, sizeof *j);
    j->program = *tni_node_program(node);
    j->in_count = node->in_count;
    j->out_count = node->out_count;
    memcpy(j->in, node->in, node->in_count * sizeof *j->in);
    for (uint32_t k = 0; k < node->out_count; k++) {
        j->out[k] = node->out[k];
        j->dtype[k] = output_dtype(g, node, k);
    }
}

/* The first input of the joint that reads an output of p, and which. */
static int find_slot(const tni_graph *g, const tni_joint *j, const tni_node *p,
                     uint32_t *slot, uint32_t *output)
{
    for (uint32_t i = 0; i < j->in_count; i++)
        for (uint32_t k = 0; k < p->out_count; k++)
            if (g->values[j->in[i].id].storage == p->out[k].id) {
                *slot = i;
                *output = k;
                return 1;
            }
    return 0;
}

/* Compute input `slot` inside, by output `output` of p. */
static int absorb(tni_fuser *f, tni_joint *j, const tn_tensor *p_in, uint32_t p,
                  uint32_t slot, uint32_t output, uint32_t keep)
{
    const tn_program *producer = tni_node_program(&f->g->nodes[p]);
    uint8_t input_of[2 * TN_MAP_MAX_INPUTS];
    tn_tensor in[2 * TN_MAP_MAX_INPUTS];
    tn_program joined;
    if (j->in_count > TN_MAP_MAX_INPUTS ||
        tni_program_join(&j->program, slot, producer, output, keep, &joined,
                         input_of) != TN_OK)
        return 0;
    for (uint32_t i = 0; i < joined.input_count; i++)
        in[i] = input_of[i] < 16 ? j->in[input_of[i]] : p_in[input_of[i] - 16];
    j->program = joined;
    j->in_count = joined.input_count;
    memcpy(j->in, in, j->in_count * sizeof *in);
    merge_inputs(f, j);
    return 1;
}

/* A derivative in one program, for each input alone, must stay possible. */
static int has_gradient(const tni_fuser *f, const tni_joint *j)
{
    tn_program gradient;
    for (uint32_t i = 0; i < j->in_count; i++)
        if (tni_is_float(f->g->values[j->in[i].id].info.dtype) &&
            tni_program_gradient(&j->program, 1u << i, &gradient) != TN_OK)
            return 0;
    return 1;
}

static int fits(const tni_fuser *f, const tni_joint *j)
{
    return j->in_count <= f->max_inputs &&
           j->program.instruction_count <= f->max_instructions &&
           (!f->before_gradient || has_gradient(f, j));
}

int tni_join(tni_fuser *f, uint32_t c, uint32_t p, uint32_t keep, tni_joint *j)
{
    tni_graph *g = f->g;
    const tn_tensor_info shape = *tni_iteration(g, &g->nodes[c]);
    tn_tensor p_in[TN_MAP_MAX_INPUTS];
    uint32_t slot, output;
    begin(g, &g->nodes[c], j);
    if (keep && !same_shape(&shape, tni_iteration(g, &g->nodes[p])))
        return 0; /* outputs of one map have one shape */
    for (uint32_t i = 0; i < g->nodes[p].in_count; i++) {
        p_in[i] = seen_as(f, p, i, c, &shape);
        if (tn_is_none(p_in[i]))
            return 0;
    }
    for (uint32_t k = 0; k < g->nodes[p].out_count; k++) {
        if (!(keep >> k & 1u))
            continue;
        if (j->out_count == TN_MAP_MAX_OUTPUTS)
            return 0;
        j->dtype[j->out_count] = output_dtype(g, &g->nodes[p], k);
        j->out[j->out_count++] = g->nodes[p].out[k];
    }
    while (find_slot(g, j, &g->nodes[p], &slot, &output)) {
        if (!absorb(f, j, p_in, p, slot, output, keep))
            return 0;
        keep = 0; /* they are outputs now */
    }
    return fits(f, j);
}

/* b beside a: a program whose input is not read takes b's place as consumer. */
int tni_join_siblings(tni_fuser *f, uint32_t a, uint32_t b, tni_joint *j)
{
    const tni_node *second = &f->g->nodes[b];
    const uint32_t all = (1u << second->out_count) - 1u;
    begin(f->g, &f->g->nodes[a], j);
    if (j->out_count + second->out_count > TN_MAP_MAX_OUTPUTS ||
        j->in_count == TN_MAP_MAX_INPUTS)
        return 0;
    j->in[j->in_count] = second->out[0];
    j->program.input_count = (uint8_t)++j->in_count;
    for (uint32_t k = 0; k < second->out_count; k++) {
        j->dtype[j->out_count] = output_dtype(f->g, second, k);
        j->out[j->out_count++] = second->out[k];
    }
    return absorb(f, j, second->in, b, j->in_count - 1, 0, all) && fits(f, j);
}

/* ---- committing ---- */

static const void *map_attr(tni_graph *g, const tni_joint *j)
{
    tn_map_attr *attr = tni_arena_alloc(g->arena, sizeof *attr);
    attr->program = j->program;
    memcpy(attr->dtype, j->dtype, sizeof attr->dtype);
    return attr;
}

static const void *reduce_attr(tni_graph *g, const tni_node *was,
                               const tni_joint *j)
{
    tn_reduce_attr *attr = tni_arena_copy(g->arena, was->attr, sizeof *attr);
    attr->program = j->program;
    return attr;
}

void tni_commit(tni_fuser *f, uint32_t at, uint32_t as, const tni_joint *j)
{
    tni_graph *g = f->g;
    tni_node node = g->nodes[as];
    node.attr = tni_is_map(&node) ? map_attr(g, j) : reduce_attr(g, &node, j);
    node.in = tni_arena_copy(g->arena, j->in, j->in_count * sizeof *j->in);
    node.out = tni_arena_copy(g->arena, j->out, j->out_count * sizeof *j->out);
    node.in_count = j->in_count;
    node.out_count = j->out_count;
    g->nodes[as].desc = NULL;
    g->nodes[at] = node;
    for (uint32_t i = 0; i < j->in_count; i++) {
        tni_readers *r = &f->readers[g->values[j->in[i].id].storage];
        *TNI_PUSH(f->scratch, r->node, r->count, r->capacity) = at;
    }
    for (uint32_t k = 0; k < j->out_count; k++) {
        g->values[j->out[k].id].node = at;
        g->values[j->out[k].id].output = k;
    }
}

/* ---- constants and dead outputs ---- */

/* Whether x is one number everywhere, exact in a register. */
static int is_fill(const tni_graph *g, tn_tensor x, double *value)
{
    const tn_dtype dtype = g->values[x.id].info.dtype;
    const uint32_t n = g->values[g->values[x.id].storage].node;
    if (n == UINT32_MAX || !g->nodes[n].desc ||
        g->nodes[n].desc->number != TN_OP_FILL ||
        (dtype != TN_F32 && dtype != TN_F64))
        return 0;
    *value = ((const tn_fill_attr *)g->nodes[n].attr)->value;
    return 1;
}

/* How many inputs give the program its shape. */
static uint32_t count_elements(const tni_joint *j)
{
    return j->in_count -
           (uint32_t)__builtin_popcount(tni_program_seeds(&j->program));
}

void tni_fold_fills(tni_fuser *f, uint32_t n)
{
    tni_graph *g = f->g;
    uint8_t input_of[2 * TN_MAP_MAX_INPUTS];
    tni_joint j;
    begin(g, &g->nodes[n], &j);
    const uint32_t before = j.in_count;
    for (uint32_t i = j.in_count; i-- > 0;) {
        tn_program joined, value = {.output_count = 1,
                                    .instruction_count = 1,
                                    .constant_count = 1,
                                    .instruction = {{TN_MAP_CONST, 0, 0, 0}}};
        if (!is_fill(g, j.in[i], &value.constant[0]) || count_elements(&j) == 1)
            continue;
        if (tni_program_join(&j.program, i, &value, 0, 0, &joined, input_of) !=
            TN_OK)
            continue;
        j.program = joined;
        memmove(&j.in[i], &j.in[i + 1], (j.in_count - i - 1) * sizeof *j.in);
        j.in_count--;
    }
    if (j.in_count < before)
        tni_commit(f, n, n, &j);
}

void tni_keep_outputs(tni_graph *g, uint32_t n, uint32_t keep)
{
    tni_node *node = &g->nodes[n];
    tn_map_attr *attr = tni_arena_copy(g->arena, node->attr, sizeof *attr);
    uint32_t count = 0;
    for (uint32_t k = 0; k < node->out_count; k++) {
        if (!(keep >> k & 1u))
            continue;
        attr->program.output[count] = attr->program.output[k];
        attr->dtype[count] = attr->dtype[k];
        node->out[count++] = node->out[k];
    }
    attr->program.output_count = (uint8_t)count;
    tni_program_simplify(&attr->program);
    node->in_count = drop_unread(&attr->program, node->in, node->in_count);
    node->out_count = count;
    node->attr = attr;
}
