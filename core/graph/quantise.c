/*
 * quantise.c - matrices read from their weights in blocks of 8 or 4 bits.
 *
 * For inference only. The model says of a parameter that it has blocks (dtype
 * and place in the COPY arena, tni_value); this pass lets everything that reads
 * the parameter read those, through the same views:
 *
 *     linear(x, w)            x (w viewed with its axes swapped)
 *     linear(x, w in Q8_0)    x (the blocks, viewed with axes swapped)
 *
 * A product can have them where the axis that it sums over is the one that
 * blocks lie along; a look-up, where a row is whole blocks. A parameter that is
 * read in any other way has no blocks: the model asks tni_reads_blocks first.
 */
#include <inttypes.h>

#include "graph/ops/ops.h"
#include "graph/rewrite.h"

typedef struct quantiser {
    tni_graph *g;
    tn_tensor *blocks;       /* by value: the same of the parameter's blocks */
    const tni_node **maker;  /* by value, before the pass */
    const tni_node *refused; /* the first that cannot read them */
} quantiser;

/* ---- who can ---- */

/* The axis of input `i` that blocks must lie along. */
static uint32_t block_axis(const tni_node *node, const tn_tensor_info *x)
{
    const tn_op op = node->desc->number;
    const int turned = op == TN_OP_MATMUL || op == TN_OP_GROUPED_MATMUL;
    return x->rank - (turned ? 2 : 1);
}

/* Whether the input of this layout, `offset` elements into its storage, is
 * whole blocks of so many along that axis. */
static int is_whole(const tni_node *node, const tn_tensor_info *x,
                    int64_t offset, int64_t block)
{
    if (x->rank < 2 || offset % block)
        return 0;
    const uint32_t along = block_axis(node, x);
    for (uint32_t i = 0; i < x->rank; i++)
        if (i == along ? x->stride[i] != 1 || x->shape[i] % block
                       : x->shape[i] > 1 && x->stride[i] % block)
            return 0;
    return 1;
}

static int is_turned_gradient(const tni_node *node)
{
    return node->desc->number == TN_OP_GROUPED_MATMUL &&
           ((const tn_grouped_matmul_attr *)node->attr)->transpose_a;
}

static int can_read(const tni_graph *g, const tni_node *node, uint32_t i,
                    tn_dtype dtype)
{
    int64_t offset;
    const uint32_t allowed = tni_op_narrowing(node->desc)->blocks;
    tni_owner(g, node->in[i], &offset);
    return tni_narrows(allowed, i) && !is_turned_gradient(node) &&
           is_whole(node, &tni_value_of(g, node->in[i])->info, offset,
                    tn_dtype_block(dtype));
}

int tni_reads_blocks(const tni_graph *g, tn_tensor param, tn_dtype dtype)
{
    int any = 0;
    for (size_t n = 0; n < g->node_count; n++) {
        const tni_node *node = &g->nodes[n];
        for (uint32_t i = 0; tni_computes(node) && i < node->in_count; i++) {
            int64_t offset;
            if (tni_owner(g, node->in[i], &offset) != param.id)
                continue;
            if (!can_read(g, node, i, dtype))
                return 0;
            any = 1;
        }
    }
    return any;
}

/* ---- the pass ---- */

static tn_tensor leaf_of(tni_graph *g, const tni_value *param)
{
    const char *name = tni_arena_printf(
        g->arena, "%s of %s", tn_dtype_name(param->block_dtype),
        param->name ? param->name : "a parameter");
    return tni_graph_leaf(g, TN_OP_PARAM, TN_ARENA_COPY, param->copy_offset,
                          param->block_dtype, param->info.rank,
                          param->info.shape, name);
}

/* x is a parameter or a view of one: the same of its blocks. */
static tn_tensor in_blocks(quantiser *q, tn_tensor x)
{
    tni_graph *g = q->g;
    if (!q->blocks[x.id].id) {
        const tni_node *maker = q->maker[x.id];
        const tni_value v = *tni_value_of(g, x);
        q->blocks[x.id] =
            v.storage == x.id
                ? leaf_of(g, &v)
                : tni_view_over(g, maker, in_blocks(q, maker->in[0]));
    }
    return q->blocks[x.id];
}

static tn_tensor operand(quantiser *q, const tni_node *node, uint32_t i)
{
    int64_t offset;
    const tn_tensor x = node->in[i];
    const tn_dtype dtype =
        q->g->values[tni_owner(q->g, x, &offset)].block_dtype;
    if (!x.id || !dtype || !tni_computes(node))
        return x;
    if (can_read(q->g, node, i, dtype))
        return in_blocks(q, x);
    if (!q->refused)
        q->refused = node;
    return x;
}

static void rewrite(quantiser *q)
{
    tni_graph *g = q->g;
    const tni_node *old = g->nodes;
    const size_t count = g->node_count;
    g->nodes = NULL;
    g->node_count = g->node_capacity = 0;
    for (size_t n = 0; n < count; n++) {
        tn_tensor *in = old[n].in;
        for (uint32_t i = 0; i < old[n].in_count; i++)
            in[i] = operand(q, &old[n], i);
        tni_graph_put(g, &old[n]);
    }
}

tn_status tni_quantise(tni_graph *g, tn_error *err)
{
    const uint32_t phase = g->phase, layer = g->layer;
    tni_arena *scratch = tni_arena_create();
    quantiser q = {.g = g};
    tni_graph_index(g);
    q.blocks = tni_arena_alloc(scratch, g->value_count * sizeof *q.blocks);
    q.maker = tni_arena_alloc(scratch, g->value_count * sizeof *q.maker);
    for (size_t n = 0; n < g->node_count; n++)
        for (uint32_t k = 0; k < g->nodes[n].out_count; k++)
            q.maker[g->nodes[n].out[k].id] = &g->nodes[n];
    rewrite(&q);
    tni_arena_destroy(scratch);
    g->phase = phase;
    g->layer = layer;
    tni_graph_index(g);
    TN_TRY(tni_graph_status(g, err));
    if (!q.refused)
        return TN_OK;
    return tn_fail(err, TN_EUNSUPPORTED,
                   "%s:%d: %s reads weights in a way that blocks of 8 or 4 "
                   "bits do not allow; set quantize: none",
                   q.refused->here.file, q.refused->here.line,
                   q.refused->desc->name);
}
